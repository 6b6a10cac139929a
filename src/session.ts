/**
 * Attachments: making, finding and ending them. An attachment is ours if the program that the
 * kernel reports on an interface has the id of the program that is pinned in our directory; nothing
 * else is ever detached or replaced.
 */
import { randomUUID } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  constants,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Attachment, attachedWithin, detachProgram, ownsDirectory } from './attachment.js';
import { type Bpftool, BpftoolError } from './bpftool.js';
import { measureHz } from './clock.js';
import { XdpwhoError } from './errors.js';
import { Guard } from './guard.js';
import {
  findNetnsPath,
  isHostNetns,
  type Netns,
  ownNetns,
  resolveInterface,
  resolveNetns,
} from './interfaces.js';
import {
  configuredHz,
  countPossibleCpus,
  missingCapabilities,
  processStartTicks,
} from './kernel.js';
import { INTERFACE_JSON_SIZE, SOURCE_VALUE } from './layout.js';
import { ObjectFiles } from './object-files.js';
import {
  type AttachmentState,
  claim,
  DEFAULT_BPFFS,
  type Holder,
  isBpffs,
  type Pins,
  pinName,
  pinsAt,
  pinsExist,
  pinsRoot,
  prepareBpffs,
  readState,
  removePins,
  STATE_VERSION,
  writeState,
} from './pins.js';
import type { Mode, Reader } from './records.js';
import { printable } from './render/text.js';

/** What a session works with. */
export interface SessionContext {
  readonly bpftool: Bpftool;
  /** The folder that holds `el/` and `eb/`. */
  readonly objectsDirectory: string;
}

