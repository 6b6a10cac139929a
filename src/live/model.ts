/** The state of the live view: readings and keys come in, frames go out. It draws nothing and reads nothing. */
import { XdpwhoError } from '../model/errors.js';
import { type Grouping, groupOf, OWNER_GROUPS, PrefixGrouping } from '../model/grouping.js';
import { contains, parsePrefix } from '../model/prefix.js';
import { compareSources, type Order } from '../model/ranking.js';
import {
  type Direction,
  keyOf,
  type Mode,
  type Owner,
  type SourceRecord,
} from '../model/records.js';
import type { Owners } from '../owners/owners.js';
import { ownerWords } from '../owners/words.js';
import { BothColumns, type Parts, sumOfTotals } from '../table/both.js';
import type { SourceColumns } from '../table/source-columns.js';
import { pairsOf, type Reading } from '../verbs/watch.js';
import type { LiveFrame, LiveInterface, LiveRow } from './frame.js';
import { MAX_SOURCES_PER_READING, RateHistory, sourceId } from './rate-history.js';

/** The character or the name of a key: `q`, `/`, `return`, `escape`, `backspace`. */
type LiveKey = string;

interface LiveModelOptions {
  readonly sort: Order;
  /** The most rows to show; 0: as many as fit. */
  readonly top: number;
  /** What the rows are first. Default: single sources. */
  readonly group?: Grouping | undefined;
  /** Default: nothing is known of owners. */
  readonly owners?: Pick<Owners, 'of' | 'knows' | 'grouping'> | undefined;
  /** Default: false. */
  readonly showsNames?: boolean | undefined;
  /** The name of an address, if it is known; see src/owners/names.ts. */
  readonly nameOf: (address: string) => string | undefined;
}

const ORDERS: readonly Order[] = ['packets', 'bytes', 'rate', 'source'];
const PREFIX_GROUPINGS: readonly Grouping[] = [
  new PrefixGrouping(24, 64),
  new PrefixGrouping(16, 48),
  new PrefixGrouping(8, 32),
];
/** So many sources that are new keep their mark. */
const MAX_NEW = 10_000;
/** For so long they keep it. */
const NEW_MS = 60_000;
const MAX_FILTER_CHARACTERS = 60;

/** The readings of one interface: of one direction, or of both. */
interface Part extends Pick<Reading, 'interface' | 'totals' | 'columns'> {
  readonly both?: BothColumns | undefined;
}

/** A record, with its parts where both directions are shown. */
interface Shown {
  readonly record: SourceRecord;
  readonly parts: Parts | undefined;
}

/** What was shown at the moment of pausing. */
interface Snapshot {
  readonly readings: readonly Reading[];
  readonly parts: readonly Part[];
  readonly history: RateHistory;
}

export class LiveModel {
  readonly #options: LiveModelOptions;
  readonly #interfaces = new Map<
    string,
    Pick<LiveInterface, 'interface' | 'direction' | 'mode' | 'maxSources'>
  >();
  readonly #nsPerPacket = new Map<string, number>();
  readonly #history = new RateHistory();
  #latest: readonly Reading[] = [];
  #parts: readonly Part[] = [];
  #paused: Snapshot | undefined;
  #sort: Order;
  readonly #groupings: readonly (Grouping | null)[];
  #grouping: Grouping | null;
  /** When sources were new, by sourceId. */
  readonly #new = new Map<string, number>();
  #filter = '';
  #typing = false;
  #showsNames: boolean;
  #showsOwners = true;
  #showsHelp = false;
  #message: string | undefined;
  #cpuPercent: number | undefined;

  constructor(options: LiveModelOptions) {
    this.#options = options;
    this.#sort = options.sort;
    const { group = null, owners, showsNames = false } = options;
    this.#showsNames = showsNames;
    const known = OWNER_GROUPS.filter((each) => owners?.knows(each) && each !== group?.text);
    const byOwner = known.flatMap((each) => owners?.grouping(each) ?? []);
    const others = [...PREFIX_GROUPINGS, ...byOwner].filter(({ text }) => text !== group?.text);
    this.#groupings = [null, ...(group === null ? [] : [group]), ...others];
    this.#grouping = group;
  }

  addInterface(device: string, direction: Direction, mode: Mode, maxSources: number): void {
    const added = { interface: device, direction, mode, maxSources };
    this.#interfaces.set(keyOf(added), added);
  }

  /**
   * Takes the latest readings, which have all sources as columns. Interfaces without a reading are removed.
   * `timeMs` is of a clock that never goes back.
   */
  setReadings(readings: readonly Reading[], timeMs: number): void {
    this.#latest = readings;
    this.#parts = partsOf(readings);
    this.#markNew(readings, timeMs);
    const fastest = firstOf(this.#parts, 'rate', MAX_SOURCES_PER_READING, () => () => true);
    this.#history.add(
      fastest.shown.map(({ record }) => record),
      Math.floor(timeMs / 1000),
    );
    const present = new Set(readings.map(keyOf));
    for (const name of this.#interfaces.keys()) {
      if (!present.has(name)) this.#interfaces.delete(name);
    }
  }

  #markNew(readings: readonly Reading[], timeMs: number): void {
    for (const { fresh } of readings) {
      for (const source of fresh ?? []) {
        // Of a flood of them no more are read, either.
        if (this.#new.size >= MAX_NEW) break;
        this.#new.set(sourceId(source), timeMs);
      }
    }
    for (const [id, sinceMs] of this.#new) {
      if (timeMs - sinceMs < NEW_MS) break;
      this.#new.delete(id);
    }
  }

