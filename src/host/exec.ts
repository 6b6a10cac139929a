/**
 * Runs other programs: the only module that imports execa. Arguments are always vectors, never a
 * shell's text, and the environment is fixed, so that neither a user's PATH nor a locale changes
 * what runs or what it prints.
 */
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { execa } from 'execa';
import { XdpwhoError } from '../model/errors.js';
import { announceCommand } from './command-log.js';
import { noteRunning } from './running.js';

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

export interface RunOptions {
  /** Default 30 s; the child is then ended, by SIGKILL if it must be. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Shared with the child as descriptor 3, so that its other end sees no end before the child has ended too. */
  readonly keepOpen?: Writable | undefined;
  /** Written to the child's standard input. */
  readonly input?: string | undefined;
  /** What `-v` tells in its place: the commands that the child runs, where it is a batch of them. */
  readonly announce?: readonly { readonly file: string; readonly args: readonly string[] }[];
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
  for (const told of options.announce ?? [{ file, args }]) announceCommand(told.file, told.args);
  const subprocess = begun(file, () =>
    execa(file, args, {
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
        options.keepOpen?.destroyed === false ? options.keepOpen : 'ignore',
      ],
    }),
  );
  noteRunning(subprocess);
  const result = await subprocess;
  return {
    exitCode: result.exitCode,
    signal: result.signal,
    stdout: textOf(result.stdout),
    stderr: textOf(result.stderr),
    // The end of the pipe that it shares is no failure of the command itself.
    failed: result.failed && !(options.keepOpen?.destroyed === true && result.exitCode === 0),
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
  announceCommand(file, args);
  const subprocess = begun(file, () =>
    execa(file, args, {
      ...isolated(options.signal),
      reject: false,
      timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      buffer: { stdout: false, stderr: true },
      maxBuffer: MAX_OUTPUT_CHARACTERS,
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
  noteRunning(subprocess);
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

/** A child that outlives us, and talks to us in lines. Only its standard input ties it to us. */
export interface Companion {
  readonly pid: number;
  readonly stdin: Writable;
  /** Settles when it has ended, which does not wait for what it has started in its turn; never rejects. */
  readonly ended: Promise<void>;
  /** The next line that it prints, on either stream; undefined when it has ended. Never rejects. */
  nextLine(): Promise<string | undefined>;
  /** Listens no more, which leaves of the descriptors that it costs us only the one of its input. */
  closeOutput(): void;
  /** Ends it by SIGKILL, with what it has started, if it has not ended. */
  kill(): void;
}

/** Starts a child in a session of its own that our end does not end: it sees our end as the end of its input. */
export function startCompanion(file: string, args: readonly string[]): Companion {
  const subprocess = begun(file, () =>
    execa(file, args, {
      ...isolated(undefined),
      reject: false,
      cleanup: false,
      buffer: false,
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
      all: true,
    }),
  );
  // The child may end while we write to it. `ended` tells of that.
  subprocess.stdin.on('error', () => {});
  if (subprocess.pid === undefined) {
    throw new XdpwhoError('tool-missing', `${file}: cannot be started`);
  }
  const { pid } = subprocess;
  let hasEnded = false;
  const ended = new Promise<void>((resolve) => {
    subprocess.once('exit', () => {
      hasEnded = true;
      resolve();
    });
  });
  return {
    pid,
    stdin: subprocess.stdin,
    ended,
    nextLine: linesOf(subprocess.all),
    closeOutput: () => {
      subprocess.stdout.destroy();
      subprocess.stderr.destroy();
    },
    kill: () => {
      // Its number may be another process's by then.
      if (hasEnded) return;
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // It has ended, or it is of another user: then the end of its input must do.
      }
    },
  };
}

/** Gives the lines of a stream one by one, and undefined after its end. */
function linesOf(stream: Readable): () => Promise<string | undefined> {
  const unread: string[] = [];
  const waiting: ((line: string | undefined) => void)[] = [];
  let closed = false;
  const lines = createInterface({ input: stream });
  lines.on('line', (line) => {
    const waiter = waiting.shift();
    if (waiter === undefined) unread.push(line);
    else waiter(line);
  });
  lines.once('close', () => {
    closed = true;
    for (const waiter of waiting.splice(0)) waiter(undefined);
  });
  return () =>
    new Promise((resolve) => {
      if (unread.length > 0 || closed) resolve(unread.shift());
      else waiting.push(resolve);
    });
}

/** Out of descriptors, Node gives a child without streams, and execa fails of that. */
function begun<T>(file: string, start: () => T): T {
  try {
    return start();
  } catch (cause) {
    throw new XdpwhoError('failed', `${file}: cannot be started: no file descriptor left?`, {
      hint: 'ulimit -n 1024',
      cause,
    });
  }
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

/**
 * The first of a program's file and the directories above it, behind links too, that somebody
 * other than root and us could put something else in place of; undefined where there is none.
 */
export function exposedPart(path: string): string | undefined {
  for (const start of new Set([path, realpathSync(path)])) {
    for (let part = start, height = 0; ; part = dirname(part), height++) {
      const { uid, gid, mode } = statSync(part);
      const others = (mode & 0o002) !== 0;
      const group = (mode & 0o020) !== 0 && gid !== 0 && gid !== process.getegid?.();
      // What is in a sticky directory only its owner replaces; its own programs anybody may have put there.
      const sticky = (mode & 0o1000) !== 0 && height > 1;
      if ((uid !== 0 && uid !== process.geteuid?.()) || ((others || group) && !sticky)) return part;
      if (part === dirname(part)) break;
    }
  }
  return undefined;
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
