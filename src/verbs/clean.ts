/** `clean`: removes what dead runs have left. */
import { lstatSync } from 'node:fs';
import type { SessionContext } from '../attachment/context.js';
import { endEntry, NOT_OURS } from '../attachment/end.js';
import { type InventoryEntry, listAttachments } from '../attachment/find.js';
import { Look } from '../attachment/look.js';
import type { Pins } from '../attachment/pin-paths.js';
import { findUnknown } from '../attachment/pins.js';
import { removeDeadReaders } from '../attachment/reader-pins.js';
import { removeDeadScratch } from '../attachment/scratch.js';
import type { Scope } from '../attachment/target.js';
import { isDirectory } from '../host/directories.js';
import { ownNetns } from '../host/netns.js';
import { printable } from '../text/text.js';

interface CleanResult {
  readonly entry: InventoryEntry;
  /** Null if it has been removed, otherwise the reason why not. */
  readonly kept: string | null;
}

/**
 * Removes stale and broken entries. It detaches nothing: a program that is not ours stays, and the program of a
 * broken directory stays until `detach` names its interface.
 */
export async function clean(
  context: SessionContext,
  options: Scope & { readonly dryRun?: boolean | undefined } = {},
): Promise<CleanResult[]> {
  const look = new Look(context.bpftool);
  const results: CleanResult[] = [];
  for (const entry of await listAttachments(context, options)) {
    const { pins, ownership } = entry;
    if (pins === null) continue;
    if (options.dryRun !== true) removeDeadReaders(pins);
    if (ownership !== 'stale' && ownership !== 'broken') continue;
    const obstacle = await obstacleTo(entry, pins, look);
    const isLeft = obstacle !== undefined || options.dryRun === true;
    const kept = isLeft ? obstacle : await endEntry(context, entry);
    results.push({ entry, kept: kept ?? null });
  }
  if (options.dryRun !== true) removeDeadScratch();
  return results;
}

/** Why `clean` must not remove an entry, or undefined. */
async function obstacleTo(
  { ownership, interface: name, pinnedId }: InventoryEntry,
  pins: Pins,
  look: Look,
): Promise<string | undefined> {
  if (ownership !== 'broken') return undefined;
  if (isDirectory(pins.directory)) {
    const location = pinnedId === null ? undefined : await look.locate(pinnedId, ownNetns());
    if (location !== undefined) return `its program is attached: xdpwho detach ${printable(name)}`;
    return findUnknown(pins) === undefined ? undefined : NOT_OURS;
  }
  const isLink = lstatSync(pins.directory, { throwIfNoEntry: false })?.isSymbolicLink();
  return isLink === true ? undefined : NOT_OURS;
}