  /** `cpuPercent`: the share of one CPU that our processes use. `nsPerPacket`: by keyOf. */
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
            ? {
                readings: this.#latest,
                parts: this.#parts.map(copied),
                history: this.#history.copy(),
              }
            : undefined;
        break;
      case 'g':
        this.#grouping = nextOf(this.#groupings, this.#grouping);
        break;
      case 'o':
        this.#showsOwners = !this.#showsOwners;
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
    const { readings, parts, history } = this.#paused ?? {
      readings: this.#latest,
      parts: this.#parts,
      history: this.#history,
    };
    const { rows, hidden } = this.#rows(parts, history, maxRows);
    const grouping = this.#grouping;
    return {
      interfaces: [...this.#interfaces.values()].map((attached) => ({
        ...attached,
        totals: readings.find((reading) => keyOf(reading) === keyOf(attached))?.totals,
        nsPerPacket: this.#nsPerPacket.get(keyOf(attached)),
      })),
      rows,
      hidden,
      sort: this.#sort,
      group: grouping?.text,
      filter: this.#filter,
      typing: this.#typing,
      paused: this.#paused !== undefined,
      showsNames: this.#showsNames,
      showsOwners: this.#options.owners === undefined ? undefined : this.#showsOwners,
      showsHelp: this.#showsHelp,
      message: this.#message,
      cpuPercent: this.#cpuPercent,
    };
  }

  #rows(parts: readonly Part[], history: RateHistory, maxRows: number) {
    const limit = this.#options.top > 0 ? Math.min(this.#options.top, maxRows) : maxRows;
    const filter = this.#filterOf();
    const grouping = this.#grouping;
    const accepts = (columns: SourceColumns) => filter.onColumns(columns);
    const { shown: first, accepted } =
      grouping === null
        ? firstOf(parts, this.#sort, Math.max(limit, 1), accepts)
        : firstOf(
            parts.map(({ columns, both, ...part }) => ({
              ...part,
              columns:
                both === undefined ? columns?.grouped(grouping, accepts(columns)) : undefined,
              both: both?.grouped(grouping, accepts),
            })),
            this.#sort,
            Math.max(limit, 1),
            () => () => true,
          );
    const shown = first.slice(0, limit);
    const records = shown.map(({ record }) => record);
    const minutes = this.#minutes(records, history, filter);
    const rows = shown.map(({ record, parts: both }): LiveRow => {
      const totals = parts.find((part) => part.interface === record.interface)?.totals;
      return {
        interface: record.interface,
        source: record.source,
        name: this.#showsNames ? this.#options.nameOf(record.source) : undefined,
        owner: this.#ownerOf(record),
        isNew: this.#new.has(sourceId(record)),
        packets: record.packets,
        bytes: record.bytes,
        packetsPerSecond: record.packets_per_second,
        bytesPerSecond: record.bytes_per_second,
        parts: both,
        share: shareOf(record, totals, this.#sort),
        minute: minutes(record),
        idleMs: record.idle_ms,
      };
    });
    return { rows, hidden: accepted - rows.length };
  }

  /** A group says itself what is known of it. */
  #ownerOf(record: SourceRecord): Owner {
    const { owners } = this.#options;
    if (owners === undefined || !this.#showsOwners) return {};
    return this.#grouping === null ? owners.of(record.source) : record;
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

  /** Whether text is in what is shown of an owner. */
  #isOwnedBy(source: string, text: string): boolean {
    const { owners } = this.#options;
    if (owners === undefined || !this.#showsOwners) return false;
    return ownerWords(owners.of(source)).toLowerCase().includes(text);
  }

  /** A prefix accepts the addresses in it; other text must be in the address, the owner or the name, or be the interface. */
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
      this.#isOwnedBy(source, text) ||
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

/** The first `limit` sources of all interfaces together, in order, and how many are accepted. */
function firstOf(
  parts: readonly Part[],
  order: Order,
  limit: number,
  accepts: (columns: SourceColumns) => (at: number) => boolean,
): { readonly shown: readonly Shown[]; readonly accepted: number } {
  let accepted = 0;
  const shown: Shown[] = [];
  for (const { columns: single, both } of parts) {
    const columns = both?.sums ?? single;
    if (columns === undefined) continue;
    const first = columns.first(order, limit, accepts(columns));
    accepted += first.accepted;
    for (const at of first.indexes) {
      shown.push({ record: columns.record(at), parts: both?.parts(at) });
    }
  }
  shown.sort((a, b) => compareSources(order, a.record, b.record));
  return { shown: shown.slice(0, limit), accepted };
}

/** Joins the readings of the two directions of an interface. */
function partsOf(readings: readonly Reading[]): Part[] {
  return pairsOf(readings).flatMap(([reading, other]): Part[] => {
    if (other === undefined) return [reading];
    if (reading.columns === undefined || other.columns === undefined) return [reading, other];
    return [
      {
        interface: reading.interface,
        totals: sumOfTotals(reading.totals, other.totals),
        columns: undefined,
        both: BothColumns.of(reading.columns, other.columns),
      },
    ];
  });
}

function copied(part: Part): Part {
  return { ...part, columns: part.columns?.copy(), both: part.both?.copy() };
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
