/** Ends an attachment that another process has left. A guard does it, as for our own attachments (guard.sh). */
import { currentPath, type Netns, ownNetns } from '../host/netns.js';
import type { SessionContext } from './context.js';
import { Guard } from './guard.js';
import type { InventoryEntry } from './inspect.js';
import type { Pins } from './pin-paths.js';
import { pinsExist } from './pins.js';
import type { AttachmentState } from './record.js';

/** Why a directory stays. */
export const NOT_OURS = 'it holds what xdpwho did not make';

/** A pin directory that no running process holds. */
interface Remains {
  readonly pins: Pins;
  /** Null if the directory has no record, or one that this version cannot read. */
  readonly state: AttachmentState | null;
  /** The program of ours that is pinned there, or null. */
  readonly pinnedId: number | null;
  /** Made by another version: then everything in the directory is removed. */
  readonly isOther?: boolean | undefined;
}

/**
 * Detaches the program wherever it is attached, and removes the pins. Returns false if a file stays that xdpwho
 * did not make. Rejects with `tool-failed` if the program may still be attached.
 */
export async function end(context: SessionContext, remains: Remains): Promise<boolean> {
  const { pins, state, pinnedId, isOther } = remains;
  const { path } = context.bpftool;
  const guard = new Guard({ bpftool: path, netns: homeOf(state), pins, token: state?.token ?? '' });
  try {
    if (pinnedId !== null) {
      await guard.watch(pinnedId);
      await guard.detach();
    }
    await guard.remove(isOther);
  } finally {
    await guard.release();
  }
  return !pinsExist(pins);
}

/** Ends the attachment of an entry that no running process holds. Returns why its directory stays, or undefined. */
export async function endEntry(
  context: SessionContext,
  { pins, state, pinnedId, ownership }: InventoryEntry,
): Promise<string | undefined> {
  if (pins === null) return 'it is not ours';
  const isOther = ownership === 'other-version' || (ownership === 'stale' && state === null);
  return (await end(context, { pins, state, pinnedId, isOther })) ? undefined : NOT_OURS;
}

/** The namespace in which it was attached, or our own if that cannot be found. */
function homeOf(state: AttachmentState | null): Netns {
  if (state === null) return ownNetns();
  const { netns: name, netnsInode: inode, netnsPath } = state;
  const path = currentPath({ name, path: netnsPath ?? undefined, inode });
  return path === null ? ownNetns() : { name, path, inode };
}
