/** Rates of the last minute, second by second: what a sparkline is drawn from. Pure. */
import { Ranking } from '../model/ranking.js';
import type { SourceRecord } from '../model/records.js';

/** Seconds that are kept. */
export const HISTORY_SECONDS = 60;
/** Sources of one reading that are kept, those with the most packets per second: memory stays small in a flood. */
const MAX_SOURCES_PER_READING = 1000;

interface Series {
  /** Packets per second; the rate of second `s` is at `s % HISTORY_SECONDS`. */
  readonly rates: Float64Array;
  /** The last second that is in it. */
  last: number;
}

/** Packets per second of each source in the last minute. */
export class History {
  readonly #series = new Map<string, Series>();
  #last: number | undefined;

  /**
   * Adds the sources of one reading that had packets. `second` is that of a clock that only goes
   * forward; a reading stands for every second since the one before it.
   */
  add(records: Iterable<SourceRecord>, second: number): void {
    const ranking = new Ranking('rate', MAX_SOURCES_PER_READING);
    for (const record of records) if ((record.packets_per_second ?? 0) > 0) ranking.add(record);
    const first = Math.min((this.#last ?? second - 1) + 1, second);
    for (const record of ranking.result()) {
      this.#put(keyOf(record), first, second, record.packets_per_second ?? 0);
    }
    this.#last = second;
    for (const [key, { last }] of this.#series) {
      if (last <= second - HISTORY_SECONDS) this.#series.delete(key);
    }
  }

  #put(key: string, first: number, second: number, rate: number): void {
    const series = this.#series.get(key) ?? {
      rates: new Float64Array(HISTORY_SECONDS),
      last: second - HISTORY_SECONDS,
    };
    this.#series.set(key, series);
    for (
      let each = Math.max(series.last + 1, second - HISTORY_SECONDS + 1);
      each <= second;
      each++
    ) {
      series.rates[each % HISTORY_SECONDS] = each < first ? 0 : rate;
    }
    // Two readings within one second: the later one stands.
    series.rates[second % HISTORY_SECONDS] = rate;
    series.last = second;
  }

  /** Whether the source had packets in the last minute, as far as they are kept. */
  has(record: Pick<SourceRecord, 'interface' | 'source'>): boolean {
    return this.#series.has(keyOf(record));
  }

  /** The sum over some sources, oldest second first: HISTORY_SECONDS figures. */
  sum(records: Iterable<Pick<SourceRecord, 'interface' | 'source'>>): number[] {
    const sum = new Array<number>(HISTORY_SECONDS).fill(0);
    const end = this.#last;
    if (end === undefined) return sum;
    for (const record of records) {
      const series = this.#series.get(keyOf(record));
      if (series === undefined) continue;
      for (let index = 0; index < HISTORY_SECONDS; index++) {
        const second = end - HISTORY_SECONDS + 1 + index;
        if (second > series.last) break;
        sum[index] = (sum[index] ?? 0) + (series.rates[second % HISTORY_SECONDS] ?? 0);
      }
    }
    return sum;
  }

  /** One that stays as this one is now. */
  copy(): History {
    const copy = new History();
    for (const [key, { rates, last }] of this.#series) {
      copy.#series.set(key, { rates: rates.slice(), last });
    }
    copy.#last = this.#last;
    return copy;
  }
}

/** No interface's name and no address has a space. */
export function keyOf({
  interface: device,
  source,
}: Pick<SourceRecord, 'interface' | 'source'>): string {
  return `${source} ${device}`;
}
