/** The record of an attachment: the target of a link in its pin directory, as JSON. */
import { lstatSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { rightsHint } from '../host/rights.js';
import { systemErrorCode, XdpwhoError } from '../model/errors.js';
import { propertyOf, stringIn } from '../model/json-values.js';
import type { AttachMode, Direction, Reader } from '../model/records.js';
import { type Pins, parsePinName } from './pin-paths.js';

/** The version of the pins and of the record. Only `detach`, `attach --replace` and `clean` change what another version made. */
export const STATE_VERSION = 1;

/** A process that holds an attachment in the foreground, or that is attaching. */
export interface Holder {
  readonly pid: number;
  /** The start time in clock ticks since boot (/proc/PID/stat field 22), because process ids are reused. */
  readonly startTicks: string;
  /** The pid namespace, because a process id is only valid in one. */
  readonly pidNamespace: string;
  /** Inode of its time namespace, which shifts `startTicks`. */
  readonly timeNamespace?: string | undefined;
  /** The name of its verb. */
  readonly command: string;
}

/** The log of an attachment. */
export interface LogState {
  /** Only sources in this prefix are logged. Null: all. */
  readonly source: string | null;
  /** One packet out of this many is logged. */
  readonly sample: number;
  /** Segments in the ring of each CPU. */
  readonly segments: number;
  /** The number of rings: one for each possible number of a CPU. */
  readonly cpus: number;
  /** The bytes that were asked for. Null: the default. */
  readonly bufferAsked: number | null;
}

/** The record. Its JSON is read by other versions and by the agentless script, so a change of it needs another version. */
export interface AttachmentState {
  readonly version: number;
  /** A random text that tells this attachment from a later one of the same interface. */
  readonly token: string;
  readonly interface: string;
  /** Default `received`. */
  readonly direction?: Direction;
  /** The name, path or process id that the user gave for the namespace. Null: that of the process that attached. */
  readonly netns: string | null;
  readonly netnsInode: number;
  /** The path of the namespace when it was attached. It may be the only path to it. Null: that of the process that attached. */
  readonly netnsPath?: string | null;
  /** This and the next two are null until it is attached. */
  readonly mode: AttachMode | null;
  readonly programId: number | null;
  readonly reader: Reader | null;
  /** Why there is no iterator, or null. */
  readonly readerNote: string | null;
  readonly maxSources: number;
  /** The lines of the front table for each CPU; 0 where there is none. */
  readonly frontLines: number;
  /** The mode that was asked for. */
  readonly modeAsked: string;
  readonly readerAsked: string;
  /** Permissions of the iterators' files. */
  readonly fileMode: number;
  /** Null: packets are only counted. */
  readonly log: LogState | null;
  /** Why it is in this mode, or what that costs; null where there is nothing to say. */
  readonly modeNote?: string | null;
  /** The id of the bpf_link that attaches it; null where `net attach` did. */
  readonly linkId?: number | null;
  /** The process that holds it, in the pid namespace of the holder. */
  readonly linkPid?: number | null;
  /** ISO 8601, UTC. */
  readonly since: string;
  /** Null for an attachment that stays when its process ends. */
  readonly holder: Holder | null;
}

/** The record in a pin directory, or undefined if there is none. Throws `bad-object`, `other-version` or `not-permitted` if it cannot be read. */
export function readState(pins: Pins): AttachmentState | undefined {
  let text: string;
  try {
    text = readlinkSync(pins.state);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' || systemErrorCode(error) === 'ENOTDIR') {
      return undefined;
    }
    if (systemErrorCode(error) === 'EACCES') {
      throw new XdpwhoError('not-permitted', `${pins.directory}: permission denied`, {
        hint: rightsHint(),
        cause: error,
      });
    }
    throw badState(pins, 'its state is not a link', error);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badState(pins, 'its state is not JSON', error);
  }
  // Records of the version before the front table lack its size.
  if (isState(value)) return { ...value, frontLines: value.frontLines ?? 0 };
  const version = propertyOf(value, 'version');
  if (typeof version === 'number' && version !== STATE_VERSION) throw otherVersion(pins, version);
  throw badState(pins, 'its state is of another shape');
}

/** The user who has written the record; 0 where there is none. */
export function recordOwner(pins: Pins): number {
  return lstatSync(pins.state, { throwIfNoEntry: false })?.uid ?? 0;
}

/** The members of a record of another version that can be read. */
interface OtherState {
  readonly interface: string | undefined;
  readonly netns: string | null;
  readonly netnsInode: number | undefined;
  readonly holder: Holder | null;
}

