/**
 * Runs other programs: the only module that imports execa. Arguments are always vectors, never a
 * shell's text, and the environment is fixed, so that neither a user's PATH nor a locale changes
 * what runs or what it prints.
 */
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { accessSync, constants, statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { execa } from 'execa';
import { XdpwhoError } from './errors.js';

/** Where tools are looked for, in this order: never in the caller's PATH. */
export const TOOL_DIRECTORIES = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
] as const;

const ENVIRONMENT = {
  PATH: TOOL_DIRECTORIES.join(':'),
  LC_ALL: 'C',
  // GNU getopt then stops at the first word, so an interface named "-x" is not taken for an option.
  POSIXLY_CORRECT: '1',
};

const MAX_OUTPUT_CHARACTERS = 8 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 30_000;

/** What `observeCommands` hands over. */
export type CommandListener = (file: string, args: readonly string[]) => void;

const COMMANDS = channel('xdpwho:command');

/** Tells of every command that this process runs, just before it runs (`-v`). Returns what ends the telling. */
export function observeCommands(listener: CommandListener): () => void {
  const onMessage = (message: unknown) => {
    if (message instanceof StartedCommand) listener(message.file, message.args);
  };
  subscribe('xdpwho:command', onMessage);
  return () => {
    unsubscribe('xdpwho:command', onMessage);
  };
}

class StartedCommand {
  readonly file: string;
  readonly args: readonly string[];

  constructor(file: string, args: readonly string[]) {
    this.file = file;
    this.args = args;
  }
}

export interface RunOptions {
  /** Default 30 s; the child is then ended, by SIGKILL if it must be. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Shared with the child as descriptor 3, so that its other end sees no end before the child has ended too. */
  readonly keepOpen?: Writable | undefined;
  /** Written to the child's standard input. */
  readonly input?: string | undefined;
}

export interface RunResult {
  /** Undefined when it never started or was ended by a signal. */
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly failed: boolean;
  readonly timedOut: boolean;
  /** The program is not there or not executable. */
  readonly missing: boolean;
}

/**
 * Runs a program to its end and returns what it did; a child that fails does not reject. Children
 * run in a session of their own: Ctrl-C reaches us, and never a command in the middle of its work.
 */
export async function run(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  COMMANDS.publish(new StartedCommand(file, args));
  const result = await execa(file, args, {
    ...isolated(options.signal),
    reject: false,
    stripFinalNewline: true,
    timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    maxBuffer: MAX_OUTPUT_CHARACTERS,
    ...(options.input === undefined ? {} : { input: options.input }),
    stdio: [
      options.input === undefined ? 'ignore' : 'pipe',
      'pipe',
      'pipe',
      options.keepOpen ?? 'ignore',
    ],
  });
  return {
    exitCode: result.exitCode,
    signal: result.signal,
    stdout: textOf(result.stdout),
    stderr: textOf(result.stderr),
    failed: result.failed,
    timedOut: result.timedOut,
    missing: result.code === 'ENOENT' || result.code === 'EACCES',
  };
}

export interface StreamedCommand {
  readonly stdout: Readable;
  /** Settles when the child has ended; never rejects. */
  readonly ended: Promise<RunResult>;
}

/** Runs a program whose output is too large to hold. Whoever stops reading early must abort `signal`. */
export function runStreaming(
  file: string,
  args: readonly string[],
  options: RunOptions & { readonly signal: AbortSignal },
): StreamedCommand {
  COMMANDS.publish(new StartedCommand(file, args));
  const subprocess = execa(file, args, {
    ...isolated(options.signal),
    reject: false,
    timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    buffer: { stdout: false, stderr: true },
    maxBuffer: MAX_OUTPUT_CHARACTERS,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ended = subprocess.then((result) => ({
    exitCode: result.exitCode,
    signal: result.signal,
    stdout: '',
    stderr: textOf(result.stderr),
    failed: result.failed,
    timedOut: result.timedOut,
    missing: result.code === 'ENOENT' || result.code === 'EACCES',
  }));
  return { stdout: subprocess.stdout, ended };
}

/** A child that is to outlive us: its standard input is the only thing that ties it to us. */
export interface Companion {
  readonly pid: number;
  readonly stdin: Writable;
  /** Settles when it has ended; never rejects. */
  readonly ended: Promise<void>;
}

/** Starts a child in a session of its own that our end does not end. It sees our end as the end of its input. */
export function startCompanion(file: string, args: readonly string[]): Companion {
  const subprocess = execa(file, args, {
    ...isolated(undefined),
    reject: false,
    cleanup: false,
    buffer: false,
    stdin: 'pipe',
    stdout: 'ignore',
    stderr: 'ignore',
  });
  // Its end while we write is no news: `ended` tells.
  subprocess.stdin.on('error', () => {});
  if (subprocess.pid === undefined) {
    throw new XdpwhoError('tool-missing', `${file}: cannot be started`);
  }
  return {
    pid: subprocess.pid,
    stdin: subprocess.stdin,
    ended: subprocess.then(
      () => undefined,
      () => undefined,
    ),
  };
}

/** The absolute path of a tool in the fixed directories, or undefined. */
export function findTool(name: string): string | undefined {
  return TOOL_DIRECTORIES.map((directory) => `${directory}/${name}`).find(isExecutableFile);
}

/** Like findTool, but a tool that is absent is an error that says how to get it. */
export function requireTool(name: string, hint?: string): string {
  const path = findTool(name);
  if (path === undefined) {
    throw new XdpwhoError('tool-missing', `${name}: not found in ${TOOL_DIRECTORIES.join(' ')}`, {
      hint: hint ?? 'xdpwho doctor',
    });
  }
  return path;
}

/** Whether `path` names a regular file, by an absolute path, that may be executed. */
export function isExecutableFile(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return isAbsolute(path) && statSync(path).isFile();
  } catch {
    return false;
  }
}

function isolated(signal: AbortSignal | undefined) {
  return {
    env: ENVIRONMENT,
    extendEnv: false,
    detached: true,
    cwd: '/',
    forceKillAfterDelay: 1000,
    ...(signal === undefined ? {} : { cancelSignal: signal }),
  } as const;
}

function textOf(output: unknown): string {
  return typeof output === 'string' ? output : '';
}
