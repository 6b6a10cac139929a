import { formatAddress } from '../model/address.js';
import { printable } from '../text/text.js';
import { PACKET_WORDS, type PacketBatch } from './ring.js';

export type PacketFormat = 'plain' | 'ndjson';

const CHUNK_BYTES = 256 * 1024;
const ADDRESS_BYTES = 39;
/** `2026-11-22T10:00:00.` */
const SECOND_BYTES = 20;
/** Time, address, two numbers of ten digits: what is in a line besides its fixed parts. */
const VARIABLE_BYTES = SECOND_BYTES + 6 + ADDRESS_BYTES + 20;

/** IPv6 addresses that were written lately, in as many places; two that share one take turns. */
const CACHE_SLOTS = 4096;
const CACHE_SHIFT = 32 - Math.log2(CACHE_SLOTS);

const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
/** ::ffff:0:0/96, as a word of memory. */
const V4_MAPPED = new Uint32Array(Uint8Array.of(0, 0, 0xff, 0xff).buffer)[0];

/** "0" to "255" with their lengths, four bytes each. */
const OCTETS = new Uint8Array(256 * 4);
for (let octet = 0; octet < 256; octet++) {
  const text = Buffer.from(String(octet), 'latin1');
  OCTETS.set([text.length, ...text], octet * 4);
}

const ZERO = 0x30;
const DOT = 0x2e;

/** Renders the packets of one interface. */
export class PacketLines {
  readonly #before: Uint8Array;
  readonly #afterTime: Uint8Array;
  readonly #afterSource: Uint8Array;
  /** Empty where the CPU is left out. */
  readonly #afterLength: Uint8Array;
  readonly #end: Uint8Array;
  /** What a line begins with, to the point before the microseconds; made anew each second. */
  readonly #head: Uint8Array;
  #second = -1;
  readonly #cacheKeys = new Uint32Array(CACHE_SLOTS * 4);
  readonly #cacheTexts: (Uint8Array | undefined)[] = new Array(CACHE_SLOTS);

  constructor(interfaceName: string, format: PacketFormat) {
    const bytes = (text: string) => new Uint8Array(Buffer.from(text));
    const isPlain = format === 'plain';
    const name = isPlain ? printable(interfaceName) : JSON.stringify(interfaceName);
    this.#before = bytes(isPlain ? '' : `{"type":"packet","interface":${name},"time":"`);
    this.#afterTime = bytes(isPlain ? `Z ${name} ` : 'Z","source":"');
    this.#afterSource = bytes(isPlain ? ' ' : '","length":');
    this.#afterLength = bytes(isPlain ? '' : ',"cpu":');
    this.#end = bytes(isPlain ? '\n' : '}\n');
    this.#head = new Uint8Array(this.#before.length + SECOND_BYTES);
  }

  /** Whole lines, in pieces of some 256 KiB. */
  *render(batch: PacketBatch): Generator<Uint8Array> {
    for (let start = 0; start < batch.length; ) {
      // New memory each time: whoever got the last piece may not be done with it.
      const bytes = new Uint8Array(CHUNK_BYTES);
      const filled = this.#fill(bytes, batch, start);
      start = filled.next;
      yield bytes.subarray(0, filled.length);
    }
  }

