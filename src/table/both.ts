/** What came from each address and what was sent to it, of one interface. Pure. */
import { ADDRESSES, type Grouping } from '../model/grouping.js';
import type { SourceRecord, TotalsRecord } from '../model/records.js';
import { SourceColumns } from './source-columns.js';

/** The two parts of a figure for one address or group. */
export interface Parts {
  readonly from: Figures;
  readonly to: Figures;
}

type Figures = Pick<SourceRecord, 'packets' | 'bytes' | 'packets_per_second' | 'bytes_per_second'>;

/** The sums of two directions. */
export class BothColumns {
  /** Of both directions together. The first of them are those of `#from`, in its order. */
  readonly sums: SourceColumns;
  readonly #from: SourceColumns;

  private constructor(sums: SourceColumns, from: SourceColumns) {
    this.sums = sums;
    this.#from = from;
  }

  static of(received: SourceColumns, sent: SourceColumns): BothColumns {
    const sums = new SourceColumns(received.interface, ADDRESSES);
    sums.sumUp(received, () => true);
    const from = sums.copy();
    sums.sumUp(sent, () => true);
    return new BothColumns(sums, from);
  }

  /** The sums by group of those that `accepts` takes of columns. */
  grouped(
    grouping: Grouping,
    accepts: (columns: SourceColumns) => (at: number) => boolean,
  ): BothColumns {
    return new BothColumns(
      this.sums.grouped(grouping, accepts(this.sums)),
      this.#from.grouped(grouping, accepts(this.#from)),
    );
  }

  copy(): BothColumns {
    return new BothColumns(this.sums.copy(), this.#from.copy());
  }

  /** What is in the sums at an index. */
  parts(at: number): Parts {
    const sum = this.sums.record(at);
    if (at >= this.#from.size) return { from: rest(sum, sum), to: sum };
    const from = this.#from.record(at);
    return { from, to: rest(sum, from) };
  }
}

/** The sum of the totals of both directions, for shares of it. */
export function sumOfTotals(received: TotalsRecord, sent: TotalsRecord): TotalsRecord {
  const rate = (name: 'packets_per_second' | 'bytes_per_second') =>
    (received[name] ?? 0) + (sent[name] ?? 0);
  return {
    ...received,
    packets: received.packets + sent.packets,
    bytes: received.bytes + sent.bytes,
    packets_per_second: rate('packets_per_second'),
    bytes_per_second: rate('bytes_per_second'),
  };
}

function rest(sum: Figures, part: Figures): Figures {
  const rate = (name: 'packets_per_second' | 'bytes_per_second') =>
    sum[name] === undefined ? undefined : tenths(sum[name] - (part[name] ?? 0));
  const [packetRate, byteRate] = [rate('packets_per_second'), rate('bytes_per_second')];
  return {
    packets: sum.packets - part.packets,
    bytes: sum.bytes - part.bytes,
    ...(packetRate === undefined ? {} : { packets_per_second: packetRate }),
    ...(byteRate === undefined ? {} : { bytes_per_second: byteRate }),
  };
}

/** Rates have one decimal. */
function tenths(rate: number): number {
  return Math.round(rate * 10) / 10;
}
