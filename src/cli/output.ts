/** Standard output: data, written no faster than it is read. */
import { once } from 'node:events';
import type { CommandLine } from '../host/bpftool-arguments.js';

import type { XdpwhoError } from '../model/errors.js';
import type { AnyRecord, ErrorRecord } from '../model/records.js';
import { renderDocument, stringifyRecord } from '../text/json.js';
import { renderCommand } from '../text/shell-words.js';
import type { CommandContext } from './context.js';

type OutputContext = Pick<CommandContext, 'stdout'>;

/** How many lines are written at once. */
const BATCH_LINES = 1000;

/** Resolves when the stream takes more, or when its reader has gone. */
export async function write(context: OutputContext, text: string | Uint8Array): Promise<void> {
  const { stdout } = context;
  if (stdout.destroyed || stdout.write(text)) return;
  // Whichever comes first, both listeners are removed: otherwise one would stay at each full pipe.
  const listening = new AbortController();
  const { signal } = listening;
  const either = Promise.race([
    once(stdout, 'drain', { signal }),
    once(stdout, 'close', { signal }),
  ]);
  await either.catch(() => {});
  listening.abort();
}

/** One line of JSON for each record. */
export async function writeRecords(
  context: OutputContext,
  records: readonly AnyRecord[],
): Promise<void> {
  for (let start = 0; start < records.length; start += BATCH_LINES) {
    const lines = records
      .slice(start, start + BATCH_LINES)
      .map((each) => `${stringifyRecord(each)}\n`);
    await write(context, lines.join(''));
  }
}

/** One JSON document. */
export async function writeDocument(context: OutputContext, value: unknown): Promise<void> {
  await write(context, `${renderDocument(value)}\n`);
}

export async function writeLines(context: OutputContext, lines: readonly string[]): Promise<void> {
  await write(context, lines.map((line) => `${line}\n`).join(''));
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

export function errorRecord({ code, message, hint }: ErrorContent): ErrorRecord {
  return { type: 'error', code, message, hint: hint ?? null };
}

/** An XdpwhoError, or what is known of a bug. */
interface ErrorContent extends Pick<ErrorRecord, 'code' | 'message'> {
  readonly hint?: string | undefined;
}
