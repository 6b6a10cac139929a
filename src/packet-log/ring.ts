/** Parses what the iterator `packets` prints of the rings of all CPUs. Pure. */
import { endianness } from 'node:os';
import { formatAddress } from '../model/address.js';
import type { Direction, PacketRecord, SentPacketRecord } from '../model/records.js';
import {
  HEAD_KIND,
  LOG_HEAD,
  PACKET_RECORD,
  PASS_HEAD,
  RECORD_KIND,
  SEGMENT_RECORDS,
} from '../objects/layout.js';

/** The 32-bit words of a record: how many, and the index of each member. */
const ENTRY_WORDS = PACKET_RECORD.size / 4;
const SEQUENCE = PACKET_RECORD.sequence / 4;
const TIME = PACKET_RECORD.time / 4;
const SOURCE = PACKET_RECORD.source / 4;
const LENGTH = PACKET_RECORD.length / 4;
const CPU = PACKET_RECORD.cpu / 4;
const CHECK = PACKET_RECORD.check / 4;
const KIND = PACKET_RECORD.kind / 4;

/** Records are in the byte order of the machine: the index of the lower word of a u64. */
const LOW = endianness() === 'LE' ? 0 : 1;
const HIGH = 1 - LOW;

/** The checksum of a record or head: record_check() of bpf/check.h. */
export function recordCheck(words: Uint32Array, at: number): number {
  return (
    (Math.imul(words[at] ?? 0, 0x243f6a89) +
      Math.imul(words[at + 1] ?? 0, 0x85a308d3) +
      Math.imul(words[at + 2] ?? 0, 0x13198a2f) +
      Math.imul(words[at + 3] ?? 0, 0x03707345) +
      Math.imul(words[at + 4] ?? 0, 0xa4093823) +
      Math.imul(words[at + 5] ?? 0, 0x299f31d1) +
      Math.imul(words[at + 6] ?? 0, 0x082efa99) +
      Math.imul(words[at + 7] ?? 0, 0xec4e6c89) +
      Math.imul(words[at + 8] ?? 0, 0x452821e7) +
      Math.imul(words[at + 9] ?? 0, 0x38d01377) +
      Math.imul(words[at + 11] ?? 0, 0xbe5466cf)) >>>
    0
  );
}

/** The state of one CPU's ring when a pass began. */
interface PassHead {
  /** The pass has the records with the sequence numbers from `first` to `end` - 1. */
  readonly first: number;
  readonly end: number;
  /** Counted since the program was attached. */
  readonly sampledOut: number;
  readonly filteredOut: number;
}

export interface Pass {
  readonly packets: PacketBatch;
  /** Records that were overwritten before they were read. */
  readonly lost: number;
  /** By CPU number. */
  readonly heads: ReadonlyMap<number, PassHead>;
}

/**
 * Packets of one pass, sorted by time. They are not copied from the reader's buffer, so they are
 * valid only until the reader reads again.
 */
export class PacketBatch {
  /** The words of the records, in the order in which the kernel printed them. */
  readonly words: Uint32Array;
  /** The index in `words` of each packet, sorted by time. */
  readonly order: Uint32Array;
  /** UTC minus the clock of the records, in microseconds. */
  readonly offsetUs: number;

  constructor(words: Uint32Array, order: Uint32Array, offsetUs: number) {
    this.words = words;
    this.order = order;
    this.offsetUs = offsetUs;
  }

  get length(): number {
    return this.order.length;
  }

  /** The first `count` packets. */
  first(count: number): PacketBatch {
    return new PacketBatch(this.words, this.order.subarray(0, count), this.offsetUs);
  }

  /** The last `count` packets. */
  last(count: number): PacketBatch {
    const start = Math.max(this.length - count, 0);
    return new PacketBatch(this.words, this.order.subarray(start), this.offsetUs);
  }

  /** The time of the packet at an index of `words`: whole microseconds since 1970, UTC. */
  timeUs(at: number): number {
    return Math.floor(nanoseconds(this.words, at) / 1000 + this.offsetUs);
  }

  /** The 16 bytes of its source address, as latin-1 characters. */
  sourceKey(at: number): string {
    const start = this.words.byteOffset + (at + SOURCE) * 4;
    return String.fromCharCode(...new Uint8Array(this.words.buffer, start, 16));
  }

  /** The first different sources of the packets, at most `limit`, as text. */
  sources(limit: number): { readonly source: string }[] {
    const keys = new Set<string>();
    for (const at of this.order) {
      if (keys.size >= limit) break;
      keys.add(this.sourceKey(at));
    }
    return [...keys].map((key) => ({ source: formatAddress(key) }));
  }

