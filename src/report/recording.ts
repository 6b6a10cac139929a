/**
 * Reads a recording of `watch -o ndjson` as a stream, and sums it up for the page. The memory grows
 * with the number of sources, not with the length of the recording.
 */
import type { Readable } from 'node:stream';
import { addAbortSignal, pipeline } from 'node:stream';
import ndjson from 'ndjson';
import { messageOf, XdpwhoError } from '../model/errors.js';
import { numberIn, propertyOf, stringIn } from '../model/json-values.js';
import { nameInDirection, type Owner } from '../model/records.js';
import { ownerWords } from '../owners/words.js';

export interface Report {
  /** In the order of the recording. */
  readonly interfaces: readonly InterfaceReport[];
}

export interface InterfaceReport {
  readonly interface: string;
  /** The mode of the last `attached` record; null if there is none. */
  readonly mode: string | null;
  readonly readings: number;
  /** The oldest first, at most MAX_POINTS. The longer the recording, the longer is each point. */
  readonly points: readonly Point[];
  /** Sorted by bytes, the most first. */
  readonly sources: readonly SourceSum[];
  /** Whether times went back in it: then those after that are later here than the clock said. */
  readonly wentBack: boolean;
  /** The sums of the last `totals` record of each attachment. */
  readonly totals: Readonly<Record<TotalsFigure, number>>;
}

/** An interval of time and the mean rates in it. Of a time without readings, all rates are 0. */
export interface Point {
  /** The end of the interval: milliseconds since 1970, or since the first reading if the recording has no times. */
  readonly endMs: number;
  readonly durationMs: number;
  readonly packetsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Bytes per second of the sources with the highest rates. */
  readonly sources: ReadonlyMap<string, number>;
}

interface SourceSum {
  readonly source: string;
  /** What the recording says of it. */
  readonly owner: Owner;
  readonly packets: number;
  readonly bytes: number;
  /** The highest rate of any reading. */
  readonly peakPacketsPerSecond: number;
  /** In the unit of `endMs`. */
  readonly lastSeenMs: number;
}

const TOTALS_FIGURES = [
  'sources',
  'packets',
  'bytes',
  'ipv4',
  'ipv6',
  'other',
  'malformed',
  'untracked',
] as const;
type TotalsFigure = (typeof TOTALS_FIGURES)[number];

export const MAX_POINTS = 600;
/** How many sources a point keeps. */
const MAX_SOURCES = 12;
/** No record is longer. Without a limit, text without line ends would all be kept in memory. */
const MAX_LINE_CHARACTERS = 1024 * 1024;
const ASSUMED_INTERVAL_MS = 1000;

/**
 * Reads a recording; `name` is its name in messages. Rejects with `bad-output` if it is no recording
 * of `watch`, and with the reason of `signal` once that is aborted.
 */
export async function readReport(
  recording: Readable,
  name: string,
  signal: AbortSignal = new AbortController().signal,
): Promise<Report> {
  const interfaces = new Map<string, InterfaceSum>();
  const sumOf = (device: string) => {
    const sum = interfaces.get(device) ?? new InterfaceSum(device);
    interfaces.set(device, sum);
    return sum;
  };
  let line = 0;
  const parser = ndjson.parse({ strict: true, ...{ maxLength: MAX_LINE_CHARACTERS } });
  // If one of the two fails, pipeline ends both, and the loop below throws the error.
  pipeline(addAbortSignal(signal, recording), parser, () => {});
  try {
    for await (const record of parser) {
      line++;
      const device = nameIn(record);
      switch (stringIn(record, 'type')) {
        case 'attached':
          if (device !== undefined) sumOf(device).attached(record);
          break;
        case 'source':
        case 'destination':
          if (device !== undefined) sumOf(device).source(record);
          break;
        case 'totals':
          if (device !== undefined) sumOf(device).totals(record);
          break;
        case undefined:
          throw notARecording(name, `record ${line} has no type`);
      }
    }
  } catch (error) {
    if (error instanceof XdpwhoError) throw error;
    signal.throwIfAborted();
    throw notARecording(name, messageOf(error), error);
  }
  const reports = [...interfaces.values()].map((sum) => sum.report());
  if (reports.every((report) => report.readings === 0))
    throw notARecording(name, 'it holds no reading');
  return { interfaces: reports };
}

