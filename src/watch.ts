/** Watching: attach, read at intervals, and detach however it ends. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Attachment } from './attachment.js';
import { XdpwhoError } from './errors.js';
import { resolveInterface } from './interfaces.js';
import { findEntry } from './inventory.js';
import { type Order, Ranking } from './ranking.js';
import type { DetachedRecord, SourceRecord, TotalsRecord } from './records.js';
import { printable } from './render/text.js';
import {
  type AttachOptions,
  openAttachment,
  requestedNetns,
  type SessionContext,
} from './session.js';
import { completeTotals, SourceReader } from './sources.js';

export interface WatchOptions extends Omit<AttachOptions, 'interface'> {
  readonly interfaces: readonly string[];
  /** Milliseconds between two readings. */
  readonly intervalMs: number;
  /** End after so many milliseconds. */
  readonly durationMs?: number | undefined;
  /** End after so many readings. */
  readonly count?: number | undefined;
  /** Records per interface and reading; 0 for all. */
  readonly top: number;
  readonly sort: Order;
}

/** One reading of one interface. */
export interface Reading {
  readonly interface: string;
  /** In order, cut to `top`. */
  readonly sources: readonly SourceRecord[];
  readonly totals: TotalsRecord;
}

export type WatchEvent =
  | { readonly kind: 'attached'; readonly attachment: Attachment }
  /** `attach` had attached there; it is read, and stays. */
  | { readonly kind: 'joined'; readonly attachment: Attachment }
  | { readonly kind: 'readings'; readonly readings: readonly Reading[]; readonly final: boolean }
  /** Something that the user should know. */
  | { readonly kind: 'note'; readonly interface: string; readonly text: string }
  | { readonly kind: 'detached'; readonly record: DetachedRecord };

/**
 * Yields what happens, until `signal`, `durationMs`, `count` or the loss of the last interface ends
 * it. Then the programs are detached, so that the last reading, which follows, is final: nothing is
 * counted after it. Leaving the loop early detaches as well. Rejects, after all that, when an
 * interface went away or somebody else took our program's place.
 */
export async function* watch(
  context: SessionContext,
  options: WatchOptions,
): AsyncGenerator<WatchEvent, void, void> {
  const ending = new AbortController();
  const end = () => ending.abort();
  options.signal?.addEventListener('abort', end, { once: true });
  if (options.signal?.aborted === true) end();
  const watched: Watched[] = [];
  let failure: XdpwhoError | undefined;
  try {
    for (const name of new Set(options.interfaces)) {
      if (ending.signal.aborted) break;
      const there = await findStaying(context, { ...options, interface: name });
      const attachment =
        there ??
        (await openAttachment(context, { ...options, interface: name, signal: ending.signal }));
      watched.push(new Watched(context, attachment, options, there === undefined));
      yield { kind: there === undefined ? 'attached' : 'joined', attachment };
    }
    const startMs = performance.now();
    const endMs = startMs + (options.durationMs ?? Number.POSITIVE_INFINITY);
    let dueMs = startMs;
    for (let reading = 1; watched.length > 0; reading++) {
      // A reading may take longer than an interval: the moments that it missed are left out.
      const missed = Math.max(0, Math.floor((performance.now() - dueMs) / options.intervalMs));
      dueMs += (missed + 1) * options.intervalMs;
      await pause(Math.min(dueMs, endMs) - performance.now(), ending.signal);
      if (ending.signal.aborted || dueMs >= endMs) break;
      for (const each of [...watched]) {
        const news = await each.news();
        if (news?.note !== undefined) yield { kind: 'note', interface: each.name, text: news.note };
        if (news?.failure === undefined) continue;
        failure = news.failure;
        yield* finish(watched, [each]);
        if (watched.length > 0) yield { kind: 'note', interface: each.name, text: failure.message };
      }
      // The last of `count` readings is the final one, after detaching.
      if (reading === options.count || watched.length === 0) break;
      yield { kind: 'readings', readings: await readAll(watched), final: false };
    }
    yield* finish(watched, [...watched]);
  } catch (error) {
    if (!ending.signal.aborted || error instanceof XdpwhoError) throw error;
    yield* finish(watched, [...watched]);
  } finally {
    options.signal?.removeEventListener('abort', end);
    await closeAll(watched);
  }
  if (failure !== undefined) throw failure;
}

/** What `attach` left on the interface, if it is whole. */
async function findStaying(
  context: SessionContext,
  options: AttachOptions,
): Promise<Attachment | undefined> {
  const device = await resolveInterface(options.interface, requestedNetns(options));
  const entry = await findEntry(context, { ...options, interface: device });
  return entry?.ownership === 'ours' ? (entry.attachment ?? undefined) : undefined;
}

