/** What readers pin for themselves in an attachment's directory: each under a name of its own, which says when it is dead. */
import { mkdirSync, rmSync } from 'node:fs';
import { isDirectory, namesIn } from '../host/directories.js';
import { pidNamespaceOf, processStartTicks } from '../host/processes.js';
import { isHolderAlive } from './holder.js';
import type { Pins } from './pin-paths.js';

let readers = 0;

/** A path for one pin of this process, in a directory that is there. What dead readers left is removed. */
export function makeReaderPlace(pins: Pins): string {
  removeDeadReaders(pins);
  mkdirSync(pins.readersDirectory, { recursive: true, mode: 0o700 });
  return `${pins.readersDirectory}/${readerName()}`;
}

/** Removes the pins of readers that died together with what should have removed them. */
export function removeDeadReaders(pins: Pins): void {
  // A link may lead anywhere, to names that look like ours too.
  if (!isDirectory(pins.readersDirectory)) return;
  for (const name of namesIn(pins.readersDirectory)) {
    const [, pid, startTicks = '', namespace] = /^(\d+)-(\d+)-(\d+)-\d+$/.exec(name) ?? [];
    if (pid === undefined) continue;
    const pidNamespace = `pid:[${namespace}]`;
    const holder = { pid: Number(pid), startTicks, pidNamespace, command: 'log' };
    if (!isHolderAlive(holder)) rmSync(`${pins.readersDirectory}/${name}`, { force: true });
  }
}

/** Unique, and says which process it belongs to: pid, start time, pid namespace, number. */
function readerName(): string {
  const namespace = /\d+/.exec(pidNamespaceOf('self') ?? '')?.[0] ?? '0';
  return `${process.pid}-${processStartTicks('self')}-${namespace}-${++readers}`;
}
