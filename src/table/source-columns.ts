/**
 * The sources of one reading in typed arrays, 56 bytes each: as objects a million of them would take most of a
 * gigabyte. The live view sorts, filters and sums them again at each key. Pure.
 */
import { endianness } from 'node:os';
import { isMappedAt, writeAddressKey } from '../model/address.js';
import { ADDRESSES, type Grouping } from '../model/grouping.js';
import { maskByte, type Prefix } from '../model/prefix.js';
import { FirstFew, type Order } from '../model/ranking.js';
import type { SourceList, SourceRecord } from '../model/records.js';
import { grown } from './grown.js';
import { SourceSet } from './source-set.js';

const KEY_BYTES = 16;
const FIGURE_BYTES = 8;
/** From the lowest byte of a figure to the highest. */
const BYTE_ORDER = Array.from({ length: FIGURE_BYTES }, (_, index) =>
  endianness() === 'LE' ? index : FIGURE_BYTES - 1 - index,
);

export class SourceColumns {
  readonly interface: string;
  /** For sums: then each key is that of a group. */
  readonly #grouping: Grouping;
  /** Of sums: which are there. */
  readonly #groups = new SourceSet();
  readonly #groupKey = Buffer.alloc(KEY_BYTES);
  #size = 0;
  #keys = new Uint8Array(0);
  #packets = new BigUint64Array(0);
  #bytes = new BigUint64Array(0);
  #idleMs = new Float64Array(0);
  /** NaN where there is no rate yet. */
  #packetRates = new Float64Array(0);
  #byteRates = new Float64Array(0);

  constructor(interfaceName: string, grouping = ADDRESSES) {
    this.interface = interfaceName;
    this.#grouping = grouping;
  }

  get size(): number {
    return this.#size;
  }

  /** Forgets all, and keeps the memory. */
  clear(): void {
    this.#size = 0;
  }

