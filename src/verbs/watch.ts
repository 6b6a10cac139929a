/** `watch`: attaches, reads at intervals, and detaches however it ends. */
import type { Attachment } from '../attachment/attachment.js';
import { requireCapabilities, type SessionContext } from '../attachment/context.js';
import type { Look } from '../attachment/look.js';
import { pause } from '../host/abort.js';
import { receivedPackets } from '../host/devices.js';
import { XdpwhoError } from '../model/errors.js';
import type { Grouping } from '../model/grouping.js';
import { type Order, Ranking } from '../model/ranking.js';
import type { Direction, SourceList, SourceRecord, TotalsRecord } from '../model/records.js';
import type { Owners } from '../owners/owners.js';
import { SeenBefore } from '../table/seen-before.js';
import { SourceColumns } from '../table/source-columns.js';
import { completeTotals, SourceReader } from '../table/source-reader.js';
import { type Counts, Tally } from '../table/tally.js';
import {
  CHECK_MS,
  type Change,
  checkAll,
  closeAll,
  type Detached,
  detachAll,
  dismiss,
  hasLostHolder,
  type Note,
  Schedule,
  Tracked,
  type TrackOptions,
  track,
  unlessDetached,
} from './tracked.js';

export interface WatchOptions extends TrackOptions {
  /** Milliseconds between two readings. */
  readonly intervalMs: number;
  /** End after so many milliseconds. */
  readonly durationMs?: number | undefined;
  /** End after so many readings. */
  readonly count?: number | undefined;
  /** Records per interface and reading; 0 for all. */
  readonly top: number;
  readonly sort: Order;
  /** Whether a reading has all sources in `columns` too. Default: false. */
  readonly columns?: boolean | undefined;
  /** Sums, instead of single sources. */
  readonly group?: Grouping | undefined;
  /** Tells who the sources belong to. */
  readonly owners?: Owners | undefined;
  /** Whether a reading has the sources in `fresh` that come for the first time. Default: false. */
  readonly tellsNew?: boolean | undefined;
}

/** One reading of one interface. */
export interface Reading {
  readonly interface: string;
  readonly direction: Direction;
  /** In the order of `sort`, at most `top`. Of what is sent, `source` is the destination. */
  readonly sources: SourceList;
  /** How many sources or groups there are besides. */
  readonly hidden: number;
  readonly totals: TotalsRecord;
  /** All sources, if they were asked for. */
  readonly columns?: SourceColumns | undefined;
  /**
   * The sources that this run has not seen before, if they were asked for. What an attachment that was joined had
   * counted before is not among them.
   */
  readonly fresh?: SourceList | undefined;
}

/** Each reading alone, or what an interface receives with what it sends. */
export function pairsOf(readings: readonly Reading[]): (readonly [Reading, Reading | undefined])[] {
  const others = (reading: Reading) =>
    readings.filter((one) => one.interface === reading.interface && one !== reading);
  const isSecond = (reading: Reading) =>
    reading.direction === 'sent' && others(reading).some(({ direction }) => direction !== 'sent');
  return readings
    .filter((reading) => !isSecond(reading))
    .map((reading) => [reading, others(reading)[0]]);
}

export type WatchEvent =
  | { readonly kind: 'attached'; readonly attachment: Attachment }
  /** `attach` had attached there. It is read, and stays attached. */
  | { readonly kind: 'joined'; readonly attachment: Attachment }
  | { readonly kind: 'readings'; readonly readings: readonly Reading[]; readonly final: boolean }
  | Note
  | Detached;

/**
 * Yields events until `signal`, `durationMs`, `count` or the loss of the last interface ends the run. Then it
 * detaches the programs that it had attached, and yields a last reading: for these programs it is exact, because
 * they count no more. A joined attachment goes on counting. A caller that leaves the loop early also makes it
 * detach. At the end it rejects if an interface disappeared or another program took the place of ours.
 */
