/** Inspects one pin directory: what is in it, whose it is, and whether it is complete. */
import { lstatSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { batchWords, bpftoolArguments } from '../host/bpftool-arguments.js';
import { BpftoolError } from '../host/bpftool-error.js';
import type { XdpAttachment } from '../host/bpftool-output.js';
import { isDirectory } from '../host/directories.js';
import type { Netns } from '../host/netns.js';
import { hasErrorCode, messageOf, XdpwhoError } from '../model/errors.js';
import type { Mode, Ownership, Reader } from '../model/records.js';
import { printable } from '../text/text.js';
import { Attachment, linkedInterface } from './attachment.js';
import type { SessionContext } from './context.js';
import { isHolderAlive } from './holder.js';
import { Look, type PinFacts } from './look.js';
import { type Pins, parsePinName } from './pin-paths.js';
import { pinsExist } from './pins.js';
import {
  type AttachmentState,
  type Holder,
  readOtherState,
  readState,
  recordOwner,
} from './record.js';
import { isOwnProgram, PROGRAM_NAME, programFault } from './whose.js';

/** What is known of one pin directory, or of one program that is not ours. */
export interface InventoryEntry {
  /** The present name, if it can be found. */
  readonly interface: string;
  /** The name of the namespace. Null for our own. */
  readonly netns: string | null;
  readonly ownership: Ownership;
  /** Why it is stale or broken, or that its interface has been renamed or moved. */
  readonly why: string | null;
  readonly mode: Mode | null;
  readonly programId: number | null;
  readonly programName: string | null;
  /** The program of ours that is pinned in the directory, whatever the record says. */
  readonly pinnedId: number | null;
  readonly reader: Reader | null;
  readonly file: string | null;
  /** The record. Null if there is none that this version can read. */
  readonly state: AttachmentState | null;
  /** The running process that will end it, or null. */
  readonly holder: Holder | null;
  readonly pins: Pins | null;
  /** Null unless it is complete and attached. */
  readonly attachment: Attachment | null;
}

/** Other processes make and remove directories, so a broken one is inspected again before it is reported. */
export const SETTLING_LOOKS = 5;
export const SETTLING_PAUSE_MS = 50;

/** The entry of a pin directory, or undefined if it does not exist. */
export async function inspect(
  context: SessionContext,
  pins: Pins,
  look: Look,
): Promise<InventoryEntry | undefined> {
  let current = look;
  for (let looks = 1; ; looks++) {
    if (!pinsExist(pins)) return undefined;
    const entry = await inspectOnce(context, pins, current);
    if (entry.ownership !== 'broken' || looks === SETTLING_LOOKS) return entry;
    await sleep(SETTLING_PAUSE_MS);
    current = new Look(context.bpftool);
  }
}

async function inspectOnce(
  context: SessionContext,
  pins: Pins,
  look: Look,
): Promise<InventoryEntry> {
  const name = basename(pins.directory);
  const encoded = parsePinName(name);
  const inode = encoded?.netnsInode ?? undefined;
  const blank = {
    interface: encoded?.interface ?? name,
    netns: inode === undefined ? null : (look.netnsWith(inode)?.name ?? null),
    ...NOTHING_KNOWN,
    pins,
  };
  const broken = (why: string) => ({ ...blank, ownership: 'broken' as const, why });
  if (!isDirectory(pins.directory)) return broken('it is not a directory');
  const pinnedId = await pinnedProgram(look, pins);
  let state: AttachmentState | undefined;
  try {
    state = readState(pins);
  } catch (error) {
    if (hasErrorCode(error, 'other-version')) {
      return inspectOther({ ...blank, netns: null, pinnedId }, pins, look);
    }
    if (!hasErrorCode(error, 'bad-object')) throw error;
    return { ...broken(error.message.replace(`${pins.directory}: `, '')), pinnedId };
  }
  if (state === undefined) return { ...broken('it has no record of an attachment'), pinnedId };
  return inspectRecorded(context, { ...blank, pinnedId }, { pins, state, look });
}

const NOTHING_KNOWN = {
  mode: null,
  programId: null,
  programName: null,
  pinnedId: null,
  reader: null,
  file: null,
  state: null,
  holder: null,
  attachment: null,
} as const;

/** An entry before its ownership is decided. */
type Undecided = Omit<InventoryEntry, 'ownership' | 'why'>;

async function inspectRecorded(
  context: SessionContext,
  blank: Undecided,
  { pins, state, look }: { pins: Pins; state: AttachmentState; look: Look },
): Promise<InventoryEntry> {
  const { programId, mode, reader, holder } = state;
  const held = holder !== null && isHolderAlive(holder, recordOwner(pins));
  const found = look.netnsWith(state.netnsInode, state.netnsPath);
  const home = found && { ...found, name: state.netns ?? found.name };
  const known: Undecided = {
    ...blank,
    interface: state.interface,
    netns: home === undefined ? state.netns : home.name,
    state,
    holder: held ? holder : null,
  };
  if (programId === null || mode === null || reader === null) {
    const why = held ? 'it is being attached' : 'the run that was attaching it is gone';
    return { ...known, programId, ownership: held ? 'foreground' : 'stale', why };
  }
  const fault = pinsFault(pins, look.factsOf(pins), { ...state, programId, reader });
  const complete: Undecided = {
    ...known,
    ...{ programId, mode, reader },
    programName: fault === undefined ? PROGRAM_NAME : null,
    file: fault === undefined && reader === 'iterator' ? pins.sourcesFile : null,
  };
  if (fault !== undefined) return { ...complete, ownership: 'broken', why: fault };
  if (holder !== null && !held) {
    const why = `the run that held it (${holder.pid}) is gone`;
    return { ...complete, ownership: 'stale', why };
  }
  const location =
    mode === 'tcx' ? await locateAtTcx(look, state, home) : await look.locate(programId, home);
  if (location === undefined) {
    const why = await whyNowhere(look, home, state.interface);
    return { ...complete, ownership: 'stale', why };
  }
  const device = location.attached.device;
  const isMoved = device !== state.interface || location.netns !== home;
  return {
    ...complete,
    interface: device,
    netns: location.netns.name,
    ownership: held ? 'foreground' : 'ours',
    why: isMoved ? `it was attached as ${state.interface}` : null,
    attachment: new Attachment(context, {
      pins,
      netns: location.netns,
      // The record in bpffs keeps the old name. What we print has the present name.
      state: { ...state, interface: device, programId, mode, reader },
      attachedAs: state.interface,
    }),
  };
}

/** Where a program at TCX is, by the process that holds its link. One that cannot be seen is believed to hold it. */
async function locateAtTcx(
  look: Look,
  state: AttachmentState,
  home: Netns | undefined,
): ReturnType<Look['locate']> {
  const ifindex = linkedInterface(state);
  if (ifindex === 0 || home === undefined) return undefined;
  const name = ifindex === undefined ? undefined : await look.nameOf(home, ifindex);
  const device = name ?? state.interface;
  const { programId } = state;
  if (programId === null) return undefined;
  return { netns: home, attached: { device, ifindex: ifindex ?? 0, mode: 'tcx', programId } };
}

/** The entry of a directory that another version made. It stays as long as its program is attached. */
async function inspectOther(blank: Undecided, pins: Pins, look: Look): Promise<InventoryEntry> {
  const state = readOtherState(pins);
  const { pinnedId } = blank;
  const home = state.netnsInode === undefined ? undefined : look.netnsWith(state.netnsInode);
  const location = pinnedId === null ? undefined : await look.locate(pinnedId, home);
  const held = state.holder !== null && isHolderAlive(state.holder, recordOwner(pins));
  return {
    ...blank,
    interface: location?.attached.device ?? state.interface ?? blank.interface,
    netns: state.netns ?? home?.name ?? null,
    programId: pinnedId,
    mode: location?.attached.mode ?? null,
    holder: held ? state.holder : null,
    ownership: held ? 'foreground' : location === undefined ? 'stale' : 'other-version',
    why: 'it was made by another version of xdpwho',
  };
}

async function whyNowhere(
  look: Look,
  home: Netns | undefined,
  interfaceName: string,
): Promise<string> {
  if (home === undefined) return 'its network namespace is gone';
  const other = (await look.attachedIn(home)).find((one) => one.device === interfaceName);
  if (other !== undefined) return "another program has taken our program's place";
  const names = await look.interfacesIn(home);
  return names.includes(interfaceName)
    ? 'its program is not attached any more'
    : 'its interface is gone';
}

/** The id of the program of ours that is pinned in a directory, or null. */
async function pinnedProgram(look: Look, pins: Pins): Promise<number | null> {
  await look.askPins([pins]);
  const program = look.factsOf(pins)?.program;
  if (program === undefined) return null;
  if (!(program instanceof XdpwhoError)) return isOwnProgram(program) ? program.id : null;
  // Any other failure tells nothing about the pin.
  if (program instanceof BpftoolError && (program.isOtherKind || !isPin(pins.program))) return null;
  throw program;
}

/** Why a directory is not one that we made, or undefined. Anybody who may write to the bpffs can make one by hand. */
function pinsFault(
  pins: Pins,
  facts: PinFacts | undefined,
  state: { programId: number; reader: Reader },
): string | undefined {
  const files = state.reader === 'iterator' ? [pins.sourcesFile, pins.totalsFile] : [];
  const objects = [pins.program, pins.sourcesMap, pins.totalsMap];
  const absent = [...objects, ...files].find((path) => !isPin(path));
  if (absent !== undefined || facts === undefined) {
    const part = (absent ?? pins.program).slice(pins.directory.length + 1);
    return `its ${part} is missing or no pin`;
  }
  const { program, sources, totals } = facts;
  if (program instanceof XdpwhoError) return otherKind(program);
  if (sources instanceof XdpwhoError) return otherKind(sources);
  if (totals instanceof XdpwhoError) return otherKind(totals);
  return programFault(state.programId, { program, sources, totals });
}

function otherKind(failure: XdpwhoError): string {
  if (!(failure instanceof BpftoolError) || failure.code === 'not-permitted') throw failure;
  return `its pins are of another kind: ${messageOf(failure)}`;
}

/** The entry of a program that is not ours. */
export function foreignEntry(
  netns: Netns,
  attached: XdpAttachment,
  programName: string | null,
): InventoryEntry {
  return {
    ...NOTHING_KNOWN,
    interface: attached.device,
    netns: netns.name,
    ownership: 'foreign',
    why: programName === PROGRAM_NAME ? orphaned(attached) : null,
    mode: attached.mode,
    programId: attached.programId,
    programName,
    pins: null,
  };
}

/** For a program that has the name of ours, and no pins that can be seen. */
function orphaned({ mode, device }: XdpAttachment): string {
  const detach = bpftoolArguments.detach(mode === 'generic' ? mode : 'native', printable(device));
  return `it looks like one of xdpwho, but its pins are gone, or in another mount namespace; to take it off: bpftool ${batchWords(detach).join(' ')}`;
}

/** Whether a path is a file. A link is not: it may lead anywhere, and we make none with this name. */
function isPin(path: string): boolean {
  try {
    return lstatSync(path).isFile();
  } catch {
    return false;
  }
}
