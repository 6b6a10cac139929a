/**
 * What we keep in bpffs, and nowhere else: one directory per (network namespace, interface), gone
 * with the kernel's other state at a reboot. bpffs holds pins, directories and symbolic links
 * (kernel/bpf/inode.c); the record of an attachment is the target of a link.
 */
import { lstatSync, mkdirSync, rmdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { bpffsFailure, DEFAULT_BPFFS, pinsRoot } from '../host/bpffs.js';
import { namesIn } from '../host/directories.js';
import { systemErrorCode } from '../model/errors.js';
import type { Pins } from './pin-paths.js';
import type { AttachmentState } from './record.js';

export { DEFAULT_BPFFS };

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

/**
 * Removes the files that an attachment has in its directory, and then the directory. The record
 * goes last but one, so that a directory that could not be emptied still says whose it is. Files
 * that we do not make are left, and then so is the directory.
 */
export function removePins(pins: Pins): void {
  // A link in the directory's place is nobody's attachment: only the link goes.
  const found = lstatSync(pins.directory, { throwIfNoEntry: false });
  if (found?.isSymbolicLink() === true) rmSync(pins.directory, { force: true });
  if (found?.isDirectory() !== true) return;
  for (const path of [pins.sourcesFile, pins.totalsFile, pins.program, pins.clock]) {
    removeFile(path);
  }
  for (const directory of [pins.readersDirectory, pins.mapsDirectory]) {
    // In a directory that somebody else could write to, it may be a link to anywhere: then only that goes.
    removeFile(directory);
    for (const entry of namesIn(directory)) removeFile(`${directory}/${entry}`);
    removeDirectory(directory);
  }
  removeFile(`${pins.directory}/state~`);
  removeFile(pins.state);
  removeDirectory(pins.directory);
  removeRoot(pins);
}

/** The first thing in a pin directory that removePins leaves there, or undefined. */
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

/** Removes all that is in a directory, for those whose contents this version does not know. */
export function removeAllPins(pins: Pins): void {
  rmSync(pins.directory, { recursive: true, force: true });
  removeRoot(pins);
}

/** The directory of all goes with the last one; one that root has made for others is not theirs to remove. */
function removeRoot(pins: Pins): void {
  try {
    removeDirectory(dirname(pins.directory));
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
  }
}

/** The names of all pin directories of this bpffs. */
export function listPinNames(bpffs: string): string[] {
  return namesIn(pinsRoot(bpffs));
}

/** Whether a directory is there, whatever is in it. */
export function pinsExist(pins: Pins): boolean {
  return lstatSync(pins.directory, { throwIfNoEntry: false }) !== undefined;
}

/** A directory in its place is not ours, and left. */
function removeFile(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  rmSync(path, { force: true });
}

function removeDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'ENOTDIR') throw error;
  }
}
