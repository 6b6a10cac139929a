/** The table of sources that `watch`, `dump` and `demo` print, with the totals as a sentence. Pure. */
import type { Order } from '../model/ranking.js';
import {
  type Direction,
  nameInDirection,
  type Owner,
  type SourceList,
  type SourceRecord,
  type TotalsRecord,
} from '../model/records.js';
import { systemName } from '../owners/words.js';
import type { BothColumns, Parts } from '../table/both.js';
import { alignCell, COLUMN_GAP, fitColumns } from '../text/columns.js';
import { formatCount, formatIdle, formatRate } from '../text/figures.js';
import { cutLine, paint, printable, textWidth, wrapWords } from '../text/text.js';

interface SourcesTableOptions {
  /** How wide a line may be. */
  readonly width: number;
  readonly color: boolean;
  /** How many sources the interface has besides those that are shown. */
  readonly hidden: number;
  /** Whether the table shows packets and bits per second. */
  readonly rates: boolean;
  /** Which sources are marked. Default: none. */
  readonly isNew?: ((source: string) => boolean) | undefined;
}

interface Column<T = SourceRecord> {
  readonly title: string;
  /** Keeps the columns in place from one reading to the next. */
  readonly minWidth: number;
  /** If the line is too wide, the column of the highest rank is left out first. */
  readonly rank: number;
  /** Default: right. */
  readonly alignment?: 'left';
  /** Only where a row has something in it. */
  readonly optional?: boolean;
  readonly cell: (row: T) => string;
}

/** Wide enough for any IPv4 address. */
const ADDRESS_COLUMN: Omit<Column, 'title'> = {
  minWidth: 15,
  rank: 0,
  alignment: 'left',
  // Of a group it may be any text.
  cell: ({ source }) => printable(source),
};
/** What is known of an address besides its packets. The live view has the same columns. */
export const OWNER_COLUMNS = [
  { title: 'NAME', maxWidth: 40, rank: 3, cell: ({ name = '' }: Owner) => printable(name) },
  {
    title: 'NETWORK',
    maxWidth: 20,
    rank: 1,
    cell: ({ network = '' }: Owner) => printable(network),
  },
  { title: 'OWNER', maxWidth: 28, rank: 1, cell: systemName },
  { title: 'CC', maxWidth: 2, rank: 2, cell: ({ country = '' }: Owner) => country },
] as const;
const PACKETS_COLUMN: Column = {
  title: 'PACKETS',
  minWidth: 7,
  rank: 0,
  cell: (source) => formatCount(source.packets),
};
const BYTES_COLUMN: Column = {
  title: 'BYTES',
  minWidth: 7,
  rank: 2,
  cell: (source) => formatCount(source.bytes),
};
const PACKET_RATE_COLUMN: Column = {
  title: 'PKT/S',
  minWidth: 6,
  rank: 1,
  cell: (source) => formatRate(source.packets_per_second ?? 0),
};
const BIT_RATE_COLUMN: Column = {
  title: 'BIT/S',
  minWidth: 6,
  rank: 3,
  cell: (source) => formatRate(8 * (source.bytes_per_second ?? 0)),
};
const IDLE_COLUMN: Column = {
  title: 'IDLE',
  minWidth: 4,
  rank: 4,
  cell: (source) => formatIdle(source.idle_ms),
};

/**
 * Titles, a line for each source, `+N more sources` where some are hidden, and a sentence that accounts
 * for every packet. No line is wider than `width`.
 */
export function* sourcesTableLines(
  sources: SourceList,
  totals: TotalsRecord,
  { hidden, ...options }: SourcesTableOptions,
): Generator<string, void, void> {
  const { width, color } = options;
  const noun = addressNoun(totals.direction);
  const more = `+${hidden} more ${noun}${hidden === 1 ? '' : 's'}`;
  if (sources.length > 0) yield* rowLines(sources, noun.toUpperCase(), options);
  if (hidden > 0) yield paint(cutLine(more, width), 'dim', color);
  for (const line of wrapWords(describeTotals(totals), width, '  ')) yield cutLine(line, width);
}

/** The same for what came from each address and what was sent to it, in order, at most `top` (0: all). */
export function* bothTableLines(
  both: BothColumns,
  totals: readonly TotalsRecord[],
  { sort, top, describe, ...options }: Omit<SourcesTableOptions, 'hidden'> & BothOrder,
): Generator<string, void, void> {
  const { width, color, rates } = options;
  const limit = top === 0 ? both.sums.size : top;
  const { indexes } = both.sums.first(sort, limit, () => true);
  const rows = indexes.map((at) => {
    const record = both.sums.record(at);
    return { ...record, ...describe?.(record), parts: both.parts(at) };
  });
  const columns: Column<PartedRow>[] = [
    { ...ADDRESS_COLUMN, title: 'ADDRESS' },
    newColumn(options.isNew),
    ...ownerColumns(),
    ...PARTS.flatMap((part) => partColumns(part, rates)),
    IDLE_COLUMN,
  ];
  const hidden = both.sums.size - rows.length;
  if (rows.length > 0) yield* columnLines(rows, columns, { width, color });
  if (hidden > 0) {
    yield paint(cutLine(`+${hidden} more address${hidden === 1 ? '' : 'es'}`, width), 'dim', color);
  }
  for (const each of totals) {
    for (const line of wrapWords(describeTotals(each), width, '  ')) yield cutLine(line, width);
  }
}

const PARTS = ['from', 'to'] as const;

