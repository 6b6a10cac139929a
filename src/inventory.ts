/** What is attached on this host: ours, strangers', and what dead runs left behind. */
import { createReadStream, lstatSync, readFileSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Attachment, detachProgram } from './attachment.js';
import { BpftoolError, type MapInfo, type XdpAttachment } from './bpftool.js';
import { hasErrorCode } from './errors.js';
import {
  findNetnsPath,
  listInterfaces,
  type Netns,
  otherNetnsPaths,
  ownNetns,
  resolveNetns,
} from './interfaces.js';
import { SOURCE_KEY, SOURCE_VALUE, TOTALS } from './layout.js';
import {
  type AttachmentState,
  DEFAULT_BPFFS,
  type Holder,
  isBpffs,
  listPinNames,
  type Pins,
  parsePinName,
  pinsAt,
  pinsExist,
  pinsRoot,
  readOtherState,
  readState,
  refuseIfHidden,
  removeAllPins,
} from './pins.js';
import type { Mode, Ownership, Reader } from './records.js';
import { printable } from './render/text.js';
import {
  collect,
  isHolderAlive,
  locatePins,
  ownProgramId,
  PROGRAM_NAME,
  removeDeadScratch,
  type SessionContext,
} from './session.js';

export interface InventoryEntry {
  /** As it is called now, where that can be found out. */
  readonly interface: string;
  /** Null for the namespace that we run in. */
  readonly netns: string | null;
  readonly ownership: Ownership;
  /** Why it is stale, broken or kept, or what has become of its interface. */
  readonly why: string | null;
  readonly mode: Mode | null;
  readonly programId: number | null;
  readonly programName: string | null;
  readonly reader: Reader | null;
  readonly file: string | null;
  /** Null for what is not ours, or not to be read. */
  readonly state: AttachmentState | null;
  /** The process that ends it. */
  readonly holder: Holder | null;
  readonly pins: Pins | null;
  /** Where it is whole. */
  readonly attachment: Attachment | null;
}

/** Where to look; default: in every bpffs, and in our own namespace. */
export interface Places {
  readonly bpffs?: string | undefined;
  readonly netns?: string | undefined;
}

/** Others make and remove directories meanwhile: what is half there may be whole in a moment. */
const SETTLING_LOOKS = 8;
const SETTLING_PAUSE_MS = 50;

/**
 * Every bpffs that may hold our pins: the usual one and any other that is mounted and has our
 * directory, each once, or only the one that is named.
 */
export function findBpffs(named?: string): string[] {
  if (named !== undefined) return isBpffs(named) ? [named] : [];
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields[2] === 'bpf')
    .map((fields) => unescapeMount(fields[1] ?? ''));
  return [...new Set([DEFAULT_BPFFS, ...mounts])].filter(
    (path) => isBpffs(path) && isBpffs(pinsRoot(path)),
  );
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
    places.netns === undefined ? all : all.filter((entry) => isIn(entry, places.netns, netns));
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
    for (const bpffs of findBpffs(options.bpffs)) {
      const entry = await examine(context, locatePins(bpffs, device, netns), views);
      // The interface may have got another name since, and another interface this one.
      if (entry?.interface === device) return entry;
    }
    const there = (await views.of(netns.path)).find((each) => each.device === device);
    if (there !== undefined) {
      const bpffs = new Set([...findBpffs(), ...findBpffs(options.bpffs)]);
      const ours = await listOurs(context, [...bpffs], views);
      const entry = ours.find(({ programId }) => programId === there.programId);
      if (entry !== undefined) return entry;
      // Somebody may be attaching or detaching at this moment.
      const later = await context.bpftool.showNet(netns.path);
      const isSettled = later.some(({ programId }) => programId === there.programId);
      const isOurs = ours.some((each) => each.ownership === 'foreground' && each.mode === null);
      if ((!isSettled || isOurs) && looks < SETTLING_LOOKS) {
        await sleep(SETTLING_PAUSE_MS);
        continue;
      }
    }
    if (options.bpffs === undefined) refuseIfHidden(DEFAULT_BPFFS);
    return there === undefined ? undefined : foreignEntry(context, netns, there);
  }
}