  /** The packets as public records. Some ten times slower than lines.ts. */
  records(interfaceName: string): Generator<PacketRecord>;
  records(interfaceName: string, direction: Direction): Generator<PacketRecord | SentPacketRecord>;
  *records(
    interfaceName: string,
    direction: Direction = 'received',
  ): Generator<PacketRecord | SentPacketRecord> {
    for (const at of this.order) {
      const timeUs = this.timeUs(at);
      const microseconds = String(timeUs % 1_000_000).padStart(6, '0');
      const seconds = new Date(Math.floor(timeUs / 1000)).toISOString().slice(0, 19);
      const address = formatAddress(this.sourceKey(at));
      const packets = packetsIn(this.words, at);
      const common = { type: 'packet', interface: interfaceName } as const;
      const time = `${seconds}.${microseconds}Z`;
      const rest = {
        length: this.words[at + LENGTH] ?? 0,
        cpu: cpuIn(this.words, at),
        ...(packets > 1 ? { packets } : {}),
      };
      yield direction === 'sent'
        ? { ...common, direction, time, destination: address, ...rest }
        : { ...common, time, source: address, ...rest };
    }
  }
}

/** The index of these members in the words of a packet, for lines.ts. */
export const PACKET_WORDS = { source: SOURCE, length: LENGTH } as const;

/** The number of the CPU, of a packet or a head. */
export function cpuIn(words: Uint32Array, at: number): number {
  return (words[at + CPU] ?? 0) & 0xffff;
}

/** How many packets on the wire a record is. */
export function packetsIn(words: Uint32Array, at: number): number {
  return (words[at + CPU] ?? 0) >>> 16;
}

/** Collects the bytes of a pass, in pieces of any size. It keeps its memory for the next pass. */
export class PassBuffer {
  #bytes = new Uint8Array(64 * 1024);
  #length = 0;