export async function* watch(
  context: SessionContext,
  options: WatchOptions,
): AsyncGenerator<WatchEvent, void, void> {
  const signal = options.signal ?? new AbortController().signal;
  const watched: Watched[] = [];
  let failure: XdpwhoError | undefined;
  const checks = new Schedule(performance.now(), CHECK_MS);
  const check = async function* () {
    const beganMs = performance.now();
    const lost = yield* checkAll(context, watched, (one) => finish(watched, [one], options));
    checks.took(performance.now() - beganMs);
    failure = lost ?? failure;
    return lost;
  };
  try {
    requireCapabilities();
    for await (const { attachment, owned } of track(context, { ...options, signal })) {
      watched.push(new Watched(context, attachment, options, owned));
      yield { kind: owned ? 'attached' : 'joined', attachment };
    }
    const startMs = performance.now();
    const endMs = startMs + (options.durationMs ?? Number.POSITIVE_INFINITY);
    let dueMs = nextDue(startMs, options.intervalMs);
    for (let reading = 1; watched.length > 0; ) {
      await pause(Math.min(dueMs, endMs, checks.dueMs) - performance.now(), signal);
      if (signal.aborted || performance.now() >= endMs) break;
      if (checks.isOver() || hasLostHolder(watched)) yield* check();
      if (performance.now() < dueMs || watched.length === 0) continue;
      dueMs = nextDue(dueMs, options.intervalMs);
      // The last of `count` readings is the final one, after detaching.
      if (reading === options.count) break;
      for (const text of options.owners?.refresh() ?? []) {
        yield { kind: 'note', interface: null, text };
      }
      let readings = await unlessDetached(readAll(watched));
      while (readings === undefined) {
        // Somebody detached an attachment that we had joined. The other ones are read on.
        if ((yield* check()) === undefined) throw goneWhileRead();
        readings = await unlessDetached(readAll(watched));
      }
      if (watched.length === 0) break;
      options.owners?.lookUp(sourcesIn(readings));
      yield { kind: 'readings', readings, final: false };
      reading++;
    }
    yield* finish(watched, [...watched], options);
  } catch (error) {
    if (!signal.aborted || error instanceof XdpwhoError) throw error;
    yield* finish(watched, [...watched], options);
  } finally {
    // After an error, or when the caller leaves the loop, `finish` has not run.
    await closeAll(watched);
  }
  if (failure !== undefined) throw failure;
}

/** The time of the next reading. If a reading takes longer than an interval, the times that it missed are left out. */
function nextDue(dueMs: number, intervalMs: number): number {
  const missed = Math.max(0, Math.floor((performance.now() - dueMs) / intervalMs));
  return dueMs + (missed + 1) * intervalMs;
}

function goneWhileRead(): XdpwhoError {
  return new XdpwhoError('not-attached', 'the pins went away while they were read', {
    hint: 'xdpwho status',
  });
}

/** Detaches, reads a last time, and closes. */
async function* finish(
  watched: Watched[],
  ending: readonly Watched[],
  { owners, signal }: Pick<WatchOptions, 'owners' | 'signal'>,
): AsyncGenerator<WatchEvent> {
  if (ending.length === 0) return;
  await detachAll(ending);
  const readings: Reading[] = [];
  for (const one of ending) {
    const reading = await unlessDetached(one.read());
    if (reading !== undefined) readings.push(reading);
  }
  if (readings.length > 0) {
    owners?.lookUp(sourcesIn(readings));
    // Nothing is counted any more, so nobody waits for a reading.
    await owners?.settle(signal);
    yield { kind: 'readings', readings, final: true };
  }
  for (const one of ending) yield* dismiss(watched, one);
}

/** One interface after the other. */
function* sourcesIn(readings: readonly Reading[]): Generator<SourceRecord> {
  for (const { sources } of readings) yield* sources;
}

async function readAll(watched: readonly Watched[]): Promise<Reading[]> {
  const readings: Reading[] = [];
  for (const one of watched) readings.push(await one.read());
  return readings;
}

const NOTHING: Counts = { packets: 0n, bytes: 0n };

/** So many packets past the program are no chance. */
const DEAF_PACKETS = 10;

/** One interface that is watched, with its last reading. */
class Watched extends Tracked {
  readonly #reader: SourceReader;
  readonly #options: WatchOptions;
  /** Undefined before the first reading of an attachment that we joined: it has no rates yet. */
  #previous: Tally | undefined;
  #spare = new Tally();
  #columns: readonly SourceColumns[] = [];
  #previousTotal = NOTHING;
  #previousNs = process.hrtime.bigint();
  #receivedAtFirst: number | undefined;
  #isDeafTold = false;
  readonly #seenBefore: SeenBefore | undefined;
  /** Whether the next reading is the first one of an attachment that we joined. */
  #isJoining: boolean;

  constructor(
    context: SessionContext,
    attachment: Attachment,
    options: WatchOptions,
    owned: boolean,
  ) {
    super(attachment, owned);
    this.#previous = owned ? new Tally() : undefined;
    this.#reader = new SourceReader(context, attachment);
    this.#options = options;
    this.#seenBefore = options.tellsNew ? new SeenBefore() : undefined;
    this.#isJoining = !owned;
  }

