/**
 * The start of the command line: runs one command, and turns signals, a closed output and errors into
 * an exit code. Only this file prints errors that end a run, handles signals or sets the exit code.
 */

import { readFileSync } from 'node:fs';
import { type CommandContext, endingExitCode, Interruption } from './cli/context.js';
import { errorLines, Messages } from './cli/messages.js';
import { emptied, errorRecord } from './cli/output.js';
import { type CommandInvocation, type Invocation, parseCommandLine } from './cli/parser.js';
import { DEFAULT_VERB, VERBS } from './commands/verbs.js';
import type { Bpftool } from './host/bpftool.js';
import { packageFile } from './host/package-files.js';
import { killRunning } from './host/running.js';
import { nearNames } from './model/did-you-mean.js';
import { systemErrorCode, XdpwhoError } from './model/errors.js';
import { propertyOf } from './model/json-values.js';
import type { ErrorRecord } from './model/records.js';
import { namedObjectsDirectory, ownObjectsDirectory } from './objects/files.js';
import { usesColor } from './text/color.js';
import { renderDocument, stringifyRecord } from './text/json.js';
import { printable } from './text/text.js';

/** Hints for errors of the operating system that any call can meet. */
const RESOURCE_HINTS: Readonly<Record<string, string>> = {
  EMFILE: 'ulimit -n 1024',
  ENFILE: 'sysctl fs.file-max',
  EAGAIN: 'ulimit -u, and pids.max of the service or container',
  ENOMEM: 'free -m',
  ENOSPC: 'df /run /tmp, or set TMPDIR',
  EDQUOT: 'df /run /tmp, or set TMPDIR',
  EROFS: 'df /run /tmp, or set TMPDIR',
};

/** The signals that end a run in order. */
const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;

/**
 * Signals within this time are one request to end: timeout(1) signals its child and then the child's
 * process group, and a key that is held down repeats.
 */
const SAME_REQUEST_MS = 500;

/** build.mjs replaces it by a string. */
declare const XDPWHO_VERSION: string;

void start(process.argv.slice(2));

async function start(words: readonly string[]): Promise<void> {
  const listener = listen();
  const exitCode = await main(words, listener.signal).catch((error) => report(error, words));
  listener.stop();
  // Node waits until everything is taken. Where the run was ended before that, the rest is discarded.
  if (listener.signal.aborted) process.exit(exitCode);
  process.exitCode = exitCode;
}

async function main(words: readonly string[], signal: AbortSignal): Promise<number> {
  const invocation = await parseCommandLine(words, {
    verbs: VERBS,
    defaultVerb: DEFAULT_VERB,
    version: packageVersion(),
  });
  let exitCode = 0;
  try {
    if (invocation.kind === 'text') process.stdout.write(invocation.text);
    else exitCode = await runCommand(invocation, contextFor(invocation, signal));
  } catch (error) {
    if (!signal.aborted || !isAbort(error, signal)) throw withHint(error, invocation);
    exitCode = endingExitCode(signal);
  }
  // A full disk reports its error only when everything is written.
  const isTaken = await emptied(process.stdout, signal);
  const reason: unknown = signal.reason;
  if (signal.aborted && !(reason instanceof Interruption)) throw reason;
  const stands = invocation.kind === 'command' && invocation.changesHost;
  return isTaken || stands ? exitCode : endingExitCode(signal);
}

/** A failure of bpftool is looked at once more: bpftool itself may be too old, or not work at all. */
async function runCommand({ run }: CommandInvocation, context: CommandContext): Promise<number> {
  try {
    return await run(context);
  } catch (error) {
    if (!(error instanceof XdpwhoError) || error.code !== 'tool-failed') throw error;
    const { explainFailure } = await import('./host/find-bpftool.js');
    throw await explainFailure(await context.bpftool(), error);
  }
}

function contextFor({ options }: CommandInvocation, signal: AbortSignal): CommandContext {
  const { stdout, stderr } = process;
  let bpftool: Promise<Bpftool> | undefined;
  return {
    // Node opens it at the first access, which takes time: only commands that read keys need it.
    get stdin() {
      return process.stdin;
    },
    stdout,
    stderr,
    signal,
    messages: new Messages((text) => stderr.write(text), options),
    color: usesColor(options.noColor ? 'never' : options.color, stdout.isTTY, process.env),
    bpftool: async () => {
      bpftool ??= (await import('./host/find-bpftool.js')).findBpftool({ path: options.bpftool });
      return bpftool;
    },
    version: packageVersion(),
    objectsDirectory:
      options.objects === undefined
        ? ownObjectsDirectory()
        : namedObjectsDirectory(options.objects),
  };
}

/**
 * The signal aborts when the run is to end. Its first reason counts. A signal to the process that
 * comes while the run is ending exits at once: then the guards of its attachments detach.
 */