export interface AttachOptions {
  /** A name or alternative name. */
  readonly interface: string;
  /** A name, path or process id; default: the namespace that we run in. */
  readonly netns?: string | undefined;
  /** Default `auto`: native, and generic where the driver has no native mode. */
  readonly mode?: 'auto' | Mode | undefined;
  /** Default `auto`: the iterator, and the dump where none can be pinned. */
  readonly reader?: 'auto' | Reader | undefined;
  /** Entries of the table; default: see defaultMaxSources. */
  readonly maxSources?: number | undefined;
  /** Where bpffs is or is to be mounted; default /sys/fs/bpf. */
  readonly bpffs?: string | undefined;
  /** Permissions of the file that prints the sources; default 0400. */
  readonly fileMode?: number | undefined;
  /** What the record says of who holds it. */
  readonly command?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_FILE_MODE = 0o400;

/** The memory that the default table may take, all CPUs together. */
export const DEFAULT_TABLE_BYTES = 64 * 1024 * 1024;
const DEFAULT_MAX_SOURCES = 65_536;
/** kernel/bpf/hashtab.c: struct htab_elem with its 16-byte key and the pointer to the per-CPU part. */
const ELEMENT_OVERHEAD_BYTES = 96;

/** Sources that a table has by default: 65,536, or fewer where the CPUs are so many that it would pass 64 MiB. */
export function defaultMaxSources(cpus: number): number {
  const fitting = Math.floor(DEFAULT_TABLE_BYTES / estimatedSourceBytes(cpus));
  return Math.min(DEFAULT_MAX_SOURCES, 2 ** Math.floor(Math.log2(fitting)));
}

/** Bytes of kernel memory that one source takes: every possible CPU has a value of its own. */
export function estimatedSourceBytes(cpus: number): number {
  return ELEMENT_OVERHEAD_BYTES + SOURCE_VALUE.size * cpus;
}

/**
 * Attaches to one interface and stays responsible for it: whoever calls must dispose of the
 * attachment or `keep` it, and until then a guard does so if this process dies. Rejects with
 * `interface-busy` when a stranger's program is there, `held` when another run of ours is;
 * whatever had been made by then is taken back.
 */
export async function openAttachment(
  context: SessionContext,
  options: AttachOptions,
): Promise<Attachment> {
  const missing = missingCapabilities();
  if (missing.length > 0) {
    throw new XdpwhoError('not-permitted', `not permitted: ${missing.join(', ')} missing`, {
      hint: 'run it as root: sudo xdpwho ...',
    });
  }
  const netns = requestedNetns(options);
  const device = await resolveInterface(options.interface, netns);
  const bpffs = options.bpffs ?? DEFAULT_BPFFS;
  await prepareBpffs(bpffs);

  const pins = locatePins(bpffs, device, netns);
  const state = initialState(device, netns, options);
  const scratch = makeScratch();
  const guard = new Guard({
    bpftool: context.bpftool.path,
    netnsPath: netns.path,
    pins,
    token: state.token,
    scratch,
  });
  try {
    await claimOrCollect(context, pins, state);
    return await establish({ context, options, netns, pins, state, guard, scratch });
  } catch (error) {
    if (ownsDirectory(pins, state.token)) removePins(pins);
    await guard.release();
    throw error;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The attachment of an interface that is already there and whole, or undefined. */
export async function findAttachment(
  context: SessionContext,
  options: Pick<AttachOptions, 'interface' | 'netns' | 'bpffs'>,
): Promise<Attachment | undefined> {
  const netns = requestedNetns(options);
  const bpffs = options.bpffs ?? DEFAULT_BPFFS;
  if (!isBpffs(bpffs)) return undefined;
  const pins = locatePins(bpffs, options.interface, netns);
  const state = readState(pins);
  if (state === undefined) return undefined;
  const { programId, mode, reader } = state;
  if (programId === null || mode === null || reader === null) return undefined;
  return new Attachment(context.bpftool, {
    pins,
    netns,
    state: { ...state, programId, mode, reader },
  });
}

/** The namespace that the options name, or our own. */
export function requestedNetns(options: Pick<AttachOptions, 'netns'>): Netns {
  return options.netns === undefined ? ownNetns() : resolveNetns(options.netns);
}

/** Pure but for the question which namespace is the host's own: the pins of an interface. */
export function locatePins(bpffs: string, device: string, netns: Netns): Pins {
  return pinsAt(bpffs, pinName(device, isHostNetns(netns) ? null : netns.inode));
}

/** Whether a holder still runs. One in another pid namespace cannot be looked up and counts as running. */
export function isHolderAlive(holder: Holder): boolean {
  if (holder.pidNamespace !== readlinkSync('/proc/self/ns/pid')) return true;
  return processStartTicks(holder.pid) === holder.startTicks;
}

/** Ends what is left in a pin directory: detaches the program that is pinned there, and removes the pins. */
export async function collect(
  context: SessionContext,
  pins: Pins,
  state: AttachmentState | undefined,
): Promise<void> {
  const programId = await ownProgramId(context.bpftool, pins);
  if (programId !== undefined) {
    await detachProgram(context.bpftool, programId, state?.netnsInode ?? ownNetns().inode);
  }
  if (state === undefined || ownsDirectory(pins, state.token)) removePins(pins);
}

/** The C function in bpf/xdpwho.bpf.c: the kernel keeps its name. */
export const PROGRAM_NAME = 'xdpwho';

/**
 * The id of the program that is pinned in a directory. Undefined where there is none, and where it
 * is not one of ours: a record may have been written by hand, so what it says is not enough.
 */
export async function ownProgramId(bpftool: Bpftool, pins: Pins): Promise<number | undefined> {
  if (lstatSync(pins.program, { throwIfNoEntry: false })?.isFile() !== true) return undefined;
  try {
    const { id, name } = await bpftool.showProgram(pins.program);
    return name === PROGRAM_NAME ? id : undefined;
  } catch (error) {
    // A pin of something that is no program, or one that has just gone.
    if (error instanceof BpftoolError && error.code !== 'not-permitted') return undefined;
    throw error;
  }
}

async function claimOrCollect(
  context: SessionContext,
  pins: Pins,
  state: AttachmentState,
): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) {
    if (claim(pins, state)) return;
    const theirs = await readSettledState(pins);
    if (theirs === undefined) continue;
    await refuseOrCollect(context, pins, theirs);
  }
  throw new XdpwhoError('held', `${printable(state.interface)}: another xdpwho is at it`, {
    hint: 'try again',
  });
}

async function refuseOrCollect(
  context: SessionContext,
  pins: Pins,
  theirs: AttachmentState,
): Promise<void> {
  const name = printable(theirs.interface);
  if (theirs.holder !== null) {
    if (isHolderAlive(theirs.holder)) {
      const { pid, command } = theirs.holder;
      throw new XdpwhoError('held', `${name}: held by xdpwho ${command}, process ${pid}`, {
        hint: `end it: kill ${pid}`,
      });
    }
    // Its guard is at work in all likelihood: two would only get in each other's way.
    for (let waitedMs = 0; waitedMs < 1000 && ownsDirectory(pins, theirs.token); waitedMs += 50) {
      await sleep(50);
    }
    if (ownsDirectory(pins, theirs.token)) await collect(context, pins, theirs);
    return;
  }
  const { programId, netnsInode } = theirs;
  const path = findNetnsPath(netnsInode);
  const attached =
    programId !== null && path !== null
      ? await attachedWithin(context.bpftool, programId, path)
      : [];
  if (attached.length > 0) {
    throw new XdpwhoError('held', `${name}: xdpwho is attached already, program ${programId}`, {
      hint: `xdpwho dump ${name}, or xdpwho detach ${name}`,
    });
  }
  await collect(context, pins, theirs);
}

/** The record in a directory that somebody else has; undefined when the directory has gone meanwhile. */
async function readSettledState(pins: Pins): Promise<AttachmentState | undefined> {
  // A directory is without its record for an instant while it is being claimed or removed.
  for (let waitedMs = 0; waitedMs < 500; waitedMs += 25) {
    const state = readState(pins);
    if (state !== undefined || !pinsExist(pins)) return state;
    await sleep(25);
  }
  removePins(pins);
  if (!pinsExist(pins)) return undefined;
  throw new XdpwhoError('bad-object', `${pins.directory}: not made by xdpwho, or half removed`, {
    hint: `look at it: ls -l ${pins.directory}`,
  });
}

interface Establishing {
  readonly context: SessionContext;
  readonly options: AttachOptions;
  readonly netns: Netns;
  readonly pins: Pins;
  readonly state: AttachmentState;
  readonly guard: Guard;
  readonly scratch: string;
}

async function establish(work: Establishing): Promise<Attachment> {
  const { context, options, netns, pins, guard, state } = work;
  const notes: string[] = [];
  await loadProgram(work);
  const { id: programId } = await context.bpftool.showProgram(pins.program);
  await guard.watch(programId);
  const { reader, readerNote } = await pinReaders(work);
  if (readerNote !== null) notes.push(readerNote);
  const mode = await attachProgram(work, notes);
  const whole = { ...state, programId, mode, reader, readerNote };
  try {
    writeState(pins, whole);
    options.signal?.throwIfAborted();
  } catch (error) {
    await detachProgram(context.bpftool, programId, netns.inode);
    throw error;
  }
  return new Attachment(context.bpftool, { pins, netns, state: whole, notes, guard });
}

/** The variant that takes jumbo frames first; kernels before 5.18 refuse it. */
async function loadProgram(work: Establishing): Promise<void> {
  const { context, pins, scratch, state } = work;
  const objects = new ObjectFiles(context.objectsDirectory);
  const patch = { maxEntries: { sources: state.maxSources } };
  const load = (name: 'xdpwho.frags' | 'xdpwho') =>
    context.bpftool.loadProgram(
      objects.writePatched(name, patch, scratch),
      pins.program,
      pins.mapsDirectory,
      callOptions(work),
    );
  try {
    await load('xdpwho.frags');
  } catch (error) {
    if (!(error instanceof BpftoolError) || error.code === 'not-permitted') throw error;
    await load('xdpwho');
  }
}

/** Pins the two iterators where that is wanted and possible, and says why not where it is not. */
async function pinReaders(
  work: Establishing,
): Promise<{ reader: Reader; readerNote: string | null }> {
  const { context, options, pins, state } = work;
  const bpffs = options.bpffs ?? DEFAULT_BPFFS;
  if (options.reader === 'dump') return { reader: 'dump', readerNote: null };
  const objects = new ObjectFiles(context.objectsDirectory);
  const constants = await iteratorConstants(work, objects);
  try {
    for (const [name, pin, map, values] of [
      ['sources', pins.sourcesFile, pins.sourcesMap, constants.sources],
      ['totals', pins.totalsFile, pins.totalsMap, constants.totals],
    ] as const) {
      const object = objects.writePatched(name, { constants: values }, work.scratch);
      await context.bpftool.pinIterator(object, pin, map, callOptions(work));
      chmodSync(pin, state.fileMode);
    }
    // Whoever may read the files must be able to reach them.
    if ((state.fileMode & 0o077) !== 0) {
      for (const directory of [pinsRoot(bpffs), pins.directory]) {
        if ((statSync(directory).mode & 0o011) !== 0o011) chmodSync(directory, 0o711);
      }
    }
    return { reader: 'iterator', readerNote: null };
  } catch (error) {
    if (!(error instanceof BpftoolError)) throw error;
    for (const pin of [pins.sourcesFile, pins.totalsFile]) rmSync(pin, { force: true });
    if (options.reader === 'iterator') {
      throw new XdpwhoError('kernel-too-old', `no iterator can be pinned: ${error.message}`, {
        hint: 'xdpwho --reader dump, or xdpwho doctor',
        cause: error,
      });
    }
    const readerNote = `no iterator can be pinned (${error.message}); reading by \`map dump\`, slower`;
    return { reader: 'dump', readerNote };
  }
}

async function iteratorConstants(work: Establishing, objects: ObjectFiles) {
  const { context, pins, scratch, state } = work;
  const shared = {
    possible_cpus: countPossibleCpus(),
    interface_json: jsonContent(state.interface),
  };
  const jiffies_per_second =
    configuredHz() ?? (await measureHz(context.bpftool, objects, pins.directory, scratch));
  return { sources: { ...shared, jiffies_per_second }, totals: shared };
}

/** A name as it stands between the quotes of a JSON string. */
function jsonContent(name: string): string {
  const content = JSON.stringify(name).slice(1, -1);
  if (Buffer.byteLength(content) < INTERFACE_JSON_SIZE) return content;
  throw new XdpwhoError('failed', `${printable(name)}: the name does not fit into a record`);
}

async function attachProgram(work: Establishing, notes: string[]): Promise<Mode> {
  const { context, options, pins, netns, state } = work;
  const asked = options.mode ?? 'auto';
  const attach = (mode: Mode) =>
    context.bpftool.attach(mode, pins.program, state.interface, netns.path, callOptions(work));
  if (asked !== 'auto') {
    await attach(asked).catch((error: unknown) => explainAttachFailure(work, asked, error));
    return asked;
  }
  try {
    await attach('native');
    return 'native';
  } catch (error) {
    if (!(error instanceof BpftoolError) || !MODE_ERRNOS.has(error.errno ?? '')) {
      return await explainAttachFailure(work, 'native', error);
    }
    notes.push(`native mode is not to be had (${error.message}); using generic mode`);
  }
  await attach('generic').catch((error: unknown) => explainAttachFailure(work, 'generic', error));
  return 'generic';
}

/** What drivers answer when they have no native mode, or not with this MTU or number of queues. */
const MODE_ERRNOS: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'EINVAL', 'ERANGE', 'ENOMEM']);

