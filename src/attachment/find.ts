/** Finds what is attached on this host: ours, programs that are not ours, and what dead runs have left. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_BPFFS, isTrusted, refuseIfHidden } from '../host/bpffs.js';
import { bpftoolArguments } from '../host/bpftool-arguments.js';
import { programInfoIn, type XdpAttachment } from '../host/bpftool-output.js';
import { parseMounts } from '../host/kernel.js';
import type { Netns } from '../host/netns.js';
import { hasErrorCode, XdpwhoError } from '../model/errors.js';
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
import {
  locatePins,
  netnsOf,
  type Request,
  resolveTarget,
  type Scope,
  type Target,
} from './target.js';

export type { InventoryEntry } from './inspect.js';

/**
 * Every bpffs with a directory of ours that we can trust: the usual one and all others that are mounted, each
 * once. With `named`, only that one.
 */
export function findBpffs(named?: string): string[] {
  if (named !== undefined) return isTrusted(named) ? [named] : [];
  const mounts = parseMounts(readFileSync('/proc/self/mounts', 'utf8'), 'bpf');
  return [...new Set([DEFAULT_BPFFS, ...mounts])].filter(isTrusted);
}

/**
 * All attachments of ours in all namespaces, and every other XDP program in our own namespace. With `netns`, only
 * those in that namespace. A namespace that no longer exists is found by the name that the record has.
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
  // With --bpffs, a program of ours may be pinned in another bpffs.
  const otherIds = new Set(others.map(({ programId }) => programId));
  const elsewhere = await pinsOf(otherIds, pinsBesides(pins), look);
  const pinnedElsewhere = (await inspectAll(context, elsewhere, look)).filter(
    ({ programId }) => programId !== null && otherIds.has(programId),
  );
  const foundIds = new Set(pinnedElsewhere.map(({ programId }) => programId));
  const strangers = others.filter(({ programId }) => !foundIds.has(programId));
  return [...entries, ...pinnedElsewhere, ...(await foreignEntries(context, netns, strangers))];
}

/** All our pin directories except these. */
function pinsBesides(inspected: readonly Pins[]): Pins[] {
  const directories = new Set(inspected.map(({ directory }) => directory));
  return findBpffs()
    .flatMap(pinsOn)
    .filter(({ directory }) => !directories.has(directory));
}

function pinsOn(bpffs: string): Pins[] {
  return listPinNames(bpffs).map((name) => pinsAt(bpffs, name));
}

/** Those of the directories that have one of these programs. It starts one process for all. */
async function pinsOf(
  programIds: ReadonlySet<number>,
  all: readonly Pins[],
  look: Look,
): Promise<Pins[]> {
  await look.askPins(all);
  return all.filter((pins) => {
    const program = look.factsOf(pins)?.program;
    return program !== undefined && !(program instanceof XdpwhoError) && programIds.has(program.id);
  });
}

/** Inspects all pin directories. It starts one process for all, and one more for each that bpftool cannot show. */
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

/** Entries of programs that are not ours. To show a program by its id needs CAP_SYS_ADMIN: without it they have no name. */
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
 * The entry of one interface, by its present name, or undefined if it has none. A program of ours is found also
 * if it is pinned under another name or in another bpffs. Who looks for several interfaces passes one look for all.
 */
export async function findEntry(
  context: SessionContext,
  { device, netns, bpffs, direction }: Target,
  firstLook = new Look(context.bpftool),
): Promise<InventoryEntry | undefined> {
  let look = firstLook;
  for (let looks = 1; ; looks++) {
    const usual = findBpffs(bpffs).map((path) => locatePins(path, device, netns, direction));
    await look.take(netns, usual);
    let remains: InventoryEntry | undefined;
    for (const pins of usual) {
      const entry = await inspect(context, pins, look);
      // The interface may have been renamed, and another interface may have its name now.
      if (entry?.interface !== device) continue;
      if (entry.ownership !== 'stale') return entry;
      remains ??= entry;
    }
    if (direction === 'sent') return remains;
    const found = (await look.attachedIn(netns)).find((one) => one.device === device);
    if (found !== undefined) {
      const paths = new Set([...findBpffs(), ...findBpffs(bpffs)]);
      const itsPins = await pinsOf(new Set([found.programId]), [...paths].flatMap(pinsOn), look);
      const ours = await inspectAll(context, itsPins, look);
      const entry = ours.find(({ programId }) => programId === found.programId);
      if (entry !== undefined) return entry;
      // Another process may be attaching or detaching at this moment.
      const later = await context.bpftool.showNet(netns.path);
      const hasGone = later.every(({ programId }) => programId !== found.programId);
      if (hasGone && looks < SETTLING_LOOKS) {
        await sleep(SETTLING_PAUSE_MS);
        look = new Look(context.bpftool);
        continue;
      }
    }
    if (remains !== undefined) return remains;
    if (bpffs === undefined) refuseIfHidden(DEFAULT_BPFFS);
    if (found === undefined) return undefined;
    return (await foreignEntries(context, netns, [found]))[0];
  }
}

/**
 * The entry of an interface as the user names it, or of what is left of one that no longer exists. `absent`: it
 * does not exist, and nothing is left of it. `device`: its own name, or if it does not exist the user's.
 */
export async function findNamed(
  context: SessionContext,
  request: Request,
): Promise<{
  readonly device: string;
  readonly entry: InventoryEntry | undefined;
  readonly absent?: XdpwhoError;
}> {
  try {
    const target = await resolveTarget(request);
    return { device: target.device, entry: await findEntry(context, target) };
  } catch (error) {
    if (!hasErrorCode(error, 'no-such-interface')) throw error;
    const entry = await findRemains(context, request);
    const found = { device: request.interface, entry };
    return entry === undefined ? { ...found, absent: error } : found;
  }
}

/** Finds the pins of an interface that no longer exists, by the name in the record. Its namespace may be gone too. */
async function findRemains(
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

/** Whether an entry is in a namespace. If the namespace no longer exists, the names are compared. */
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
