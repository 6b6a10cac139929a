/** The packet rates of the last minute, one for each second; the sparklines are drawn from them. Pure. */
import { Ranking } from '../model/ranking.js';
import type { SourceRecord } from '../model/records.js';

/** Identifies a source, or a group, of an interface, whose name has no space in it. */
export function sourceId({
  interface: device,
  source,
}: Pick<SourceRecord, 'interface' | 'source'>): string {
  return `${source} ${device}`;
}

/** The source with that identity. */
function sourceOfId(id: string): Pick<SourceRecord, 'interface' | 'source'> {
  const end = id.lastIndexOf(' ');
  return { interface: id.slice(end + 1), source: id.slice(0, end) };
}

/** How many seconds are kept. */
export const HISTORY_SECONDS = 60;
/** How many sources of one reading are kept, those with the highest rates. This bounds the memory in a flood of sources. */
export const MAX_SOURCES_PER_READING = 1000;

interface Series {
  /** Packets per second; the rate of second `s` is at `s % HISTORY_SECONDS`. */
  readonly rates: Float64Array;
  /** The last second that `rates` has a figure for. */
  last: number;
}

/** Packets per second of each source in the last minute. */
export class RateHistory {
  readonly #series = new Map<string, Series>();
  #last: number | undefined;

  /**
   * Adds the sources of one reading that had packets. Their rates are those of every second since
   * the reading before. `second` is of a clock that never goes back.
   */
  add(records: Iterable<SourceRecord>, second: number): void {
    const ranking = new Ranking('rate', MAX_SOURCES_PER_READING);
    for (const record of records) if ((record.packets_per_second ?? 0) > 0) ranking.add(record);
    const first = Math.min((this.#last ?? second - 1) + 1, second);
    for (const record of ranking.result()) {
      this.#put(sourceId(record), first, second, record.packets_per_second ?? 0);
    }
    this.#last = second;
    for (const [key, { last }] of this.#series) {
      if (last <= second - HISTORY_SECONDS) this.#series.delete(key);
    }
  }

  /** Sets the rate of the seconds `first` to `until`; seconds before `first` without a figure become 0. */
  #put(key: string, first: number, until: number, rate: number): void {
    const series = this.#series.get(key) ?? {
      rates: new Float64Array(HISTORY_SECONDS),
      last: until - HISTORY_SECONDS,
    };
    this.#series.set(key, series);
    const start = Math.max(series.last + 1, until - HISTORY_SECONDS + 1);
    for (let second = start; second <= until; second++) {
      series.rates[second % HISTORY_SECONDS] = second < first ? 0 : rate;
    }
    // Of two readings within one second the later one counts.
    series.rates[until % HISTORY_SECONDS] = rate;
    series.last = until;
  }

  /** The sources of which rates are kept. */
  *sources(): Generator<Pick<SourceRecord, 'interface' | 'source'>> {
    for (const id of this.#series.keys()) yield sourceOfId(id);
  }

  /** The sum of the rates of some sources: HISTORY_SECONDS figures, the oldest second first. */
  sum(records: Iterable<Pick<SourceRecord, 'interface' | 'source'>>): number[] {
    const sum = new Array<number>(HISTORY_SECONDS).fill(0);
    const end = this.#last;
    if (end === undefined) return sum;
    for (const record of records) {
      const series = this.#series.get(sourceId(record));
      if (series === undefined) continue;
      for (let index = 0; index < HISTORY_SECONDS; index++) {
        const second = end - HISTORY_SECONDS + 1 + index;
        if (second > series.last) break;
        sum[index] = (sum[index] ?? 0) + (series.rates[second % HISTORY_SECONDS] ?? 0);
      }
    }
    return sum;
  }

  /** A copy, which later readings do not change. */
  copy(): RateHistory {
    const copy = new RateHistory();
    for (const [key, { rates, last }] of this.#series) {
      copy.#series.set(key, { rates: rates.slice(), last });
    }
    copy.#last = this.#last;
    return copy;
  }
}
