/**
 * The only speaker of bpftool: one pure function per argument vector, one typed function per verb.
 *
 * What bpftool forces on every caller, and this module hides:
 * - with `-j` a failure is `{"error":...}` on stdout and a status that differs by verb (bpftool
 *   src/common.c p_err, src/main.c), so status and output are both looked at;
 * - without `-n` it mounts a bpffs over any directory that it is told to pin in;
 * - `net detach` succeeds when it did nothing, and removes a stranger's program as well
 *   (src/net.c do_detach passes no expected program), so whoever detaches looks before and after.
 */
import type { Readable } from 'node:stream';
import { type ErrorCode, XdpwhoError } from './errors.js';
import { type RunOptions, type RunResult, requireTool, run, runStreaming } from './exec.js';
import { chargesLockedMemory } from './kernel.js';
import type { Mode } from './records.js';
import { numberIn, parseToolJson, propertyOf, stringIn } from './unknown.js';

const ATTACH_TYPES = { native: 'xdpdrv', generic: 'xdpgeneric', offload: 'xdpoffload' } as const;
const SHOWN_MODES: Readonly<Record<string, Mode>> = {
  driver: 'native',
  generic: 'generic',
  offload: 'offload',
};

/** The argument vectors, apart from running them: `--dry-run` and `script` print the same ones. */
export const bpftoolArguments = {
  version: () => ['-j', 'version'],
  batch: () => ['-j', '-n', 'batch', 'file', '-'],
  /** In JSON it would say nothing before its end. */
  openBatch: () => ['-n', 'batch', 'file', '-'],
  loadProgram: (object: string, pin: string, mapsDirectory?: string) => [
    ...['-j', '-n', 'prog', 'load', object, pin, 'type', 'xdp'],
    ...(mapsDirectory === undefined ? [] : ['pinmaps', mapsDirectory]),
  ],
  loadPrograms: (object: string, directory: string, options: LoadProgramsOptions = {}) => [
    ...['-j', '-n', 'prog', 'loadall', object, directory],
    ...(options.type === undefined ? [] : ['type', options.type]),
    ...(options.mapsDirectory === undefined ? [] : ['pinmaps', options.mapsDirectory]),
  ],
  loadClassifier: (object: string, pin: string, mapsDirectory: string) => [
    '-j',
    '-n',
    'prog',
    'load',
    object,
    pin,
    'type',
    'classifier',
    'pinmaps',
    mapsDirectory,
  ],
  showProgram: (pin: string) => ['-j', '-n', 'prog', 'show', 'pinned', pin],
  showProgramById: (id: number | string) => ['-j', '-n', 'prog', 'show', 'id', String(id)],
  runProgram: (pin: string, input: string, repeat: number) => [
    ...['-j', '-n', 'prog', 'run', 'pinned', pin, 'data_in', input],
    ...['repeat', String(repeat)],
  ],
  /** A program for system calls (`SEC("syscall")`), whose object says what it is. */
  loadSyscallProgram: (object: string, pin: string) => ['-j', '-n', 'prog', 'load', object, pin],
  /** The kernel refuses any other number for this type (net/bpf/test_run.c). */
  runSyscallProgram: (pin: string) => ['-j', '-n', 'prog', 'run', 'pinned', pin, 'repeat', '0'],
  /** bpftool gives every CPU of a per-CPU map this value (src/map.c, fill_per_cpu_value). */
  clearFirstElement: (map: string, valueSize: number) => [
    ...['-j', '-n', 'map', 'update', 'pinned', map],
    ...['key', 'hex', ...Array<string>(4).fill('00')],
    ...['value', 'hex', ...Array<string>(valueSize).fill('00')],
  ],
  showMap: (pin: string) => ['-j', '-n', 'map', 'show', 'pinned', pin],
  setProgramArray: (map: string, pin: string) => [
    ...['-j', '-n', 'map', 'update', 'pinned', map],
    ...['key', 'hex', '00', '00', '00', '00', 'value', 'pinned', pin],
  ],
  dumpMap: (pin: string) => ['-j', '-n', 'map', 'dump', 'pinned', pin],
  pinIterator: (object: string, pin: string, map: string) => [
    '-j',
    '-n',
    'iter',
    'pin',
    object,
    pin,
    'map',
    'pinned',
    map,
  ],
  attach: (mode: Mode, pin: string, device: string) => [
    '-j',
    '-n',
    'net',
    'attach',
    ATTACH_TYPES[mode],
    'pinned',
    pin,
    'dev',
    device,
  ],
  detach: (mode: Mode, device: string) => [
    '-j',
    '-n',
    'net',
    'detach',
    ATTACH_TYPES[mode],
    'dev',
    device,
  ],
  showNet: () => ['-j', '-n', 'net', 'show'],
};

