/** The pins that a reader makes for itself. Their names tell which process made them, so that the pins of dead ones can be removed. */
import { mkdirSync, rmSync } from 'node:fs';
import { isDirectory, namesIn } from '../host/directories.js';
import { pidNamespaceOf, processStartTicks } from '../host/processes.js';
import { isHolderAlive } from './holder.js';
import type { Pins } from './pin-paths.js';

let readers = 0;

/** Returns a free path for a pin of this process, and makes its directory. Also removes the pins of dead readers. */
export function makeReaderPinPath(pins: Pins): string {
  removeDeadReaders(pins);
  mkdirSync(pins.readersDirectory, { recursive: true, mode: 0o700 });
  return `${pins.readersDirectory}/${readerName()}`;
}

/** Removes the pins of readers that are dead, and whose shell that should remove them is dead too. */
export function removeDeadReaders(pins: Pins): void {
  // A link may lead to any directory, also to one with such names.
  if (!isDirectory(pins.readersDirectory)) return;
  for (const name of namesIn(pins.readersDirectory)) {
    const [, pid, startTicks = '', namespace] = /^(\d+)-(\d+)-(\d+)-\d+$/.exec(name) ?? [];
    if (pid === undefined) continue;
    const pidNamespace = `pid:[${namespace}]`;
    const holder = { pid: Number(pid), startTicks, pidNamespace, command: 'log' };
    if (!isHolderAlive(holder)) rmSync(`${pins.readersDirectory}/${name}`, { force: true });
  }
}

/** A unique name that tells its process: pid, start time, pid namespace, number. */
function readerName(): string {
  const namespace = /\d+/.exec(pidNamespaceOf('self') ?? '')?.[0] ?? '0';
  return `${process.pid}-${processStartTicks('self')}-${namespace}-${++readers}`;
}
