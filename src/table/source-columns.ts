/**
 * The sources of one reading in typed arrays, 56 bytes each: as objects a million of them would take most of a
 * gigabyte. The live view sorts, filters and sums them again at each key. Pure.
 */
import {
  formatAddress,
  isMappedKey,
  MAPPED_PREFIX_BITS,
  writeAddressKey,
} from '../model/address.js';
import { type Grouping, maskByte, type Prefix } from '../model/prefix.js';
import { FirstFew, type Order } from '../model/ranking.js';
import type { SourceRecord } from '../model/records.js';
import { grown } from './grown.js';
import { SourceSet } from './source-set.js';

const KEY_BYTES = 16;

export class SourceColumns {
  readonly interface: string;
  /** For sums by prefix: then each key is a network. */
  readonly #grouping: Grouping | undefined;
  #size = 0;
  #keys = new Uint8Array(0);
  #packets = new BigUint64Array(0);
  #bytes = new BigUint64Array(0);
  #idleMs = new Float64Array(0);
  /** NaN where there is no rate yet. */
  #packetRates = new Float64Array(0);
  #byteRates = new Float64Array(0);

  constructor(interfaceName: string, grouping?: Grouping) {
    this.interface = interfaceName;
    this.#grouping = grouping;
  }

  get size(): number {
    return this.#size;
  }

  add(record: SourceRecord): void {
    const at = this.#room();
    writeAddressKey(record.source, this.#keys, at * KEY_BYTES);
    this.#packets[at] = record.packets;
    this.#bytes[at] = record.bytes;
    this.#idleMs[at] = record.idle_ms;
    this.#packetRates[at] = record.packets_per_second ?? Number.NaN;
    this.#byteRates[at] = record.bytes_per_second ?? Number.NaN;
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

  /** The address at an index as text, or the prefix: "192.0.2.0/24". */
  source(at: number): string {
    const key = this.#key(at);
    const address = formatAddress(key);
    if (this.#grouping === undefined) return address;
    return `${address}/${isMappedKey(key) ? this.#grouping.ipv4 : this.#grouping.ipv6}`;
  }

  record(at: number): SourceRecord {
    const packetRate = this.#packetRates[at] ?? Number.NaN;
    const byteRate = this.#byteRates[at] ?? Number.NaN;
    return {
      type: 'source',
      interface: this.interface,
      source: this.source(at),
      packets: this.#packets[at] ?? 0n,
      bytes: this.#bytes[at] ?? 0n,
      idle_ms: this.#idleMs[at] ?? 0,
      ...(Number.isNaN(packetRate) ? {} : { packets_per_second: packetRate }),
      ...(Number.isNaN(byteRate) ? {} : { bytes_per_second: byteRate }),
    };
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

  /** The sums by prefix of those that `accepts` takes. The idle time of a group is the shortest of its members. */
  grouped(grouping: Grouping, accepts: (at: number) => boolean): SourceColumns {
    const groups = new SourceColumns(this.interface, grouping);
    const numbers = new SourceSet();
    for (let at = 0; at < this.#size; at++) {
      if (!accepts(at)) continue;
      const bits = this.#isMapped(at) ? MAPPED_PREFIX_BITS + grouping.ipv4 : grouping.ipv6;
      const number = numbers.add(this.#key(at, bits));
      if (number < 0) groups.#sum(~number, this, at);
      else groups.#copy(this, at, bits);
    }
    return groups;
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

  #copy(from: SourceColumns, at: number, bits: number): void {
    const to = this.#room();
    for (let index = 0; index < KEY_BYTES; index++) {
      const byte = from.#keys[at * KEY_BYTES + index] ?? 0;
      this.#keys[to * KEY_BYTES + index] = byte & maskByte(bits, index);
    }
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

  /** The key as 16 latin-1 characters, with the first `bits` of it. */
  #key(at: number, bits = 8 * KEY_BYTES): string {
    let key = '';
    for (let index = 0; index < KEY_BYTES; index++) {
      const byte = this.#keys[at * KEY_BYTES + index] ?? 0;
      key += String.fromCharCode(byte & maskByte(bits, index));
    }
    return key;
  }

  #isMapped(at: number): boolean {
    for (let index = 0; index < 12; index++) {
      if (this.#keys[at * KEY_BYTES + index] !== (index < 10 ? 0 : 0xff)) return false;
    }
    return true;
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

function falling<T extends bigint | number>(a: T, b: T): number {
  return a > b ? -1 : a < b ? 1 : 0;
}

/** The sum of two rates, of which one may be missing (NaN). */
function sumOf(one = Number.NaN, two = Number.NaN): number {
  return Number.isNaN(one) ? two : Number.isNaN(two) ? one : one + two;
}
