/**
 * What we keep in bpffs, and nowhere else: one directory per (network namespace, interface), gone
 * with the kernel's other state at a reboot. bpffs holds pins, directories and symbolic links
 * (kernel/bpf/inode.c); the record of an attachment is the target of a link.
 */
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { namesIn } from './directories.js';
import { messageOf, systemErrorCode, XdpwhoError } from './errors.js';
import { requireTool, run } from './exec.js';
import { DEFAULT_BPFFS } from './options.js';
import type { Mode, Reader } from './records.js';
import { numberIn, propertyOf } from './unknown.js';

export { DEFAULT_BPFFS };

/** include/uapi/linux/magic.h: BPF_FS_MAGIC. */
export const BPF_FS_MAGIC = 0xcafe4a11;

/** The version of the pins and of the record. What another one left, only `detach`, `attach --replace` and `clean` touch. */
export const STATE_VERSION = 1;

/** The paths of one attachment. */
export interface Pins {
  readonly directory: string;
  /** The XDP program. */
  readonly program: string;
  readonly mapsDirectory: string;
  readonly sourcesMap: string;
  readonly totalsMap: string;
  /** The log's rings; only where packets are logged. */
  readonly packetsMap: string;
  /** Holds an iterator for each reader of the log; there while somebody reads. */
  readonly readersDirectory: string;
  /** Iterators: files that print `source` records and the `totals` record. */
  readonly sourcesFile: string;
  readonly totalsFile: string;
  /** The program that tells the jiffies, there only while it is run. */
  readonly clock: string;
  /** The link whose target is the record. */
  readonly state: string;
}

/** Pure: the directory that holds every attachment of this bpffs. */
export function pinsRoot(bpffs: string): string {
  return `${bpffs.replace(/\/+$/, '')}/xdpwho`;
}

/** Pure: the paths for the pin directory of this name. */
export function pinsAt(bpffs: string, directoryName: string): Pins {
  return pinsIn(`${pinsRoot(bpffs)}/${directoryName}`);
}

/** Pure: the paths in a pin directory. */
export function pinsIn(directory: string): Pins {
  const mapsDirectory = `${directory}/maps`;
  return {
    directory,
    program: `${directory}/program`,
    mapsDirectory,
    sourcesMap: `${mapsDirectory}/sources`,
    totalsMap: `${mapsDirectory}/totals`,
    packetsMap: `${mapsDirectory}/packets`,
    readersDirectory: `${directory}/readers`,
    sourcesFile: `${directory}/sources`,
    totalsFile: `${directory}/totals`,
    clock: `${directory}/clock`,
    state: `${directory}/state`,
  };
}

/**
 * Pure: the pin directory's name for an interface. bpffs refuses names with a dot, and two
 * namespaces may share one bpffs: letters, digits, `_` and `-` stand for themselves, every other
 * byte is `%XX`, and an interface outside the host's own namespace gets `@INODE`.
 */
