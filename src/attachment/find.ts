/** What is attached on this host: ours, strangers', and what dead runs left behind. */
import { lstatSync, readFileSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isTrusted, refuseIfHidden } from '../host/bpffs.js';
import { isDirectory } from '../host/directories.js';
import { parseMounts } from '../host/kernel.js';
import { type Netns, ownNetns, resolveNetns } from '../host/netns.js';
import { hasErrorCode } from '../model/errors.js';
import { locatePins, type SessionContext } from './context.js';
import { collect, detachProgram } from './detach-program.js';
import {
  examine,
  foreignEntry,
  type InventoryEntry,
  NetViews,
  SETTLING_LOOKS,
  SETTLING_PAUSE_MS,
} from './inspect.js';
import { parsePinName, pinsAt } from './pin-paths.js';
import { DEFAULT_BPFFS, listPinNames, pinsExist, removeAllPins } from './pins.js';

export type { InventoryEntry } from './inspect.js';

/** Where to look; default: in every bpffs, and in our own namespace. */
export interface Places {
  readonly bpffs?: string | undefined;
  readonly netns?: string | undefined;
}

/**
 * Every bpffs that may hold our pins: the usual one and any other that is mounted and has our
 * directory, each once, or only the one that is named.
 */
export function findBpffs(named?: string): string[] {
  if (named !== undefined) return isTrusted(named) ? [named] : [];
  const mounts = parseMounts(readFileSync('/proc/self/mounts', 'utf8'), 'bpf');
  return [...new Set([DEFAULT_BPFFS, ...mounts])].filter(isTrusted);
}

/**
 * Everything of ours, in every namespace, and strangers' programs in our own one; with `netns`, both
 * in that one only. A namespace that has gone is known by the name that it was attached with.
 */
export async function listAttachments(
  context: SessionContext,
  places: Places = {},
): Promise<InventoryEntry[]> {
  if (places.bpffs === undefined) refuseIfHidden(DEFAULT_BPFFS);
  const views = new NetViews(context);
  const all = await listOurs(context, findBpffs(places.bpffs), views);
  const netns = findNetns(places.netns);
  const entries =
    places.netns === undefined ? all : all.filter((entry) => isIn(entry, netns, places.netns));
  for (const each of netns === undefined ? [] : await views.of(netns.path)) {
    if (all.some((entry) => entry.programId === each.programId)) continue;
    const entry = await findEntry(context, { ...places, interface: each.device });
    const known = entries.some(({ pins }) => pins?.directory === entry?.pins?.directory);
    if (entry !== undefined && (entry.pins === null || !known)) entries.push(entry);
  }
  return entries;
}

/**
 * The entry of one interface, by its present name: ours, a stranger's, or undefined when there is
 * nothing. A program of ours is found under whatever name and in whatever bpffs it is pinned.
 */
export async function findEntry(
  context: SessionContext,
  options: Places & { readonly interface: string },
): Promise<InventoryEntry | undefined> {
  const netns = options.netns === undefined ? ownNetns() : resolveNetns(options.netns);
  const device = options.interface;
  for (let looks = 1; ; looks++) {
    const views = new NetViews(context);
    let remains: InventoryEntry | undefined;
    for (const bpffs of findBpffs(options.bpffs)) {
      const entry = await examine(context, locatePins(bpffs, device, netns), views);
      // The interface may have got another name since, and another interface this one.
      if (entry?.interface !== device) continue;
      if (entry.ownership !== 'stale') return entry;
      remains ??= entry;
    }
    const there = (await views.of(netns.path)).find((each) => each.device === device);
    if (there !== undefined) {
      const bpffs = new Set([...findBpffs(), ...findBpffs(options.bpffs)]);
      const ours = await listOurs(context, [...bpffs], views);
      const entry = ours.find(({ programId }) => programId === there.programId);
      if (entry !== undefined) return entry;
      // Somebody may be attaching or detaching at this moment.
      const later = await context.bpftool.showNet(netns.path);
      const hasGone = later.every(({ programId }) => programId !== there.programId);
      const mayBeOurs = ours.some((each) => each.holder !== null && each.mode === null);
      if ((hasGone || mayBeOurs) && looks < SETTLING_LOOKS) {
        await sleep(SETTLING_PAUSE_MS);
        continue;
      }
    }
    if (remains !== undefined) return remains;
    if (options.bpffs === undefined) refuseIfHidden(DEFAULT_BPFFS);
    return there === undefined ? undefined : foreignEntry(context, netns, there);
  }
}

/** The entry of an interface that may have gone, with its namespace or without: what is left of it, by the name that it had. */
export async function findRemains(
  context: SessionContext,
  options: Places & { readonly interface: string },
): Promise<InventoryEntry | undefined> {
  const netns = findNetns(options.netns);
  const entries = await listAttachments(context, options);
  return entries.find(
    (entry) =>
      entry.pins !== null &&
      (entry.state?.interface ?? entry.interface) === options.interface &&
      isIn(entry, netns, options.netns),
  );
}

/** Whether an entry is in a namespace; one that has gone is known by the name that it was attached with. */
function isIn(entry: InventoryEntry, netns: Netns | undefined, name: string | undefined): boolean {
  const inode =
    entry.attachment?.netns.inode ??
    entry.state?.netnsInode ??
    parsePinName(basename(entry.pins?.directory ?? ''))?.netnsInode;
  return netns === undefined || inode === undefined || inode === null
    ? entry.netns === (name ?? null)
    : inode === netns.inode || (name !== undefined && entry.netns === name);
}

function findNetns(name: string | undefined): Netns | undefined {
  if (name === undefined) return ownNetns();
  try {
    return resolveNetns(name);
  } catch (error) {
    if (hasErrorCode(error, 'no-such-interface')) return undefined;
    throw error;
  }
}

async function listOurs(
  context: SessionContext,
  allBpffs: readonly string[],
  views: NetViews,
): Promise<InventoryEntry[]> {
  const entries: InventoryEntry[] = [];
  for (const bpffs of allBpffs) {
    for (const name of listPinNames(bpffs)) {
      const entry = await examine(context, pinsAt(bpffs, name), views);
      if (entry !== undefined) entries.push(entry);
    }
  }
  return entries;
}

/**
 * Detaches what an entry of ours has attached, and removes its pins. Returns what keeps it from
 * that, and undefined when it is gone. The caller has seen that nobody holds it.
 */
export async function endEntry(
  context: SessionContext,
  { pins, state, ownership, programId }: InventoryEntry,
): Promise<string | undefined> {
  if (pins === null) return 'it is not ours';
  if (lstatSync(pins.directory, { throwIfNoEntry: false })?.isSymbolicLink() === true) {
    // Only the link goes: where it leads to is nothing of ours.
    rmSync(pins.directory, { force: true });
  } else if (isDirectory(pins.directory)) {
    if (ownership === 'other-version' || (ownership === 'stale' && state === null)) {
      if (programId !== null) await detachProgram(context.bpftool, programId, ownNetns().inode);
      removeAllPins(pins);
    } else {
      await collect(context, pins, state ?? undefined);
    }
  }
  return pinsExist(pins) ? NOT_OURS : undefined;
}

export const NOT_OURS = 'it holds what xdpwho did not make';