export interface LoadProgramsOptions {
  /** Where to pin the maps. Fails for a map that asks to be pinned by its name. */
  readonly mapsDirectory?: string | undefined;
  /** All programs are taken for this type, whatever their sections are called. */
  readonly type?: 'xdp' | undefined;
}

/** A command as it is run: bpftool itself, or nsenter in front of it. */
export interface CommandLine {
  readonly file: string;
  readonly args: readonly string[];
}

/** `command` run in the network namespace at `netnsPath`; bpffs stays in sight, which `ip netns exec` hides. */
export function inNetns(netnsPath: string | undefined, command: CommandLine): CommandLine {
  if (netnsPath === undefined) return command;
  const nsenter = requireTool('nsenter', 'install util-linux');
  return { file: nsenter, args: [`--net=${netnsPath}`, '--', command.file, ...command.args] };
}

/** A shell that cannot raise the limit says so, and the command then says what became of it. */
const RAISE_LIMIT = 'ulimit -l unlimited 2>/dev/null; exec "$@"';

/**
 * `command` without a limit on locked memory, where the kernel has one for maps and programs. bpftool
 * raises it by itself for its other verbs, but 5.10 not for `iter pin` (src/iter.c).
 */
export function withLockedMemory(command: CommandLine): CommandLine {
  if (!chargesLockedMemory()) return command;
  const words = ['-c', RAISE_LIMIT, 'xdpwho', command.file, ...command.args];
  return { file: requireTool('sh'), args: words };
}

/** `command` run in a mount namespace: see src/private-bpffs.ts. */
function inMountNamespace(path: string | undefined, command: CommandLine): CommandLine {
  if (path === undefined) return command;
  const nsenter = requireTool('nsenter', 'install util-linux');
  return { file: nsenter, args: [`--mount=${path}`, '--', command.file, ...command.args] };
}

export interface ProgramInfo {
  readonly id: number;
  readonly name: string | undefined;
  readonly type: string | undefined;
  readonly mapIds: readonly number[];
  /** Since it was loaded, while kernel.bpf_stats_enabled was on. */
  readonly runTimeNs: number;
  readonly runCount: number;
}

export interface MapInfo {
  readonly id: number;
  readonly type: string | undefined;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly memoryBytes: number;
}

/** One XDP program on one interface, as `net show` lists it. */
export interface XdpAttachment {
  readonly device: string;
  readonly ifindex: number;
  readonly mode: Mode;
  readonly programId: number;
}

export interface ProgramRun {
  /** What the program returned, 32 bits. */
  readonly returned: number;
  /** Mean nanoseconds of one run. */
  readonly durationNs: number;
}

/** What bpftool says when it fails. `errno` is its word ("EBUSY") where it is known. */
export class BpftoolError extends XdpwhoError {
  readonly errno: string | undefined;
  /** What is pinned there is something else, such as a map where a program was asked for. */
  readonly isOtherKind: boolean;