  /** Free memory for at least `size` bytes. After writing there, call `filled` with their number. */
  room(size: number): Uint8Array {
    if (this.#bytes.length - this.#length < size) {
      const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + size));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    return this.#bytes.subarray(this.#length);
  }

  filled(size: number): void {
    this.#length += size;
  }

  append(chunk: Uint8Array): void {
    this.room(chunk.length).set(chunk);
    this.filled(chunk.length);
  }

  clear(): void {
    this.#length = 0;
  }

  /** The words of all complete entries. */
  words(): Uint32Array {
    const entries = Math.floor(this.#length / PACKET_RECORD.size);
    return new Uint32Array(this.#bytes.buffer, 0, entries * ENTRY_WORDS);
  }
}

/**
 * Parses a pass. An entry with a wrong checksum is skipped, because the kernel wrote it while it
 * was read; so is one whose sequence number the heads do not announce. `lost` is the number of
 * records that the heads announce minus those that were found.
 */
export function parsePass(words: Uint32Array, offsetUs: number): Pass {
  const heads = new Map<number, PassHead>();
  const offsets = new Uint32Array(words.length / ENTRY_WORDS);
  const times = new Float64Array(offsets.length);
  let cpu = -1;
  let head: PassHead | undefined;
  let count = 0;
  let announced = 0;
  for (let at = 0; at + ENTRY_WORDS <= words.length; at += ENTRY_WORDS) {
    const kind = words[at + KIND];
    if (recordCheck(words, at) !== words[at + CHECK]) continue;
    if (kind === HEAD_KIND) {
      const ofCpu = cpuIn(words, at);
      if (heads.has(ofCpu)) continue;
      const printed = headOf(words, at);
      heads.set(ofCpu, printed);
      announced += printed.end - printed.first;
    } else if (kind === RECORD_KIND) {
      const sequence = number64(words, at + SEQUENCE);
      const ofCpu = cpuIn(words, at);
      if (ofCpu !== cpu) {
        cpu = ofCpu;
        head = heads.get(cpu);
      }
      if (head === undefined || sequence < head.first || sequence >= head.end) continue;
      offsets[count] = at;
      times[count] = nanoseconds(words, at);
      count++;
    }
  }
  sortByTime(offsets.subarray(0, count), times.subarray(0, count));
  const order = offsets.subarray(0, count);
  return { packets: new PacketBatch(words, order, offsetUs), lost: announced - count, heads };
}

/** Whether these are the heads of all CPUs and they announce no records. */
export function announcesNothing(words: Uint32Array, cpus: number): boolean {
  const { heads } = parsePass(words, 0);
  return heads.size === cpus && [...heads.values()].every(({ first, end }) => first === end);
}

/**
 * Sorts both arrays by `times`; equal times keep their order. A pass consists of a few sorted runs
 * (at most two per CPU, because a ring wraps around), which are merged in pairs.
 */
export function sortByTime(offsets: Uint32Array, times: Float64Array): void {
  let runs = risingRuns(times);
  if (runs.length === 2) return;
  let from: Timed = { offsets, times };
  let to: Timed = { offsets: offsets.slice(), times: times.slice() };
  while (runs.length > 2) {
    const merged = [0];
    for (let run = 0; run + 1 < runs.length; run += 2) {
      const [start = 0, middle = 0] = runs.slice(run);
      const end = runs[run + 2] ?? middle;
      merge(from, to, start, middle, end);
      merged.push(end);
    }
    [from, to] = [to, from];
    runs = merged;
  }
  if (from.offsets === offsets) return;
  offsets.set(from.offsets);
  times.set(from.times);
}

interface Timed {
  readonly offsets: Uint32Array;
  readonly times: Float64Array;
}

/** The start of each run, and the end of the last one. */
function risingRuns(times: Float64Array): number[] {
  const runs = [0];
  let before = 0;
  for (let index = 0; index < times.length; index++) {
    const time = times[index] ?? 0;
    if (time < before) runs.push(index);
    before = time;
  }
  runs.push(times.length);
  return runs;
}

/** Merges from[start..middle) with from[middle..end) into `to`. */
function merge(from: Timed, to: Timed, start: number, middle: number, end: number): void {
  const { offsets, times } = from;
  let one = start;
  let two = middle;
  for (let target = start; target < end; target++) {
    const takesOne = two >= end || (one < middle && (times[one] ?? 0) <= (times[two] ?? 0));
    const index = takesOne ? one++ : two++;
    to.offsets[target] = offsets[index] ?? 0;
    to.times[target] = times[index] ?? 0;
  }
}

/** The sequence number of each CPU where the next pass starts, for reading by dump. */
export type Cursors = Map<number, number>;

/**
 * Makes from a dump of the map what the iterator would print, and moves the cursors. `elements` are
 * the values of the map in its order. A CPU without a cursor starts `history` records before now.
 */
export function selectFromDump(
  elements: readonly Uint8Array[],
  cpus: number,
  cursors: Cursors,
  history: number,
): Uint32Array {
  const segments = elements.length / cpus - 1;
  const buffer = new PassBuffer();
  for (let cpu = 0; cpu < cpus; cpu++) {
    const head = wordsOf(elements[cpu], LOG_HEAD.size);
    const end = number64(head, LOG_HEAD.next / 4);
    const first = cursors.get(cpu) ?? Math.max(end - history, 0);
    cursors.set(cpu, end);
    buffer.append(headEntry(head, cpu, first));
    const oldest = Math.max(first, end - segments * SEGMENT_RECORDS);
    for (let sequence = oldest; sequence < end; sequence++) {
      const segment = Math.floor(sequence / SEGMENT_RECORDS) % segments;
      const start = (sequence % SEGMENT_RECORDS) * PACKET_RECORD.size;
      const element = elements[cpus + cpu * segments + segment];
      if (element !== undefined) buffer.append(element.subarray(start, start + PACKET_RECORD.size));
    }
  }
  return buffer.words();
}

function headEntry(head: Uint32Array, cpu: number, first: number): Uint8Array {
  const entry = new Uint32Array(ENTRY_WORDS);
  entry[PASS_HEAD.first / 4 + LOW] = first >>> 0;
  entry[PASS_HEAD.first / 4 + HIGH] = Math.floor(first / 2 ** 32);
  entry.set(head.subarray(0, LOG_HEAD.segment / 4), PASS_HEAD.end / 4);
  entry[CPU] = cpu;
  entry[KIND] = HEAD_KIND;
  entry[CHECK] = recordCheck(entry, 0);
  return new Uint8Array(entry.buffer);
}

function headOf(words: Uint32Array, at: number): PassHead {
  return {
    first: number64(words, at + PASS_HEAD.first / 4),
    end: number64(words, at + PASS_HEAD.end / 4),
    sampledOut: number64(words, at + PASS_HEAD.sampled_out / 4),
    filteredOut: number64(words, at + PASS_HEAD.filtered_out / 4),
  };
}

function wordsOf(bytes: Uint8Array | undefined, size: number): Uint32Array {
  return new Uint32Array(Uint8Array.from(bytes?.subarray(0, size) ?? []).buffer);
}

/** A u64 as a number. It is exact up to 2^53: a million packets per second reach that in 285 years. */
function number64(words: Uint32Array, at: number): number {
  return (words[at + HIGH] ?? 0) * 4_294_967_296 + (words[at + LOW] ?? 0);
}

/** The time of a record since the machine started. It is exact for 104 days, then to 2 ns, and so on. */
function nanoseconds(words: Uint32Array, at: number): number {
  return number64(words, at + TIME);
}
