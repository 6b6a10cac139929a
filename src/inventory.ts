/** What is attached on this host: ours, strangers', and what dead runs left behind. */
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { Attachment, type Standing } from './attachment.js';
import { BpftoolError, type XdpAttachment } from './bpftool.js';
import { hasErrorCode } from './errors.js';
import { findNetnsPath, type Netns, ownNetns, resolveNetns } from './interfaces.js';
import {
  type AttachmentState,
  DEFAULT_BPFFS,
  isBpffs,
  listPinNames,
  type Pins,
  parsePinName,
  pinsAt,
  pinsRoot,
  readState,
} from './pins.js';
import type { Mode, Reader } from './records.js';
import {
  collect,
  isHolderAlive,
  locatePins,
  removeDeadScratch,
  type SessionContext,
} from './session.js';

/**
 * `ours`: attached and pinned by us. `foreground`: likewise, and a running xdpwho ends it.
 * `stale`: our pins, but the program is not attached, or its interface, namespace or run is gone.
 * `broken`: a directory among ours that holds something else. `foreign`: somebody else's program.
 */
export type Ownership = 'ours' | 'foreground' | 'stale' | 'broken' | 'foreign';

export interface InventoryEntry {
  readonly interface: string;
  readonly netns: string | null;
  readonly ownership: Ownership;
  /** Why it is stale or broken. */
  readonly why: string | null;
  readonly mode: Mode | null;
  readonly programId: number | null;
  readonly programName: string | null;
  readonly reader: Reader | null;
  readonly file: string | null;
  /** Null for what is not ours. */
  readonly state: AttachmentState | null;
  readonly pins: Pins | null;
  /** Where it is whole. */
  readonly attachment: Attachment | null;
}

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

/** Everything of ours, in every namespace, and strangers' programs in the namespace `netns` (default: our own). */
export async function listAttachments(
  context: SessionContext,
  options: { readonly bpffs?: string | undefined; readonly netns?: string | undefined } = {},
): Promise<InventoryEntry[]> {
  const shown = new NetViews(context);
  const entries: InventoryEntry[] = [];
  for (const bpffs of findBpffs(options.bpffs)) {
    for (const name of listPinNames(bpffs)) {
      const entry = await examine(context, pinsAt(bpffs, name), name, shown);
      if (entry !== undefined) entries.push(entry);
    }
  }
  const netns = options.netns === undefined ? ownNetns() : resolveNetns(options.netns);
  const ours = new Set(entries.map((entry) => entry.programId));
  for (const each of await shown.of(netns.path)) {
    if (ours.has(each.programId)) continue;
    entries.push(await foreignEntry(context, netns, each));
  }
  return entries;
}

/** The entry of one interface: ours, a stranger's, or undefined when there is nothing. */
export async function findEntry(
  context: SessionContext,
  options: {
    readonly interface: string;
    readonly netns?: string | undefined;
    readonly bpffs?: string | undefined;
  },
): Promise<InventoryEntry | undefined> {
  const netns = options.netns === undefined ? ownNetns() : resolveNetns(options.netns);
  const shown = new NetViews(context);
  for (const bpffs of findBpffs(options.bpffs)) {
    const pins = locatePins(bpffs, options.interface, netns);
    const name = pins.directory.slice(pinsRoot(bpffs).length + 1);
    if (!listPinNames(bpffs).includes(name)) continue;
    const entry = await examine(context, pins, name, shown);
    if (entry !== undefined) return entry;
  }
  const attached = await shown.of(netns.path);
  const stranger = attached.find((each) => each.device === options.interface);
  return stranger === undefined ? undefined : foreignEntry(context, netns, stranger);
}

export interface CleanResult {
  readonly entry: InventoryEntry;
  /** Null when it has been removed, or else why not. */
  readonly kept: string | null;
}

/** Removes what is stale and, of what is broken, what can be known to be nobody's. Never touches a stranger's program. */
export async function clean(
  context: SessionContext,
  options: { readonly bpffs?: string | undefined; readonly dryRun?: boolean | undefined } = {},
): Promise<CleanResult[]> {
  const entries = await listAttachments(context, options);
  const results: CleanResult[] = [];
  for (const entry of entries) {
    if (entry.pins === null || (entry.ownership !== 'stale' && entry.ownership !== 'broken')) {
      continue;
    }
    if (options.dryRun !== true) await collect(context, entry.pins, entry.state ?? undefined);
    const left = options.dryRun !== true && stillThere(entry.pins);
    const kept = left ? 'it holds what xdpwho did not make' : null;
    results.push({ entry, kept });
  }
  if (options.dryRun !== true) removeDeadScratch();
  return results;
}

