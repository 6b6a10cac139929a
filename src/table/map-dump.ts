/** Reads a map with `bpftool map dump -j`, entry by entry. */
import { Transform } from 'node:stream';
import ndjson from 'ndjson';
import type { Bpftool } from '../host/bpftool.js';
import { XdpwhoError } from '../model/errors.js';

/** An entry of `map dump -j` takes some 200 bytes for each possible CPU; this is enough for 8,192 CPUs. */
const MAX_ENTRY_BYTES = 4 * 1024 * 1024;
/** `maxLength` is an option of split2, to which ndjson passes it. */
const PARSING = { strict: true, maxLength: MAX_ENTRY_BYTES };
/** A table that changes fast can make `map dump` start again and again, without an end (kernel/bpf/hashtab.c). */
const DUMP_TIMEOUT_MS = 120_000;

/** Yields the entries of `map dump -j` in batches, in memory that does not grow with the map. */
export async function* dumpEntries(
  bpftool: Bpftool,
  pin: string,
  signal?: AbortSignal,
): AsyncGenerator<readonly unknown[]> {
  const ending = new AbortController();
  const stop = () => ending.abort();
  signal?.addEventListener('abort', stop, { once: true });
  const { stdout, finish } = bpftool.dumpMapStream(pin, ending.signal, DUMP_TIMEOUT_MS);
  const parser = ndjson.parse(PARSING);
  const entries = stdout.pipe(new EntrySplitter()).pipe(parser);
  try {
    let batch: unknown[] = [];
    for await (const entry of entries) {
      batch.push(entry);
      if (batch.length < 512) continue;
      yield batch;
      batch = [];
    }
    // bpftool prints a failure as one more object after the entries, so its exit status comes before the last batch.
    await finish();
    if (batch.length > 0) yield batch;
  } catch (error) {
    ending.abort();
    if (error instanceof XdpwhoError) throw error;
    throw new XdpwhoError('bad-output', 'bpftool map dump: not the entries of a map', {
      hint: 'xdpwho doctor',
      cause: error,
    });
  } finally {
    signal?.removeEventListener('abort', stop);
    ending.abort();
  }
}

/**
 * Turns the array of `map dump -j` into one line per entry, which ndjson can read. It splits at
 * `},{"key":`, which bpftool prints between two entries and nowhere in an entry.
 */
export class EntrySplitter extends Transform {
  #held = '';
  #hasStarted = false;

  override _transform(chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    let text = this.#held + String(chunk);
    if (!this.#hasStarted && text.length > 0) {
      text = text.replace(/^\[/, '');
      this.#hasStarted = true;
    }
    const split = text.replaceAll(BOUNDARY, NEW_LINE);
    // The end of the text may be the start of a boundary, or the end of the array.
    const keep = Math.max(split.length - BOUNDARY.length, 0);
    this.#held = split.slice(keep);
    this.push(split.slice(0, keep));
    done();
  }

  override _flush(done: () => void): void {
    this.push(this.#held.replace(/\]\s*$/, ''));
    done();
  }
}

const BOUNDARY = '},{"key":';
const NEW_LINE = '}\n{"key":';
