/**
 * Reads the table of sources, with the iterator or with `bpftool map dump`. The program counts a
 * packet in the totals first and in its source second. So callers read the totals twice: before the
 * sources, to know what the sources must hold at least, and after them, so that a reading never has
 * more packets in the sources than in the totals.
 */
import { closeSync, openSync, read, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { endianness } from 'node:os';
import { promisify } from 'node:util';
import type { Attachment } from '../attachment/attachment.js';
import type { SessionContext } from '../attachment/context.js';
import { makeReaderPinPath } from '../attachment/reader-pins.js';
import { makeScratch } from '../attachment/scratch.js';
import { isGone } from '../host/bpffs.js';
import { configuredHz, cpuNumbers } from '../host/kernel.js';
import { formatAddress } from '../model/address.js';
import { naming, systemErrorCode, XdpwhoError } from '../model/errors.js';
import {
  type Direction,
  type SourceRecord,
  sentMember,
  type TotalsRecord,
} from '../model/records.js';
import { ObjectFiles } from '../objects/files.js';
import { type FrontSize, frontSize } from '../objects/front.js';
import { type JiffiesMoment, measureHz, readJiffies } from '../objects/jiffies.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import {
  addFrontLine,
  decodeFrontTotals,
  decodeSourceEntry,
  decodeTotals,
  type FrontFigures,
  idleMs,
  type KernelTotals,
  parseSourceLines,
  parseTotalsLine,
} from './decode.js';
import { SourceSet } from './source-set.js';

const LITTLE_ENDIAN = endianness() === 'LE';
/** A read of an iterator returns at most 32 KiB (kernel/bpf/bpf_iter.c). */
const READ_BYTES = 64 * 1024;

const readAsync = promisify(read);

/** Reads the table of one attachment, any number of times. */
export class SourceReader {
  readonly #attachment: Attachment;
  readonly #context: SessionContext;
  /** Read once; later readings compute the jiffies from it. */
  #jiffies: { readonly hz: number; readonly moment: JiffiesMoment } | undefined;

  constructor(context: SessionContext, attachment: Attachment) {
    this.#context = context;
    this.#attachment = attachment;
  }

  /** Yields each source once, in batches, in the order of the table, and adds it to `seen`. The memory is some 25 bytes for each source. */
  async *sources(
    signal?: AbortSignal,
    seen = new SourceSet(),
  ): AsyncGenerator<readonly SourceRecord[]> {
    if (this.#attachment.reader === 'dump') {
      yield* this.#dumpedSources(signal, seen);
      return;
    }
    for await (const lines of this.lines(signal)) {
      const records = parseSourceLines(lines, this.#attachment.interface);
      yield records.filter(({ source }) => seen.add(source) >= 0);
    }
  }

  /**
   * Yields the lines that the kernel prints, as latin-1 text in chunks of whole lines. Only with the iterator. A
   * source may come twice: see source-set.ts. The kernel prints the next chunk while the caller works on one. A
   * stream of Node does the same, but takes a quarter more time.
   */
  async *lines(signal?: AbortSignal): AsyncGenerator<string> {
    const path = this.#attachment.pins.sourcesFile;
    let unfinished = '';
    let [current, next] = [Buffer.allocUnsafe(READ_BYTES), Buffer.allocUnsafe(READ_BYTES)];
    let file: number | undefined;
    let pending: ReturnType<typeof readAsync> | undefined;
    try {
      file = openSync(path, 'r');
      pending = readAsync(file, current, 0, current.length, null);
      for (;;) {
        const { bytesRead: length } = await pending;
        signal?.throwIfAborted();
        if (length === 0) break;
        pending = readAsync(file, next, 0, next.length, null);
        // A failure is thrown where the next chunk is awaited.
        pending.catch(() => {});
        const text = unfinished + current.toString('latin1', 0, length);
        const end = text.lastIndexOf('\n') + 1;
        unfinished = text.slice(end);
        if (end > 0) yield text.slice(0, end);
        [current, next] = [next, current];
      }
    } catch (error) {
      throw this.#unreadable(path, error);
    } finally {
      await pending?.catch(() => {});
      if (file !== undefined) closeSync(file);
    }
    if (unfinished !== '') yield `${unfinished}\n`;
  }

  /** The kernel's counts of all packets. Read them before the sources and after them. */
  async totals(): Promise<KernelTotals> {
    const { pins, reader } = this.#attachment;
    if (reader === 'dump') {
      try {
        const { bpftool } = this.#context;
        const front = this.#front();
        if (front === undefined) {
          return decodeTotals(await bpftool.dumpMap(pins.totalsMap), LITTLE_ENDIAN);
        }
        const { dumpEntries } = await import('./map-dump.js');
        const first: unknown[] = [];
        // An array is dumped in the order of its elements; leaving the loop ends bpftool.
        for await (const entries of dumpEntries(bpftool, pins.frontMap)) {
          first.push(...entries);
          if (first.length >= front.totals) break;
        }
        return decodeFrontTotals(first, front, LITTLE_ENDIAN);
      } catch (error) {
        throw this.#unreadable(pins.totalsMap, error);
      }
    }
    let text: string;
    try {
      text = await readFile(pins.totalsFile, 'latin1');
    } catch (error) {
      throw this.#unreadable(pins.totalsFile, error);
    }
    return parseTotalsLine(text);
  }

  async *#dumpedSources(
    signal: AbortSignal | undefined,
    seen: SourceSet,
  ): AsyncGenerator<readonly SourceRecord[]> {
    try {
      yield* this.#dumped(signal, seen);
    } catch (error) {
      throw this.#unreadable(this.#attachment.pins.sourcesMap, error);
    }
  }

