/**
 * What we keep in bpffs, and nowhere else: one directory per (network namespace, interface), gone
 * with the kernel's other state at a reboot. bpffs holds pins, directories and symbolic links
 * (kernel/bpf/inode.c); the record of an attachment is the target of a link.
 */
import { lstatSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { bpffsFailure, pinsRoot } from '../host/bpffs.js';
import { namesIn } from '../host/directories.js';
import { systemErrorCode } from '../model/errors.js';
import type { Pins } from './pin-paths.js';
import type { AttachmentState } from './record.js';

/**
 * Takes the directory for an attachment that is about to be made. False when somebody else has it.
 * The record is in it an instant later; a directory without one is in the middle of this.
 */
export function claim(pins: Pins, state: AttachmentState): boolean {
  try {
    // Whoever removes the last attachment removes the directory of all, perhaps at this moment.
    mkdirSync(dirname(pins.directory), { recursive: true, mode: 0o700 });
    mkdirSync(pins.directory, { mode: 0o700 });
    // A directory that is still empty may be removed as a dead run's.
    symlinkSync(JSON.stringify(state), pins.state);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EEXIST' || code === 'ENOENT') return false;
    throw bpffsFailure(pins.directory, error);
  }
  mkdirSync(pins.mapsDirectory, { mode: 0o700 });
  return true;
}

/** The first thing in a pin directory that remove_pins of end.sh leaves there, or undefined. */
export function findUnknown(pins: Pins): string | undefined {
  const known = new Set([...Object.values(pins), `${pins.directory}/state~`]);
  const directories = [pins.mapsDirectory, pins.readersDirectory];
  const isOurs = (path: string) =>
    known.has(path) && lstatSync(path).isDirectory() === directories.includes(path);
  return (
    pathsIn(pins.directory).find((path) => !isOurs(path)) ??
    directories.flatMap(pathsIn).find((path) => lstatSync(path).isDirectory())
  );
}

function pathsIn(directory: string): string[] {
  return namesIn(directory).map((entry) => `${directory}/${entry}`);
}

/** The names of all pin directories of this bpffs. */
export function listPinNames(bpffs: string): string[] {
  return namesIn(pinsRoot(bpffs));
}

/** Whether a directory is there, whatever is in it. */
export function pinsExist(pins: Pins): boolean {
  return lstatSync(pins.directory, { throwIfNoEntry: false }) !== undefined;
}