/** The entry of an interface that may have gone, with its namespace or without: what is left of it, by the name that it had. */
export async function findRemains(
  context: SessionContext,
  options: Places & { readonly interface: string },
): Promise<InventoryEntry | undefined> {
  const entries = await listAttachments(context, options);
  return entries.find(
    ({ pins, state, ...entry }) =>
      pins !== null && (state?.interface ?? entry.interface) === options.interface,
  );
}

/** Whether the entry is in the namespace; one that has gone is known by the name that it was attached with. */
function isIn(entry: InventoryEntry, name: string | undefined, netns: Netns | undefined): boolean {
  if (entry.attachment !== null && netns !== undefined) {
    return entry.attachment.netns.inode === netns.inode;
  }
  return entry.state?.netnsInode === netns?.inode || entry.netns === name;
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

/** What is in a pin directory; undefined when it is not there. */
async function examine(
  context: SessionContext,
  pins: Pins,
  views: NetViews,
): Promise<InventoryEntry | undefined> {
  for (let looks = 1; ; looks++) {
    if (!pinsExist(pins)) return undefined;
    const entry = await examineOnce(context, pins, views);
    if (entry.ownership !== 'broken' || looks === SETTLING_LOOKS) return entry;
    await sleep(SETTLING_PAUSE_MS);
  }
}

async function examineOnce(
  context: SessionContext,
  pins: Pins,
  views: NetViews,
): Promise<InventoryEntry> {
  const name = basename(pins.directory);
  const blank = {
    interface: parsePinName(name)?.interface ?? name,
    netns: null,
    mode: null,
    programId: null,
    programName: null,
    reader: null,
    file: null,
    state: null,
    holder: null,
    pins,
    attachment: null,
  };
  const broken = (why: string) => ({ ...blank, ownership: 'broken' as const, why });
  if (!isDirectory(pins.directory)) return broken('it is not a directory');
  let state: AttachmentState | undefined;
  try {
    state = readState(pins);
  } catch (error) {
    if (hasErrorCode(error, 'other-version')) return otherEntry(context, blank, views);
    if (!hasErrorCode(error, 'bad-object')) throw error;
    return broken(error.message.replace(`${pins.directory}: `, ''));
  }
  if (state === undefined) return broken('it has no record of an attachment');

  const { programId, mode, reader, holder, netnsInode } = state;
  const held = holder !== null && isHolderAlive(holder);
  const path = findNetnsPath(netnsInode);
  const netns = { name: state.netns ?? nameOf(path), path: path ?? undefined, inode: netnsInode };
  const known = {
    ...blank,
    interface: state.interface,
    netns: netns.name,
    state,
    holder: held ? holder : null,
  };
  if (programId === null || mode === null || reader === null) {
    const why = held ? 'it is being attached' : 'the run that was attaching it is gone';
    return { ...known, ownership: held ? 'foreground' : 'stale', why };
  }
  const fault = await pinsFault(context, pins, { ...state, programId, reader });
  const programName = fault === undefined ? PROGRAM_NAME : null;
  const file = fault === undefined && reader === 'iterator' ? pins.sourcesFile : null;
  const whole = { ...known, programId, programName, mode, reader, file };
  if (fault !== undefined) return { ...whole, ownership: 'broken', why: fault };
  const stale = (why: string) => ({ ...whole, ownership: 'stale' as const, why });
  if (holder !== null && !held) return stale(`the run that held it (${holder.pid}) is gone`);

  const place = await views.locate(programId, path);
  if (place === undefined) return stale(await whyNowhere(views, netns, path, state.interface));
  const moved = place.path !== path;
  const device = place.attached.device;
  const attachment = new Attachment(context.bpftool, {
    pins,
    netns: moved ? { name: nameOf(place.path), path: place.path, inode: netnsInode } : netns,
    // What it was attached as stays in the record; what is printed has its present name.
    state: { ...state, interface: device, programId, mode, reader },
  });
  return {
    ...whole,
    interface: device,
    netns: attachment.netns.name,
    ownership: held ? 'foreground' : 'ours',
    why: device !== state.interface || moved ? `it was attached as ${state.interface}` : null,
    attachment,
  };
}

/** What another version attached is left as it is, for as long as it is attached. */
async function otherEntry(
  context: SessionContext,
  blank: Omit<InventoryEntry, 'ownership' | 'why'> & { readonly pins: Pins },
  views: NetViews,
): Promise<InventoryEntry> {
  const { pins } = blank;
  const state = readOtherState(pins);
  const programId = (await ownProgramId(context.bpftool, pins)) ?? null;
  const path = state.netnsInode === undefined ? undefined : findNetnsPath(state.netnsInode);
  const place = programId === null ? undefined : await views.locate(programId, path);
  const held = state.holder !== null && isHolderAlive(state.holder);
  return {
    ...blank,
    interface: place?.attached.device ?? state.interface ?? blank.interface,
    netns: state.netns ?? nameOf(path),
    programId,
    mode: place?.attached.mode ?? null,
    holder: held ? state.holder : null,
    ownership: held ? 'foreground' : place === undefined ? 'stale' : 'other-version',
    why: 'it was made by another version of xdpwho',
  };
}

async function whyNowhere(
  views: NetViews,
  netns: Netns,
  path: string | undefined | null,
  interfaceName: string,
): Promise<string> {
  if (path === null) return 'its network namespace is gone';
  const there = (await views.of(path)).find((each) => each.device === interfaceName);
  if (there !== undefined) return "another program has taken our program's place";
  const names = await listInterfaces(netns);
  return names.includes(interfaceName)
    ? 'its program is not attached any more'
    : 'its interface is gone';
}

/** What a directory must hold to be one that we made: it may have been made by hand. */
async function pinsFault(
  context: SessionContext,
  pins: Pins,
  state: { programId: number; reader: Reader; maxSources: number },
): Promise<string | undefined> {
  const files = state.reader === 'iterator' ? [pins.sourcesFile, pins.totalsFile] : [];
  const objects = [pins.program, pins.sourcesMap, pins.totalsMap];
  const absent = [...objects, ...files].find((path) => !isPin(path));
  if (absent !== undefined) {
    return `its ${absent.slice(pins.directory.length + 1)} is missing or no pin`;
  }
  const { bpftool } = context;
  try {
    const [program, sources, totals] = await Promise.all([
      bpftool.showProgram(pins.program),
      bpftool.showMap(pins.sourcesMap),
      bpftool.showMap(pins.totalsMap),
    ]);
    if (program.id !== state.programId) {
      return `its program has id ${program.id}, and not ${state.programId}`;
    }
    if (program.name !== PROGRAM_NAME) return `its program is named ${program.name ?? '""'}`;
    const known = new Set(program.mapIds);
    if (!known.has(sources.id) || !known.has(totals.id)) return 'its maps are of another program';
    return (
      mapFault('sources', sources, SOURCE_KEY.size, SOURCE_VALUE.size) ??
      mapFault('totals', totals, 4, TOTALS.size)
    );
  } catch (error) {
    if (!(error instanceof BpftoolError) || error.code === 'not-permitted') throw error;
    return `its pins are of another kind: ${error.message}`;
  }
}

function mapFault(name: string, map: MapInfo, key: number, value: number): string | undefined {
  if (map.keySize === key && map.valueSize === value) return undefined;
  return `its map ${name} has another shape: keys of ${map.keySize} and values of ${map.valueSize} bytes, not ${key} and ${value}`;
}

async function foreignEntry(
  context: SessionContext,
  netns: Netns,
  attached: XdpAttachment,
): Promise<InventoryEntry> {
  // Looking a program up by its id takes CAP_SYS_ADMIN.
  const program = await context.bpftool.showProgramById(attached.programId).catch(() => undefined);
  return {
    interface: attached.device,
    netns: netns.name,
    ownership: 'foreign',
    why: null,
    mode: attached.mode,
    programId: attached.programId,
    programName: program?.name ?? null,
    reader: null,
    file: null,
    state: null,
    holder: null,
    pins: null,
    attachment: null,
  };
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
  return pinsExist(pins) ? 'it holds what xdpwho did not make' : undefined;
}

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
    if (entry.pins === null || (entry.ownership !== 'stale' && entry.ownership !== 'broken')) {
      continue;
    }
    const attached = entry.ownership === 'broken' && (await isAttached(context, entry.pins, views));
    const left = attached
      ? `its program is attached: xdpwho detach ${printable(entry.interface)}`
      : options.dryRun === true
        ? undefined
        : await endEntry(context, entry);
    results.push({ entry, kept: left ?? null });
  }
  if (options.dryRun !== true) removeDeadScratch();
  return results;
}

