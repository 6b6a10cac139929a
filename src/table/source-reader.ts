/**
 * Reading the table of sources, by the iterator or by `bpftool map dump`. The program counts a packet
 * in the totals first and in its source second; the totals are read before the sources, to know what
 * the sources must hold at least, and after them, so that no reading finds more packets in the
 * sources than in the totals.
 */
import { createReadStream, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { Transform } from 'node:stream';
import ndjson from 'ndjson';
import type { Attachment } from '../attachment/attachment.js';
import type { SessionContext } from '../attachment/context.js';
import { makeReaderPlace } from '../attachment/reader-pins.js';
import { makeScratch } from '../attachment/scratch.js';
import type { Bpftool } from '../host/bpftool.js';
import { configuredHz } from '../host/kernel.js';
import { formatAddress } from '../model/address.js';
import { systemErrorCode, XdpwhoError } from '../model/errors.js';
import type { SourceRecord, TotalsRecord } from '../model/records.js';
import { ObjectFiles } from '../objects/files.js';
import { type JiffiesMoment, measureHz, readJiffies } from '../objects/jiffies.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import {
  decodeSourceEntry,
  decodeTotals,
  idleMs,
  type KernelTotals,
  parseSourceLines,
  parseTotalsLine,
} from './decode.js';
import { SourceSet } from './source-set.js';

const LITTLE_ENDIAN = endianness() === 'LE';
/** The kernel hands out at most 32 KiB of an iterator at a time (kernel/bpf/bpf_iter.c). */
const READ_BYTES = 64 * 1024;
/** An entry of `map dump -j` takes some 200 bytes for each possible CPU; 8,192 of them fit. */
const MAX_ENTRY_BYTES = 4 * 1024 * 1024;
/** `maxLength` is split2's own option, which ndjson hands on. */
const PARSING = { strict: true, maxLength: MAX_ENTRY_BYTES };
/** A table that changes fast can make `map dump` start over without end (see decodeSourceEntry). */
const DUMP_TIMEOUT_MS = 120_000;

/** Reads one attachment's table, as often as wanted. */
export class SourceReader {
  readonly #attachment: Attachment;
  readonly #context: SessionContext;
  #clock: { readonly hz: number; readonly moment: JiffiesMoment } | undefined;

  constructor(context: SessionContext, attachment: Attachment) {
    this.#context = context;
    this.#attachment = attachment;
  }

