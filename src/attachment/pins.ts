/**
 * Pin directories in bpffs: one for each (network namespace, interface). bpffs is in memory, so a reboot removes
 * them. It allows only pins, directories and symbolic links (kernel/bpf/inode.c). So the record of an attachment
 * is the target of a link.
 */
import { lstatSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { bpffsFailure, pinsRoot } from '../host/bpffs.js';
import { namesIn } from '../host/directories.js';
import { systemErrorCode } from '../model/errors.js';
import type { Pins } from './pin-paths.js';
import type { AttachmentState } from './record.js';

/**
 * Makes the directory of a new attachment, and the record in it. Returns false if another process has the
 * directory. For an instant the directory has no record.
 */
export function claim(pins: Pins, state: AttachmentState): boolean {
  try {
    // The process that removes the last attachment also removes the parent directory.
    mkdirSync(dirname(pins.directory), { recursive: true, mode: 0o700 });
    mkdirSync(pins.directory, { mode: 0o700 });
    // Another process may take the empty directory for that of a dead run, and remove it.
    symlinkSync(JSON.stringify(state), pins.state);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EEXIST' || code === 'ENOENT') return false;
    throw bpffsFailure(pins.directory, error);
  }
  mkdirSync(pins.mapsDirectory, { mode: 0o700 });
  return true;
}

/** The first path in a pin directory that remove_pins of end.sh does not remove, or undefined. */
export function findUnknown(pins: Pins): string | undefined {
  const removed = new Set([...Object.values(pins), `${pins.directory}/state~`]);
  const directories = [pins.mapsDirectory, pins.readersDirectory];
  const isOurs = (path: string) =>
    removed.has(path) && lstatSync(path).isDirectory() === directories.includes(path);
  return (
    pathsIn(pins.directory).find((path) => !isOurs(path)) ??
    directories.flatMap(pathsIn).find((path) => lstatSync(path).isDirectory())
  );
}

function pathsIn(directory: string): string[] {
  return namesIn(directory).map((entry) => `${directory}/${entry}`);
}

/** The names of all pin directories on a bpffs. */
export function listPinNames(bpffs: string): string[] {
  return namesIn(pinsRoot(bpffs));
}

/** Whether the path of the directory exists, whatever it is. */
export function pinsExist(pins: Pins): boolean {
  return lstatSync(pins.directory, { throwIfNoEntry: false }) !== undefined;
}
