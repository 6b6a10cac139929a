/** Sorts sources, and finds the first few of many without keeping them all. Pure. */
import type { SourceRecord } from './records.js';

/** `none`: in the order in which they are added. */
export type Order = 'packets' | 'bytes' | 'rate' | 'source' | 'none';

/** Negative if `a` comes first. The larger figure comes first; with equal figures, the lower address. */
export function compareSources(order: Order, a: SourceRecord, b: SourceRecord): number {
  return order === 'none' ? 0 : compareFigures(order, a, b) || compareAddresses(a.source, b.source);
}

function compareFigures(order: Order, a: SourceRecord, b: SourceRecord): number {
  switch (order) {
    case 'packets':
      return compare(b.packets, a.packets);
    case 'bytes':
      return compare(b.bytes, a.bytes);
    case 'rate':
      return compare(b.packets_per_second ?? 0, a.packets_per_second ?? 0);
    case 'source':
    case 'none':
      return 0;
  }
}

/** Sorts in place. The key of an address is made once, and only where figures are equal: making it takes most of the time. */
export function sortSources(order: Order, records: SourceRecord[]): void {
  if (order === 'none') return;
  const items = records.map((record): { record: SourceRecord; key?: string } => ({ record }));
  const keyOf = (item: { record: SourceRecord; key?: string }) => {
    item.key ??= sortKey(item.record.source);
    return item.key;
  };
  items.sort((a, b) => compareFigures(order, a.record, b.record) || compare(keyOf(a), keyOf(b)));
  items.forEach(({ record }, index) => {
    records[index] = record;
  });
}

/** Compares addresses by number; all IPv4 addresses come before IPv6. */
export function compareAddresses(a: string, b: string): number {
  return compare(sortKey(a), sortKey(b));
}

/** Keeps the first `limit` of the records that are added; 0: all of them. */
export class Ranking {
  readonly #order: Order;
  readonly #limit: number;
  #kept: SourceRecord[] = [];
  #worst: SourceRecord | undefined;
  #worstKey = '';

  constructor(order: Order, limit: number) {
    this.#order = order;
    this.#limit = limit;
  }

  add(record: SourceRecord): void {
    // A record after the last one of a full list can never get into the list.
    if (this.#worst !== undefined && this.#isAfter(record, this.#worst)) return;
    this.#kept.push(record);
    if (this.#limit > 0 && this.#kept.length >= 2 * this.#limit + 64) this.#prune();
  }

  #isAfter(record: SourceRecord, worst: SourceRecord): boolean {
    if (this.#order === 'none') return false;
    const byFigure = compareFigures(this.#order, record, worst);
    return byFigure > 0 || (byFigure === 0 && sortKey(record.source) > this.#worstKey);
  }

  /** The records, sorted. */
  result(): SourceRecord[] {
    this.#prune();
    return this.#kept;
  }

  #prune(): void {
    sortSources(this.#order, this.#kept);
    if (this.#limit === 0 || this.#kept.length < this.#limit) return;
    this.#kept.length = this.#limit;
    this.#worst = this.#kept.at(-1);
    this.#worstKey = sortKey(this.#worst?.source ?? '');
  }
}

/** Keeps the first `limit` of the items that are added, in the order of `compare`. */
export class FirstFew<T> {
  readonly #compare: (a: T, b: T) => number;
  readonly #limit: number;
  readonly #kept: T[] = [];
  #worst: T | undefined;

  constructor(compareItems: (a: T, b: T) => number, limit: number) {
    this.#compare = compareItems;
    this.#limit = limit;
  }

  add(item: T): void {
    if (this.#worst !== undefined && this.#compare(item, this.#worst) > 0) return;
    this.#kept.push(item);
    if (this.#kept.length >= 2 * this.#limit + 64) this.#prune();
  }

  /** The items, sorted. */
  result(): readonly T[] {
    this.#prune();
    return this.#kept;
  }

  #prune(): void {
    this.#kept.sort(this.#compare);
    if (this.#kept.length < this.#limit) return;
    this.#kept.length = this.#limit;
    this.#worst = this.#kept.at(-1);
  }
}

function compare<T extends bigint | number | boolean | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A text that sorts as the address does, because all its parts have the same width. IPv4 begins with a character before all digits. */
function sortKey(address: string): string {
  if (!address.includes(':')) {
    const parts = address.split('.').map((part) => part.padStart(3, '0'));
    return `!${parts.join('')}`;
  }
  const [head = '', tail] = address.split('::');
  const parts = (text: string) => (text === '' ? [] : text.split(':'));
  const first = parts(head);
  const last = tail === undefined ? [] : parts(tail);
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => '0');
  return [...first, ...zeros, ...last].map((part) => part.padStart(4, '0')).join('');
}
