/** Prints the packets of a log as text. It makes no string for each packet, which would be some ten times slower. Pure. */
import { endianness } from 'node:os';
import { formatAddress } from '../model/address.js';
import type { Direction, Owner } from '../model/records.js';
import { ownerWords } from '../owners/words.js';
import { quoteJson } from '../text/json.js';
import { printable } from '../text/text.js';
import { cpuIn, PACKET_WORDS, type PacketBatch, packetsIn } from './ring.js';

type PacketFormat = 'plain' | 'ndjson';

const CHUNK_BYTES = 256 * 1024;
const ADDRESS_BYTES = 39;
/** `2026-11-22T10:00:00.` */
const SECOND_BYTES = 20;
/** The most that is printed of an owner: a name that is longer is left out with the others. */
const OWNER_BYTES = 4096;
const MAX_OWNERS = 4096;
const NO_OWNER = new Uint8Array(0);

/** The most that a line has besides its fixed parts: time, address, three numbers of ten digits. */
const VARIABLE_BYTES = SECOND_BYTES + 6 + ADDRESS_BYTES + 30;

/** Texts of recent IPv6 addresses are cached. Each slot holds one; two addresses with the same slot replace each other. */
const CACHE_SLOTS = 4096;
const CACHE_SHIFT = 32 - Math.log2(CACHE_SLOTS);

const LITTLE_ENDIAN = endianness() === 'LE';
/** The third word of ::ffff:0:0/96, as it is in memory. */
const V4_MAPPED = new Uint32Array(Uint8Array.of(0, 0, 0xff, 0xff).buffer)[0];

/** "0" to "255", four bytes each: the length, then the digits. */
const OCTETS = new Uint8Array(256 * 4);
for (let octet = 0; octet < 256; octet++) {
  const text = Buffer.from(String(octet), 'latin1');
  OCTETS.set([text.length, ...text], octet * 4);
}

const ZERO = 0x30;
const DOT = 0x2e;

/** Prints the packets of one interface. */
export class PacketLines {
  readonly #before: Uint8Array;
  readonly #afterTime: Uint8Array;
  readonly #afterSource: Uint8Array;
  /** Before and after the number of packets, where there is more than one. */
  readonly #beforePackets: Uint8Array;
  readonly #afterPackets: Uint8Array;
  /** Empty in the plain format, which has no CPU. */
  readonly #afterLength: Uint8Array;
  readonly #end: Uint8Array;
  /** The beginning of a line, up to the point before the microseconds. It changes each second. */
  readonly #head: Uint8Array;
  #second = -1;
  readonly #cacheKeys = new Uint32Array(CACHE_SLOTS * 4);
  readonly #cacheTexts: (Uint8Array | undefined)[] = new Array(CACHE_SLOTS);
  readonly #ownerOf: ((address: string) => Owner) | undefined;
  /** By the key of the source. */
  readonly #owners = new Map<string, Uint8Array>();
  readonly #isPlain: boolean;

  /** `ownerOf`: what is known of an address; undefined: lines do not say it. */
  constructor(
    interfaceName: string,
    format: PacketFormat,
    direction: Direction = 'received',
    ownerOf?: (address: string) => Owner,
  ) {
    const bytes = (text: string) => new Uint8Array(Buffer.from(text));
    const isPlain = format === 'plain';
    this.#isPlain = isPlain;
    this.#ownerOf = ownerOf;
    const name = isPlain ? printable(interfaceName) : quoteJson(interfaceName);
    const isSent = direction === 'sent';
    const sent = isSent ? '"direction":"sent",' : '';
    const address = isSent ? 'destination' : 'source';
    this.#before = bytes(isPlain ? '' : `{"type":"packet","interface":${name},${sent}"time":"`);
    this.#afterTime = bytes(isPlain ? `Z ${name} ${isSent ? '> ' : ''}` : `Z","${address}":"`);
    this.#afterSource = bytes(isPlain ? ' ' : '","length":');
    this.#afterLength = bytes(isPlain ? '' : ',"cpu":');
    this.#beforePackets = bytes(isPlain ? ' in ' : ',"packets":');
    this.#afterPackets = bytes(isPlain ? ' packets' : '');
    this.#end = bytes(isPlain ? '\n' : '}\n');
    this.#head = new Uint8Array(this.#before.length + SECOND_BYTES);
  }

  /** Yields pieces of up to 256 KiB, each of whole lines. */
  *render(batch: PacketBatch): Generator<Uint8Array> {
    for (let start = 0; start < batch.length; ) {
      // Each piece is new memory, because the caller may still hold the piece before.
      const bytes = new Uint8Array(CHUNK_BYTES);
      const filled = this.#fill(bytes, batch, start);
      start = filled.next;
      yield bytes.subarray(0, filled.length);
    }
  }