async function explainAttachFailure(
  work: Establishing,
  mode: Mode,
  error: unknown,
): Promise<never> {
  if (!(error instanceof BpftoolError)) throw error;
  const name = printable(work.state.interface);
  switch (error.errno) {
    case 'EBUSY':
    case 'EEXIST':
      throw await busy(work, error);
    case 'ERANGE':
      throw new XdpwhoError('mtu-too-large', `${name}: its MTU is too large for ${mode} mode`, {
        hint: `xdpwho --mode generic ${name}, or ip link set dev ${name} mtu 1500`,
        cause: error,
      });
    case 'EOPNOTSUPP':
    case 'EINVAL':
      throw new XdpwhoError('mode-unsupported', `${name}: no ${mode} mode: ${error.message}`, {
        hint: `xdpwho --mode auto ${name}`,
        cause: error,
      });
    default:
      throw error;
  }
}

/** Says whose program is in the way, as far as it can be found out. */
async function busy(work: Establishing, cause: BpftoolError): Promise<XdpwhoError> {
  const { context, netns, state } = work;
  const shown = await context.bpftool.showNet(netns.path).catch(() => []);
  const there = shown.find((each) => each.device === state.interface);
  const name = printable(state.interface);
  if (there === undefined) {
    return new XdpwhoError('interface-busy', `${name}: ${cause.message}`, {
      hint: `bpftool net show dev ${name}`,
      cause,
    });
  }
  const id = there.programId;
  // Looking a program up by its id takes CAP_SYS_ADMIN.
  const program = await context.bpftool.showProgramById(id).catch(() => undefined);
  const called = program?.name === undefined ? '' : `, name ${printable(program.name)}`;
  return new XdpwhoError(
    'interface-busy',
    `${name}: held by another program: id ${id}${called}, ${there.mode} mode; left alone`,
    { hint: `bpftool prog show id ${id}`, cause },
  );
}

