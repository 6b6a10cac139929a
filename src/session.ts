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
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { Attachment, attachedWithin, detachProgram, ownsDirectory } from './attachment.js';
import { type Bpftool, BpftoolError } from './bpftool.js';
import { measureHz } from './clock.js';
import { messageOf, XdpwhoError } from './errors.js';
import { Guard, removeGuardCgroup } from './guard.js';
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
  cpuNumberLimit,
  mayHaveProcesses,
  missingCapabilities,
  pidNamespaceOf,
  processStartTicks,
} from './kernel.js';
import { INTERFACE_JSON_SIZE, SOURCE_VALUE } from './layout.js';
import type { ObjectPatch } from './object.js';
import { ObjectFiles, type ProgramName } from './object-files.js';
import {
  type AttachmentState,
  claim,
  DEFAULT_BPFFS,
  type Holder,
  type LogState,
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
import { formatPrefix, type Prefix, prefixMask } from './prefix.js';
import type { Mode, Reader } from './records.js';
import { ownCommand, quoteWord } from './render/command.js';
import { quoteJson } from './render/json.js';
import { printable } from './render/text.js';
import { ringBytes, ringElements, ringSegments } from './ring.js';

/** What is logged besides being counted, and in how much memory. */
export interface LogOptions {
  /** Only packets from this prefix. */
  readonly source?: Prefix | undefined;
  /** One packet in so many; default 1: all. */
  readonly sample?: number | undefined;
  /** For the rings of all CPUs together; default: DEFAULT_BUFFER_BYTES, or DUMP_BUFFER_BYTES where they are read by `map dump`. */
  readonly bufferBytes?: number | undefined;
}

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
  /** Also log packets; default: only count them. */
  readonly log?: LogOptions | undefined;
  /** What the record says of who holds it. */
  readonly command?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export const DEFAULT_FILE_MODE = 0o400;

/** The memory that the default table may take, all CPUs together. */
export const DEFAULT_TABLE_BYTES = 64 * 1024 * 1024;
export const DEFAULT_MAX_SOURCES = 65_536;
/** kernel/bpf/hashtab.c: struct htab_elem with its 16-byte key and the pointer to the per-CPU part. */
export const ELEMENT_OVERHEAD_BYTES = 96;

/** 699,000 packets. */
export const DEFAULT_BUFFER_BYTES = 32 * 1024 * 1024;
/** `map dump -j` prints some seven characters for each byte, and always the whole ring. */
export const DUMP_BUFFER_BYTES = 1024 * 1024;

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
  requireCapabilities();
  const netns = requestedNetns(options);
  const device = await resolveInterface(options.interface, netns);
  const bpffs = options.bpffs ?? DEFAULT_BPFFS;
  await prepareBpffs(bpffs);

  const pins = locatePins(bpffs, device, netns);
  const state = initialState(device, netns, options);
  const guard = new Guard({
    bpftool: context.bpftool.path,
    netns,
    pins,
    token: state.token,
    scratchPrefix: scratchPrefix(),
  });
  let scratch: string | undefined;
  try {
    await guard.ready();
    scratch = makeScratch();
    await claimOrCollect(context, pins, state);
    return await establish({ context, options, netns, pins, state, guard, scratch });
  } catch (error) {
    throw await takeBack(context, { pins, state, guard }, error);
  } finally {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * Ends what a failed attempt has made: a command that failed, or ran into its time limit, may have
 * attached the program all the same. What cannot be detached keeps its pins and, held by nobody, its
 * record. Gives the error that is to be thrown.
 */
async function takeBack(
  context: SessionContext,
  { pins, state, guard }: Pick<Establishing, 'pins' | 'state' | 'guard'>,
  cause: unknown,
): Promise<unknown> {
  try {
    const { programId } = guard;
    if (programId !== undefined) {
      await detachProgram(context.bpftool, programId, state.netnsInode);
    }
    if (ownsDirectory(pins, state.token)) removePins(pins);
    return cause;
  } catch (error) {
    if (ownsDirectory(pins, state.token)) writeState(pins, { ...state, holder: null });
    const code = cause instanceof XdpwhoError ? cause.code : 'failed';
    const message = `${messageOf(cause)}; and it could not be taken back: ${messageOf(error)}`;
    return new XdpwhoError(code, message, { hint: 'xdpwho clean', cause });
  } finally {
    await guard.release();
  }
}

/** Rejects with `not-permitted` where this process may not load and attach, and says what it lacks. */
export function requireCapabilities(): void {
  const missing = missingCapabilities();
  if (missing.length === 0) return;
  throw new XdpwhoError('not-permitted', `not permitted: ${missing.join(', ')} missing`, {
    hint: 'run it as root: sudo xdpwho ...',
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

/** Whether a holder still runs. One in another pid namespace counts as running for as long as that may have processes. */
export function isHolderAlive(holder: Holder): boolean {
  if (isElsewhere(holder)) return mayHaveProcesses(holder.pidNamespace);
  return processStartTicks(holder.pid) === holder.startTicks;
}

/** Its process id means something else here. */
function isElsewhere({ pidNamespace }: Holder): boolean {
  return pidNamespace !== pidNamespaceOf('self');
}

/** For an interface that a running xdpwho holds. */
export function heldError(interfaceName: string, holder: Holder): XdpwhoError {
  const { pid, command } = holder;
  const where = isElsewhere(holder) ? ' in another pid namespace' : '';
  const name = printable(interfaceName);
  return new XdpwhoError('held', `${name}: held by xdpwho ${command}, process ${pid}${where}`, {
    hint: `end it${where === '' ? '' : ' there'}: kill ${pid}`,
  });
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
  if (state !== undefined) removeGuardCgroup(state.token);
}

/** The C function in bpf/xdpwho.bpf.c: the kernel keeps its name. */
export const PROGRAM_NAME = 'xdpwho';

/**
 * The id of the program that is pinned in a directory. Undefined where there is none, and where it
 * is not one of ours: a record may have been written by hand, so what it says is not enough.
 */
export async function ownProgramId(bpftool: Bpftool, pins: Pins): Promise<number | undefined> {
  const isPinned = () => lstatSync(pins.program, { throwIfNoEntry: false })?.isFile() === true;
  if (!isPinned()) return undefined;
  try {
    const { id, name } = await bpftool.showProgram(pins.program);
    return name === PROGRAM_NAME ? id : undefined;
  } catch (error) {
    // Any other failure says nothing of what is pinned there.
    if (error instanceof BpftoolError && (error.isOtherKind || !isPinned())) return undefined;
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
    if (isHolderAlive(theirs.holder)) throw heldError(theirs.interface, theirs.holder);
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
      hint: `${ownCommand('dump', theirs)}, or ${ownCommand('detach', theirs)}`,
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
  let programId = await loadGuarded(work, state.log);
  const { reader, readerNote } = await pinReaders(work);
  if (readerNote !== null) notes.push(readerNote);
  const log = fittingLog(state.log, reader);
  if (log?.segments !== state.log?.segments) {
    removeProgram(pins);
    programId = await loadGuarded(work, log);
  }
  const mode = await attachProgram(work, notes);
  const whole = { ...state, programId, mode, reader, readerNote, log };
  writeState(pins, whole);
  options.signal?.throwIfAborted();
  return new Attachment(context.bpftool, { pins, netns, state: whole, notes, guard });
}

/** Loads the program, and tells the guard its id. */
async function loadGuarded(work: Establishing, log: LogState | null): Promise<number> {
  await loadProgram(work, log);
  const { id } = await work.context.bpftool.showProgram(work.pins.program);
  await work.guard.watch(id);
  return id;
}

/** The variant that takes jumbo frames first; kernels before 5.18 refuse it. */
async function loadProgram(work: Establishing, log: LogState | null): Promise<void> {
  const { context, options, pins, scratch, state } = work;
  const objects = new ObjectFiles(context.objectsDirectory);
  const table = { maxEntries: { sources: state.maxSources } };
  const patch = log === null ? table : withLog(table, log, options.log?.source);
  const [withFrags, plain] = programNames(log !== null);
  const load = (name: ProgramName) =>
    context.bpftool.loadProgram(
      objects.writePatched(name, patch, scratch),
      pins.program,
      pins.mapsDirectory,
      callOptions(work),
    );
  try {
    await load(withFrags);
  } catch (error) {
    if (!(error instanceof BpftoolError) || error.code === 'not-permitted') throw error;
    await load(plain);
  }
}

/** Pure: the variants of the program, the one for jumbo frames first. */
export function programNames(log: boolean): readonly [ProgramName, ProgramName] {
  return log ? ['xdpwho.log.frags', 'xdpwho.log'] : ['xdpwho.frags', 'xdpwho'];
}

/** Pure: the constants of bpf/log.h. */
function withLog(table: ObjectPatch, log: LogState, source: Prefix | undefined): ObjectPatch {
  const filter =
    source === undefined
      ? {}
      : {
          log_family: source.family,
          log_source: source.network,
          log_mask: prefixMask(source),
        };
  const { cpus, segments, sample } = log;
  return {
    constants: { log_cpus: cpus, log_segments: segments, log_sample: sample, ...filter },
    maxEntries: { ...table.maxEntries, packets: ringElements(segments, cpus) },
  };
}

function removeProgram(pins: Pins): void {
  rmSync(pins.program, { force: true });
  for (const map of readdirSync(pins.mapsDirectory)) rmSync(`${pins.mapsDirectory}/${map}`);
}

/** The record of a log with these options. */
function initialLog(options: LogOptions, reader: Reader): LogState {
  const cpus = cpuNumberLimit();
  const bufferAsked = options.bufferBytes ?? null;
  const standard = reader === 'iterator' ? DEFAULT_BUFFER_BYTES : DUMP_BUFFER_BYTES;
  return {
    source: options.source === undefined ? null : formatPrefix(options.source),
    sample: options.sample ?? 1,
    segments: ringSegments(bufferAsked ?? Math.max(standard, ringBytes(1, cpus)), cpus),
    cpus,
    bufferAsked,
  };
}

/** Where there turned out to be no iterator, the default is smaller. */
function fittingLog(log: LogState | null, reader: Reader): LogState | null {
  if (log === null || log.bufferAsked !== null) return log;
  return { ...log, segments: initialLog({}, reader).segments };
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
    configuredHz() ?? (await measureHz(context.bpftool, objects, pins.clock, scratch));
  return { sources: { ...shared, jiffies_per_second }, totals: shared };
}

/** A name as it stands between the quotes of a JSON string, in ASCII: the kernel's lines are handed on as bytes. */
export function jsonContent(name: string): string {
  const content = quoteJson(name)
    .slice(1, -1)
    .replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  if (content.length < INTERFACE_JSON_SIZE) return content;
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
export const MODE_ERRNOS: ReadonlySet<string> = new Set([
  'EOPNOTSUPP',
  'EINVAL',
  'ERANGE',
  'ENOMEM',
]);

async function explainAttachFailure(
  work: Establishing,
  mode: Mode,
  error: unknown,
): Promise<never> {
  if (!(error instanceof BpftoolError)) throw error;
  const { interface: device, netns } = work.state;
  const name = printable(device);
  const place = { interface: device, netns, bpffs: work.options.bpffs };
  switch (error.errno) {
    case 'EBUSY':
    case 'EEXIST':
      throw await busy(work, error);
    case 'ERANGE':
      throw new XdpwhoError('mtu-too-large', `${name}: its MTU is too large for ${mode} mode`, {
        hint: `${ownCommand('--mode generic', place)}, or ip link set dev ${quoteWord(name)} mtu 1500`,
        cause: error,
      });
    case 'EOPNOTSUPP':
    case 'EINVAL':
      throw new XdpwhoError('mode-unsupported', `${name}: no ${mode} mode: ${error.message}`, {
        hint: ownCommand('--mode auto', place),
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
    log:
      options.log === undefined
        ? null
        : initialLog(options.log, options.reader === 'dump' ? 'dump' : 'iterator'),
    since: new Date().toISOString(),
    holder: {
      pid: process.pid,
      startTicks: processStartTicks('self') ?? '',
      pidNamespace: pidNamespaceOf('self') ?? '',
      command: options.command ?? 'library',
    },
  };
}

/** Where copies of objects live for the moment that loading takes. */
export function makeScratch(): string {
  try {
    return mkdtempSync(scratchPrefix());
  } catch (error) {
    throw new XdpwhoError('failed', `no temporary folder can be made: ${messageOf(error)}`, {
      hint: 'df /run /tmp, or set TMPDIR',
      cause: error,
    });
  }
}

/** What the path of every temporary folder of this process begins with. */
function scratchPrefix(): string {
  return `${isWritable('/run') ? '/run' : tmpdir()}/${SCRATCH_PREFIX}${process.pid}-`;
}

/** Removes our temporary folders of processes that are gone. */
export function removeDeadScratch(): void {
  for (const root of new Set(['/run', tmpdir()])) {
    for (const entry of readdirSync(root)) {
      const pid = new RegExp(`^${SCRATCH_PREFIX}(\\d+)-\\w{6}$`).exec(entry)?.[1];
      if (pid === undefined || processStartTicks(Number(pid)) !== undefined) continue;
      // In /tmp anybody may have made one of that name, to put a link in its place meanwhile.
      const found = lstatSync(`${root}/${entry}`, { throwIfNoEntry: false });
      if (found?.uid !== process.geteuid?.()) continue;
      rmSync(`${root}/${entry}`, { recursive: true, force: true });
    }
  }
}

export const SCRATCH_PREFIX = 'xdpwho-';

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