  async *#dumped(
    signal: AbortSignal | undefined,
    seen: SourceSet,
  ): AsyncGenerator<readonly SourceRecord[]> {
    const { hz, moment } = await this.#readJiffies();
    const elapsedTicks = (Number(process.hrtime.bigint() - moment.timeNs) * hz) / 1e9;
    const now = (moment.jiffies + Math.round(elapsedTicks)) >>> 0;
    // Loads ndjson, which a reading by the iterator does without.
    const { dumpEntries } = await import('./map-dump.js');
    const { bpftool } = this.#context;
    const { pins } = this.#attachment;
    const front: FrontFigures = new Map();
    const size = this.#front();
    if (size !== undefined) {
      for await (const entries of dumpEntries(bpftool, pins.frontMap, signal)) {
        for (const entry of entries) addFrontLine(front, entry, size, LITTLE_ENDIAN);
      }
    }
    for await (const entries of dumpEntries(bpftool, pins.sourcesMap, signal)) {
      const batch: SourceRecord[] = [];
      for (const entry of entries) {
        const decoded = decodeSourceEntry(entry, LITTLE_ENDIAN, front);
        // If the element that bpftool is at is removed, the kernel continues with the first element.
        if (decoded === undefined) continue;
        const source = formatAddress(decoded.key);
        if (seen.add(source) < 0) continue;
        batch.push({
          type: 'source',
          interface: this.#attachment.interface,
          source,
          packets: decoded.packets,
          bytes: decoded.bytes,
          idle_ms: idleMs(decoded.lastSeen, now, hz),
        });
      }
      yield batch;
    }
  }

  /** The front table of the attachment, if it has one. */
  #front(): FrontSize | undefined {
    const { pins, state } = this.#attachment;
    return isGone(pins.frontMap) ? undefined : frontSize(state.frontLines, cpuNumbers());
  }

  async #readJiffies(): Promise<{ hz: number; moment: JiffiesMoment }> {
    if (this.#jiffies !== undefined) return this.#jiffies;
    const { bpftool, objectsDirectory } = this.#context;
    const objects = new ObjectFiles(objectsDirectory);
    // A pin of our own, because other processes may do the same at the same time.
    const pin = makeReaderPinPath(this.#attachment.pins);
    const scratch = makeScratch();
    try {
      const hz = configuredHz() ?? (await measureHz(bpftool, objects, pin, scratch));
      const moments = await readJiffies(bpftool, objects, pin, scratch, 1, 0);
      const moment = moments[0];
      if (moment === undefined) throw new XdpwhoError('bad-output', 'no reading of the clock');
      this.#jiffies = { hz, moment };
      return this.#jiffies;
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }

  #unreadable(path: string, error: unknown): unknown {
    const { interface: device, netns } = this.#attachment;
    const name = printable(device);
    // bpftool says of a map that has gone what it says of many other things.
    if (systemErrorCode(error) === 'ENOENT' || isGone(path)) {
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
    return naming(name, error);
  }
}

/**
 * Adds to the totals the number of sources and of untracked packets, from the sums over the table.
 * Packets that arrive during the read may be in the totals but not in the sources, so the table is
 * compared with `before`, the totals that were read before it.
 */
export function completeTotals(
  interfaceName: string,
  before: KernelTotals,
  after: KernelTotals,
  table: { readonly sources: number; readonly packets: bigint },
  direction: Direction = 'received',
): TotalsRecord {
  const { bytes, ipv4, ipv6, other, malformed } = after;
  const missing = before.ipv4 + before.ipv6 - table.packets;
  return {
    type: 'totals',
    interface: interfaceName,
    ...sentMember(direction),
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
