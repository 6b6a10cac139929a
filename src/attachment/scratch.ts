import { accessSync, constants, lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { processStartTicks } from '../host/processes.js';
import { messageOf, XdpwhoError } from '../model/errors.js';

/** Where copies of objects live for the moment that loading takes. */
export function makeScratch(): string {
  try {
    return mkdtempSync(scratchPrefix());
  } catch (error) {
    throw new XdpwhoError('failed', `no temporary folder can be made: ${messageOf(error)}`, {
      hint: 'df /run /tmp, or set TMPDIR',
      cause: error,
    });
  }
}

/** What the path of every temporary folder of this process begins with. */
export function scratchPrefix(): string {
  return `${isWritable('/run') ? '/run' : tmpdir()}/${SCRATCH_PREFIX}${process.pid}-`;
}

/** Removes our temporary folders of processes that are gone. */
export function removeDeadScratch(): void {
  for (const root of new Set(['/run', tmpdir()])) {
    for (const entry of readdirSync(root)) {
      const pid = new RegExp(`^${SCRATCH_PREFIX}(\\d+)-\\w{6}$`).exec(entry)?.[1];
      if (pid === undefined || processStartTicks(Number(pid)) !== undefined) continue;
      // In /tmp anybody may have made one of that name, to put a link in its place meanwhile.
      const found = lstatSync(`${root}/${entry}`, { throwIfNoEntry: false });
      if (found?.uid !== process.geteuid?.()) continue;
      rmSync(`${root}/${entry}`, { recursive: true, force: true });
    }
  }
}

export const SCRATCH_PREFIX = 'xdpwho-';

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
