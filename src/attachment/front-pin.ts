/**
 * How the iterator finds the front table. `bpftool iter pin` gives an iterator one map, and libbpf opens every
 * other map of the object by its name in /sys/fs/bpf, if the object says so (LIBBPF_PIN_BY_NAME). So while
 * the iterator is loaded, a symbolic link there leads to the pin of the front table.
 */
import { rmSync, symlinkSync } from 'node:fs';
import { DEFAULT_BPFFS } from '../host/bpffs.js';
import { messageOf } from '../model/errors.js';
import { FRONT_PIN_NAME } from '../objects/front.js';

/** libbpf's BPF_FS_DEFAULT_PATH. */
const DIRECTORY = DEFAULT_BPFFS;
export const FRONT_LINK_PREFIX = FRONT_PIN_NAME.replace(/0+$/, '');
const DIGITS = FRONT_PIN_NAME.length - FRONT_LINK_PREFIX.length;

/** The name of the map in the iterator of the attachment with this token, a UUID. guard.sh makes it too. */
export function frontPinName(token: string): string {
  return FRONT_LINK_PREFIX + token.replaceAll('-', '').padEnd(DIGITS, '0').slice(0, DIGITS);
}

export function frontLinkPath(token: string): string {
  return `${DIRECTORY}/${frontPinName(token)}`;
}

/** Makes the link. Returns why it cannot be made, if so. */
export function linkFront(token: string, frontMap: string): string | undefined {
  try {
    symlinkSync(frontMap, frontLinkPath(token));
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

/** Removes the link, if it is there. The guard removes that of a run that has died, with its pins. */
export function unlinkFront(token: string): void {
  rmSync(frontLinkPath(token), { force: true });
}