/** The interface of a record; what it sends is a part of its own. */
function nameIn(record: unknown): string | undefined {
  const device = stringIn(record, 'interface');
  const isSent =
    stringIn(record, 'direction') === 'sent' || stringIn(record, 'type') === 'destination';
  return device === undefined ? undefined : nameInDirection(device, isSent ? 'sent' : 'received');
}

function notARecording(name: string, why: string, cause?: unknown): XdpwhoError {
  return new XdpwhoError('bad-output', `${name}: no recording of watch: ${why}`, {
    hint: 'make one: xdpwho watch eth0 -o ndjson --duration 1m > FILE.ndjson',
    cause,
  });
}

interface OpenSource {
  owner: Owner;
  packets: number;
  bytes: number;
  peakPacketsPerSecond: number;
  lastSeenMs: number;
  /** In the current reading. */
  idleMs: number;
  /** Its counts before it was evicted from the table; it then started at 0 again. */
  packetsBefore: number;
  bytesBefore: number;
}

/** The sums of one interface while the recording is read: of one attachment, or of several one after the other. */
class InterfaceSum {
  readonly #name: string;
  #mode: string | null = null;
  #programId: number | undefined;
  #readings = 0;
  readonly #sources = new Map<string, OpenSource>();
  readonly #owners = new Map<string, Owner>();
  #points: Point[] = [];
  #totals: Record<TotalsFigure, number> = figuresOf({});
  /** Of the attachments before this one. */
  #totalsBefore: Record<TotalsFigure, number> = figuresOf({});
  /** These two are of the current reading, whose `totals` record comes last. */
  #present: OpenSource[] = [];
  #rates: (readonly [source: string, bytesPerSecond: number])[] = [];
  /** The time of the last reading of this run of `watch`, on the clock of the page. */
  #timeMs: number | undefined;
  /** What is added to the times of the recording, since they went back. */
  #shiftMs = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** Each run of `watch` begins with this record. It may read the attachment that the run before read. */
  attached(record: unknown): void {
    this.#mode = stringIn(record, 'mode') ?? null;
    this.#endRun();
    const programId = figureIn(record, 'program_id');
    if (programId !== this.#programId) this.#beginAnew();
    this.#programId = programId;
  }

  source(record: unknown): void {
    const address = stringIn(record, 'source') ?? stringIn(record, 'destination');
    if (address === undefined) return;
    const packets = figureIn(record, 'packets') ?? 0;
    const bytes = figureIn(record, 'bytes') ?? 0;
    const existing = this.#sources.get(address);
    const source = existing ?? {
      ...{ packets: 0, bytes: 0, packetsBefore: 0, bytesBefore: 0 },
      ...{ peakPacketsPerSecond: 0, lastSeenMs: 0, idleMs: 0, owner: NOBODY },
    };
    source.owner = this.#ownerIn(record, source.owner);
    if (existing === undefined) this.#sources.set(address, source);
    if (packets < source.packets) keepCounts(source);
    source.packets = packets;
    source.bytes = bytes;
    const rate = figureIn(record, 'packets_per_second') ?? 0;
    source.peakPacketsPerSecond = Math.max(source.peakPacketsPerSecond, rate);
    source.idleMs = figureIn(record, 'idle_ms') ?? 0;
    this.#present.push(source);
    const byteRate = figureIn(record, 'bytes_per_second') ?? 0;
    if (byteRate > 0) this.#rates.push([address, byteRate]);
    if (this.#rates.length > 50 * MAX_SOURCES) this.#rates = largest(this.#rates);
  }

  /** One object for all sources of an owner, since a recording may have a million. */
  #ownerIn(record: unknown, before: Owner): Owner {
    const owner = ownerIn(record);
    const key = ownerWords(owner);
    if (key === '') return before;
    const known = this.#owners.get(key) ?? owner;
    this.#owners.set(key, known);
    return known;
  }

  /** The `totals` record ends a reading. */
  totals(record: unknown): void {
    this.#readings++;
    const totals = figuresOf(record);
    if (totals.packets < this.#totals.packets) this.#beginAnew();
    this.#totals = totals;
    const packetsPerSecond = figureIn(record, 'packets_per_second');
    const beforeMs = this.#timeMs;
    // The rates of the first reading are since the program was attached.
    const sinceAttached = (1000 * totals.packets) / (packetsPerSecond || Number.POSITIVE_INFINITY);
    const firstMs = Math.min(Math.round(sinceAttached) || ASSUMED_INTERVAL_MS, ASSUMED_INTERVAL_MS);
    const timeMs = this.#timeOf(stringIn(record, 'time'));
    this.#timeMs = timeMs;
    for (const source of this.#present) {
      source.lastSeenMs = Math.max(timeMs - source.idleMs, 0);
    }
    // The first reading of an interface that was attached before has no rates.
    if (packetsPerSecond !== undefined) {
      this.#add({
        endMs: timeMs,
        durationMs: Math.max(beforeMs === undefined ? firstMs : timeMs - beforeMs, 1),
        packetsPerSecond,
        bytesPerSecond: figureIn(record, 'bytes_per_second') ?? 0,
        sources: new Map(largest(this.#rates)),
      });
    }
    this.#present = [];
    this.#rates = [];
  }

  /** The time of a reading. It is after that of the one before, whatever became of the clock. */
  #timeOf(time: string | undefined): number {
    const lastMs = this.#timeMs ?? this.#points.at(-1)?.endMs;
    const parsedMs = Date.parse(time ?? '');
    if (Number.isNaN(parsedMs)) return (lastMs ?? 0) + ASSUMED_INTERVAL_MS;
    const timeMs = parsedMs + this.#shiftMs;
    if (lastMs === undefined || timeMs > lastMs) return timeMs;
    const nextMs = lastMs + (this.#points.at(-1)?.durationMs ?? ASSUMED_INTERVAL_MS);
    this.#shiftMs += nextMs - timeMs;
    return nextMs;
  }

  /** The last reading of a run comes soon after the one before, so it is merged into that. */
  #endRun(): void {
    this.#timeMs = undefined;
    const [before, last] = this.#points.slice(-2);
    if (before === undefined || last === undefined || last.durationMs >= before.durationMs / 2)
      return;
    this.#points.splice(-2, 2, merged(before, last));
  }

  /** The counters begin at 0 again: another attachment. */
  #beginAnew(): void {
    for (const source of this.#sources.values()) keepCounts(source);
    this.#totalsBefore = sumOf(this.#totalsBefore, this.#totals);
    this.#totals = figuresOf({});
  }

  /** Adds a point, and before it one for the time without readings. With too many points, each two become one. */
  #add(point: Point): void {
    const lastMs = this.#points.at(-1)?.endMs;
    const gapMs = lastMs === undefined ? 0 : point.endMs - point.durationMs - lastMs;
    if (lastMs !== undefined && gapMs > 0) {
      const nothing = { packetsPerSecond: 0, bytesPerSecond: 0, sources: new Map() };
      this.#points.push({ endMs: lastMs + gapMs, durationMs: gapMs, ...nothing });
    }
    this.#points.push(
      gapMs < 0 ? { ...point, durationMs: Math.max(point.durationMs + gapMs, 1) } : point,
    );
    if (this.#points.length <= MAX_POINTS) return;
    const halved: Point[] = [];
    for (let index = 0; index < this.#points.length; index += 2) {
      const [first, second] = this.#points.slice(index, index + 2);
      if (first !== undefined) halved.push(second === undefined ? first : merged(first, second));
    }
    this.#points = halved;
  }

