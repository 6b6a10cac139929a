/** Temporary folders. */
import { accessSync, constants, lstatSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { namesIn } from '../host/directories.js';
import { isRunning, pidNamespaceOf, processStartTicks } from '../host/processes.js';
import { messageOf, XdpwhoError } from '../model/errors.js';

/** Makes a temporary folder for copies of objects. The caller removes it. */
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

/**
 * The beginning of the path of every temporary folder of this process. It names the process so that another one
 * can see whether it has ended: by its id, the pid namespace that the id is of, and the time of its start.
 */
export function scratchPrefix(): string {
  const namespace = pidNamespaceOf('self')?.replace(/\D/g, '') ?? '';
  const who = [process.pid, namespace, processStartTicks('self')].join('-');
  return `${isWritable('/run') ? '/run' : tmpdir()}/${SCRATCH_PREFIX}${who}-`;
}

/** Removes the temporary folders of processes that have ended. */
export function removeDeadScratch(): void {
  for (const root of new Set(['/run', tmpdir()])) {
    for (const entry of namesIn(root)) {
      const [, pid, namespace, startTicks] = SCRATCH_NAME.exec(entry) ?? [];
      if (pid === undefined) continue;
      const pidNamespace = namespace === undefined ? undefined : `pid:[${namespace}]`;
      if (isRunning({ pid: Number(pid), pidNamespace, startTicks })) continue;
      // Anybody can make a folder of such a name in /tmp, and replace it by a link while we remove it.
      const found = lstatSync(`${root}/${entry}`, { throwIfNoEntry: false });
      if (found?.uid !== process.geteuid?.()) continue;
      rmSync(`${root}/${entry}`, { recursive: true, force: true });
    }
  }
}

export const SCRATCH_PREFIX = 'xdpwho-';
/** The agentless script knows only its process id. */
const SCRATCH_NAME = /^xdpwho-(\d+)(?:-(\d+)-(\d+))?-\w{6}$/;

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
