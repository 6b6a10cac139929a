/**
 * The command line: runs one command, and turns signals, a closed output and errors into an exit
 * code. The only place that prints errors, handles signals or sets the exit code.
 */

import { readFileSync } from 'node:fs';
import { type CommandContext, Interruption } from './cli/context.js';
import { Talk } from './cli/messages.js';
import { type CommandInvocation, type Invocation, parseCommandLine } from './cli/parser.js';
import { DEFAULT_VERB, VERBS } from './commands/verbs.js';
import type { Bpftool } from './host/bpftool.js';
import { packageFile } from './host/package-files.js';
import { nearNames } from './model/did-you-mean.js';
import { systemErrorCode, XdpwhoError } from './model/errors.js';
import { propertyOf } from './model/json-values.js';
import type { ErrorRecord } from './model/records.js';
import { ownObjectsDirectory } from './objects/files.js';
import { usesColor } from './text/color.js';
import { renderDocument, stringifyRecord } from './text/json.js';
import { printable } from './text/text.js';

/** What any call may fail of, and what mends it. */
const RESOURCE_HINTS: Readonly<Record<string, string>> = {
  EMFILE: 'ulimit -n 1024',
  ENFILE: 'sysctl fs.file-max',
  EAGAIN: 'ulimit -u',
  ENOMEM: 'free -m',
  ENOSPC: 'df /run /tmp, or set TMPDIR',
  EDQUOT: 'df /run /tmp, or set TMPDIR',
  EROFS: 'df /run /tmp, or set TMPDIR',
};

/** build.mjs writes it in. */
declare const XDPWHO_VERSION: string;

const words = process.argv.slice(2);
const listener = listen();
let exitCode: number;
try {
  exitCode = await main(words, listener.signal);
} catch (error) {
  exitCode = report(error, words);
}
listener.stop();
// Not process.exit, which would cut off what a pipe has not taken yet.
process.exitCode = exitCode;

async function main(words: readonly string[], signal: AbortSignal): Promise<number> {
  const invocation = await parseCommandLine(words, {
    verbs: VERBS,
    defaultVerb: DEFAULT_VERB,
    version: packageVersion(),
  });
  let exitCode = 0;
  try {
    if (invocation.kind === 'text') process.stdout.write(invocation.text);
    else exitCode = await invocation.run(contextFor(invocation, signal));
  } catch (error) {
    if (!signal.aborted || !isAbort(error, signal)) throw explained(error, invocation);
  }
  await flushOutput();
  if (!signal.aborted) return exitCode;
  const reason: unknown = signal.reason;
  if (reason instanceof Interruption) return reason.exitCode;
  throw reason;
}

function contextFor({ options }: CommandInvocation, signal: AbortSignal): CommandContext {
  const { stdout, stderr } = process;
  const talk = new Talk((text) => stderr.write(text), options);
  let bpftool: Promise<Bpftool> | undefined;
  return {
    // Looked at only by a command that takes keys: opening it costs time.
    get stdin() {
      return process.stdin;
    },
    stdout,
    stderr,
    signal,
    talk,
    color: usesColor(options.noColor === true ? 'never' : options.color, stdout.isTTY, process.env),
    bpftool: async () => {
      bpftool ??= (await import('./host/find-bpftool.js')).findBpftool({ path: options.bpftool });
      return bpftool;
    },
    version: packageVersion(),
    objectsDirectory: options.objects ?? ownObjectsDirectory(),
  };
}

/**
 * Aborts a signal when the run is to end. Later reasons are ignored, a second Ctrl-C among them:
 * nothing that a command does on its way out takes longer than the time limit of one tool.
 */
function listen(): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  const abort = (reason: Error) => controller.abort(reason);
  const onSignal = (name: NodeJS.Signals) => {
    if (name === 'SIGHUP' || name === 'SIGINT' || name === 'SIGTERM') {
      abort(new Interruption(name));
    }
  };
  const signals = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;
  for (const name of signals) process.on(name, onSignal);
  // What is thrown outside of the command's own promise is a bug, and no reason to stay attached.
  process.on('uncaughtException', abort);
  process.stdout.on('error', (error) => {
    const isClosed = systemErrorCode(error) === 'EPIPE';
    abort(isClosed ? new Interruption('closed output') : outputFailure(error));
  });
  // There is nobody left to tell.
  process.stderr.on('error', () => {});
  const stop = () => {
    for (const name of signals) process.off(name, onSignal);
  };
  return { signal: controller.signal, stop };
}

/** Waits until what was written has been taken or refused: a full disk says so only then. */
function flushOutput(): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write('', () => setImmediate(resolve));
  });
}

function outputFailure(cause: Error): XdpwhoError {
  return new XdpwhoError('failed', `standard output: ${cause.message}`, { cause });
}

/** Whether an error only says that the run was ended, as Node and our own code put it. */
function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError');
}

/** Adds the hint that only the command line can give. */
function explained(error: unknown, invocation: Invocation): unknown {
  if (!(error instanceof XdpwhoError) || invocation.kind !== 'command') return error;
  const hint = hintFor(error, invocation);
  return new XdpwhoError(error.code, error.message, { hint, detail: error.detail, cause: error });
}

function hintFor(
  { code, message, hint }: XdpwhoError,
  { named, words, help }: CommandInvocation,
): string | undefined {
  if (code === 'usage') return hint ?? help;
  const [word, ...rest] = words;
  if (named || word === undefined || code !== 'no-such-interface') return hint;
  // A misspelt verb has been taken for an interface.
  if (!message.startsWith(`${printable(word)}: `)) return hint;
  const verbs = VERBS.map((each) => each.verb);
  const [verb] = nearNames(word, verbs);
  return verb === undefined ? hint : `did you mean: ${['xdpwho', verb, ...rest].join(' ')}`;
}

/** Prints an error for people, and as a record where records were asked for. Gives the exit code. */
function report(error: unknown, words: readonly string[]): number {
  const lack = RESOURCE_HINTS[systemErrorCode(error) ?? ''];
  if (lack !== undefined && error instanceof Error) {
    return report(new XdpwhoError('failed', error.message, { hint: lack, cause: error }), words);
  }
  if (!(error instanceof XdpwhoError)) return reportBug(error, words);
  const { code, message, hint, detail, exitCode } = error;
  process.stderr.write(`xdpwho: ${printable(message)}\n`);
  if (hint !== undefined) process.stderr.write(`  hint: ${printable(hint)}\n`);
  for (const line of detail?.split('\n') ?? []) process.stderr.write(`${printable(line)}\n`);
  printErrorRecord({ type: 'error', code, message, hint: hint ?? null }, words);
  return exitCode;
}

function reportBug(error: unknown, words: readonly string[]): number {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const message = `internal error: ${what.replace(/\s+/g, ' ')}, please report`;
  process.stderr.write(`xdpwho: ${printable(message)}\n`);
  if (error instanceof Error && words.some((word) => /^(-[a-z]*v[a-z]*|--verbose)$/.test(word))) {
    process.stderr.write(`${error.stack}\n`);
  }
  printErrorRecord({ type: 'error', code: 'internal', message, hint: null }, words);
  return 1;
}

function printErrorRecord(record: ErrorRecord, words: readonly string[]): void {
  const format = requestedFormat(words);
  if (format === 'json') process.stdout.write(`${renderDocument(record)}\n`);
  if (format === 'ndjson') process.stdout.write(`${stringifyRecord(record)}\n`);
}

/** The words themselves are asked, since those that are wrong have no options. */
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
