/** Writing data to standard output, no faster than it is read. */

import { once } from 'node:events';
import type { CommandLine } from '../host/bpftool-arguments.js';

import type { XdpwhoError } from '../model/errors.js';
import type { AnyRecord, ErrorRecord } from '../model/records.js';
import { stringifyRecord } from '../text/json.js';
import { renderCommand } from '../text/shell-words.js';
import type { CommandContext } from './context.js';

/** Lines that are written at once. */
const BATCH = 1000;

/** Resolves when the stream takes more, or nobody reads it any longer. */
export async function write(context: CommandContext, text: string | Uint8Array): Promise<void> {
  const { stdout } = context;
  if (stdout.destroyed || stdout.write(text)) return;
  // Both end together: a listener left behind at each full pipe is soon one too many.
  const either = new AbortController();
  const { signal } = either;
  const first = Promise.race([
    once(stdout, 'drain', { signal }),
    once(stdout, 'close', { signal }),
  ]);
  await first.catch(() => {});
  either.abort();
}

/** One line of JSON each. */
export async function writeRecords(
  context: CommandContext,
  records: readonly AnyRecord[],
): Promise<void> {
  for (let start = 0; start < records.length; start += BATCH) {
    const lines = records.slice(start, start + BATCH).map((each) => `${stringifyRecord(each)}\n`);
    await write(context, lines.join(''));
  }
}

/** What could not be done to one interface of several. */
export interface Failure {
  readonly interface: string;
  readonly failure: XdpwhoError;
}

/** The member `failed` of a document. */
export function failedForJson(failures: readonly Failure[]) {
  return failures.map(({ interface: name, failure: { code, message, hint } }) => ({
    interface: name,
    code,
    message,
    hint: hint ?? null,
  }));
}

/** The same as records. */
export function errorRecords(failures: readonly Failure[]): ErrorRecord[] {
  return failures.map(({ failure: { code, message, hint } }) => ({
    ...{ type: 'error', code, message },
    hint: hint ?? null,
  }));
}

/** One line each, as a shell reads them: what `--dry-run` prints. */
export async function writeCommands(
  context: CommandContext,
  commands: readonly CommandLine[],
): Promise<void> {
  const lines = commands.map(({ file, args }) => `${renderCommand(file, args)}\n`);
  await write(context, lines.join(''));
}