  constructor(verb: string, result: RunResult) {
    const reported = reportedError(result.stdout);
    const detail = lastLine(result.stderr);
    const errno = errnoOf(result, `${reported ?? ''}\n${result.stderr}`, verb);
    const why = [reported, detail].filter((text) => text !== undefined && text !== '').join(': ');
    const status =
      result.signal === undefined
        ? `status ${result.exitCode ?? '?'}`
        : `ended by ${result.signal}`;
    super(codeOf(errno, result), `bpftool ${verb}: ${why === '' ? status : why}`, {
      hint: hintOf(errno),
    });
    this.name = 'BpftoolError';
    this.errno = errno;
    // src/common.c, open_obj_pinned_any.
    this.isOtherKind = reported?.startsWith('incorrect object type') === true;
  }
}

export interface BpftoolOptions {
  /** Absolute path of bpftool. */
  readonly path: string;
  /** Run in the mount namespace of this file. */
  readonly mountNamespacePath?: string | undefined;
  /** Time limit of one command; default 30 s. */
  readonly timeoutMs?: number | undefined;
}

/** What a caller may add to one call. */
export type CallOptions = Pick<RunOptions, 'signal' | 'keepOpen' | 'input'>;

/** bpftool's verbs. Every method rejects with a BpftoolError, or an XdpwhoError of another code. */
export class Bpftool {
  readonly path: string;
  readonly #options: BpftoolOptions;

  constructor(options: BpftoolOptions) {
    this.path = options.path;
    this.#options = options;
  }

  /** bpftool's version, "7.1.0". */
  async version(): Promise<string> {
    const value = await this.#json('version', bpftoolArguments.version());
    return stringIn(value, 'version') ?? this.#unexpected('version', value);
  }