export function pinName(interfaceName: string, netnsInode: number | null): string {
  const encoded = [...Buffer.from(interfaceName)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[\w-]/.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
  return netnsInode === null ? encoded : `${encoded}@${netnsInode}`;
}

/** Pure: the inverse of pinName, or undefined for a name that it never gives. */
export function parsePinName(
  name: string,
): { interface: string; netnsInode: number | null } | undefined {
  const match = /^((?:[\w-]|%[0-9a-f]{2})+)(?:@(\d+))?$/.exec(name);
  if (match?.[1] === undefined) return undefined;
  const bytes = match[1].match(/%[0-9a-f]{2}|[\w-]/g) ?? [];
  const decoded = Buffer.from(
    bytes.map((part) =>
      part.length === 3 ? Number.parseInt(part.slice(1), 16) : part.charCodeAt(0),
    ),
  );
  return {
    interface: decoded.toString(),
    netnsInode: match[2] === undefined ? null : Number(match[2]),
  };
}

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
  /** Null while it is being made. */
  readonly mode: Mode | null;
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
export interface OtherState {
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

/**
 * Takes the directory for an attachment that is about to be made. False when somebody else has it.
 * The record is in it an instant later; a directory without one is in the middle of this.
 */
export function claim(pins: Pins, state: AttachmentState): boolean {
  try {
    // Whoever removes the last attachment removes the directory of all, perhaps at this moment.
    mkdirSync(dirname(pins.directory), { recursive: true, mode: 0o700 });
    mkdirSync(pins.directory, { mode: 0o700 });
    // A directory that is still empty may be removed as a dead run's.
    symlinkSync(JSON.stringify(state), pins.state);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EEXIST' || code === 'ENOENT') return false;
    throw bpffsFailure(pins.directory, error);
  }
  mkdirSync(pins.mapsDirectory, { mode: 0o700 });
  return true;
}

/**
 * Removes the files that an attachment has in its directory, and then the directory. The record
 * goes last but one, so that a directory that could not be emptied still says whose it is. Files
 * that we do not make are left, and then so is the directory.
 */
export function removePins(pins: Pins): void {
  // A link in the directory's place is nobody's attachment: only the link goes.
  const found = lstatSync(pins.directory, { throwIfNoEntry: false });
  if (found?.isSymbolicLink() === true) rmSync(pins.directory, { force: true });
  if (found?.isDirectory() !== true) return;
  for (const path of [pins.sourcesFile, pins.totalsFile, pins.program, pins.clock]) {
    removeFile(path);
  }
  for (const directory of [pins.readersDirectory, pins.mapsDirectory]) {
    // In a directory that somebody else could write to, it may be a link to anywhere: then only that goes.
    removeFile(directory);
    for (const entry of namesIn(directory)) removeFile(`${directory}/${entry}`);
    removeDirectory(directory);
  }
  removeFile(`${pins.directory}/state~`);
  removeFile(pins.state);
  removeDirectory(pins.directory);
  removeRoot(pins);
}

/** The first thing in a pin directory that removePins leaves there, or undefined. */
export function findUnknown(pins: Pins): string | undefined {
  const known = new Set([...Object.values(pins), `${pins.directory}/state~`]);
  const directories = [pins.mapsDirectory, pins.readersDirectory];
  const isOurs = (path: string) =>
    known.has(path) && lstatSync(path).isDirectory() === directories.includes(path);
  return (
    pathsIn(pins.directory).find((path) => !isOurs(path)) ??
    directories.flatMap(pathsIn).find((path) => lstatSync(path).isDirectory())
  );
}

function pathsIn(directory: string): string[] {
  return namesIn(directory).map((entry) => `${directory}/${entry}`);
}

/** Removes all that is in a directory, for those whose contents this version does not know. */
export function removeAllPins(pins: Pins): void {
  rmSync(pins.directory, { recursive: true, force: true });
  removeRoot(pins);
}

/** The directory of all goes with the last one; one that root has made for others is not theirs to remove. */
function removeRoot(pins: Pins): void {
  try {
    removeDirectory(dirname(pins.directory));
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== 'EACCES' && code !== 'EPERM') throw error;
  }
}

/** The names of all pin directories of this bpffs. */
export function listPinNames(bpffs: string): string[] {
  return namesIn(pinsRoot(bpffs));
}

/** Whether a directory is there, whatever is in it. */
export function pinsExist(pins: Pins): boolean {
  return lstatSync(pins.directory, { throwIfNoEntry: false }) !== undefined;
}

/** Whether `path` lies on a bpffs. */
export function isBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC;
  } catch {
    return false;
  }
}

/** Whether our directory on a bpffs is there, and only root or we can have put anything into it. */
export function isTrusted(bpffs: string): boolean {
  try {
    const root = lstatSync(pinsRoot(bpffs));
    const isOwn = root.uid === 0 || root.uid === process.geteuid?.();
    return root.isDirectory() && isOwn && isBpffs(pinsRoot(bpffs));
  } catch {
    return false;
  }
}

/** The first directory above `file` that users other than its owner cannot pass, or undefined. */
export function unreachableDirectory(file: string): string | undefined {
  const parts = file.split('/').slice(1, -1);
  return parts
    .map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)
    .find((directory) => (statSync(directory).mode & 0o001) === 0);
}

/** The command that mounts a bpffs. */
export function mountCommand(bpffs: string): { file: string; args: string[] } {
  return { file: requireTool('mount', 'install util-linux'), args: mountArguments(bpffs) };
}