  report(): InterfaceReport {
    this.#endRun();
    const sources = [...this.#sources].map(([source, sum]) => ({
      source,
      owner: sum.owner,
      packets: sum.packets + sum.packetsBefore,
      bytes: sum.bytes + sum.bytesBefore,
      peakPacketsPerSecond: sum.peakPacketsPerSecond,
      lastSeenMs: sum.lastSeenMs,
    }));
    return {
      interface: this.#name,
      mode: this.#mode,
      readings: this.#readings,
      points: this.#points,
      sources: sources.sort((a, b) => b.bytes - a.bytes),
      wentBack: this.#shiftMs > 0,
      totals: sumOf(this.#totalsBefore, this.#totals),
    };
  }
}

const NOBODY: Owner = {};

function ownerIn(record: unknown): Owner {
  const asn = numberIn(record, 'asn');
  const words = { as_name: '', country: '', network: '', name: '' };
  for (const name of ['as_name', 'country', 'network', 'name'] as const) {
    words[name] = stringIn(record, name) ?? '';
  }
  const entries = Object.entries(words).filter(([, text]) => text !== '');
  return { ...(asn === undefined ? {} : { asn }), ...Object.fromEntries(entries) };
}

/** Puts the counts of a source aside: it begins at 0 again. */
function keepCounts(source: OpenSource): void {
  source.packetsBefore += source.packets;
  source.bytesBefore += source.bytes;
  source.packets = 0;
  source.bytes = 0;
}