  /** Loads the XDP program of an object, pins it at `pin` and its maps in `mapsDirectory`. */
  async loadProgram(
    object: string,
    pin: string,
    mapsDirectory?: string,
    options: CallOptions = {},
  ): Promise<void> {
    await this.#json(
      'prog load',
      bpftoolArguments.loadProgram(object, pin, mapsDirectory),
      options,
    );
  }

  /** Loads every program of an object and pins each, by its name, in a directory that is not there yet. */
  async loadPrograms(
    object: string,
    directory: string,
    options: LoadProgramsOptions = {},
  ): Promise<void> {
    await this.#json('prog loadall', bpftoolArguments.loadPrograms(object, directory, options));
  }

  /** Puts a pinned program into the first place of a pinned program array. */
  async setProgramArray(map: string, pin: string): Promise<void> {
    await this.#json('map update', bpftoolArguments.setProgramArray(map, pin));
  }

  /** Loads a traffic classifier (`SEC("tc")`) likewise. */
  async loadClassifier(object: string, pin: string, mapsDirectory: string): Promise<void> {
    await this.#json('prog load', bpftoolArguments.loadClassifier(object, pin, mapsDirectory));
  }

  async showProgram(pin: string): Promise<ProgramInfo> {
    return this.#programInfo(await this.#json('prog show', bpftoolArguments.showProgram(pin)));
  }

  /** Needs CAP_SYS_ADMIN, which a pinned path does not. */
  async showProgramById(id: number): Promise<ProgramInfo> {
    return this.#programInfo(await this.#json('prog show', bpftoolArguments.showProgramById(id)));
  }

  /** Runs a pinned program `repeat` times on the frame in the file `input`, in `netnsPath` where given. */
  async runProgram(
    pin: string,
    input: string,
    repeat: number,
    netnsPath?: string,
  ): Promise<ProgramRun> {
    const args = bpftoolArguments.runProgram(pin, input, repeat);
    const value = await this.#json('prog run', args, {}, netnsPath);
    return programRunIn(value) ?? this.#unexpected('prog run', value);
  }

  /**
   * Runs many commands of `bpftoolArguments` in one process, up to the first that fails; gives what
   * each of them printed.
   */
  async batch(commands: readonly (readonly string[])[]): Promise<readonly unknown[]> {
    const input = commands.map((args) => `${batchLine(batchWords(args))}\n`).join('');
    const value = await this.#json('batch', bpftoolArguments.batch(), { input });
    if (!Array.isArray(value) || value.length !== commands.length) {
      return this.#unexpected('batch', value);
    }
    return value.map((each: unknown) => propertyOf(each, 'output'));
  }

  async showMap(pin: string): Promise<MapInfo> {
    const value = await this.#json('map show', bpftoolArguments.showMap(pin));
    const id = numberIn(value, 'id');
    const keySize = numberIn(value, 'bytes_key');
    const valueSize = numberIn(value, 'bytes_value');
    const maxEntries = numberIn(value, 'max_entries');
    if (
      id === undefined ||
      keySize === undefined ||
      valueSize === undefined ||
      maxEntries === undefined
    ) {
      return this.#unexpected('map show', value);
    }
    const memoryBytes = numberIn(value, 'bytes_memlock') ?? 0;
    return { id, type: stringIn(value, 'type'), keySize, valueSize, maxEntries, memoryBytes };
  }

  /** Zeroes the first element of an array map, on every CPU. */
  async clearFirstElement(map: string, valueSize: number): Promise<void> {
    await this.#json('map update', bpftoolArguments.clearFirstElement(map, valueSize));
  }

  /** A small map as bpftool prints it: an array of entries with hexadecimal bytes. */
  async dumpMap(pin: string): Promise<readonly unknown[]> {
    const value = await this.#json('map dump', bpftoolArguments.dumpMap(pin));
    return Array.isArray(value) ? value : this.#unexpected('map dump', value);
  }

  /**
   * The raw text of `map dump -j`, for maps of any size. The caller reads `stdout` to its end, or
   * aborts `signal`; then `finish` rejects if bpftool failed or ran into the time limit.
   */
  dumpMapStream(
    pin: string,
    signal: AbortSignal,
    timeoutMs: number,
  ): { stdout: Readable; finish: () => Promise<void> } {
    const args = bpftoolArguments.dumpMap(pin);
    const { stdout, ended } = runStreaming(this.path, args, { signal, timeoutMs });
    const finish = async () => {
      const result = await ended;
      if (result.failed) throw this.#failure('map dump', result);
    };
    return { stdout, finish };
  }

  /** Loads the iterator of an object over the map pinned at `map`, and pins it at `pin`, a file to be read. */
  async pinIterator(
    object: string,
    pin: string,
    map: string,
    options: CallOptions = {},
  ): Promise<void> {
    await this.#json('iter pin', bpftoolArguments.pinIterator(object, pin, map), options);
  }

  /** Fails with errno EBUSY or EEXIST when the interface holds a program. */
  async attach(
    mode: Mode,
    pin: string,
    device: string,
    netnsPath: string | undefined,
    options: CallOptions = {},
  ): Promise<void> {
    const args = bpftoolArguments.attach(mode, pin, device);
    await this.#json('net attach', args, options, netnsPath);
  }

  /** Its success says nothing (see above): compare `showNet` before and after. */
  async detach(mode: Mode, device: string, netnsPath: string | undefined): Promise<void> {
    await this.#json('net detach', bpftoolArguments.detach(mode, device), {}, netnsPath);
  }

  /** Every XDP program attached in the namespace. */
  async showNet(netnsPath: string | undefined): Promise<readonly XdpAttachment[]> {
    const value = await this.#json('net show', bpftoolArguments.showNet(), {}, netnsPath);
    const first: unknown = Array.isArray(value) ? value[0] : undefined;
    const list = propertyOf(first, 'xdp');
    if (!Array.isArray(list)) return this.#unexpected('net show', value);
    return list.flatMap(attachmentsOf);
  }

  async #json(
    verb: string,
    args: readonly string[],
    options: CallOptions = {},
    netnsPath?: string,
  ): Promise<unknown> {
    const { mountNamespacePath, timeoutMs } = this.#options;
    const own = { file: this.path, args };
    const inner = inNetns(netnsPath, verb === 'iter pin' ? withLockedMemory(own) : own);
    const command = inMountNamespace(mountNamespacePath, inner);
    const result = await run(command.file, command.args, { timeoutMs, ...options });
    if (result.failed) throw this.#failure(verb, result);
    if (result.stdout.trim() === '') return null;
    let value: unknown;
    try {
      value = parseToolJson(result.stdout);
    } catch (cause) {
      throw new XdpwhoError('bad-output', `bpftool ${verb}: not JSON: ${shown(result.stdout)}`, {
        hint: 'xdpwho doctor',
        cause,
      });
    }
    if (stringIn(value, 'error') !== undefined) throw new BpftoolError(verb, result);
    return value;
  }

  #failure(verb: string, result: RunResult): XdpwhoError {
    if (result.missing) {
      return new XdpwhoError('tool-missing', `${this.path}: not there or not executable`, {
        hint: 'xdpwho doctor',
      });
    }
    if (result.timedOut) {
      return new XdpwhoError('timeout', `bpftool ${verb}: no answer within the time limit`, {
        hint: `xdpwho doctor, or try ${this.path} version`,
      });
    }
    return new BpftoolError(verb, result);
  }

  #programInfo(value: unknown): ProgramInfo {
    const id = numberIn(value, 'id');
    if (id === undefined) return this.#unexpected('prog show', value);
    const ids = propertyOf(value, 'map_ids');
    return {
      id,
      name: stringIn(value, 'name'),
      type: stringIn(value, 'type'),
      mapIds: Array.isArray(ids) ? ids.filter((each) => typeof each === 'number') : [],
      // Left out while they are 0 (bpftool src/prog.c).
      runTimeNs: numberIn(value, 'run_time_ns') ?? 0,
      runCount: numberIn(value, 'run_cnt') ?? 0,
    };
  }

  #unexpected(verb: string, value: unknown): never {
    throw new XdpwhoError(
      'bad-output',
      `bpftool ${verb}: unexpected output: ${shown(JSON.stringify(value))}`,
      { hint: 'xdpwho doctor' },
    );
  }
}

