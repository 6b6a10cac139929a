/**
 * Standard output: data, written no faster than it is read. When the run is to end, a command that prints one
 * answer prints no more of it; a command that runs until it is ended still prints how it ended, as long as
 * the reader takes it.
 */
import { once } from 'node:events';
import type { CommandLine } from '../host/bpftool-arguments.js';

import type { Retry, XdpwhoError } from '../model/errors.js';
import type { AnyRecord, ErrorRecord } from '../model/records.js';
import { documentPieces, stringifyRecord } from '../text/json.js';
import { renderCommand } from '../text/shell-words.js';
import { hintOf } from './again.js';
import type { CommandContext, Output } from './context.js';

/** Where data goes. */
export interface OutputContext extends Pick<CommandContext, 'stdout' | 'signal'> {
  /** Set by a command that prints after `signal` too: what it did until then, and how it ended. */
  readonly printsEnding?: boolean;
}

/** The output of a command that prints after the signal too: how it ended, or what it has done that stands. */
export function endingOutput({ stdout, signal, color }: CommandContext) {
  return { stdout, signal, color, printsEnding: true };
}

/** After the signal, so long may a reader take nothing. Then nothing more is printed. */
const PATIENCE_MS = 1000;
/** So much is handed over at a time: the rest is not printed once the run is to end. */
const PIECE_CHARACTERS = 64 * 1024;

/**
 * Resolves when the stream takes more, or when its reader has gone. Rejects with the reason of the context's
 * signal when that is aborted, unless the command prints its ending: then the call returns at once.
 */
export async function write(context: OutputContext, text: string | Uint8Array): Promise<void> {
  for (let start = 0; start < text.length; start += PIECE_CHARACTERS) {
    await writePiece(
      context,
      text.length <= PIECE_CHARACTERS ? text : text.slice(start, start + PIECE_CHARACTERS),
    );
  }
}

/** Those whose readers take nothing more. Node destroys no standard output (stream.destroy() has no effect on it). */
const abandoned = new WeakSet<Output>();

async function writePiece(
  { stdout, signal, printsEnding = false }: OutputContext,
  piece: string | Uint8Array,
): Promise<void> {
  if (!printsEnding) signal.throwIfAborted();
  if (signal.aborted && !(await emptied(stdout, signal))) return;
  if (stdout.destroyed || stdout.write(piece)) return;
  // Whichever comes first, all listeners are removed: otherwise one would stay at each full pipe.
  const listening = new AbortController();
  const each = { signal: listening.signal };
  const either = Promise.race([
    once(stdout, 'drain', each),
    once(stdout, 'close', each),
    ...(signal.aborted ? [] : [once(signal, 'abort', each)]),
  ]);
  const patience = signal.aborted ? setTimeout(() => listening.abort(), PATIENCE_MS) : undefined;
  await either.catch(() => {});
  clearTimeout(patience);
  listening.abort();
  if (!printsEnding) signal.throwIfAborted();
}

/**
 * Waits until the reader has taken everything. Once `signal` is aborted, a reader that takes nothing for PATIENCE_MS
 * is not waited for: then the result is false, and nothing more is printed.
 */
export function emptied(stdout: Output, signal: AbortSignal): Promise<boolean> {
  if (abandoned.has(stdout)) return Promise.resolve(false);
  if (stdout.destroyed) return Promise.resolve(true);
  return new Promise((resolve) => {
    let left = Number.POSITIVE_INFINITY;
    const timer = setInterval(() => {
      if (!signal.aborted) return;
      const isStuck = stdout.writableLength >= left;
      left = stdout.writableLength;
      if (!isStuck) return;
      abandoned.add(stdout);
      finish(false);
    }, PATIENCE_MS / 2);
    const finish = (whole: boolean) => {
      clearInterval(timer);
      // An error of the last write is reported after its callback.
      setImmediate(resolve, whole);
    };
    stdout.write('', () => finish(true));
  });
}

/** One line of JSON for each record. */
export async function writeRecords(
  context: OutputContext,
  records: Iterable<AnyRecord>,
): Promise<void> {
  await writePieces(context, linesOf(records));
}

function* linesOf(records: Iterable<AnyRecord>): Generator<string, void, void> {
  for (const record of records) yield `${stringifyRecord(record)}\n`;
}

/** Writes many short texts, as few at a time as the stream takes well. */
async function writePieces(context: OutputContext, pieces: Iterable<string>): Promise<void> {
  let text = '';
  for (const piece of pieces) {
    text += piece;
    if (text.length < PIECE_CHARACTERS) continue;
    await write(context, text);
    text = '';
  }
  if (text !== '') await write(context, text);
}

/** One JSON document. */
export async function writeDocument(context: OutputContext, value: unknown): Promise<void> {
  await writePieces(context, documentPieces(value));
  await write(context, '\n');
}

export async function writeLines(context: OutputContext, lines: Iterable<string>): Promise<void> {
  await writePieces(context, withEnds(lines));
}

function* withEnds(lines: Iterable<string>): Generator<string, void, void> {
  for (const line of lines) yield `${line}\n`;
}

/** One command for each line, as a shell reads it: what `--dry-run` prints. */
export async function writeCommands(
  context: OutputContext,
  commands: readonly CommandLine[],
): Promise<void> {
  await writeLines(
    context,
    commands.map(({ file, args }) => renderCommand(file, args)),
  );
}

/** The error that one interface of several met. */
export interface Failure {
  readonly interface: string;
  readonly failure: XdpwhoError;
}

/** The member `failed` of a document. */
export function failedForJson(failures: readonly Failure[]) {
  return failures.map(({ interface: name, failure }) => {
    const { type: _, ...error } = errorRecord(failure);
    return { interface: name, ...error };
  });
}

export function errorRecords(failures: readonly Failure[]): ErrorRecord[] {
  return failures.map(({ failure }) => errorRecord(failure));
}

export function errorRecord(error: ErrorContent): ErrorRecord {
  const { code, message } = error;
  return { type: 'error', code, message, hint: hintOf(error) ?? null };
}

/** An XdpwhoError, or what is known of a bug. */
interface ErrorContent extends Pick<ErrorRecord, 'code' | 'message'> {
  readonly hint?: string | undefined;
  readonly retry?: Retry | undefined;
}