function listen(): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  let endingSinceMs: number | undefined;
  const abort = (reason: Error) => {
    endingSinceMs ??= performance.now();
    controller.abort(reason);
  };
  const handlers = SIGNALS.map((name) => {
    const onSignal = () => {
      const interruption = new Interruption(name);
      if (endingSinceMs !== undefined && performance.now() - endingSinceMs > SAME_REQUEST_MS) {
        // A guard waits for the programs that share its pipe.
        killRunning();
        process.exit(interruption.exitCode);
      }
      abort(interruption);
    };
    process.on(name, onSignal);
    return { name, onSignal };
  });
  // An error that no promise of the command carries is a bug, and no reason to stay attached.
  process.on('uncaughtException', abort);
  process.stdout.on('error', (error) => {
    const isClosed = systemErrorCode(error) === 'EPIPE';
    abort(isClosed ? new Interruption('closed output') : outputFailure(error));
  });
  // Nobody reads it, so nobody can be told.
  process.stderr.on('error', () => {});
  // From then on an error ends the process as Node does it.
  const stop = () => {
    process.off('uncaughtException', abort);
    for (const { name, onSignal } of handlers) process.off(name, onSignal);
  };
  return { signal: controller.signal, stop };
}

function outputFailure(cause: Error): XdpwhoError {
  return new XdpwhoError('failed', `standard output: ${cause.message}`, { cause });
}

/** Whether an error says only that the run was aborted, in Node's form or in ours. */
function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError');
}

/** The error with the hint that follows from the command line. */
function withHint(error: unknown, invocation: Invocation): unknown {
  if (!(error instanceof XdpwhoError) || invocation.kind !== 'command') return error;
  const hint = hintFor(error, invocation);
  return new XdpwhoError(error.code, error.message, {
    hint,
    retry: error.retry,
    detail: error.detail,
    cause: error,
  });
}

function hintFor(
  { code, message, hint }: XdpwhoError,
  { named, words, help }: CommandInvocation,
): string | undefined {
  if (code === 'usage') return hint ?? help;
  const [word, ...rest] = words;
  if (named || word === undefined || code !== 'no-such-interface') return hint;
  // The parser takes a misspelt verb for an interface.
  if (!message.startsWith(`${printable(word)}: `)) return hint;
  const verbs = VERBS.map((each) => each.verb);
  const [verb] = nearNames(word, verbs);
  return verb === undefined ? hint : `did you mean: ${['xdpwho', verb, ...rest].join(' ')}`;
}

/** Prints an error for people, and as a record where records were asked for. Returns the exit code. */
function report(error: unknown, words: readonly string[]): number {
  const lack = RESOURCE_HINTS[systemErrorCode(error) ?? ''];
  if (lack !== undefined && error instanceof Error) {
    return report(new XdpwhoError('failed', error.message, { hint: lack, cause: error }), words);
  }
  if (!(error instanceof XdpwhoError)) return reportBug(error, words);
  for (const line of [...errorLines(error), ...(error.detail?.split('\n') ?? [])]) {
    process.stderr.write(`${printable(line)}\n`);
  }
  printErrorRecord(errorRecord(error), words);
  return error.exitCode;
}

function reportBug(error: unknown, words: readonly string[]): number {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const message = `internal error: ${what.replace(/\s+/g, ' ')}, please report`;
  process.stderr.write(`xdpwho: ${printable(message)}\n`);
  if (error instanceof Error && words.some((word) => /^(-[a-z]*v[a-z]*|--verbose)$/.test(word))) {
    process.stderr.write(`${error.stack}\n`);
  }
  printErrorRecord(errorRecord({ code: 'internal', message }), words);
  return 1;
}

function printErrorRecord(record: ErrorRecord, words: readonly string[]): void {
  const format = requestedFormat(words);
  if (format === 'json') process.stdout.write(`${renderDocument(record)}\n`);
  if (format === 'ndjson') process.stdout.write(`${stringifyRecord(record)}\n`);
}

/** The format that the words ask for. A wrong command line has no parsed options. */
function requestedFormat(words: readonly string[]): string | undefined {
  const own = words.slice(0, words.includes('--') ? words.indexOf('--') : undefined);
  return own
    .flatMap((word, index) => {
      // -o may stand behind letters that take no value.
      if (/^(-[a-z]*o|--output)$/.test(word)) return own[index + 1] ?? [];
      return /^(?:-[a-z]*o=|--output=|--)(json|ndjson)$/.exec(word)?.[1] ?? [];
    })
    .at(-1);
}

function packageVersion(): string {
  if (typeof XDPWHO_VERSION === 'string') return XDPWHO_VERSION;
  const value: unknown = JSON.parse(readFileSync(packageFile('package.json'), 'utf8'));
  return String(propertyOf(value, 'version'));
}
