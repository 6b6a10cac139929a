/** What the live view shows: readings and keys in, frames out. Draws nothing, reads nothing. */
import { XdpwhoError } from '../model/errors.js';
import { contains, type Grouping, groupOf, parsePrefix } from '../model/prefix.js';
import { type Order, Ranking } from '../model/ranking.js';
import type { Mode, SourceRecord } from '../model/records.js';
import type { Reading } from '../verbs/watch.js';
import type { LiveFrame, LiveInterface, LiveRow } from './frame.js';
import { History, keyOf } from './rate-history.js';

/** A key by its name or character: `q`, `/`, `return`, `escape`, `backspace`. */
export type LiveKey = string;

export interface LiveModelOptions {
  readonly sort: Order;
  /** Rows at most; 0 for what fits. */
  readonly top: number;
  /** Of an address, if it is known; see src/live/reverse-dns.ts. */
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

/** What is looked at: the last reading, or the one at which it was paused. */
interface Snapshot {
  readonly readings: readonly Reading[];
  readonly history: History;
}

export class LiveModel {
  readonly #options: LiveModelOptions;
  readonly #interfaces = new Map<
    string,
    Pick<LiveInterface, 'interface' | 'mode' | 'maxSources'>
  >();
  readonly #nsPerPacket = new Map<string, number>();
  readonly #history = new History();
  #latest: readonly Reading[] = [];
  #paused: Snapshot | undefined;
  #sort: Order;
  #grouping: Grouping | null = null;
  #filter = '';
  #typing = false;
  #names = false;
  #help = false;
  #message: string | undefined;
  #cpuPercent: number | undefined;

  constructor(options: LiveModelOptions) {
    this.#options = options;
    this.#sort = options.sort;
  }

  /** Whether names are wanted. */
  get names(): boolean {
    return this.#names;
  }

  attached(device: string, mode: Mode, maxSources: number): void {
    this.#interfaces.set(device, { interface: device, mode, maxSources });
  }

  /** `sources` of each reading are all that there are. `timeMs` is of a clock that only goes forward. */
  read(readings: readonly Reading[], timeMs: number): void {
    this.#latest = readings;
    const records = readings.flatMap((each) => each.sources);
    this.#history.add(records, Math.floor(timeMs / 1000));
    const present = new Set(readings.map((each) => each.interface));
    for (const name of this.#interfaces.keys()) {
      if (!present.has(name)) this.#interfaces.delete(name);
    }
  }

  /** Percent of one CPU that our own processes take; nanoseconds for a packet by interface. */
  cost(cpuPercent: number | undefined, nsPerPacket: ReadonlyMap<string, number>): void {
    this.#cpuPercent = cpuPercent;
    for (const [name, ns] of nsPerPacket) this.#nsPerPacket.set(name, ns);
  }

  /** Shown until the next key. */
  tell(message: string): void {
    this.#message = message;
  }