/** The record in a pin directory for which readState throws `other-version`. */
export function readOtherState(pins: Pins): OtherState {
  const value: unknown = JSON.parse(readlinkSync(pins.state));
  const name = propertyOf(value, 'interface');
  const netns = propertyOf(value, 'netns');
  const inode = propertyOf(value, 'netnsInode');
  const holder = propertyOf(value, 'holder');
  return {
    interface: typeof name === 'string' ? name : undefined,
    netns: typeof netns === 'string' ? netns : null,
    netnsInode: typeof inode === 'number' ? inode : undefined,
    holder: isHolder(holder) ? holder : null,
  };
}

/** Replaces the record in one step. */
export function writeState(pins: Pins, state: AttachmentState): void {
  const next = `${pins.directory}/state~`;
  rmSync(next, { force: true });
  symlinkSync(JSON.stringify(state), next);
  renameSync(next, pins.state);
}

/** Whether the directory still belongs to the attachment with this token. */
export function ownsDirectory(pins: Pins, token: string): boolean {
  try {
    return readState(pins)?.token === token;
  } catch {
    return false;
  }
}

function otherVersion(pins: Pins, version: number): XdpwhoError {
  const name = parsePinName(basename(pins.directory))?.interface ?? 'IFACE';
  return new XdpwhoError(
    'other-version',
    `${pins.directory}: made by another version of xdpwho: its record has version ${version}, and not ${STATE_VERSION}`,
    { hint: `xdpwho attach --replace ${name}, or xdpwho detach ${name}` },
  );
}

function badState(pins: Pins, why: string, cause?: unknown): XdpwhoError {
  return new XdpwhoError('bad-object', `${pins.directory}: ${why}`, {
    hint: 'xdpwho clean',
    cause,
  });
}

/** The largest id of a program, a link or a process, and number of sources. */
const U32 = 2 ** 32 - 1;

/**
 * Whether every member is one that this version can have written. Whoever may write to the directory may
 * have written another, and what is read here goes into commands and back into options.
 */
function isState(value: unknown): value is AttachmentState {
  const is = (name: string, ...types: string[]) => {
    const property = propertyOf(value, name);
    return types.includes(property === null ? 'null' : typeof property);
  };
  const isOneOf = (name: string, ...values: unknown[]) => values.includes(propertyOf(value, name));
  const isWhole = (name: string, least: number, most: number) =>
    isWholeNumber(propertyOf(value, name), least, most);
  const isId = (name: string) => propertyOf(value, name) === null || isWhole(name, 1, U32);
  return (
    isOneOf('version', STATE_VERSION) &&
    is('token', 'string') &&
    is('interface', 'string') &&
    is('netns', 'string', 'null') &&
    isWhole('netnsInode', 1, Number.MAX_SAFE_INTEGER) &&
    is('netnsPath', 'string', 'null', 'undefined') &&
    isOneOf('direction', undefined, 'received', 'sent') &&
    isOneOf('mode', null, 'native', 'generic', 'tcx') &&
    isId('programId') &&
    isOneOf('reader', null, 'iterator', 'dump') &&
    is('readerNote', 'string', 'null') &&
    isWhole('maxSources', 1, U32) &&
    (is('frontLines', 'undefined') || isWhole('frontLines', 0, U32)) &&
    isOneOf('modeAsked', 'auto', 'native', 'generic', 'tcx') &&
    isOneOf('readerAsked', 'auto', 'iterator', 'dump') &&
    isWhole('fileMode', 0, 0o777) &&
    is('modeNote', 'string', 'null', 'undefined') &&
    (is('linkId', 'undefined') || isId('linkId')) &&
    (is('linkPid', 'undefined') || isId('linkPid')) &&
    !Number.isNaN(Date.parse(String(propertyOf(value, 'since')))) &&
    isLog(propertyOf(value, 'log')) &&
    (propertyOf(value, 'holder') === null || isHolder(propertyOf(value, 'holder')))
  );
}

function isLog(value: unknown): boolean {
  const source = propertyOf(value, 'source');
  return (
    value === null ||
    ((source === null || typeof source === 'string') &&
      ['sample', 'segments', 'cpus'].every((name) =>
        isWholeNumber(propertyOf(value, name), 1, U32),
      ))
  );
}

function isHolder(value: unknown): value is Holder {
  return (
    isWholeNumber(propertyOf(value, 'pid'), 1, U32) &&
    /^\d+$/.test(stringIn(value, 'startTicks') ?? '') &&
    typeof propertyOf(value, 'pidNamespace') === 'string' &&
    typeof propertyOf(value, 'command') === 'string'
  );
}

function isWholeNumber(value: unknown, least: number, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
}
