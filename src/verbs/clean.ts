import { lstatSync } from 'node:fs';
import type { SessionContext } from '../attachment/context.js';
import { ownProgramId } from '../attachment/detach-program.js';
import { endEntry, listAttachments, NOT_OURS, type Places } from '../attachment/find.js';
import { type InventoryEntry, NetViews } from '../attachment/inspect.js';
import type { Pins } from '../attachment/pin-paths.js';
import { findUnknown } from '../attachment/pins.js';
import { removeDeadReaders } from '../attachment/reader-pins.js';
import { removeDeadScratch } from '../attachment/scratch.js';
import { isDirectory } from '../host/directories.js';
import { printable } from '../text/text.js';

export interface CleanResult {
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
  options: Places & { readonly dryRun?: boolean | undefined } = {},
): Promise<CleanResult[]> {
  const views = new NetViews(context);
  const results: CleanResult[] = [];
  for (const entry of await listAttachments(context, options)) {
    if (entry.pins !== null && options.dryRun !== true) removeDeadReaders(entry.pins);
    if (entry.pins === null || (entry.ownership !== 'stale' && entry.ownership !== 'broken')) {
      continue;
    }
    const obstacle = await obstacleTo(context, entry, entry.pins, views);
    const left =
      options.dryRun === true ? obstacle : (obstacle ?? (await endEntry(context, entry)));
    results.push({ entry, kept: left ?? null });
  }
  if (options.dryRun !== true) removeDeadScratch();
  return results;
}

/** What keeps `clean` from removing an entry, or undefined. */
async function obstacleTo(
  context: SessionContext,
  { ownership, interface: name }: InventoryEntry,
  pins: Pins,
  views: NetViews,
): Promise<string | undefined> {
  if (ownership !== 'broken') return undefined;
  if (isDirectory(pins.directory)) {
    const programId = await ownProgramId(context.bpftool, pins);
    const place = programId === undefined ? undefined : await views.locate(programId, undefined);
    if (place !== undefined) return `its program is attached: xdpwho detach ${printable(name)}`;
    return findUnknown(pins) === undefined ? undefined : NOT_OURS;
  }
  const isLink = lstatSync(pins.directory, { throwIfNoEntry: false })?.isSymbolicLink();
  return isLink === true ? undefined : NOT_OURS;
}
