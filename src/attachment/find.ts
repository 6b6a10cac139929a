/** What is attached on this host: ours, strangers', and what dead runs left behind. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_BPFFS, isTrusted, refuseIfHidden } from '../host/bpffs.js';
import { bpftoolArguments } from '../host/bpftool-arguments.js';
import { programInfoIn, type XdpAttachment } from '../host/bpftool-output.js';
import { parseMounts } from '../host/kernel.js';
import type { Netns } from '../host/netns.js';
import { hasErrorCode } from '../model/errors.js';
import type { SessionContext } from './context.js';
import {
  foreignEntry,
  type InventoryEntry,
  inspect,
  SETTLING_LOOKS,
  SETTLING_PAUSE_MS,
} from './inspect.js';
import { Look } from './look.js';
import { type Pins, parsePinName, pinsAt } from './pin-paths.js';
import { listPinNames } from './pins.js';
import { locatePins, netnsOf, type Request, type Scope, type Target } from './target.js';

export type { InventoryEntry } from './inspect.js';

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
  scope: Scope = {},
): Promise<InventoryEntry[]> {
  if (scope.bpffs === undefined) refuseIfHidden(DEFAULT_BPFFS);
  const netns = existingNetns(scope);
  const look = new Look(context.bpftool);
  const pins = findBpffs(scope.bpffs).flatMap(pinsOn);
  if (netns !== undefined) await look.take(netns, pins);
  const ours = await inspectAll(context, pins, look);
  const entries =
    scope.netns === undefined ? ours : ours.filter((entry) => isIn(entry, netns, scope.netns));
  if (netns === undefined) return entries;
  const ids = new Set(ours.map(({ programId }) => programId));
  const others = (await look.attachedIn(netns)).filter(({ programId }) => !ids.has(programId));
  if (others.length === 0) return entries;
  // With --bpffs, those of ours that are pinned elsewhere are not strangers.
  const elsewhere = await inspectAll(context, otherPins(pins), look);
  const inOthers = elsewhere.filter(({ programId: id }) =>
    others.some(({ programId }) => programId === id),
  );
  const knownIds = new Set(inOthers.map(({ programId }) => programId));
  const strangers = others.filter(({ programId }) => !knownIds.has(programId));
  return [...entries, ...inOthers, ...(await foreignEntries(context, netns, strangers))];
}

/** Our pins in every bpffs but those that are known. */
function otherPins(known: readonly Pins[]): Pins[] {
  const directories = new Set(known.map(({ directory }) => directory));
  return findBpffs()
    .flatMap(pinsOn)
    .filter(({ directory }) => !directories.has(directory));
}

function pinsOn(bpffs: string): Pins[] {
  return listPinNames(bpffs).map((name) => pinsAt(bpffs, name));
}

/** In one process, as far as nothing fails. */
async function inspectAll(
  context: SessionContext,
  all: readonly Pins[],
  look: Look,
): Promise<InventoryEntry[]> {
  await look.askPins(all);
  const entries: InventoryEntry[] = [];
  for (const pins of all) {
    const entry = await inspect(context, pins, look);
    if (entry !== undefined) entries.push(entry);
  }
  return entries;
}

/** Looking a program up by its id takes CAP_SYS_ADMIN: without it the name is not known. */
async function foreignEntries(
  context: SessionContext,
  netns: Netns,
  attached: readonly XdpAttachment[],
): Promise<InventoryEntry[]> {
  const commands = attached.map(({ programId }) => bpftoolArguments.showProgramById(programId));
  const answers = await context.bpftool.ask(commands);
  return attached.map((one, index) =>
    foreignEntry(netns, one, programInfoIn(answers[index]?.output)?.name ?? null),
  );
}

/**
 * The entry of one interface, by its present name: ours, a stranger's, or undefined when there is
 * nothing. A program of ours is found under whatever name and in whatever bpffs it is pinned.
 */
export async function findEntry(
  context: SessionContext,
  { device, netns, bpffs }: Target,
): Promise<InventoryEntry | undefined> {
  for (let looks = 1; ; looks++) {
    const look = new Look(context.bpftool);
    const usual = findBpffs(bpffs).map((path) => locatePins(path, device, netns));
    await look.take(netns, usual);
    let remains: InventoryEntry | undefined;
    for (const pins of usual) {
      const entry = await inspect(context, pins, look);
      // The interface may have got another name since, and another interface this one.
      if (entry?.interface !== device) continue;
      if (entry.ownership !== 'stale') return entry;
      remains ??= entry;
    }
    const found = (await look.attachedIn(netns)).find((one) => one.device === device);
    if (found !== undefined) {
      const paths = new Set([...findBpffs(), ...findBpffs(bpffs)]);
      const ours = await inspectAll(context, [...paths].flatMap(pinsOn), look);
      const entry = ours.find(({ programId }) => programId === found.programId);
      if (entry !== undefined) return entry;
      // Somebody may be attaching or detaching at this moment.
      const later = await context.bpftool.showNet(netns.path);
      const hasGone = later.every(({ programId }) => programId !== found.programId);
      if (hasGone && looks < SETTLING_LOOKS) {
        await sleep(SETTLING_PAUSE_MS);
        continue;
      }
    }
    if (remains !== undefined) return remains;
    if (bpffs === undefined) refuseIfHidden(DEFAULT_BPFFS);
    if (found === undefined) return undefined;
    return (await foreignEntries(context, netns, [found]))[0];
  }
}

/** What is left of an interface that may have gone, with its namespace or without, by the name that it had. */
export async function findRemains(
  context: SessionContext,
  request: Request,
): Promise<InventoryEntry | undefined> {
  const netns = existingNetns(request);
  const entries = await listAttachments(context, request);
  return entries.find(
    (entry) =>
      entry.pins !== null &&
      (entry.state?.interface ?? entry.interface) === request.interface &&
      isIn(entry, netns, request.netns),
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

function existingNetns(scope: Scope): Netns | undefined {
  try {
    return netnsOf(scope);
  } catch (error) {
    if (hasErrorCode(error, 'no-such-interface')) return undefined;
    throw error;
  }
}