/** What `prog run` prints, or undefined for anything else. */
export function programRunIn(value: unknown): ProgramRun | undefined {
  const returned = numberIn(value, 'retval');
  const durationNs = numberIn(value, 'duration');
  return returned === undefined || durationNs === undefined ? undefined : { returned, durationNs };
}

/** The words of a command without its options: in a batch they are those of the batch itself. */
export function batchWords(args: readonly string[]): readonly string[] {
  return args.slice(args.findIndex((word) => !word.startsWith('-')));
}

/**
 * Words as a line of a batch. bpftool parts them at white space outside of quotes, drops what comes
 * after a `#`, quoted or not, and joins a line that ends with a backslash to the next one (src/main.c).
 * @throws XdpwhoError `failed` for a word that cannot be said there.
 */
export function batchLine(words: readonly string[]): string {
  const unfit = words.find((word) => /['"#\\\n]/.test(word));
  if (unfit !== undefined)
    throw new XdpwhoError('failed', `bpftool batch: unfit word ${shown(unfit)}`);
  return words.map((word) => (/\s/.test(word) ? `'${word}'` : word)).join(' ');
}

function attachmentsOf(entry: unknown): XdpAttachment[] {
  // It prints a backslash as \n (src/json_writer.c jsonw_puts), and no name has a line break.
  const device = stringIn(entry, 'devname')?.replaceAll('\n', '\\');
  const ifindex = numberIn(entry, 'ifindex');
  if (device === undefined || ifindex === undefined) return [];
  // A card may hold a driver's and an offloaded program at once (bpftool src/netlink_dumper.c).
  const several = propertyOf(entry, 'multi_attachments');
  const parts: readonly unknown[] = Array.isArray(several) ? several : [entry];
  return parts.flatMap((part) => {
    const mode = SHOWN_MODES[stringIn(part, 'mode') ?? ''];
    const programId = numberIn(part, 'id');
    return mode === undefined || programId === undefined
      ? []
      : [{ device, ifindex, mode, programId }];
  });
}

/** Without EPERM: 255 is also what bpftool ends with when it has no errno to tell. */
const ERRNO_NUMBERS: Readonly<Record<number, string>> = {
  2: 'ENOENT',
  13: 'EACCES',
  16: 'EBUSY',
  17: 'EEXIST',
  19: 'ENODEV',
  22: 'EINVAL',
  34: 'ERANGE',
  95: 'EOPNOTSUPP',
};

/** What tells an errno, the first one that is found: libbpf's words, or since 1.8 the errno's name after a `-`. */
export const ERRNO_WORDS: readonly (readonly [errno: string, ...words: string[]])[] = [
  ['ENODEV', 'invalid devname', 'No such device'],
  ['EPERM', 'Operation not permitted', '-EPERM'],
  ['EACCES', 'Permission denied', '-EACCES'],
  ['EBUSY', 'Device or resource busy', '-EBUSY'],
  ['EEXIST', 'File exists', 'already exists', '-EEXIST'],
  ['ERANGE', 'Numerical result out of range', '-ERANGE'],
  ['EOPNOTSUPP', 'Operation not supported', '-EOPNOTSUPP'],
  ['EROFS', 'Read-only file system', '-EROFS'],
  ['ENOENT', 'No such file or directory', '-ENOENT'],
  ['EINVAL', 'Invalid argument', '-EINVAL'],
  ['ENOMEM', 'Cannot allocate memory', '-ENOMEM'],
  ['E2BIG', 'Argument list too long', '-E2BIG'],
];

/** The words decide; where there are none, `net` verbs exit with 256 - errno (src/net.c, src/main.c). */
function errnoOf(result: RunResult, text: string, verb: string): string | undefined {
  const byWords = ERRNO_WORDS.find(([, ...words]) =>
    words.some((each) => text.includes(each)),
  )?.[0];
  if (byWords !== undefined || !verb.startsWith('net ')) return byWords;
  return ERRNO_NUMBERS[256 - (result.exitCode ?? 0)];
}

function codeOf(errno: string | undefined, result: RunResult): ErrorCode {
  if (errno === 'EPERM') return 'not-permitted';
  if (errno === 'ENODEV') return 'no-such-interface';
  if (/BPF program is too large|processed \d+ insns|R\d+ .*(invalid|pointer)/.test(result.stderr)) {
    return 'verifier-rejected';
  }
  return 'tool-failed';
}

function hintOf(errno: string | undefined): string | undefined {
  if (errno !== 'EPERM') return undefined;
  // Root may lack CAP_SYS_RESOURCE, in a container for one, and then bpftool cannot raise it.
  return process.geteuid?.() === 0 && chargesLockedMemory()
    ? 'raise the limit on locked memory: ulimit -l unlimited'
    : 'run it as root: sudo xdpwho ...';
}

/**
 * p_err may have printed two objects in a row (src/common.c), and escapes nothing in the names that
 * it quotes: so this does not parse the whole, and takes text that is no JSON as it is.
 */
function reportedError(stdout: string): string | undefined {
  const text = /\{"error":"((?:[^"\\]|\\.)*)"/.exec(stdout)?.[1];
  if (text === undefined) return /^\{"error":"(.*)"\}$/m.exec(stdout)?.[1];
  try {
    return String(JSON.parse(`"${text}"`));
  } catch {
    return text;
  }
}

function lastLine(stderr: string): string | undefined {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const useful = lines.filter((line) => /error|failed|denied|permitted|large/i.test(line));
  const line = useful.find((each) => each.includes('Kernel error message')) ?? useful.at(0);
  return (line ?? lines.at(-1))?.replace(/^libbpf: (Kernel error message: )?/, '').slice(0, 200);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