  /** Lines from the packet `start` on until there is no room for another; one function, for its speed. */
  #fill(bytes: Uint8Array, batch: PacketBatch, start: number): { next: number; length: number } {
    const { words, order } = batch;
    const [afterTime, afterSource] = [this.#afterTime, this.#afterSource];
    const [afterLength, end, head] = [this.#afterLength, this.#end, this.#head];
    const fixed = [head, afterTime, afterSource, afterLength, end];
    const lineBytes = fixed.reduce((sum, part) => sum + part.length, VARIABLE_BYTES);
    const limit = bytes.length - lineBytes;
    let length = 0;
    let next = start;
    for (; next < order.length && length <= limit; next++) {
      const at = order[next] ?? 0;
      const timeUs = batch.timeUs(at);
      const second = Math.floor(timeUs / 1_000_000);
      if (second !== this.#second) this.#beginSecond(second);
      bytes.set(head, length);
      length = putMicroseconds(bytes, length + head.length, timeUs - second * 1_000_000);
      length = put(bytes, length, afterTime);
      const source = at + PACKET_WORDS.source;
      length =
        words[source] === 0 && words[source + 1] === 0 && words[source + 2] === V4_MAPPED
          ? putIpv4(bytes, length, words[source + 3] ?? 0)
          : put(bytes, length, this.#ipv6Text(batch, at, source));
      length = put(bytes, length, afterSource);
      length = putNumber(bytes, length, words[at + PACKET_WORDS.length] ?? 0);
      if (afterLength.length > 0) {
        length = put(bytes, length, afterLength);
        length = putNumber(bytes, length, words[at + PACKET_WORDS.cpu] ?? 0);
      }
      length = put(bytes, length, end);
    }
    return { next, length };
  }

  #beginSecond(second: number): void {
    this.#second = second;
    const text = new Date(second * 1000).toISOString().slice(0, SECOND_BYTES - 1);
    this.#head.set(this.#before);
    this.#head.set(Buffer.from(`${text}.`, 'latin1'), this.#before.length);
  }

  #ipv6Text(batch: PacketBatch, at: number, source: number): Uint8Array {
    const { words } = batch;
    const a = words[source] ?? 0;
    const b = words[source + 1] ?? 0;
    const c = words[source + 2] ?? 0;
    const d = words[source + 3] ?? 0;
    const sum =
      Math.imul(a, 0x9e3779b1) ^
      Math.imul(b, 0x85ebca77) ^
      Math.imul(c, 0xc2b2ae3d) ^
      Math.imul(d, 0x27d4eb2f);
    const slot = Math.imul(sum ^ (sum >>> 15), 0x2c1b3c6d) >>> CACHE_SHIFT;
    const keys = this.#cacheKeys;
    const place = slot * 4;
    const cached = this.#cacheTexts[slot];
    if (
      cached !== undefined &&
      keys[place] === a &&
      keys[place + 1] === b &&
      keys[place + 2] === c &&
      keys[place + 3] === d
    ) {
      return cached;
    }
    const text = new Uint8Array(Buffer.from(formatAddress(batch.sourceKey(at)), 'latin1'));
    keys.set([a, b, c, d], place);
    this.#cacheTexts[slot] = text;
    return text;
  }
}

/** These write at `length` and return where they stopped. */
function put(bytes: Uint8Array, length: number, part: Uint8Array): number {
  for (let index = 0; index < part.length; index++) bytes[length + index] = part[index] ?? 0;
  return length + part.length;
}

/** Six digits. */
function putMicroseconds(bytes: Uint8Array, length: number, microseconds: number): number {
  let rest = microseconds | 0;
  for (let place = length + 5; place >= length; place--) {
    const tenth = (rest / 10) | 0;
    bytes[place] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return length + 6;
}

function putNumber(bytes: Uint8Array, length: number, number: number): number {
  let digits = 1;
  for (let bound = 10; number >= bound; bound *= 10) digits++;
  let rest = number;
  for (let place = length + digits - 1; place >= length; place--) {
    const tenth = Math.floor(rest / 10);
    bytes[place] = ZERO + rest - tenth * 10;
    rest = tenth;
  }
  return length + digits;
}

/** `address` as the word is in memory. */
function putIpv4(bytes: Uint8Array, length: number, address: number): number {
  for (let byte = 0; byte < 4; byte++) {
    const octet = (address >>> (IS_LITTLE_ENDIAN ? byte * 8 : 24 - byte * 8)) & 0xff;
    const entry = octet * 4;
    const digits = OCTETS[entry] ?? 0;
    if (byte > 0) bytes[length++] = DOT;
    for (let digit = 1; digit <= digits; digit++) bytes[length++] = OCTETS[entry + digit] ?? 0;
  }
  return length;
}