  /** True when it means the end. */
  press(key: LiveKey): boolean {
    this.#message = undefined;
    if (this.#typing) this.#type(key);
    else if (this.#help) this.#help = false;
    else return this.#command(key);
    return false;
  }

  #command(key: LiveKey): boolean {
    switch (key) {
      case 'q':
        return true;
      case 's':
        this.#sort = after(ORDERS, this.#sort);
        break;
      case 'p':
        this.#paused =
          this.#paused === undefined
            ? { readings: this.#latest, history: this.#history.copy() }
            : undefined;
        break;
      case 'g':
        this.#grouping = after(GROUPINGS, this.#grouping);
        break;
      case '/':
        this.#typing = true;
        break;
      case 'r':
        this.#names = !this.#names;
        break;
      case '?':
      case 'h':
        this.#help = true;
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

  /** `maxRows`: more than fit are not looked for. */
  frame(maxRows: number): LiveFrame {
    const { readings, history } = this.#paused ?? {
      readings: this.#latest,
      history: this.#history,
    };
    const { rows, hidden } = this.#rows(readings, history, maxRows);
    const grouping = this.#grouping;
    return {
      interfaces: [...this.#interfaces.values()].map((each) => ({
        ...each,
        totals: readings.find((reading) => reading.interface === each.interface)?.totals,
        nsPerPacket: this.#nsPerPacket.get(each.interface),
      })),
      rows,
      hidden,
      sort: this.#sort,
      group: grouping === null ? undefined : `${grouping.ipv4},${grouping.ipv6}`,
      filter: this.#filter,
      typing: this.#typing,
      paused: this.#paused !== undefined,
      names: this.#names,
      help: this.#help,
      message: this.#message,
      cpuPercent: this.#cpuPercent,
    };
  }

  #rows(readings: readonly Reading[], history: History, maxRows: number) {
    const limit = this.#options.top > 0 ? Math.min(this.#options.top, maxRows) : maxRows;
    const ranking = new Ranking(this.#sort, Math.max(limit, 1));
    const accepts = this.#acceptor();
    const groups = new Map<string, SourceRecord>();
    let selected = 0;
    for (const record of readings.flatMap((each) => each.sources)) {
      if (!accepts(record)) continue;
      if (this.#grouping === null) {
        selected++;
        ranking.add(record);
      } else addToGroup(groups, record, groupOf(record.source, this.#grouping));
    }
    for (const group of groups.values()) ranking.add(group);
    const shown = ranking.result().slice(0, limit);
    const minutes = this.#minutes(shown, readings, history, accepts);
    const rows = shown.map((record): LiveRow => {
      const totals = readings.find((each) => each.interface === record.interface)?.totals;
      return {
        interface: record.interface,
        source: record.source,
        name: this.#names ? this.#options.nameOf(record.source) : undefined,
        packets: record.packets,
        bytes: record.bytes,
        packetsPerSecond: record.packets_per_second,
        bytesPerSecond: record.bytes_per_second,
        share: shareOf(record, totals, this.#sort),
        minute: minutes(record),
        idleMs: record.idle_ms,
      };
    });
    return { rows, hidden: (this.#grouping === null ? selected : groups.size) - rows.length };
  }

  /** What each shown row had in the last minute; of a group, its members' sum. */
  #minutes(
    shown: readonly SourceRecord[],
    readings: readonly Reading[],
    history: History,
    accepts: (record: SourceRecord) => boolean,
  ): (record: SourceRecord) => readonly number[] {
    const grouping = this.#grouping;
    if (grouping === null) return (record) => history.sum([record]);
    const members = new Map<string, SourceRecord[]>(shown.map((group) => [keyOf(group), []]));
    for (const record of readings.flatMap((each) => each.sources)) {
      if (!history.has(record) || !accepts(record)) continue;
      const group = { ...record, source: groupOf(record.source, grouping) };
      members.get(keyOf(group))?.push(record);
    }
    return (group) => history.sum(members.get(keyOf(group)) ?? []);
  }

  /** A prefix takes what lies in it, any other text what has it in its address, its name or its interface. */
  #acceptor(): (record: SourceRecord) => boolean {
    const text = this.#filter.toLowerCase();
    if (text === '') return () => true;
    try {
      const prefix = parsePrefix(text);
      return ({ source }) => contains(prefix, source);
    } catch (error) {
      if (!(error instanceof XdpwhoError)) throw error;
    }
    return ({ source, interface: device }) =>
      source.includes(text) ||
      device.toLowerCase() === text ||
      (this.#names && this.#options.nameOf(source)?.toLowerCase().includes(text) === true);
  }
}

function addToGroup(groups: Map<string, SourceRecord>, record: SourceRecord, source: string): void {
  const key = keyOf({ ...record, source });
  const there = groups.get(key);
  const { packets_per_second: packetRate, bytes_per_second: byteRate } = record;
  groups.set(key, {
    ...record,
    source,
    packets: record.packets + (there?.packets ?? 0n),
    bytes: record.bytes + (there?.bytes ?? 0n),
    idle_ms: Math.min(record.idle_ms, there?.idle_ms ?? record.idle_ms),
    ...(packetRate === undefined
      ? {}
      : { packets_per_second: packetRate + (there?.packets_per_second ?? 0) }),
    ...(byteRate === undefined
      ? {}
      : { bytes_per_second: byteRate + (there?.bytes_per_second ?? 0) }),
  });
}

/** Of everything that the program saw on that interface. */
function shareOf(record: SourceRecord, totals: Reading['totals'] | undefined, sort: Order): number {
  if (totals === undefined) return 0;
  const [part, whole] =
    sort === 'rate'
      ? [record.packets_per_second ?? 0, totals.packets_per_second ?? 0]
      : sort === 'bytes'
        ? [Number(record.bytes), Number(totals.bytes)]
        : [Number(record.packets), Number(totals.packets)];
  return whole > 0 ? Math.min(part / whole, 1) : 0;
}

function after<T>(all: readonly T[], current: T): T {
  const [first = current] = all;
  return all[all.indexOf(current) + 1] ?? first;
}