  /** Every source once, in the table's order, in batches, in memory that does not grow with the table. */
  async *sources(signal?: AbortSignal): AsyncGenerator<readonly SourceRecord[]> {
    if (this.#attachment.reader === 'dump') {
      yield* this.#dumpedSources(signal);
      return;
    }
    const seen = new SourceSet(this.#attachment.state.maxSources);
    for await (const lines of this.lines(signal)) {
      const records = parseSourceLines(lines, this.#attachment.interface);
      yield records.filter(({ source }) => (seen.add(source) ?? 0) >= 0);
    }
  }

  /** The kernel's own lines, whole ones, as latin-1 text in chunks; only with the iterator. A source may come twice: see source-set.ts. */
  async *lines(signal?: AbortSignal): AsyncGenerator<string> {
    const path = this.#attachment.pins.sourcesFile;
    const stream = createReadStream(path, {
      encoding: 'latin1',
      highWaterMark: READ_BYTES,
      ...(signal === undefined ? {} : { signal }),
    });
    let rest = '';
    try {
      for await (const chunk of stream) {
        const text = rest + String(chunk);
        const end = text.lastIndexOf('\n') + 1;
        rest = text.slice(end);
        if (end > 0) yield text.slice(0, end);
      }
    } catch (error) {
      throw this.#unreadable(path, error);
    }
    if (rest !== '') yield `${rest}\n`;
  }

  /** What the kernel counted of every packet. To be read before the sources and after them. */
  async totals(): Promise<KernelTotals> {
    const { pins, reader } = this.#attachment;
    if (reader === 'dump') {
      return decodeTotals(await this.#context.bpftool.dumpMap(pins.totalsMap), LITTLE_ENDIAN);
    }
    let text: string;
    try {
      text = await readFile(pins.totalsFile, 'latin1');
    } catch (error) {
      throw this.#unreadable(pins.totalsFile, error);
    }
    return parseTotalsLine(text);
  }

  async *#dumpedSources(signal?: AbortSignal): AsyncGenerator<readonly SourceRecord[]> {
    const clock = await this.#jiffiesClock();
    const seen = new Set<string>();
    const elapsedTicks = (Number(process.hrtime.bigint() - clock.moment.timeNs) * clock.hz) / 1e9;
    const now = (clock.moment.jiffies + Math.round(elapsedTicks)) >>> 0;
    for await (const entries of dumpEntries(
      this.#context.bpftool,
      this.#attachment.pins.sourcesMap,
      signal,
    )) {
      const batch: SourceRecord[] = [];
      for (const entry of entries) {
        const decoded = decodeSourceEntry(entry, LITTLE_ENDIAN);
        // When an element goes while bpftool stands on it, the kernel starts again with the first.
        if (decoded === undefined || seen.has(decoded.key)) continue;
        seen.add(decoded.key);
        batch.push({
          type: 'source',
          interface: this.#attachment.interface,
          source: formatAddress(decoded.key),
          packets: decoded.packets,
          bytes: decoded.bytes,
          idle_ms: idleMs(decoded.lastSeen, now, clock.hz),
        });
      }
      yield batch;
    }
  }

  async #jiffiesClock(): Promise<{ hz: number; moment: JiffiesMoment }> {
    if (this.#clock !== undefined) return this.#clock;
    const { bpftool, objectsDirectory } = this.#context;
    const objects = new ObjectFiles(objectsDirectory);
    // Others may be reading too.
    const pin = makeReaderPlace(this.#attachment.pins);
    const scratch = makeScratch();
    try {
      const hz = configuredHz() ?? (await measureHz(bpftool, objects, pin, scratch));
      const moments = await readJiffies(bpftool, objects, pin, scratch, 1, 0);
      const moment = moments[0];
      if (moment === undefined) throw new XdpwhoError('bad-output', 'no reading of the clock');
      this.#clock = { hz, moment };
      return this.#clock;
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }

  #unreadable(path: string, error: unknown): unknown {
    const { interface: device, netns } = this.#attachment;
    const name = printable(device);
    if (systemErrorCode(error) === 'ENOENT') {
      return new XdpwhoError('not-attached', `${name}: ${path} has gone`, {
        hint: ownCommand('status', { interface: device, netns: netns.name }),
        cause: error,
      });
    }
    if (systemErrorCode(error) === 'EACCES') {
      return new XdpwhoError('not-permitted', `${name}: ${path}: permission denied`, {
        hint: `run it as root, or attach with: xdpwho attach --replace --file-mode 0444 ${name}`,
        cause: error,
      });
    }
    return error;
  }
}

/** The entries of `map dump -j` in batches, in memory that does not grow with the map. */
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
    // A failure is the last thing in the text, an object like the entries: bpftool's status first.
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
 * Adds what the sum over the table tells: how many sources, and how many packets it does not hold
 * any more. While packets come, those of the time of reading are in the totals and perhaps not in
 * the sources; they are no loss, and so only what had been counted `before` can be untracked.
 */
export function completeTotals(
  interfaceName: string,
  before: KernelTotals,
  after: KernelTotals,
  table: { readonly sources: number; readonly packets: bigint },
): TotalsRecord {
  const { bytes, ipv4, ipv6, other, malformed } = after;
  const missing = before.ipv4 + before.ipv6 - table.packets;
  return {
    type: 'totals',
    interface: interfaceName,
    sources: table.sources,
    packets: ipv4 + ipv6 + other + malformed,
    bytes,
    ipv4,
    ipv6,
    other,
    malformed,
    untracked: missing > 0n ? missing : 0n,
  };
}

/**
 * Turns the one array of `map dump -j` into lines of one entry each, which ndjson can read. Only
 * `},{"key":` stands between entries; within one, every other object begins otherwise.
 */
export class EntrySplitter extends Transform {
  #rest = '';
  #begun = false;

  override _transform(chunk: unknown, _encoding: BufferEncoding, done: () => void): void {
    let text = this.#rest + String(chunk);
    if (!this.#begun && text.length > 0) {
      text = text.replace(/^\[/, '');
      this.#begun = true;
    }
    const split = text.replaceAll(BOUNDARY, NEW_LINE);
    // The beginning of a boundary may be at the end, and so is what follows the last entry.
    const keep = Math.max(split.length - BOUNDARY.length, 0);
    this.#rest = split.slice(keep);
    this.push(split.slice(0, keep));
    done();
  }

  override _flush(done: () => void): void {
    this.push(this.#rest.replace(/\]\s*$/, ''));
    done();
  }
}

const BOUNDARY = '},{"key":';
const NEW_LINE = '}\n{"key":';
