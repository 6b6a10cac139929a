/** `clean`: removes what dead runs have left. */
import { lstatSync } from 'node:fs';
import type { SessionContext } from '../attachment/context.js';
import { endEntry, NOT_OURS } from '../attachment/end.js';
import { type InventoryEntry, listAttachments } from '../attachment/find.js';
import { endInTurn } from '../attachment/in-turn.js';
import { Look } from '../attachment/look.js';
import type { Pins } from '../attachment/pin-paths.js';
import { findUnknown } from '../attachment/pins.js';
import { removeDeadReaders } from '../attachment/reader-pins.js';
import { removeDeadScratch } from '../attachment/scratch.js';
import type { Scope } from '../attachment/target.js';
import { isDirectory } from '../host/directories.js';
import { ownNetns } from '../host/netns.js';
import { XdpwhoError } from '../model/errors.js';
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
  const ending: InventoryEntry[] = [];
  for (const entry of await listAttachments(context, options)) {
    const { pins, ownership } = entry;
    if (pins === null) continue;
    if (options.dryRun !== true) removeDeadReaders(pins);
    if (ownership !== 'stale' && ownership !== 'broken') continue;
    const obstacle = await obstacleTo(entry, pins, look);
    const isLeft = obstacle !== undefined || options.dryRun === true;
    if (isLeft) results.push({ entry, kept: obstacle ?? null });
    else ending.push(entry);
  }
  const unended = await endInTurn(ending, async (entry) => {
    results.push({ entry, kept: (await endEntry(context, entry)) ?? null });
  });
  for (const { item, error } of unended) {
    if (!(error instanceof XdpwhoError)) throw error;
    results.push({ entry: item, kept: error.message });
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
