/** Sorts sources, and finds the first few of many without keeping them all. Pure. */
import type { SourceRecord } from './records.js';

/** `none`: in the order in which they are added. */
export type Order = 'packets' | 'bytes' | 'rate' | 'source' | 'none';

/** Negative if `a` comes first. The larger figure comes first; with equal figures, the lower address. */
export function compareSources(order: Order, a: SourceRecord, b: SourceRecord): number {
  if (order === 'none') return 0;
  const byFigure =
    order === 'packets'
      ? compare(b.packets, a.packets)
      : order === 'bytes'
        ? compare(b.bytes, a.bytes)
        : order === 'rate'
          ? compare(b.packets_per_second ?? 0, a.packets_per_second ?? 0)
          : 0;
  return byFigure || compareAddresses(a.source, b.source);
}

/** Compares addresses by number; all IPv4 addresses come before IPv6. */
export function compareAddresses(a: string, b: string): number {
  return compare(a.includes(':'), b.includes(':')) || compare(sortKey(a), sortKey(b));
}

/** Keeps the first `limit` of the records that are added; 0: all of them. */
export class Ranking {
  readonly #order: Order;
  readonly #limit: number;
  #kept: SourceRecord[] = [];
  #worst: SourceRecord | undefined;

  constructor(order: Order, limit: number) {
    this.#order = order;
    this.#limit = limit;
  }

  add(record: SourceRecord): void {
    // A record after the last one of a full list can never get into the list.
    if (this.#worst !== undefined && compareSources(this.#order, record, this.#worst) > 0) return;
    this.#kept.push(record);
    if (this.#limit > 0 && this.#kept.length >= 2 * this.#limit + 64) this.#prune();
  }

  /** The records, sorted. */
  result(): SourceRecord[] {
    this.#prune();
    return this.#kept;
  }

  #prune(): void {
    this.#kept.sort((a, b) => compareSources(this.#order, a, b));
    if (this.#limit === 0 || this.#kept.length < this.#limit) return;
    this.#kept.length = this.#limit;
    this.#worst = this.#kept.at(-1);
  }
}

function compare<T extends bigint | number | boolean | string>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A text that sorts as the address does, because all its parts have the same width. */
function sortKey(address: string): string {
  if (!address.includes(':')) {
    return address
      .split('.')
      .map((part) => part.padStart(3, '0'))
      .join('');
  }
  const [head = '', tail] = address.split('::');
  const parts = (text: string) => (text === '' ? [] : text.split(':'));
  const first = parts(head);
  const last = tail === undefined ? [] : parts(tail);
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => '0');
  return [...first, ...zeros, ...last].map((part) => part.padStart(4, '0')).join('');
}
