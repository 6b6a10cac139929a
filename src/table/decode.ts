/** Parses the bytes and lines that the kernel gives us. Pure. Unexpected text is an error (`bad-output`); nothing is guessed. */

import { XdpwhoError } from '../model/errors.js';
import { propertyOf } from '../model/json-values.js';
import type { SourceRecord } from '../model/records.js';
import type { FrontSize } from '../objects/front.js';
import { FRONT_LINE, SOURCE_KEY, SOURCE_VALUE, TOTALS } from '../objects/layout.js';

/** The part of a totals record that the kernel counts. */
export interface KernelTotals {
  readonly bytes: bigint;
  readonly ipv4: bigint;
  readonly ipv6: bigint;
  readonly other: bigint;
  readonly malformed: bigint;
}

interface Figures {
  readonly packets: bigint;
  readonly bytes: bigint;
  /** The time of the last packet, in jiffies64. */
  readonly lastSeen: bigint;
}

/** One element of the table, with the sums over all CPUs. */
interface TableEntry extends Figures {
  /** The 16 bytes of the key as 16 latin-1 characters, which are cheap to compare. */
  readonly key: string;
}

/** The figures in the lines of the front table, by the key of the source and the number of the CPU. */
export type FrontFigures = Map<string, Map<number, Figures>>;

const SOURCE_LINE =
  /\{"type":"(?:source|destination)","interface":"((?:[^"\\]|\\.)*)","(?:source|destination)":"([0-9a-f.:]+)","packets":(\d{1,20}),"bytes":(\d{1,20}),"idle_ms":(\d{1,20})\}\n/y;

/**
 * Parses whole lines of the sources file; `text` ends with a newline or is empty. The lines have the
 * name that the interface had when it was attached; the records get `interfaceName`.
 */
export function parseSourceLines(text: string, interfaceName: string): SourceRecord[] {
  const records: SourceRecord[] = [];
  SOURCE_LINE.lastIndex = 0;
  while (SOURCE_LINE.lastIndex < text.length) {
    const start = SOURCE_LINE.lastIndex;
    const match = SOURCE_LINE.exec(text);
    if (match === null) {
      throw unexpected('a line of the sources file', text.slice(start).split('\n', 1)[0] ?? '');
    }
    const [, , source = '', packets = '', bytes = '', idle = ''] = match;
    records.push({
      type: 'source',
      interface: interfaceName,
      source,
      packets: BigInt(packets),
      bytes: BigInt(bytes),
      idle_ms: Number(idle),
    });
  }
  return records;
}

const TOTALS_LINE =
  /^\{"type":"totals","interface":"(?:[^"\\]|\\.)*",(?:"direction":"sent",)?"packets":\d{1,20},"bytes":(\d{1,20}),"ipv4":(\d{1,20}),"ipv6":(\d{1,20}),"other":(\d{1,20}),"malformed":(\d{1,20})\}\n$/;

/** Parses the line of the totals file. */
export function parseTotalsLine(text: string): KernelTotals {
  const match = TOTALS_LINE.exec(text);
  if (match === null) throw unexpected('the line of the totals file', text);
  const [bytes = 0n, ipv4 = 0n, ipv6 = 0n, other = 0n, malformed = 0n] = match.slice(1).map(BigInt);
  return { bytes, ipv4, ipv6, other, malformed };
}

/**
 * Parses one entry of `map dump -j` of the table. Returns undefined for the entry that bpftool
 * prints for an element that was removed during the dump: `{"key":[...],"value":{"error":...}}`.
 * `front` must have been read before the table.
 */
export function decodeSourceEntry(
  entry: unknown,
  littleEndian: boolean,
  front?: FrontFigures,
): TableEntry | undefined {
  const key = bytesOf(propertyOf(entry, 'key'), SOURCE_KEY.size);
  const failure = propertyOf(propertyOf(entry, 'value'), 'error');
  if (key !== undefined && typeof failure === 'string') return undefined;
  const values = perCpuValues(entry, SOURCE_VALUE.size);
  if (key === undefined || values === undefined) throw unexpected('an entry of the table', entry);
  const name = String.fromCharCode(...key);
  const lines = front?.get(name);
  let packets = 0n;
  let bytes = 0n;
  let lastSeen = 0n;
  for (const [cpu, value] of values.entries()) {
    const stored = figuresIn(value, 0, littleEndian);
    const own = lines?.get(cpu) ?? stored;
    packets += later(stored.packets, own.packets);
    bytes += later(stored.bytes, own.bytes);
    const seen = later(stored.lastSeen, own.lastSeen);
    if (seen > lastSeen) lastSeen = seen;
  }
  return { key: name, packets, bytes, lastSeen };
}

/** The totals in the first elements of `map dump -j` of the front table. */
export function decodeFrontTotals(
  entries: readonly unknown[],
  { totals }: FrontSize,
  littleEndian: boolean,
): KernelTotals {
  const views = entries.slice(0, totals).map((entry) => {
    const bytes = bytesOf(propertyOf(entry, 'value'), FRONT_LINE.size);
    if (bytes === undefined) throw unexpected('the totals', entry);
    return new DataView(bytes.buffer);
  });
  return sumTotals(views, littleEndian);
}

