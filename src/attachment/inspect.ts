/** One pin directory: what is in it, whose it is, and whether it is what we make. */
import { lstatSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BpftoolError, type MapInfo, type XdpAttachment } from '../host/bpftool.js';
import { isDirectory } from '../host/directories.js';
import { listInterfaces } from '../host/interfaces.js';
import {
  findNetnsPath,
  type Netns,
  otherNetnsPaths,
  ownNetns,
  resolveNetns,
} from '../host/netns.js';
import { hasErrorCode } from '../model/errors.js';
import type { Mode, Ownership, Reader } from '../model/records.js';
import { SOURCE_KEY, SOURCE_VALUE, TOTALS } from '../objects/layout.js';
import { Attachment } from './attachment.js';
import type { SessionContext } from './context.js';
import { ownProgramId, PROGRAM_NAME } from './detach-program.js';
import { isHolderAlive } from './holder.js';
import { type Pins, parsePinName } from './pin-paths.js';
import { pinsExist } from './pins.js';
import { type AttachmentState, type Holder, readOtherState, readState } from './record.js';

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

/** Others make and remove directories meanwhile: what is half there may be whole in a moment. */
export const SETTLING_LOOKS = 5;
export const SETTLING_PAUSE_MS = 50;

/** What is in a pin directory; undefined when it is not there. */
export async function examine(
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
  const broken = (why: string) => {
    const inode = parsePinName(name)?.netnsInode ?? undefined;
    const netns = inode === undefined ? null : nameOf(findNetnsPath(inode));
    return { ...blank, netns, ownership: 'broken' as const, why };
  };
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
  const [fault, place] = await Promise.all([
    pinsFault(context, pins, { ...state, programId, reader }),
    views.locate(programId, path),
  ]);
  const programName = fault === undefined ? PROGRAM_NAME : null;
  const file = fault === undefined && reader === 'iterator' ? pins.sourcesFile : null;
  const whole = { ...known, programId, programName, mode, reader, file };
  if (fault !== undefined) return { ...whole, ownership: 'broken', why: fault };
  const stale = (why: string) => ({ ...whole, ownership: 'stale' as const, why });
  if (holder !== null && !held) return stale(`the run that held it (${holder.pid}) is gone`);

  if (place === undefined) return stale(await whyNowhere(views, netns, path, state.interface));
  const device = place.attached.device;
  const there = place.path === path ? netns : netnsAt(place.path);
  const attachment = new Attachment(context.bpftool, {
    pins,
    netns: there,
    // What it was attached as stays in the record; what is printed has its present name.
    state: { ...state, interface: device, programId, mode, reader },
    attachedAs: state.interface,
  });
  return {
    ...whole,
    interface: device,
    netns: there.name,
    ownership: held ? 'foreground' : 'ours',
    why:
      device !== state.interface || there !== netns
        ? `it was attached as ${state.interface}`
        : null,
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
  const other = (await views.of(path)).find((each) => each.device === interfaceName);
  if (other !== undefined) return "another program has taken our program's place";
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

export async function foreignEntry(
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

/** `net show` of each namespace, asked once. */
export class NetViews {
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

function netnsAt(path: string | undefined): Netns {
  return path === undefined ? ownNetns() : { ...resolveNetns(path), name: nameOf(path) };
}
