/** The state of the live view: readings and keys come in, frames go out. It draws nothing and reads nothing. */
import { XdpwhoError } from '../model/errors.js';
import { contains, type Grouping, groupOf, parsePrefix } from '../model/prefix.js';
import { compareSources, type Order } from '../model/ranking.js';
import type { Mode, SourceRecord } from '../model/records.js';
import type { SourceColumns } from '../table/source-columns.js';
import type { Reading } from '../verbs/watch.js';
import type { LiveFrame, LiveInterface, LiveRow } from './frame.js';
import { MAX_SOURCES_PER_READING, RateHistory, sourceId } from './rate-history.js';

/** The character or the name of a key: `q`, `/`, `return`, `escape`, `backspace`. */
type LiveKey = string;

interface LiveModelOptions {
  readonly sort: Order;
  /** The most rows to show; 0: as many as fit. */
  readonly top: number;
  /** The name of an address, if it is known; see src/live/reverse-dns.ts. */
  readonly nameOf: (address: string) => string | undefined;
}

const ORDERS: readonly Order[] = ['packets', 'bytes', 'rate', 'source'];
const GROUPINGS: readonly (Grouping | null)[] = [
  null,
  { ipv4: 24, ipv6: 64 },
  { ipv4: 16, ipv6: 48 },
  { ipv4: 8, ipv6: 32 },
];
const MAX_FILTER_CHARACTERS = 60;

/** What was shown at the moment of pausing. */
interface Snapshot {
  readonly readings: readonly Reading[];
  readonly history: RateHistory;
}

export class LiveModel {
  readonly #options: LiveModelOptions;
  readonly #interfaces = new Map<
    string,
    Pick<LiveInterface, 'interface' | 'mode' | 'maxSources'>
  >();
  readonly #nsPerPacket = new Map<string, number>();
  readonly #history = new RateHistory();
  #latest: readonly Reading[] = [];
  #paused: Snapshot | undefined;
  #sort: Order;
  #grouping: Grouping | null = null;
  #filter = '';
  #typing = false;
  #showsNames = false;
  #showsHelp = false;
  #message: string | undefined;
  #cpuPercent: number | undefined;

  constructor(options: LiveModelOptions) {
    this.#options = options;
    this.#sort = options.sort;
  }

  addInterface(device: string, mode: Mode, maxSources: number): void {
    this.#interfaces.set(device, { interface: device, mode, maxSources });
  }

  /**
   * Takes the latest readings, which have all sources as columns. Interfaces without a reading are removed.
   * `timeMs` is of a clock that never goes back.
   */
  setReadings(readings: readonly Reading[], timeMs: number): void {
    this.#latest = readings;
    const fastest = firstOf(readings, 'rate', MAX_SOURCES_PER_READING, () => () => true);
    this.#history.add(fastest.records, Math.floor(timeMs / 1000));
    const present = new Set(readings.map((reading) => reading.interface));
    for (const name of this.#interfaces.keys()) {
      if (!present.has(name)) this.#interfaces.delete(name);
    }
  }

  /** `cpuPercent`: the share of one CPU that our processes use. `nsPerPacket`: by interface. */
  setCosts(cpuPercent: number | undefined, nsPerPacket: ReadonlyMap<string, number>): void {
    this.#cpuPercent = cpuPercent;
    for (const [name, ns] of nsPerPacket) this.#nsPerPacket.set(name, ns);
  }

  /** Shows a message until the next key. */
  showMessage(message: string): void {
    this.#message = message;
  }