  /** Also tells, once, of a device that receives packets of which none comes to the program. */
  override async check(look: Look): Promise<Change | undefined> {
    const change = await super.check(look);
    // At TCX the reason would be another one, and what is sent is not what the device has received.
    if (this.attachment.mode === 'tcx') return change;
    if (change !== undefined || this.#isDeafTold || this.#previousTotal.packets > 0n) return change;
    const received = await receivedPackets(this.device, this.attachment.netns);
    this.#receivedAtFirst ??= received;
    if (received === undefined || this.#receivedAtFirst === undefined) return undefined;
    const missed = received - this.#receivedAtFirst;
    if (missed < DEAF_PACKETS) return undefined;
    // The last reading may be an interval old.
    const { ipv4, ipv6, other, malformed } = await this.#reader.totals();
    if (ipv4 + ipv6 + other + malformed > 0n) return undefined;
    this.#isDeafTold = true;
    return {
      note: `the device has received ${missed} packets, and none of them came to the program: what tc or BPF redirects into a device, and what a vrf or an ipvlan hands up, passes no XDP program there`,
    };
  }

  async read(): Promise<Reading> {
    const { top, sort, columns: asked = false, group, owners } = this.#options;
    const { direction } = this.attachment;
    const current = this.#spare;
    current.clear();
    const nowNs = process.hrtime.bigint();
    const seconds = Number(nowNs - this.#previousNs) / 1e9;
    const previous = this.#previous;
    const ratesIn = (record: SourceRecord) =>
      previous === undefined
        ? undefined
        : ratesOf(record, previous.find(record.source) ?? NOTHING, seconds);
    const isSorted = top === 0 && group === undefined;
    const columns = asked || isSorted ? this.#emptyColumns(asked) : undefined;
    const groups = group === undefined ? undefined : new SourceColumns(this.name, group);
    const ranking =
      columns === undefined && groups === undefined ? new Ranking(sort, top) : undefined;
    const fresh = new SourceColumns(this.name);
    let packets = 0n;
    const before = await this.#reader.totals();
    for await (const batch of this.#reader.sources(undefined, current.seen)) {
      for (const record of batch) {
        packets += record.packets;
        current.append(record);
        if (this.#seenBefore?.add(record.source) === true && !this.#isJoining) fresh.add(record);
        if (ranking !== undefined) {
          ranking.add(sort === 'rate' ? { ...record, ...ratesIn(record) } : record);
          continue;
        }
        const rates = ratesIn(record);
        const both = [rates?.packets_per_second, rates?.bytes_per_second] as const;
        columns?.add(record, ...both);
        groups?.addToGroup(record, ...both);
      }
    }
    this.#isJoining = false;
    const table = { sources: current.size, packets };
    const totals = {
      ...completeTotals(this.name, before, await this.#reader.totals(), table, direction),
      time: new Date().toISOString(),
    };
    const ranked = ranking?.result() ?? [];
    const listed: SourceList =
      (groups ?? columns)?.list(sort, top) ??
      (sort === 'rate' ? ranked : ranked.map((record) => ({ ...record, ...ratesIn(record) })));
    const sources = groups === undefined ? (owners?.describe(listed) ?? listed) : listed;
    const firsts = fresh.list('none');
    const reading = {
      interface: this.name,
      direction,
      sources,
      hidden: (groups?.size ?? current.size) - sources.length,
      totals:
        previous === undefined
          ? totals
          : { ...totals, ...ratesOf(totals, this.#previousTotal, seconds) },
      ...(asked ? { columns } : {}),
      ...(this.#seenBefore === undefined ? {} : { fresh: owners?.describe(firsts) ?? firsts }),
    };
    this.#spare = previous ?? new Tally();
    this.#previous = current;
    this.#previousTotal = { packets: totals.packets, bytes: totals.bytes };
    this.#previousNs = nowNs;
    return reading;
  }

  /** Columns that were asked for are valid until the reading after the next one. Others are the caller's. */
  #emptyColumns(reused: boolean): SourceColumns {
    if (!reused) return new SourceColumns(this.name);
    const [columns = new SourceColumns(this.name), other = new SourceColumns(this.name)] =
      this.#columns;
    this.#columns = [other, columns];
    columns.clear();
    return columns;
  }
}

/** The rates since the previous reading. A source that was evicted meanwhile began at zero again. */
function ratesOf(record: Counts, previous: Counts, seconds: number) {
  const since = record.packets >= previous.packets ? previous : NOTHING;
  const rate = (now: bigint, before: bigint) =>
    seconds > 0 ? Math.round((Number(now - before) / seconds) * 10) / 10 : 0;
  return {
    packets_per_second: rate(record.packets, since.packets),
    bytes_per_second: rate(record.bytes, since.bytes),
  };
}