  /** Writes lines from the packet `start` on, as many as fit. This is one function because that is faster. */
  #fill(bytes: Uint8Array, batch: PacketBatch, start: number): { next: number; length: number } {
    const { words, order } = batch;
    const [afterTime, afterSource] = [this.#afterTime, this.#afterSource];
    const [afterLength, end, head] = [this.#afterLength, this.#end, this.#head];
    const [beforePackets, afterPackets] = [this.#beforePackets, this.#afterPackets];
    const fixed = [
      ...[head, afterTime, afterSource, afterLength, end],
      ...[beforePackets, afterPackets],
    ];
    const ownerBytes = this.#ownerOf === undefined ? 0 : OWNER_BYTES;
    const lineBytes = fixed.reduce((sum, part) => sum + part.length, VARIABLE_BYTES + ownerBytes);
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
        length = putNumber(bytes, length, cpuIn(words, at));
      }
      const packets = packetsIn(words, at);
      if (packets > 1) {
        length = put(bytes, length, beforePackets);
        length = putNumber(bytes, length, packets);
        length = put(bytes, length, afterPackets);
      }
      if (ownerBytes > 0) length = put(bytes, length, this.#ownerText(batch, at));
      length = put(bytes, length, end);
    }
    return { next, length };
  }

  /** What follows the other fields. It is made anew each second, since names come in later. */
  #ownerText(batch: PacketBatch, at: number): Uint8Array {
    const key = batch.sourceKey(at);
    const known = this.#owners.get(key);
    if (known !== undefined) return known;
    const owner = this.#ownerOf?.(formatAddress(key)) ?? {};
    const words = this.#isPlain ? ` ${ownerWords(owner)}`.trimEnd() : ownerMembers(owner);
    const bytes = new Uint8Array(Buffer.from(words));
    const text = bytes.length > OWNER_BYTES ? NO_OWNER : bytes;
    if (this.#owners.size >= MAX_OWNERS) this.#owners.clear();
    this.#owners.set(key, text);
    return text;
  }

  #beginSecond(second: number): void {
    this.#second = second;
    this.#owners.clear();
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
    const keyStart = slot * 4;
    const cached = this.#cacheTexts[slot];
    if (
      cached !== undefined &&
      keys[keyStart] === a &&
      keys[keyStart + 1] === b &&
      keys[keyStart + 2] === c &&
      keys[keyStart + 3] === d
    ) {
      return cached;
    }
    const text = new Uint8Array(Buffer.from(formatAddress(batch.sourceKey(at)), 'latin1'));
    keys.set([a, b, c, d], keyStart);
    this.#cacheTexts[slot] = text;
    return text;
  }
}

/** `,"asn":64500,"as_name":"Example"`. */
function ownerMembers(owner: Owner): string {
  return Object.entries(owner)
    .map(([name, value]) => `,"${name}":${typeof value === 'number' ? value : quoteJson(value)}`)
    .join('');
}

/** This function and those below write at `length` and return the new length. */
function put(bytes: Uint8Array, length: number, part: Uint8Array): number {
  for (let index = 0; index < part.length; index++) bytes[length + index] = part[index] ?? 0;
  return length + part.length;
}

/** Writes six digits. */
function putMicroseconds(bytes: Uint8Array, length: number, microseconds: number): number {
  let number = microseconds | 0;
  for (let index = length + 5; index >= length; index--) {
    const tenth = (number / 10) | 0;
    bytes[index] = ZERO + number - tenth * 10;
    number = tenth;
  }
  return length + 6;
}

function putNumber(bytes: Uint8Array, length: number, number: number): number {
  let digits = 1;
  for (let bound = 10; number >= bound; bound *= 10) digits++;
  let remaining = number;
  for (let index = length + digits - 1; index >= length; index--) {
    const tenth = Math.floor(remaining / 10);
    bytes[index] = ZERO + remaining - tenth * 10;
    remaining = tenth;
  }
  return length + digits;
}

/** `address` is the word as it is in memory, in network byte order. */
function putIpv4(bytes: Uint8Array, length: number, address: number): number {
  for (let byte = 0; byte < 4; byte++) {
    const octet = (address >>> (LITTLE_ENDIAN ? byte * 8 : 24 - byte * 8)) & 0xff;
    const entry = octet * 4;
    const digits = OCTETS[entry] ?? 0;
    if (byte > 0) bytes[length++] = DOT;
    for (let digit = 1; digit <= digits; digit++) bytes[length++] = OCTETS[entry + digit] ?? 0;
  }
  return length;
}