  /** Returns true when the key means quit. */
  press(key: LiveKey): boolean {
    this.#message = undefined;
    if (this.#typing) this.#type(key);
    else if (this.#showsHelp) this.#showsHelp = false;
    else return this.#command(key);
    return false;
  }

  #command(key: LiveKey): boolean {
    switch (key) {
      case 'q':
        return true;
      case 's':
        this.#sort = nextOf(ORDERS, this.#sort);
        break;
      case 'p':
        this.#paused =
          this.#paused === undefined
            ? { readings: this.#latest.map(copied), history: this.#history.copy() }
            : undefined;
        break;
      case 'g':
        this.#grouping = nextOf(GROUPINGS, this.#grouping);
        break;
      case '/':
        this.#typing = true;
        break;
      case 'r':
        this.#showsNames = !this.#showsNames;
        break;
      case '?':
      case 'h':
        this.#showsHelp = true;
        break;
      case 'escape':
        this.#filter = '';
        break;
    }
    return false;
  }

  #type(key: LiveKey): void {
    if (key === 'return' || key === 'enter') this.#typing = false;
    else if (key === 'escape') {
      this.#typing = false;
      this.#filter = '';
    } else if (key === 'backspace') this.#filter = this.#filter.slice(0, -1);
    else if (/^[\x21-\x7e]$/.test(key) && this.#filter.length < MAX_FILTER_CHARACTERS) {
      this.#filter += key;
    }
  }

  /** What to draw now, with at most `maxRows` rows. */
  frame(maxRows: number): LiveFrame {
    const { readings, history } = this.#paused ?? {
      readings: this.#latest,
      history: this.#history,
    };
    const { rows, hidden } = this.#rows(readings, history, maxRows);
    const grouping = this.#grouping;
    return {
      interfaces: [...this.#interfaces.values()].map((attached) => ({
        ...attached,
        totals: readings.find((reading) => reading.interface === attached.interface)?.totals,
        nsPerPacket: this.#nsPerPacket.get(attached.interface),
      })),
      rows,
      hidden,
      sort: this.#sort,
      group: grouping === null ? undefined : `${grouping.ipv4},${grouping.ipv6}`,
      filter: this.#filter,
      typing: this.#typing,
      paused: this.#paused !== undefined,
      showsNames: this.#showsNames,
      showsHelp: this.#showsHelp,
      message: this.#message,
      cpuPercent: this.#cpuPercent,
    };
  }

  #rows(readings: readonly Reading[], history: RateHistory, maxRows: number) {
    const limit = this.#options.top > 0 ? Math.min(this.#options.top, maxRows) : maxRows;
    const filter = this.#filterOf();
    const grouping = this.#grouping;
    const accepts = (columns: SourceColumns) => filter.onColumns(columns);
    const { records, accepted } =
      grouping === null
        ? firstOf(readings, this.#sort, Math.max(limit, 1), accepts)
        : firstOf(
            readings.map(({ columns, ...reading }) => ({
              ...reading,
              columns: columns?.grouped(grouping, accepts(columns)),
            })),
            this.#sort,
            Math.max(limit, 1),
            () => () => true,
          );
    const shown = records.slice(0, limit);
    const minutes = this.#minutes(shown, history, filter);
    const rows = shown.map((record): LiveRow => {
      const totals = readings.find((reading) => reading.interface === record.interface)?.totals;
      return {
        interface: record.interface,
        source: record.source,
        name: this.#showsNames ? this.#options.nameOf(record.source) : undefined,
        packets: record.packets,
        bytes: record.bytes,
        packetsPerSecond: record.packets_per_second,
        bytesPerSecond: record.bytes_per_second,
        share: shareOf(record, totals, this.#sort),
        minute: minutes(record),
        idleMs: record.idle_ms,
      };
    });
    return { rows, hidden: accepted - rows.length };
  }

  /** Returns a function that gives the rates of a shown row in the last minute; those of a group are the sums of its members. */
  #minutes(
    shown: readonly SourceRecord[],
    history: RateHistory,
    filter: Filter,
  ): (record: SourceRecord) => readonly number[] {
    const grouping = this.#grouping;
    if (grouping === null) return (record) => history.sum([record]);
    const members = new Map<string, Source[]>(shown.map((group) => [sourceId(group), []]));
    for (const one of history.sources()) {
      if (!filter.onSource(one)) continue;
      const group = { ...one, source: groupOf(one.source, grouping) };
      members.get(sourceId(group))?.push(one);
    }
    return (group) => history.sum(members.get(sourceId(group)) ?? []);
  }

  /** A prefix accepts the addresses in it; other text must be in the address or the name, or be the interface. */
  #filterOf(): Filter {
    const text = this.#filter.toLowerCase();
    if (text === '') return { onColumns: () => () => true, onSource: () => true };
    try {
      const prefix = parsePrefix(text);
      return {
        onColumns: (columns) => (at) => columns.isIn(at, prefix),
        onSource: ({ source }) => contains(prefix, source),
      };
    } catch (error) {
      if (!(error instanceof XdpwhoError)) throw error;
    }
    const onSource = ({ source, interface: device }: Source) =>
      device.toLowerCase() === text ||
      source.includes(text) ||
      (this.#showsNames && this.#options.nameOf(source)?.toLowerCase().includes(text) === true);
    const onColumns = (columns: SourceColumns) => (at: number) =>
      onSource({ interface: columns.interface, source: columns.source(at) });
    return { onColumns, onSource };
  }
}

type Source = Pick<SourceRecord, 'interface' | 'source'>;

/** What the user has typed, as functions. */
interface Filter {
  readonly onColumns: (columns: SourceColumns) => (at: number) => boolean;
  readonly onSource: (source: Source) => boolean;
}

/** The first `limit` sources of all readings together, in order, and how many are accepted. */
function firstOf(
  readings: readonly Reading[],
  order: Order,
  limit: number,
  accepts: (columns: SourceColumns) => (at: number) => boolean,
): { readonly records: readonly SourceRecord[]; readonly accepted: number } {
  let accepted = 0;
  const records: SourceRecord[] = [];
  for (const { columns } of readings) {
    if (columns === undefined) continue;
    const first = columns.first(order, limit, accepts(columns));
    accepted += first.accepted;
    records.push(...first.indexes.map((at) => columns.record(at)));
  }
  records.sort((a, b) => compareSources(order, a, b));
  return { records: records.slice(0, limit), accepted };
}

function copied(reading: Reading): Reading {
  return { ...reading, columns: reading.columns?.copy() };
}

/** The record's share of everything that the program saw on that interface, 0 to 1. */
function shareOf(record: SourceRecord, totals: Reading['totals'] | undefined, sort: Order): number {
  if (totals === undefined) return 0;
  const [part, all] =
    sort === 'rate'
      ? [record.packets_per_second ?? 0, totals.packets_per_second ?? 0]
      : sort === 'bytes'
        ? [Number(record.bytes), Number(totals.bytes)]
        : [Number(record.packets), Number(totals.packets)];
  return all > 0 ? Math.min(part / all, 1) : 0;
}

/** The element after `current`; after the last one comes the first. */
function nextOf<T>(list: readonly T[], current: T): T {
  const [first = current] = list;
  return list[list.indexOf(current) + 1] ?? first;
}
