/**
 * Runs bpftool: one typed method for each of its verbs. It hides what bpftool requires of a caller:
 *
 * - With `-j` a failure is `{"error":...}` on standard output, and the exit status differs by verb (bpftool
 *   src/common.c p_err, src/main.c). So both are checked.
 * - Without `-n` bpftool mounts a bpffs over any directory in which it shall pin something.
 *
 * It does not detach: see src/attachment/end.sh.
 */
import type { Readable } from 'node:stream';
import { XdpwhoError } from '../model/errors.js';
import { parseToolJson, stringIn } from '../model/json-values.js';
import type { XdpMode } from '../model/records.js';
import {
  batchLine,
  bpftoolArguments,
  type CommandLine,
  inMountNamespace,
  inNetns,
  type LoadProgramsOptions,
  onCpu,
  withLockedMemory,
} from './bpftool-arguments.js';
import { BpftoolError } from './bpftool-error.js';
import {
  batchOutputIn,
  type MapInfo,
  mapInfoIn,
  type ProgramInfo,
  type ProgramRun,
  programInfoIn,
  programRunIn,
  type XdpAttachment,
  xdpAttachmentsIn,
} from './bpftool-output.js';
import { type RunOptions, type RunResult, run, runStreaming } from './exec.js';

interface BpftoolOptions {
  /** Absolute path of bpftool. */
  readonly path: string;
  /** Run in the mount namespace of this file. */
  readonly mountNamespacePath?: string | undefined;
  /** Time limit of one command; default 30 s. */
  readonly timeoutMs?: number | undefined;
}

/** Options of one call. */
export type CallOptions = Pick<RunOptions, 'signal' | 'keepOpen'>;

interface BatchOptions extends CallOptions {
  /** Run in this network namespace. */
  readonly netnsPath?: string | undefined;
  /** See withLockedMemory. */
  readonly withoutMemoryLimit?: boolean | undefined;
  /** See onCpu. */
  readonly cpu?: number | undefined;
}

/** The outputs of the commands before the first that failed, and its failure. */
export interface BatchResult {
  readonly outputs: readonly unknown[];
  readonly failure: XdpwhoError | undefined;
}

interface BatchOutput {
  readonly output: unknown;
  readonly failure: undefined;
}

interface BatchFailure {
  readonly output: undefined;
  readonly failure: XdpwhoError;
}