  add(record: SourceRecord, packetRate?: number, byteRate?: number): void {
    const at = this.#room();
    writeAddressKey(record.source, this.#keys, at * KEY_BYTES);
    this.#packets[at] = record.packets;
    this.#bytes[at] = record.bytes;
    this.#idleMs[at] = record.idle_ms;
    this.#packetRates[at] = packetRate ?? record.packets_per_second ?? Number.NaN;
    this.#byteRates[at] = byteRate ?? record.bytes_per_second ?? Number.NaN;
  }

  /** Adds a source to the sum of its group. All of these columns must have come this way. */
  addToGroup(record: SourceRecord, packetRate?: number, byteRate?: number): void {
    writeAddressKey(record.source, this.#groupKey, 0);
    this.#grouping.toGroup(this.#groupKey, 0);
    const number = this.#groups.add(this.#groupKey.toString('latin1'));
    const rates = [
      packetRate ?? record.packets_per_second,
      byteRate ?? record.bytes_per_second,
    ] as const;
    if (number >= 0) {
      this.add(record, ...rates);
      this.#keys.set(this.#groupKey, number * KEY_BYTES);
      return;
    }
    const to = ~number;
    this.#packets[to] = (this.#packets[to] ?? 0n) + record.packets;
    this.#bytes[to] = (this.#bytes[to] ?? 0n) + record.bytes;
    this.#idleMs[to] = Math.min(this.#idleMs[to] ?? 0, record.idle_ms);
    this.#packetRates[to] = sumOf(this.#packetRates[to], rates[0]);
    this.#byteRates[to] = sumOf(this.#byteRates[to], rates[1]);
  }

  /** Makes room for one more, and returns its index. */
  #room(): number {
    const at = this.#size++;
    this.#keys = grown(this.#keys, (at + 1) * KEY_BYTES);
    this.#packets = grown(this.#packets, at + 1);
    this.#bytes = grown(this.#bytes, at + 1);
    this.#idleMs = grown(this.#idleMs, at + 1);
    this.#packetRates = grown(this.#packetRates, at + 1);
    this.#byteRates = grown(this.#byteRates, at + 1);
    return at;
  }

  /** The address at an index as text, or what the group is called. */
  source(at: number): string {
    return this.#grouping.nameAt(this.#keys, at * KEY_BYTES).source;
  }

  record(at: number): SourceRecord {
    const name = this.#grouping.nameAt(this.#keys, at * KEY_BYTES);
    const record = {
      type: 'source',
      interface: this.interface,
      source: name.source,
      packets: this.#packets[at] ?? 0n,
      bytes: this.#bytes[at] ?? 0n,
      idle_ms: this.#idleMs[at] ?? 0,
    } as const;
    const packetRate = this.#packetRates[at] ?? Number.NaN;
    const byteRate = this.#byteRates[at] ?? Number.NaN;
    // A source has both rates or none.
    const rated = Number.isNaN(packetRate)
      ? record
      : { ...record, packets_per_second: packetRate, bytes_per_second: byteRate };
    const { asn, as_name, country, network } = name;
    return (asn ?? as_name ?? country ?? network) === undefined ? rated : { ...rated, ...name };
  }

  /** All in order, or with a `limit` the first of them, each made when it is read: for as long as nothing is added or cleared. */
  list(order: Order, limit = 0): SourceList {
    const indexes =
      limit === 0 ? this.#sortedIndexes(order) : this.first(order, limit, () => true).indexes;
    const columns = this;
    return {
      length: indexes.length,
      *[Symbol.iterator]() {
        for (const at of indexes) yield columns.record(at);
      },
    };
  }

  /**
   * Sorts by one byte after the other, the least of them first: each pass keeps the order of the one before among
   * equals. A comparison of two sources at a time takes ten times as long where their figures are equal.
   */
  #sortedIndexes(order: Order): Uint32Array {
    let indexes = new Uint32Array(this.#size);
    for (let at = 0; at < this.#size; at++) indexes[at] = at;
    if (order === 'none') return indexes;
    let spare = new Uint32Array(this.#size);
    const pass = (bytes: Uint8Array, stride: number, offset: number, flip: number) => {
      if (!scatter(indexes, spare, { bytes, stride, offset, flip })) return;
      [indexes, spare] = [spare, indexes];
    };
    for (let byte = KEY_BYTES - 1; byte >= 0; byte--) pass(this.#keys, KEY_BYTES, byte, 0);
    const families = new Uint8Array(this.#size);
    for (let at = 0; at < this.#size; at++) families[at] = this.#isMapped(at) ? 0 : 1;
    pass(families, 1, 0, 0);
    const figures = this.#figures(order);
    if (figures === undefined) return indexes;
    const bytes = new Uint8Array(figures.buffer, figures.byteOffset, figures.byteLength);
    for (const byte of BYTE_ORDER) pass(bytes, FIGURE_BYTES, byte, 0xff);
    return indexes;
  }

  /** The figures of an order. The bits of a positive double are in the order of the numbers (IEEE 754). */
  #figures(order: Order): BigUint64Array | Float64Array | undefined {
    if (order === 'packets') return this.#packets;
    if (order === 'bytes') return this.#bytes;
    return order === 'rate' ? this.#packetRates.map((rate) => rate || 0) : undefined;
  }

  /** The indexes of the first `limit` of those that `accepts` takes, in order, and how many it takes. */
  first(order: Order, limit: number, accepts: (at: number) => boolean) {
    const few = new FirstFew<number>((a, b) => this.#compare(order, a, b), limit);
    let accepted = 0;
    for (let at = 0; at < this.#size; at++) {
      if (!accepts(at)) continue;
      accepted++;
      few.add(at);
    }
    return { indexes: few.result(), accepted };
  }

  /** Whether the address at an index is in a prefix. */
  isIn(at: number, { network, bits, family }: Prefix): boolean {
    if ((family === 4) !== this.#isMapped(at)) return false;
    for (let index = 0; index < KEY_BYTES && index * 8 < bits; index++) {
      const byte = this.#keys[at * KEY_BYTES + index] ?? 0;
      if ((byte & maskByte(bits, index)) !== network[index]) return false;
    }
    return true;
  }

  /** The sums by group of those that `accepts` takes. The idle time of a group is the shortest of its members. */
  grouped(grouping: Grouping, accepts: (at: number) => boolean): SourceColumns {
    const groups = new SourceColumns(this.interface, grouping);
    groups.sumUp(this, accepts);
    return groups;
  }

  /** Adds those of other columns that `accepts` takes to the sums of their groups. */
  sumUp(from: SourceColumns, accepts: (at: number) => boolean): void {
    for (let at = 0; at < from.#size; at++) {
      if (!accepts(at)) continue;
      this.#groupKey.set(from.#keys.subarray(at * KEY_BYTES, (at + 1) * KEY_BYTES));
      this.#grouping.toGroup(this.#groupKey, 0);
      const number = this.#groups.add(this.#groupKey.toString('latin1'));
      if (number < 0) this.#sum(~number, from, at);
      else this.#copy(from, at);
    }
  }

  /** A copy, which later readings do not change. */
  copy(): SourceColumns {
    const copy = new SourceColumns(this.interface, this.#grouping);
    copy.#size = this.#size;
    copy.#keys = this.#keys.slice(0, this.#size * KEY_BYTES);
    copy.#packets = this.#packets.slice(0, this.#size);
    copy.#bytes = this.#bytes.slice(0, this.#size);
    copy.#idleMs = this.#idleMs.slice(0, this.#size);
    copy.#packetRates = this.#packetRates.slice(0, this.#size);
    copy.#byteRates = this.#byteRates.slice(0, this.#size);
    return copy;
  }

  /** Appends what is at an index of other columns, under the key of its group. */
  #copy(from: SourceColumns, at: number): void {
    const to = this.#room();
    this.#keys.set(this.#groupKey, to * KEY_BYTES);
    this.#packets[to] = from.#packets[at] ?? 0n;
    this.#bytes[to] = from.#bytes[at] ?? 0n;
    this.#idleMs[to] = from.#idleMs[at] ?? 0;
    this.#packetRates[to] = from.#packetRates[at] ?? Number.NaN;
    this.#byteRates[to] = from.#byteRates[at] ?? Number.NaN;
  }

  #sum(to: number, from: SourceColumns, at: number): void {
    this.#packets[to] = (this.#packets[to] ?? 0n) + (from.#packets[at] ?? 0n);
    this.#bytes[to] = (this.#bytes[to] ?? 0n) + (from.#bytes[at] ?? 0n);
    this.#idleMs[to] = Math.min(this.#idleMs[to] ?? 0, from.#idleMs[at] ?? 0);
    this.#packetRates[to] = sumOf(this.#packetRates[to], from.#packetRates[at]);
    this.#byteRates[to] = sumOf(this.#byteRates[to], from.#byteRates[at]);
  }

  #isMapped(at: number): boolean {
    return isMappedAt(this.#keys, at * KEY_BYTES);
  }

  /** As compareSources: the larger figure first, then the lower address; IPv4 before IPv6. */
  #compare(order: Order, a: number, b: number): number {
    return this.#compareFigures(order, a, b) || this.#compareKeys(a, b);
  }

  #compareFigures(order: Order, a: number, b: number): number {
    switch (order) {
      case 'packets':
        return falling(this.#packets[a] ?? 0n, this.#packets[b] ?? 0n);
      case 'bytes':
        return falling(this.#bytes[a] ?? 0n, this.#bytes[b] ?? 0n);
      case 'rate':
        return falling(this.#packetRates[a] || 0, this.#packetRates[b] || 0);
      case 'source':
      case 'none':
        return 0;
    }
  }

  #compareKeys(a: number, b: number): number {
    const family = Number(this.#isMapped(b)) - Number(this.#isMapped(a));
    if (family !== 0) return family;
    for (let index = 0; index < KEY_BYTES; index++) {
      const difference =
        (this.#keys[a * KEY_BYTES + index] ?? 0) - (this.#keys[b * KEY_BYTES + index] ?? 0);
      if (difference !== 0) return difference;
    }
    return 0;
  }
}

/** One byte of each element, flipped for a falling order. */
interface Digit {
  readonly bytes: Uint8Array;
  readonly stride: number;
  readonly offset: number;
  readonly flip: number;
}

/** Writes `from` to `to` in the order of a byte, equals as they are. False where all are equal: then it writes nothing. */
function scatter(
  from: Uint32Array,
  to: Uint32Array,
  { bytes, stride, offset, flip }: Digit,
): boolean {
  const places = new Uint32Array(257);
  for (const at of from) {
    const digit = ((bytes[at * stride + offset] ?? 0) ^ flip) + 1;
    places[digit] = (places[digit] ?? 0) + 1;
  }
  if (places.includes(from.length)) return false;
  for (let digit = 1; digit <= 256; digit++) {
    places[digit] = (places[digit] ?? 0) + (places[digit - 1] ?? 0);
  }
  for (const at of from) {
    const digit = (bytes[at * stride + offset] ?? 0) ^ flip;
    const place = places[digit] ?? 0;
    to[place] = at;
    places[digit] = place + 1;
  }
  return true;
}

function falling<T extends bigint | number>(a: T, b: T): number {
  return a > b ? -1 : a < b ? 1 : 0;
}

/** The sum of two rates, of which one may be missing (NaN). */
function sumOf(one = Number.NaN, two = Number.NaN): number {
  return Number.isNaN(one) ? two : Number.isNaN(two) ? one : one + two;
}