/** Pure: what `mount` is given. */
export function mountArguments(bpffs: string): string[] {
  // One of our own is to be passed by those who may read a file in it; its directories are closed.
  const mode = bpffs === DEFAULT_BPFFS ? '0700' : '0711';
  return ['-t', 'bpf', '-o', `mode=${mode},nosuid,nodev,noexec`, 'bpf', bpffs];
}

/** Mounts the bpffs where there is none yet, and makes our directory in it. */
export async function prepareBpffs(bpffs: string): Promise<void> {
  if (!isBpffs(bpffs)) await mountBpffs(bpffs);
  try {
    mkdirSync(pinsRoot(bpffs), { mode: 0o700 });
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw bpffsFailure(pinsRoot(bpffs), error);
  }
  const root = lstatSync(pinsRoot(bpffs), { throwIfNoEntry: false });
  // Whoever removes the last attachment removes it too, perhaps at this moment: `claim` makes it anew.
  if (root === undefined) return;
  if (!root.isDirectory() || root.dev !== statSync(bpffs).dev) {
    throw new XdpwhoError('bad-object', `${pinsRoot(bpffs)}: not a directory of a bpffs`, {
      hint: `remove it: rm ${pinsRoot(bpffs)}`,
    });
  }
  // Many a bpffs can be written to by everybody: what others put into our directory is not to be run.
  if (root.uid !== 0 && root.uid !== process.geteuid?.()) {
    throw new XdpwhoError('bad-object', `${pinsRoot(bpffs)}: belongs to user ${root.uid}`, {
      hint: `look at it: ls -lR ${pinsRoot(bpffs)}`,
    });
  }
}

async function mountBpffs(bpffs: string): Promise<void> {
  refuseIfHidden(bpffs);
  try {
    if (bpffs !== DEFAULT_BPFFS) mkdirSync(bpffs, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw bpffsFailure(bpffs, error);
  }
  const command = mountCommand(bpffs);
  const result = await run(command.file, command.args);
  if (result.failed) {
    throw new XdpwhoError('bpffs-missing', `${bpffs}: no bpffs there: ${result.stderr}`, {
      hint: `mount -t bpf bpf ${bpffs}`,
    });
  }
}

/** Rejects with `bpffs-missing` inside `ip netns exec`, where nothing in /sys/fs/bpf can be seen. */
export function refuseIfHidden(bpffs: string): void {
  if (!isHiddenByIpNetns(bpffs)) return;
  throw new XdpwhoError('bpffs-missing', `${bpffs}: hidden by \`ip netns exec\``, {
    hint: 'leave `ip netns exec` and name the namespace: xdpwho --netns NAME ...',
  });
}

/** `ip netns exec` mounts a sysfs of its own over /sys, with the namespace's name as its device. */
export function isHiddenByIpNetns(bpffs: string): boolean {
  if (!bpffs.startsWith('/sys/')) return false;
  const mounts = readFileSync('/proc/self/mounts', 'utf8').trim().split('\n');
  const sys = mounts.map((line) => line.split(' ')).filter((fields) => fields[1] === '/sys');
  return sys.at(-1)?.[2] === 'sysfs' && sys.at(-1)?.[0] !== 'sysfs' && sys.at(-1)?.[0] !== 'none';
}

function bpffsFailure(path: string, error: unknown): XdpwhoError {
  const code = systemErrorCode(error);
  if (code === 'EACCES' || code === 'EPERM') {
    return new XdpwhoError('not-permitted', `${path}: permission denied`, {
      hint: 'run it as root: sudo xdpwho ...',
      cause: error,
    });
  }
  if (code === 'EROFS') {
    return new XdpwhoError('bpffs-missing', `${path}: the bpffs is mounted read-only`, {
      hint: 'mount -o remount,rw /sys/fs/bpf',
      cause: error,
    });
  }
  return new XdpwhoError('bpffs-missing', `${path}: ${messageOf(error)}`, {
    hint: 'xdpwho doctor',
    cause: error,
  });
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
    is('mode', 'string', 'null') &&
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

/** A directory in its place is not ours, and left. */
function removeFile(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  rmSync(path, { force: true });
}

function removeDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== 'ENOENT' && code !== 'ENOTEMPTY' && code !== 'ENOTDIR') throw error;
  }
}