/** Detaches, reads once more, unpins. */
async function* finish(watched: Watched[], ending: readonly Watched[]): AsyncGenerator<WatchEvent> {
  if (ending.length === 0) return;
  for (const each of ending) if (each.owned) await each.attachment.detach();
  yield { kind: 'readings', readings: await readAll(ending), final: true };
  for (const each of ending) {
    watched.splice(watched.indexOf(each), 1);
    if (!each.owned) continue;
    await each.attachment.unpin();
    const { programId } = each.attachment;
    yield {
      kind: 'detached',
      record: { type: 'detached', interface: each.name, program_id: programId },
    };
  }
}

/** For the ways out that `finish` did not see: every attachment is tried, the first failure is told. */
async function closeAll(watched: readonly Watched[]): Promise<void> {
  const results = await Promise.allSettled(
    watched.filter((each) => each.owned).map((each) => each.attachment[Symbol.asyncDispose]()),
  );
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

async function readAll(watched: readonly Watched[]): Promise<Reading[]> {
  const readings: Reading[] = [];
  for (const each of watched) readings.push(await each.read());
  return readings;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(Math.max(ms, 0), undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

interface Counts {
  readonly packets: bigint;
  readonly bytes: bigint;
}

const NOTHING: Counts = { packets: 0n, bytes: 0n };

/** One interface under watch: what it had at the last reading, and what it is called by now. */
class Watched {
  readonly attachment: Attachment;
  /** Whether it is ours to detach. */
  readonly owned: boolean;
  readonly #reader: SourceReader;
  readonly #options: WatchOptions;
  #device: string;
  /** Undefined before the first reading of a table that had counted before we came. */
  #previous: ReadonlyMap<string, Counts> | undefined;
  #previousTotal = NOTHING;
  #previousNs = process.hrtime.bigint();

  constructor(
    context: SessionContext,
    attachment: Attachment,
    options: WatchOptions,
    owned: boolean,
  ) {
    this.owned = owned;
    this.#previous = owned ? new Map() : undefined;
    this.attachment = attachment;
    this.#reader = new SourceReader(context, attachment);
    this.#options = options;
    this.#device = attachment.interface;
  }

  get name(): string {
    return this.attachment.interface;
  }

  /** What has happened to the attachment: nothing (undefined), something to tell, or its end. */
  async news(): Promise<{ note?: string; failure?: XdpwhoError } | undefined> {
    const standing = await this.attachment.standing();
    const name = printable(this.name);
    switch (standing.kind) {
      case 'attached': {
        if (standing.device === this.#device) return undefined;
        this.#device = standing.device;
        return { note: `the interface is called ${printable(standing.device)} now` };
      }
      case 'replaced':
        return {
          failure: new XdpwhoError(
            'not-ours',
            `${name}: another program has taken the place of ours: id ${standing.programId}; left alone`,
            { hint: `bpftool prog show id ${standing.programId}` },
          ),
        };
      case 'detached':
        return {
          failure: new XdpwhoError('not-attached', `${name}: somebody else detached our program`),
        };
      case 'gone':
        return {
          failure: new XdpwhoError('interface-gone', `${name}: the interface has gone`, {
            hint: 'ip link show',
          }),
        };
    }
  }

  async read(): Promise<Reading> {
    const { top, sort } = this.#options;
    const ranking = new Ranking(sort, top);
    const current = new Map<string, Counts>();
    const nowNs = process.hrtime.bigint();
    const seconds = Number(nowNs - this.#previousNs) / 1e9;
    const previous = this.#previous;
    let packets = 0n;
    const before = await this.#reader.totals();
    for await (const batch of this.#reader.sources()) {
      for (const record of batch) {
        packets += record.packets;
        current.set(record.source, { packets: record.packets, bytes: record.bytes });
        ranking.add(
          previous === undefined
            ? record
            : withRates(record, previous.get(record.source) ?? NOTHING, seconds),
        );
      }
    }
    const table = { sources: current.size, packets };
    const totals = completeTotals(this.name, before, await this.#reader.totals(), table);
    const reading = {
      interface: this.name,
      sources: ranking.result(),
      totals: previous === undefined ? totals : withRates(totals, this.#previousTotal, seconds),
    };
    this.#previous = current;
    this.#previousTotal = { packets: totals.packets, bytes: totals.bytes };
    this.#previousNs = nowNs;
    return reading;
  }
}

/** A source that was evicted and came back counts from zero again: all that it has is new. */
function withRates<T extends Counts>(record: T, previous: Counts, seconds: number) {
  const since = record.packets >= previous.packets ? previous : NOTHING;
  const rate = (now: bigint, before: bigint) =>
    seconds > 0 ? Math.round((Number(now - before) / seconds) * 10) / 10 : 0;
  return {
    ...record,
    packets_per_second: rate(record.packets, since.packets),
    bytes_per_second: rate(record.bytes, since.bytes),
  };
}