function callOptions(work: Establishing) {
  // A command that has begun is let finish: what it did is then known, and taken back.
  work.options.signal?.throwIfAborted();
  return { keepOpen: work.guard.keepOpen };
}

/** The record that an attachment with these options begins with. */
export function initialState(
  device: string,
  netns: Netns,
  options: AttachOptions,
): AttachmentState {
  return {
    version: STATE_VERSION,
    token: randomUUID(),
    interface: device,
    netns: netns.name,
    netnsInode: netns.inode,
    mode: null,
    programId: null,
    reader: null,
    readerNote: null,
    maxSources: options.maxSources ?? defaultMaxSources(countPossibleCpus()),
    modeAsked: options.mode ?? 'auto',
    readerAsked: options.reader ?? 'auto',
    fileMode: options.fileMode ?? DEFAULT_FILE_MODE,
    since: new Date().toISOString(),
    holder: {
      pid: process.pid,
      startTicks: processStartTicks('self') ?? '',
      pidNamespace: readlinkSync('/proc/self/ns/pid'),
      command: options.command ?? 'library',
    },
  };
}

/** Where copies of objects live for the moment that loading takes. */
export function makeScratch(): string {
  const root = isWritable('/run') ? '/run' : tmpdir();
  try {
    return mkdtempSync(`${root}/${SCRATCH_PREFIX}${process.pid}-`);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new XdpwhoError('failed', `no temporary folder can be made: ${why}`, {
      hint: 'df /run /tmp, or set TMPDIR',
      cause: error,
    });
  }
}

/** Removes temporary folders of processes that are gone. */
export function removeDeadScratch(): void {
  for (const root of new Set(['/run', tmpdir()])) {
    for (const entry of readdirSync(root)) {
      const pid = new RegExp(`^${SCRATCH_PREFIX}(\\d+)-\\w{6}$`).exec(entry)?.[1];
      if (pid === undefined || processStartTicks(Number(pid)) !== undefined) continue;
      rmSync(`${root}/${entry}`, { recursive: true, force: true });
    }
  }
}

const SCRATCH_PREFIX = 'xdpwho-';

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
