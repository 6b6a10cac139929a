/** Removing what dead runs left behind. */
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
  /** Null when it has been removed, or else why not. */
  readonly kept: string | null;
}

/**
 * Removes what is stale or broken. What is attached stays: a stranger's program always, and a
 * program in a broken directory until `detach` is asked for it by name.
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

/** What keeps `clean` from removing an entry, or undefined. */
async function obstacleTo(
  { ownership, interface: name, pinnedId }: InventoryEntry,
  pins: Pins,
  look: Look,
): Promise<string | undefined> {
  if (ownership !== 'broken') return undefined;
  if (isDirectory(pins.directory)) {
    const place = pinnedId === null ? undefined : await look.locate(pinnedId, ownNetns());
    if (place !== undefined) return `its program is attached: xdpwho detach ${printable(name)}`;
    return findUnknown(pins) === undefined ? undefined : NOT_OURS;
  }
  const isLink = lstatSync(pins.directory, { throwIfNoEntry: false })?.isSymbolicLink();
  return isLink === true ? undefined : NOT_OURS;
}
