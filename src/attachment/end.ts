/** Ending what another process has left: the same guard does it that ends our own (guard.sh). */

import { currentPath, type Netns, ownNetns } from '../host/netns.js';
import type { SessionContext } from './context.js';
import { Guard } from './guard.js';
import type { InventoryEntry } from './inspect.js';
import type { Pins } from './pin-paths.js';
import { pinsExist } from './pins.js';
import type { AttachmentState } from './record.js';

export const NOT_OURS = 'it holds what xdpwho did not make';

/** Pins that nobody holds, and the program of ours that is pinned there, if there is one. */
interface Remains {
  readonly pins: Pins;
  /** Null for a directory without a record, or with one that this version cannot read. */
  readonly state: AttachmentState | null;
  readonly pinnedId: number | null;
  /** Of another version: then whatever is in the directory goes. */
  readonly isOther?: boolean | undefined;
}

/**
 * Detaches the program wherever it is attached, and removes the pins. False where something stays
 * that xdpwho did not make. Rejects with `tool-failed` where the program may still be attached.
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

/** Ends what an entry of ours stands for. The caller has seen that nobody holds it. Gives what keeps it, or undefined. */
export async function endEntry(
  context: SessionContext,
  { pins, state, pinnedId, ownership }: InventoryEntry,
): Promise<string | undefined> {
  if (pins === null) return 'it is not ours';
  const isOther = ownership === 'other-version' || (ownership === 'stale' && state === null);
  return (await end(context, { pins, state, pinnedId, isOther })) ? undefined : NOT_OURS;
}

/** Where it was attached, as far as that is known and still there. */
function homeOf(state: AttachmentState | null): Netns {
  if (state === null) return ownNetns();
  const { netns: name, netnsInode: inode, netnsPath } = state;
  const path = currentPath({ name, path: netnsPath ?? undefined, inode });
  return path === null ? ownNetns() : { name, path, inode };
}