async function isAttached(context: SessionContext, pins: Pins, views: NetViews): Promise<boolean> {
  if (!isDirectory(pins.directory)) return false;
  const programId = await ownProgramId(context.bpftool, pins);
  return programId !== undefined && (await views.locate(programId, undefined)) !== undefined;
}

/** `net show` of each namespace, asked once. */
class NetViews {
  readonly #context: SessionContext;
  readonly #views = new Map<string | undefined, Promise<readonly XdpAttachment[]>>();

  constructor(context: SessionContext) {
    this.#context = context;
  }

  of(netnsPath: string | undefined): Promise<readonly XdpAttachment[]> {
    const known = this.#views.get(netnsPath);
    if (known !== undefined) return known;
    const view = this.#context.bpftool.showNet(netnsPath);
    this.#views.set(netnsPath, view);
    return view;
  }

  /** Where the program is attached: at `home` first (null: that has gone), then anywhere, since an interface takes its program along. */
  async locate(
    programId: number,
    home: string | undefined | null,
  ): Promise<{ path: string | undefined; attached: XdpAttachment } | undefined> {
    const others = function* () {
      yield undefined;
      yield* otherNetnsPaths();
    };
    const find = async (path: string | undefined) => {
      // A namespace may go at any moment, and entering one takes a right that we may lack.
      const shown = await this.of(path).catch((error: unknown) => {
        if (path !== undefined && error instanceof BpftoolError) return [];
        throw error;
      });
      return shown.find((each) => each.programId === programId);
    };
    const atHome = home === null ? undefined : await find(home);
    if (atHome !== undefined) return { path: home ?? undefined, attached: atHome };
    for (const path of others()) {
      const attached = path === home ? undefined : await find(path);
      if (attached !== undefined) return { path, attached };
    }
    return undefined;
  }
}

/** Lines of an iterator's file: the entries of its table. */
export async function countLines(file: string): Promise<number> {
  let lines = 0;
  for await (const chunk of createReadStream(file)) {
    if (!Buffer.isBuffer(chunk)) continue;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
  }
  return lines;
}

function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}

/** A link may lead anywhere; what we make are files. */
function isPin(path: string): boolean {
  try {
    return lstatSync(path).isFile();
  } catch {
    return false;
  }
}

/** The name of a namespace that `ip netns` made, or the path that leads to it; null for our own and for one that is gone. */
function nameOf(path: string | undefined | null): string | null {
  return path?.replace(/^\/run\/netns\//, '') ?? null;
}

/** The kernel writes white space and backslashes in mount points as octal (proc(5)). */
function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