function stillThere(pins: Pins): boolean {
  try {
    readdirSync(pins.directory);
    return true;
  } catch {
    return false;
  }
}

async function examine(
  context: SessionContext,
  pins: Pins,
  name: string,
  shown: NetViews,
): Promise<InventoryEntry | undefined> {
  const parsed = parsePinName(name);
  const blank = {
    interface: parsed?.interface ?? name,
    netns: null,
    mode: null,
    programId: null,
    programName: null,
    reader: null,
    file: null,
    state: null,
    pins,
    attachment: null,
  };
  let state: AttachmentState | undefined;
  try {
    state = readState(pins);
  } catch (error) {
    if (!hasErrorCode(error, 'bad-object')) throw error;
    return { ...blank, ownership: 'broken', why: error.message };
  }
  if (state === undefined) {
    return { ...blank, ownership: 'broken', why: 'it has no record of an attachment' };
  }
  const known = { ...blank, interface: state.interface, netns: state.netns, state };
  const { programId, mode, reader, holder } = state;
  const held = holder !== null && isHolderAlive(holder);
  if (programId === null || mode === null || reader === null) {
    const why = held ? 'it is being attached' : 'the run that was attaching it is gone';
    return { ...known, ownership: held ? 'foreground' : 'stale', why };
  }
  const whole = {
    ...known,
    programId,
    mode,
    reader,
    file: reader === 'iterator' ? pins.sourcesFile : null,
  };
  const fault = await pinsFault(context, pins, programId);
  if (fault !== undefined) return { ...whole, ownership: 'broken', why: fault };
  if (holder !== null && !held) {
    return { ...whole, ownership: 'stale', why: `the run that held it (${holder.pid}) is gone` };
  }
  const path = findNetnsPath(state.netnsInode);
  if (path === null) {
    return { ...whole, ownership: 'stale', why: 'its network namespace is gone' };
  }
  const netns: Netns = { name: state.netns, path, inode: state.netnsInode };
  const attachment = new Attachment(context.bpftool, {
    pins,
    netns,
    state: { ...state, programId, mode, reader },
  });
  const standing = await shown.standing(attachment);
  const why = STALE[standing.kind];
  if (why !== undefined) return { ...whole, ownership: 'stale', why };
  return { ...whole, ownership: held ? 'foreground' : 'ours', why: null, attachment };
}

const STALE: Readonly<Record<Standing['kind'], string | undefined>> = {
  attached: undefined,
  replaced: "another program has taken our program's place",
  detached: 'its program is not attached any more',
  gone: 'its interface is gone',
};

/** A directory may have been made by hand: the pinned program must be the recorded one. */
async function pinsFault(
  context: SessionContext,
  pins: Pins,
  programId: number,
): Promise<string | undefined> {
  try {
    const { id } = await context.bpftool.showProgram(pins.program);
    return id === programId ? undefined : `its program has id ${id}, and not ${programId}`;
  } catch (error) {
    if (!(error instanceof BpftoolError) || error.code === 'not-permitted') throw error;
    return 'its program is missing';
  }
}

async function foreignEntry(
  context: SessionContext,
  netns: Netns,
  attached: XdpAttachment,
): Promise<InventoryEntry> {
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
    pins: null,
    attachment: null,
  };
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

  async standing(attachment: Attachment): Promise<Standing> {
    const shown = await this.of(attachment.netns.path);
    if (shown.some((each) => each.programId === attachment.programId)) {
      return { kind: 'attached', device: attachment.interface, mode: attachment.mode };
    }
    return attachment.standing();
  }
}

/** Entries of a table: lines of the iterator's file, or undefined where there is none. */
export async function countSources(file: string): Promise<number> {
  let lines = 0;
  for await (const chunk of createReadStream(file)) {
    if (!Buffer.isBuffer(chunk)) continue;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
  }
  return lines;
}

/** The kernel writes white space and backslashes in mount points as octal (proc(5)). */
function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
