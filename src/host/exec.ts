/**
 * Runs other programs. Only this module imports execa. Arguments are lists and never the text of a
 * shell. The environment is fixed, so that neither the user's PATH nor a locale changes what runs or
 * what it prints.
 */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { execa } from 'execa';
import { XdpwhoError } from '../model/errors.js';
import { announceCommand } from './command-log.js';
import { noteRunning } from './running.js';
import { isExecutableFile, TOOL_DIRECTORIES } from './tools.js';

const ENVIRONMENT = {
  PATH: TOOL_DIRECTORIES.join(':'),
  LC_ALL: 'C',
  // With this, GNU getopt stops at the first word that is no option, so an interface may be named "-x".
  POSIXLY_CORRECT: '1',
};

const MAX_OUTPUT_CHARACTERS = 8 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 30_000;

export interface RunOptions {
  /** Default 30 s. Then the child gets SIGTERM, and SIGKILL one second later. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The child gets it as descriptor 3, so that the other end of this pipe does not close before the child has ended. */
  readonly keepOpen?: Writable | undefined;
  /** Written to the child's standard input. */
  readonly input?: string | undefined;
  /** The commands that `-v` prints instead of this one: those of a batch. */
  readonly announce?: readonly { readonly file: string; readonly args: readonly string[] }[];
}

export interface RunResult {
  /** Undefined if it did not start, or if a signal ended it. */
  readonly exitCode: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
  readonly failed: boolean;
  readonly timedOut: boolean;
  /** The program does not exist or is not executable. */
  readonly missing: boolean;
}

/**
 * Runs a program to its end. Does not reject if the program fails. Every child has a session of its own, so
 * Ctrl-C does not reach a command in the middle of its work.
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

interface StreamedCommand {
  readonly stdout: Readable;
  /** Resolves when the child has ended. Never rejects. */
  readonly ended: Promise<RunResult>;
}

/** Runs a program whose output is too large for memory. A caller that stops reading early must abort `signal`. */
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

/** A child that may outlive us and that answers in lines. It sees our end as the end of its standard input. */
export interface Companion {
  readonly pid: number;
  readonly stdin: Writable;
  /**
   * Resolves when it has ended, with the signal that ended it or null. This does not wait for the processes
   * that it started. Never rejects.
   */
  readonly ended: Promise<NodeJS.Signals | null>;
  /** The next line of its standard output or standard error. Undefined after its end. Never rejects. */
  nextLine(): Promise<string | undefined>;
  /** Stops reading its output. Of its descriptors, only the one of its input stays open. */
  closeOutput(): void;
  /** Sends SIGKILL to it and to the processes that it started, if it has not ended. */
  kill(): void;
}

/** Starts a child in a session of its own. It is not ended when we end. */
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
  // The child may end while we write to it. `ended` reports that.
  subprocess.stdin.on('error', () => {});
  if (subprocess.pid === undefined) {
    if (!isExecutableFile(file)) {
      throw new XdpwhoError('tool-missing', `${file}: cannot be started`);
    }
    throw new XdpwhoError(
      'tool-missing',
      `${file}: cannot be started: no process or memory left?`,
      {
        hint: 'ulimit -u, and pids.max of the service or container',
      },
    );
  }
  const { pid } = subprocess;
  let hasEnded = false;
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    subprocess.once('exit', (_, signal) => {
      hasEnded = true;
      resolve(signal);
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

/** Returns a function that gives the lines of a stream one by one, and undefined after its end. */
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

/** If the process has no descriptors left, Node starts no streams for the child, and execa throws. */
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