/** Adds the line in an entry of `map dump -j` of the front table, unless it is one of the totals. */
export function addFrontLine(
  front: FrontFigures,
  entry: unknown,
  { lines, totals }: FrontSize,
  littleEndian: boolean,
): void {
  const index = bytesOf(propertyOf(entry, 'key'), 4);
  const bytes = bytesOf(propertyOf(entry, 'value'), FRONT_LINE.size);
  if (index === undefined || bytes === undefined) throw unexpected('a line', entry);
  const place = new DataView(index.buffer).getUint32(0, littleEndian) - totals;
  if (place < 0) return;
  const view = new DataView(bytes.buffer);
  const turn = view.getBigUint64(FRONT_LINE.turn, littleEndian);
  // It has had no source yet, or it is changing hands.
  if (turn === 0n || turn % 2n === 1n) return;
  const cpu = Math.floor(place / lines);
  const key = String.fromCharCode(...bytes.subarray(FRONT_LINE.source, SOURCE_KEY.size));
  const ofSource = front.get(key) ?? new Map<number, Figures>();
  front.set(key, ofSource.set(cpu, figuresIn(view, FRONT_LINE.figures, littleEndian)));
}

function figuresIn(view: DataView, offset: number, littleEndian: boolean): Figures {
  return {
    packets: view.getBigUint64(offset + SOURCE_VALUE.packets, littleEndian),
    bytes: view.getBigUint64(offset + SOURCE_VALUE.bytes, littleEndian),
    lastSeen: view.getBigUint64(offset + SOURCE_VALUE.last_seen, littleEndian),
  };
}

/** The later of two readings of a counter, which may have passed 2^64 between them. */
function later(one: bigint, other: bigint): bigint {
  return BigInt.asIntN(64, other - one) > 0n ? other : one;
}

/** Parses the one entry of `map dump -j` of the totals. */
export function decodeTotals(entries: readonly unknown[], littleEndian: boolean): KernelTotals {
  const values = perCpuValues(entries[0], TOTALS.size);
  if (values === undefined) throw unexpected('the totals', entries);
  return sumTotals(values, littleEndian);
}

function sumTotals(values: readonly DataView[], littleEndian: boolean): KernelTotals {
  const sum = (offset: number) =>
    values.reduce((total, value) => total + value.getBigUint64(offset, littleEndian), 0n);
  return {
    bytes: sum(TOTALS.bytes),
    ipv4: sum(TOTALS.ipv4),
    ipv6: sum(TOTALS.ipv6),
    other: sum(TOTALS.other),
    malformed: sum(TOTALS.malformed),
  };
}

/** Parses the value of an entry of `map dump -j` of the log's map: `size` bytes. */
export function decodeLogElement(entry: unknown, size: number): Uint8Array {
  const bytes = bytesOf(propertyOf(entry, 'value'), size);
  if (bytes === undefined) throw unexpected('an entry of the log', entry);
  return bytes;
}

/** Milliseconds since `lastSeen`, from the low 32 bits of both jiffies. Correct for times below 2^32 ticks. */
export function idleMs(lastSeen: bigint, nowJiffies: number, hz: number): number {
  const ticks = (nowJiffies - Number(lastSeen & 0xffff_ffffn)) >>> 0;
  // A packet that came after `now` was read gives a huge difference; its idle time is 0.
  return ticks > 0xffff_ffff - 60 * hz ? 0 : Math.floor((ticks * 1000) / hz);
}

function perCpuValues(entry: unknown, size: number): DataView[] | undefined {
  const values = propertyOf(entry, 'values');
  if (!Array.isArray(values) || values.length === 0) return undefined;
  const views: DataView[] = [];
  for (const ofCpu of values) {
    const bytes = bytesOf(propertyOf(ofCpu, 'value'), size);
    if (bytes === undefined) return undefined;
    views.push(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  }
  return views;
}

const BYTE_VALUES: ReadonlyMap<unknown, number> = new Map(
  Array.from({ length: 256 }, (_, byte) => [`0x${byte.toString(16).padStart(2, '0')}`, byte]),
);

/** Parses bytes as bpftool prints them, `["0xc0","0x00",...]`; undefined unless there are exactly `size`. */
function bytesOf(value: unknown, size: number): Uint8Array | undefined {
  if (!Array.isArray(value) || value.length !== size) return undefined;
  const bytes = new Uint8Array(size);
  for (let index = 0; index < size; index++) {
    const byte = BYTE_VALUES.get(value[index]);
    if (byte === undefined) return undefined;
    bytes[index] = byte;
  }
  return bytes;
}

function unexpected(what: string, found: unknown): XdpwhoError {
  const text = JSON.stringify(found) ?? 'nothing';
  const shown = text.length > 120 ? `${text.slice(0, 120)}...` : text;
  return new XdpwhoError('bad-output', `${what} is not as expected: ${shown}`, {
    hint: 'was it attached by another version? xdpwho status',
  });
}