interface BothOrder {
  readonly sort: Order;
  readonly top: number;
  /** What is known of an address. Default: nothing. */
  readonly describe?: ((record: SourceRecord) => Owner) | undefined;
}

function newColumn(isNew: SourcesTableOptions['isNew']): Column<Pick<SourceRecord, 'source'>> {
  return {
    ...{ title: 'NEW', minWidth: 3, rank: 0, alignment: 'left', optional: true },
    cell: ({ source }) => (isNew?.(source) ? 'new' : ''),
  };
}

function ownerColumns(): Column<Owner>[] {
  return OWNER_COLUMNS.map(({ title, maxWidth, rank, cell }) => ({
    ...{ title, rank, minWidth: title.length, alignment: 'left', optional: true },
    cell: (row: Owner) => cutLine(cell(row), maxWidth),
  }));
}

function partColumns(part: keyof Parts, rates: boolean): Column<PartedRow>[] {
  const title = part.toUpperCase();
  const figures = ({ parts }: PartedRow) => parts[part];
  const columns: (Column<PartedRow> | false)[] = [
    {
      ...{ title: `${title} PKT`, minWidth: 7, rank: 0 },
      cell: (row) => formatCount(figures(row).packets),
    },
    {
      ...{ title: `${title} BYTES`, minWidth: 7, rank: 2 },
      cell: (row) => formatCount(figures(row).bytes),
    },
    rates && {
      ...{ title: `${title} PKT/S`, minWidth: 6, rank: 1 },
      cell: (row) => formatRate(figures(row).packets_per_second ?? 0),
    },
    rates && {
      ...{ title: `${title} BIT/S`, minWidth: 6, rank: 3 },
      cell: (row) => formatRate(8 * (figures(row).bytes_per_second ?? 0)),
    },
  ];
  return columns.filter((column) => column !== false);
}

interface PartedRow extends SourceRecord {
  readonly parts: Parts;
}

export function renderSourcesTable(...table: Parameters<typeof sourcesTableLines>): string[] {
  return [...sourcesTableLines(...table)];
}

/** The sources are read twice: for the widths of the columns, and for the lines. */
function* rowLines(
  sources: SourceList,
  title: string,
  { rates, isNew, ...options }: Omit<SourcesTableOptions, 'hidden'>,
): Generator<string, void, void> {
  const columns = [
    { ...ADDRESS_COLUMN, title },
    newColumn(isNew),
    ...ownerColumns(),
    PACKETS_COLUMN,
    BYTES_COLUMN,
    ...(rates ? [PACKET_RATE_COLUMN, BIT_RATE_COLUMN] : []),
    IDLE_COLUMN,
  ];
  yield* columnLines(sources, columns, options);
}

function* columnLines<T>(
  rows: Iterable<T>,
  all: readonly Column<T>[],
  { width, color }: Pick<SourcesTableOptions, 'width' | 'color'>,
): Generator<string, void, void> {
  const wanted = all.map((column) => ({
    ...column,
    width: Math.max(column.minWidth, textWidth(column.title)),
    isEmpty: column.optional === true,
  }));
  for (const row of rows) {
    for (const column of wanted) {
      const cell = column.cell(row);
      if (cell === '') continue;
      column.isEmpty = false;
      column.width = Math.max(column.width, textWidth(cell));
    }
  }
  const columns = fitColumns(
    wanted.filter(({ isEmpty }) => !isEmpty),
    width,
  );
  const lineOf = (cell: (column: Column<T>) => string) => {
    const cells = columns.map((column) =>
      alignCell(cell(column), column.width, column.alignment ?? 'right'),
    );
    return cutLine(cells.join(COLUMN_GAP), width);
  };
  yield paint(
    lineOf(({ title }) => title),
    'bold',
    color,
  );
  for (const row of rows) yield lineOf(({ cell }) => cell(row));
}

/** One sentence that accounts for every packet: `eth0: 2 sources; 15 packets (10 IPv4, 5 other), 1790 bytes`. */
export function describeTotals(totals: TotalsRecord): string {
  const name = nameIn(totals);
  if (totals.packets === 0n) return `${name}: no packets yet`;
  const kinds: readonly (readonly [bigint, string])[] = [
    [totals.ipv4, 'IPv4'],
    [totals.ipv6, 'IPv6'],
    [totals.other, 'other'],
    [totals.malformed, 'malformed'],
  ];
  const parts = kinds.filter(([count]) => count > 0n).map(([count, kind]) => `${count} ${kind}`);
  const untracked =
    totals.untracked > 0n ? `; ${totals.untracked} untracked, of sources that left the table` : '';
  const rates =
    totals.packets_per_second === undefined
      ? ''
      : `; ${formatRate(totals.packets_per_second)} packets/s, ` +
        `${formatRate(8 * (totals.bytes_per_second ?? 0))} bits/s`;
  return (
    `${name}: ${plural(totals.sources, addressNoun(totals.direction))}; ` +
    `${plural(totals.packets, 'packet')} (${parts.join(', ')}), ` +
    `${plural(totals.bytes, 'byte')}${untracked}${rates}`
  );
}

/** What an address is to its packets. */
export function addressNoun(direction: Direction | undefined): string {
  return direction === 'sent' ? 'destination' : 'source';
}

/** An interface in a message: `eth0`, or `eth0 (sent)`. */
export function nameIn(of: { readonly interface: string; readonly direction?: Direction }): string {
  return nameInDirection(printable(of.interface), of.direction);
}

/** `1 source`, `2 sources`. */
export function plural(count: number | bigint, noun: string): string {
  return `${count} ${noun}${BigInt(count) === 1n ? '' : 's'}`;
}
