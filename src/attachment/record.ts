import { readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { systemErrorCode, XdpwhoError } from '../model/errors.js';
import { numberIn, propertyOf } from '../model/json-values.js';
import type { AttachMode, Reader } from '../model/records.js';
import { type Pins, parsePinName } from './pin-paths.js';

/** The version of the pins and of the record. What another one left, only `detach`, `attach --replace` and `clean` touch. */
export const STATE_VERSION = 1;

/** A process that holds an attachment in the foreground, or is in the middle of making one. */
export interface Holder {
  readonly pid: number;
  /** Start time in clock ticks since boot (/proc/PID/stat field 22): a pid alone is used again. */
  readonly startTicks: string;
  /** Inode of its pid namespace: a pid means nothing in another. */
  readonly pidNamespace: string;
  readonly command: string;
}

/** The log of an attachment. */
export interface LogState {
  /** The prefix that sources are to be in, or null for all. */
  readonly source: string | null;
  /** One packet in so many is logged. */
  readonly sample: number;
  /** Segments in the ring of each CPU. */
  readonly segments: number;
  /** CPU numbers, each with a ring. */
  readonly cpus: number;
  /** The budget that was asked for, or null for the default. */
  readonly bufferAsked: number | null;
}

/** What is recorded of an attachment. */
export interface AttachmentState {
  readonly version: number;
  /** Tells this attachment from a later one of the same interface. */
  readonly token: string;
  readonly interface: string;
  /** As the user named the namespace; null for the one that attached ran in. */
  readonly netns: string | null;
  readonly netnsInode: number;
  /** The path by which the namespace was named: perhaps the only one that leads to it. Null for our own. */
  readonly netnsPath?: string | null;
  /** Null while it is being made. */
  readonly mode: AttachMode | null;
  readonly programId: number | null;
  readonly reader: Reader | null;
  /** Why there is no iterator, or null. */
  readonly readerNote: string | null;
  readonly maxSources: number;
  /** The mode that was asked for. */
  readonly modeAsked: string;
  readonly readerAsked: string;
  /** Permissions of the iterators' files. */
  readonly fileMode: number;
  /** Null where packets are only counted. */
  readonly log: LogState | null;
  /** ISO 8601, UTC. */
  readonly since: string;
  /** Null for an attachment that stays by itself. */
  readonly holder: Holder | null;
}

/** The record in a pin directory: undefined where there is none, and an error where it is not ours to read. */
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
        hint: 'run it as root: sudo xdpwho ...',
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
  if (isState(value)) return value;
  const version = propertyOf(value, 'version');
  if (typeof version === 'number' && version !== STATE_VERSION) throw otherVersion(pins, version);
  throw badState(pins, 'its state is of another shape');
}

/** What can be told of a record of another version; there it may have any shape. */
interface OtherState {
  readonly interface: string | undefined;
  readonly netns: string | null;
  readonly netnsInode: number | undefined;
  readonly holder: Holder | null;
}

/** The record in a pin directory for which readState rejects with `other-version`. */
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

/** Puts a record in place of the one that is there, in one step. */
export function writeState(pins: Pins, state: AttachmentState): void {
  const next = `${pins.directory}/state~`;
  rmSync(next, { force: true });
  symlinkSync(JSON.stringify(state), next);
  renameSync(next, pins.state);
}

/** Whether the directory is still the one of the attachment with this token. */
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

function isState(value: unknown): value is AttachmentState {
  const is = (name: string, ...types: string[]) => {
    const property = propertyOf(value, name);
    return types.includes(property === null ? 'null' : typeof property);
  };
  return (
    propertyOf(value, 'version') === STATE_VERSION &&
    is('token', 'string') &&
    is('interface', 'string') &&
    is('netns', 'string', 'null') &&
    is('netnsInode', 'number') &&
    is('netnsPath', 'string', 'null', 'undefined') &&
    [null, 'native', 'generic'].some((mode) => propertyOf(value, 'mode') === mode) &&
    is('programId', 'number', 'null') &&
    is('reader', 'string', 'null') &&
    is('readerNote', 'string', 'null') &&
    is('maxSources', 'number') &&
    is('modeAsked', 'string') &&
    is('readerAsked', 'string') &&
    is('fileMode', 'number') &&
    is('since', 'string') &&
    isLog(propertyOf(value, 'log')) &&
    (propertyOf(value, 'holder') === null || isHolder(propertyOf(value, 'holder')))
  );
}

function isLog(value: unknown): boolean {
  const source = propertyOf(value, 'source');
  return (
    value === null ||
    ((source === null || typeof source === 'string') &&
      ['sample', 'segments', 'cpus'].every((name) => numberIn(value, name) !== undefined))
  );
}

function isHolder(value: unknown): value is Holder {
  return (
    typeof propertyOf(value, 'pid') === 'number' &&
    typeof propertyOf(value, 'startTicks') === 'string' &&
    typeof propertyOf(value, 'pidNamespace') === 'string' &&
    typeof propertyOf(value, 'command') === 'string'
  );
}
