/**
 * Runs other programs: the only module that imports execa. Arguments are always vectors, never a
 * shell's text, and the environment is fixed, so that neither a user's PATH nor a locale changes
 * what runs or what it prints.
 */
import { once } from 'node:events';
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { execa } from 'execa';
import { announceCommand } from './command-channel.js';
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
  announceCommand(file, args);
  const result = await begun(file, () =>
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
        options.keepOpen ?? 'ignore',
      ],
    }),
  );
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
  const start = () => execa(file, args, { ...tiedByInput(), stdout: 'ignore' });
  return companionOf(file, begun(file, start));
}

/** A companion that says a line when it is ready. */
export interface AnnouncedCompanion extends Companion {
  /** That line, or what it says of its failure; empty when it ends without a word. Never rejects. */
  readonly firstLine: Promise<string>;
}

/** Starts a companion that prints one line when it is ready, and nothing after that. */
export function startAnnouncedCompanion(file: string, args: readonly string[]): AnnouncedCompanion {
  const subprocess = begun(file, () =>
    execa(file, args, { ...tiedByInput(), stdout: 'pipe', stderr: 'pipe', all: true }),
  );
  const lines = createInterface({ input: subprocess.all });
  const firstLine = Promise.race([
    once(lines, 'line').then(([line]) => String(line)),
    once(lines, 'close').then(() => ''),
  ]);
  return { ...companionOf(file, subprocess), firstLine };
}

/** A companion that answers, a line at a time, what is written to its input. */
export interface AnsweringCompanion extends Companion {
  /** What it prints. */
  readonly lines: AsyncIterator<string>;
  /** The beginning of what it has said on standard error so far. */
  complaint(): string;
  /** Listens no more, which leaves of the descriptors that it costs us only the one of its input. */
  closeOutput(): void;
  /** Ends it at once, with what it has started. */
  kill(): void;
}

const MAX_COMPLAINT_CHARACTERS = 8192;

/** Starts a companion that answers. Its `ended` does not wait for what it may have started in its turn. */
export function startAnsweringCompanion(file: string, args: readonly string[]): AnsweringCompanion {
  announceCommand(file, args);
  const subprocess = begun(file, () =>
    execa(file, args, { ...tiedByInput(), stdout: 'pipe', stderr: 'pipe' }),
  );
  const companion = companionOf(file, subprocess);
  let hasEnded = false;
  const ended = new Promise<void>((resolve) => {
    subprocess.once('exit', () => {
      hasEnded = true;
      resolve();
    });
  });
  let complaint = '';
  subprocess.stderr.on('data', (chunk) => {
    if (complaint.length < MAX_COMPLAINT_CHARACTERS) complaint += String(chunk);
  });
  return {
    ...companion,
    ended,
    lines: createInterface({ input: subprocess.stdout })[Symbol.asyncIterator](),
    complaint: () => complaint,
    closeOutput: () => {
      subprocess.stdout.destroy();
      subprocess.stderr.destroy();
    },
    kill: () => {
      // Its number may be somebody else's by then.
      if (hasEnded) return;
      try {
        process.kill(-companion.pid, 'SIGKILL');
      } catch {
        // It has ended, or it is of another user: then the end of its input must do.
      }
    },
  };
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

function tiedByInput() {
  return {
    ...isolated(undefined),
    reject: false,
    cleanup: false,
    buffer: false,
    stdin: 'pipe',
    stderr: 'ignore',
  } as const;
}

function companionOf(
  file: string,
  subprocess: {
    readonly pid?: number | undefined;
    readonly stdin: Writable;
  } & PromiseLike<unknown>,
): Companion {
  // Its end while we write is no news: `ended` tells.
  subprocess.stdin.on('error', () => {});
  if (subprocess.pid === undefined) {
    throw new XdpwhoError('tool-missing', `${file}: cannot be started`);
  }
  return {
    pid: subprocess.pid,
    stdin: subprocess.stdin,
    ended: Promise.resolve(
      subprocess.then(
        () => undefined,
        () => undefined,
      ),
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