/** Every method rejects with a BpftoolError, or with `tool-missing`, `timeout` or `bad-output`. */
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

  /** Loads the program of an object and pins it at `pin`. */
  async loadProgram(
    object: string,
    pin: string,
    type: 'xdp' | 'classifier' = 'xdp',
  ): Promise<void> {
    await this.#json('prog load', bpftoolArguments.loadProgram(object, pin, {}, type));
  }

  /** Loads every program of an object, and pins each by its name in a new directory. */
  async loadPrograms(
    object: string,
    directory: string,
    options: LoadProgramsOptions = {},
  ): Promise<void> {
    await this.#json('prog loadall', bpftoolArguments.loadPrograms(object, directory, options));
  }

  /** Writes a pinned program to index 0 of a pinned program array. */
  async setProgramArray(map: string, pin: string): Promise<void> {
    await this.#json('map update', bpftoolArguments.setProgramArray(map, pin));
  }

  /** Loads the traffic classifier (`SEC("tc")`) of an object, and pins it and its maps. */
  async loadClassifier(object: string, pin: string, mapsDirectory: string): Promise<void> {
    await this.#json('prog load', bpftoolArguments.loadClassifier(object, pin, mapsDirectory));
  }

  async showProgram(pin: string): Promise<ProgramInfo> {
    return this.#programInfo(await this.#json('prog show', bpftoolArguments.showProgram(pin)));
  }

  /** Needs CAP_SYS_ADMIN. To show a pinned program does not. */
  async showProgramById(id: number): Promise<ProgramInfo> {
    return this.#programInfo(await this.#json('prog show', bpftoolArguments.showProgramById(id)));
  }

  /** Runs a pinned program `repeat` times on the frame in the file `input`. */
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
   * Runs commands of `bpftoolArguments` in order, in one process, up to the first that fails. Rejects only
   * if that process itself fails, for example by its time limit. If a word cannot stand in a batch, each
   * command gets a process of its own.
   */
  async batch(
    commands: readonly (readonly string[])[],
    options: BatchOptions = {},
  ): Promise<BatchResult> {
    const lines = commands.map(batchLine);
    if (lines.includes(undefined)) return this.#oneByOne(commands, options);
    const input = `${lines.join('\n')}\n`;
    const { netnsPath, withoutMemoryLimit, cpu, ...callOptions } = options;
    const own = onCpu(cpu, { file: this.path, args: bpftoolArguments.batch() });
    const command = withoutMemoryLimit === true ? withLockedMemory(own) : own;
    const announce = commands.map((args) => inNetns(netnsPath, { file: this.path, args }));
    const result = await this.#run(command, { ...callOptions, input, announce }, netnsPath);
    const batch = batchOutputIn(result.exitCode === undefined ? '' : result.stdout);
    if (batch === undefined) throw this.#failure('batch', result);
    const { outputs, isEndDoubtful } = batch;
    const reported = outputs.findIndex((output) => stringIn(output, 'error') !== undefined);
    const isComplete = outputs.length === commands.length && reported < 0;
    if (isComplete && (!result.failed || isEndDoubtful)) return { outputs, failure: undefined };
    const failed = reported >= 0 ? reported : Math.max(0, outputs.length - 1);
    const verb = verbOf(commands[failed] ?? []);
    const stdout = JSON.stringify(outputs[failed] ?? null);
    return {
      outputs: outputs.slice(0, failed),
      failure: this.#failure(verb, { ...result, stdout }),
    };
  }

  /**
   * Runs commands that do not depend on each other, and returns the output or the failure of each. It
   * starts one process, and one more after each command that failed.
   */
  async ask(
    commands: readonly (readonly string[])[],
    options: BatchOptions = {},
  ): Promise<readonly (BatchOutput | BatchFailure)[]> {
    const answers: (BatchOutput | BatchFailure)[] = [];
    while (answers.length < commands.length) {
      const { outputs, failure } = await this.batch(commands.slice(answers.length), options);
      answers.push(...outputs.map((output) => ({ output, failure: undefined })));
      if (failure !== undefined) answers.push({ output: undefined, failure });
    }
    return answers;
  }

  async #oneByOne(
    commands: readonly (readonly string[])[],
    { netnsPath, ...options }: BatchOptions,
  ): Promise<BatchResult> {
    const outputs: unknown[] = [];
    for (const words of commands) {
      try {
        outputs.push(await this.#json(verbOf(words), words, options, netnsPath));
      } catch (error) {
        if (!(error instanceof XdpwhoError)) throw error;
        return { outputs, failure: error };
      }
    }
    return { outputs, failure: undefined };
  }

  async showMap(pin: string): Promise<MapInfo> {
    const value = await this.#json('map show', bpftoolArguments.showMap(pin));
    return mapInfoIn(value) ?? this.#unexpected('map show', value);
  }

  /** The entries of a small map, as bpftool prints them, with bytes as hexadecimal texts. */
  async dumpMap(pin: string): Promise<readonly unknown[]> {
    const value = await this.#json('map dump', bpftoolArguments.dumpMap(pin));
    return Array.isArray(value) ? value : this.#unexpected('map dump', value);
  }

  /**
   * The text of `map dump -j`, for maps of any size. The caller must read `stdout` to its end or abort
   * `signal`, and then await `finish`, which rejects if bpftool failed or ran into the time limit.
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

  /** Loads the iterator of an object for the map pinned at `map`, and pins it as the file `pin`. */
  async pinIterator(
    object: string,
    pin: string,
    map: string,
    options: CallOptions = {},
  ): Promise<void> {
    await this.#json('iter pin', bpftoolArguments.pinIterator(object, pin, map), options);
  }

  /** Without `overwrite` it fails with errno EBUSY or EEXIST if the interface has a program. */
  async attach(
    mode: XdpMode,
    pin: string,
    device: string,
    netnsPath: string | undefined,
    options: CallOptions & { readonly overwrite?: boolean | undefined } = {},
  ): Promise<void> {
    const { overwrite, ...callOptions } = options;
    const args = bpftoolArguments.attach(mode, pin, device, overwrite);
    await this.#json('net attach', args, callOptions, netnsPath);
  }

  /** Pins the link with this id, which takes CAP_SYS_ADMIN. */
  async pinLink(id: number, pin: string): Promise<void> {
    await this.#json('link pin', bpftoolArguments.pinLink(id, pin));
  }

  /** Every XDP program that is attached in the namespace. */
  async showNet(netnsPath: string | undefined): Promise<readonly XdpAttachment[]> {
    const value = await this.#json('net show', bpftoolArguments.showNet(), {}, netnsPath);
    return xdpAttachmentsIn(value) ?? this.#unexpected('net show', value);
  }

  async #json(
    verb: string,
    args: readonly string[],
    options: CallOptions = {},
    netnsPath?: string,
  ): Promise<unknown> {
    const own = { file: this.path, args };
    const command = verb === 'iter pin' ? withLockedMemory(own) : own;
    const result = await this.#run(command, options, netnsPath);
    if (result.failed) throw this.#failure(verb, result);
    if (result.stdout.trim() === '') return null;
    const value = jsonIn(result.stdout);
    if (value === undefined) {
      throw new XdpwhoError('bad-output', `bpftool ${verb}: not JSON: ${shown(result.stdout)}`, {
        hint: 'xdpwho doctor',
      });
    }
    if (stringIn(value, 'error') !== undefined) throw new BpftoolError(verb, result);
    return value;
  }

  #run(
    command: CommandLine,
    options: RunOptions,
    netnsPath: string | undefined,
  ): Promise<RunResult> {
    const { mountNamespacePath, timeoutMs } = this.#options;
    const { file, args } = inMountNamespace(mountNamespacePath, inNetns(netnsPath, command));
    return run(file, args, { timeoutMs, ...options });
  }

  /** The error for a command that failed. */
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
    return programInfoIn(value) ?? this.#unexpected('prog show', value);
  }

  #unexpected(verb: string, value: unknown): never {
    throw new XdpwhoError(
      'bad-output',
      `bpftool ${verb}: unexpected output: ${shown(JSON.stringify(value))}`,
      { hint: 'xdpwho doctor' },
    );
  }
}

/** The object and the command, `prog load`: the first two words that are not options. */
function verbOf(words: readonly string[]): string {
  return words
    .filter((word) => !word.startsWith('-'))
    .slice(0, 2)
    .join(' ');
}

/** Undefined for text that is no JSON. */
function jsonIn(text: string): unknown {
  try {
    return parseToolJson(text);
  } catch {
    return undefined;
  }
}

function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