/** All figures but `sources` add up. */
function sumOf(
  one: Readonly<Record<TotalsFigure, number>>,
  two: Readonly<Record<TotalsFigure, number>>,
): Record<TotalsFigure, number> {
  const sum = { ...two };
  for (const name of TOTALS_FIGURES) if (name !== 'sources') sum[name] += one[name];
  return sum;
}

/** Two successive intervals as one. */
function merged(a: Point, b: Point): Point {
  const durationMs = a.durationMs + b.durationMs;
  const mean = (first: number, second: number) =>
    (first * a.durationMs + second * b.durationMs) / durationMs;
  const names = new Set([...a.sources.keys(), ...b.sources.keys()]);
  const rates = [...names].map(
    (name) => [name, mean(a.sources.get(name) ?? 0, b.sources.get(name) ?? 0)] as const,
  );
  return {
    endMs: b.endMs,
    durationMs,
    packetsPerSecond: mean(a.packetsPerSecond, b.packetsPerSecond),
    bytesPerSecond: mean(a.bytesPerSecond, b.bytesPerSecond),
    sources: new Map(largest(rates)),
  };
}

function largest(rates: readonly (readonly [string, number])[]): (readonly [string, number])[] {
  return [...rates].sort(([, a], [, b]) => b - a).slice(0, MAX_SOURCES);
}

/** A number of a record; undefined if it is absent. Throws a RangeError for a value that no record can have. */
function figureIn(record: unknown, name: string): number | undefined {
  const value = propertyOf(record, name);
  if (value === undefined) return undefined;
  if (typeof value === 'number' && value >= 0 && value <= 2 ** 64) return value;
  throw new RangeError(`${name} is no figure of a record`);
}

function figuresOf(record: unknown): Record<TotalsFigure, number> {
  const figure = (name: TotalsFigure) => figureIn(record, name) ?? 0;
  return {
    sources: figure('sources'),
    packets: figure('packets'),
    bytes: figure('bytes'),
    ipv4: figure('ipv4'),
    ipv6: figure('ipv6'),
    other: figure('other'),
    malformed: figure('malformed'),
    untracked: figure('untracked'),
  };
}
