/** The arguments of every bpftool command. `--dry-run` and `script` print them without running them. */
import type { XdpMode } from '../model/records.js';
import { chargesLockedMemory } from './kernel.js';
import { findTool, requireTool } from './tools.js';

const ATTACH_TYPES = { native: 'xdpdrv', generic: 'xdpgeneric' } as const;

/** Each list begins with options. A line of a batch has the words after them, see batchLine. */
export const bpftoolArguments = {
  version: () => ['-j', 'version'],
  batch: () => ['-j', '-n', 'batch', 'file', '-'],
  /** In JSON it would print nothing before its end. */
  openBatch: () => ['-n', 'batch', 'file', '-'],
  /** `maps`: for a map of the object, by its name, the pin of an existing map that the program uses instead. */
  loadProgram: (
    object: string,
    pin: string,
    maps: Readonly<Record<string, string>> = {},
    type: 'xdp' | 'classifier' = 'xdp',
  ) => [
    ...['-j', '-n', 'prog', 'load', object, pin, 'type', type],
    ...Object.entries(maps).flatMap(([name, mapPin]) => ['map', 'name', name, 'pinned', mapPin]),
  ],
  loadPrograms: (object: string, directory: string, options: LoadProgramsOptions = {}) => [
    ...['-j', '-n', 'prog', 'loadall', object, directory],
    ...(options.type === undefined ? [] : ['type', options.type]),
    ...(options.mapsDirectory === undefined ? [] : ['pinmaps', options.mapsDirectory]),
  ],
  loadClassifier: (object: string, pin: string, mapsDirectory: string) => [
    ...['-j', '-n', 'prog', 'load', object, pin, 'type', 'classifier', 'pinmaps', mapsDirectory],
  ],
  showProgram: (pin: string) => ['-j', '-n', 'prog', 'show', 'pinned', pin],
  showProgramById: (id: number | string) => ['-j', '-n', 'prog', 'show', 'id', String(id)],
  runProgram: (pin: string, input: string, repeat: number) => [
    ...['-j', '-n', 'prog', 'run', 'pinned', pin, 'data_in', input, 'repeat', String(repeat)],
  ],
  /** A program for system calls (`SEC("syscall")`), whose object says what it is. */
  loadSyscallProgram: (object: string, pin: string) => ['-j', '-n', 'prog', 'load', object, pin],
  /** The kernel refuses any other number for this type (net/bpf/test_run.c). */
  runSyscallProgram: (pin: string) => ['-j', '-n', 'prog', 'run', 'pinned', pin, 'repeat', '0'],
  createMap: (pin: string, { name, type, keySize, valueSize, entries, flags = 0 }: MapShape) => [
    ...['-j', '-n', 'map', 'create', pin, 'type', type, 'key', String(keySize)],
    ...['value', String(valueSize), 'entries', String(entries), 'name', name],
    ...(flags === 0 ? [] : ['flags', String(flags)]),
  ],
  showMap: (pin: string) => ['-j', '-n', 'map', 'show', 'pinned', pin],
  setProgramArray: (map: string, pin: string) => [
    ...['-j', '-n', 'map', 'update', 'pinned', map],
    ...['key', 'hex', '00', '00', '00', '00', 'value', 'pinned', pin],
  ],
  dumpMap: (pin: string) => ['-j', '-n', 'map', 'dump', 'pinned', pin],
  pinIterator: (object: string, pin: string, map: string) => [
    ...['-j', '-n', 'iter', 'pin', object, pin, 'map', 'pinned', map],
  ],
  /** `overwrite` replaces the attached program in one step, whoever attached it (bpftool-net(8)). */
  attach: (mode: XdpMode, pin: string, device: string, overwrite = false) => [
    ...['-j', '-n', 'net', 'attach', ATTACH_TYPES[mode], 'pinned', pin, 'dev', device],
    ...(overwrite ? ['overwrite'] : []),
  ],
  pinLink: (id: number, pin: string) => ['-j', '-n', 'link', 'pin', 'id', String(id), pin],
  detach: (mode: XdpMode, device: string) => [
    ...['-j', '-n', 'net', 'detach', ATTACH_TYPES[mode], 'dev', device],
  ],
  showNet: () => ['-j', '-n', 'net', 'show'],
};

/** A map to create. */
export interface MapShape {
  readonly name: string;
  /** In the words of bpftool-map(8). */
  readonly type: 'lru_percpu_hash' | 'percpu_array' | 'array';
  /** In bytes. */
  readonly keySize: number;
  readonly valueSize: number;
  readonly entries: number;
  /** BPF_F_... of linux/bpf.h. Default 0. */
  readonly flags?: number;
}

export interface LoadProgramsOptions {
  /** A directory to pin the maps in. Fails for a map with `pinning = LIBBPF_PIN_BY_NAME`. */
  readonly mapsDirectory?: string | undefined;
  /** The type of all programs, whatever the names of their sections say. */
  readonly type?: 'xdp' | undefined;
}

/** A program and its arguments. */
export interface CommandLine {
  readonly file: string;
  readonly args: readonly string[];
}

/** The command that runs `command` in a network namespace. nsenter, unlike `ip netns exec`, keeps the mounts: bpffs stays visible. */
export function inNetns(netnsPath: string | undefined, command: CommandLine): CommandLine {
  if (netnsPath === undefined) return command;
  const nsenter = requireTool('nsenter', 'install util-linux');
  return { file: nsenter, args: [`--net=${netnsPath}`, '--', command.file, ...command.args] };
}

/** If the shell may not raise the limit, the command runs all the same and reports its own failure. */
const RAISE_LIMIT = 'ulimit -l unlimited 2>/dev/null; exec "$@"';

/**
 * The command that runs `command` without a limit on locked memory, if the kernel counts maps and
 * programs against it. bpftool raises the limit itself, except 5.10 for `iter pin` (bpftool src/iter.c).
 */
export function withLockedMemory(command: CommandLine): CommandLine {
  if (!chargesLockedMemory()) return command;
  const words = ['-c', RAISE_LIMIT, 'xdpwho', command.file, ...command.args];
  return { file: requireTool('sh'), args: words };
}

/** The command that runs `command` in a mount namespace: see src/host/private-bpffs.ts. */
export function inMountNamespace(path: string | undefined, command: CommandLine): CommandLine {
  if (path === undefined) return command;
  const nsenter = requireTool('nsenter', 'install util-linux');
  return { file: nsenter, args: [`--mount=${path}`, '--', command.file, ...command.args] };
}

/** The command that runs `command` on one CPU only, where there is util-linux's taskset. */
export function onCpu(cpu: number | undefined, command: CommandLine): CommandLine {
  const taskset = cpu === undefined ? undefined : findTool('taskset');
  if (taskset === undefined) return command;
  return { file: taskset, args: ['-c', String(cpu), command.file, ...command.args] };
}

/** The words of a command without its options: in a batch they are those of the batch itself. */
export function batchWords(args: readonly string[]): readonly string[] {
  return args.slice(args.findIndex((word) => !word.startsWith('-')));
}

/**
 * A command as a line of `batch`, or undefined if a word cannot stand in such a line. bpftool cuts a line
 * at `#`, splits it at white space and at quotes, and has no escape (src/main.c do_batch, make_args).
 */
export function batchLine(args: readonly string[]): string | undefined {
  const command = batchWords(args);
  if (command.some((word) => word === '' || /['"#\\\n]/.test(word))) return undefined;
  return command.map((word) => (/\s/.test(word) ? `'${word}'` : word)).join(' ');
}
