/** The table of sources that `watch`, `dump` and `demo` print, with the totals as a sentence. Pure. */
import type { SourceRecord, TotalsRecord } from '../model/records.js';
import { alignCell, COLUMN_GAP, fitColumns, widestOf } from '../text/columns.js';
import { formatCount, formatIdle, formatRate } from '../text/figures.js';
import { cutLine, paint, printable, wrapWords } from '../text/text.js';

interface SourcesTableOptions {
  /** How wide a line may be. */
  readonly width: number;
  readonly color: boolean;
  /** How many sources the interface has besides those that are shown. */
  readonly hidden: number;
  /** Whether the table shows packets and bits per second. */
  readonly rates: boolean;
}

interface Column {
  readonly title: string;
  /** Keeps the columns in place from one reading to the next. */
  readonly minWidth: number;
  /** If the line is too wide, the column of the highest rank is left out first. */
  readonly rank: number;
  readonly cell: (source: SourceRecord) => string;
}

/** Wide enough for any IPv4 address. */
const SOURCE_COLUMN: Column = {
  title: 'SOURCE',
  minWidth: 15,
  rank: 0,
  cell: (source) => source.source,
};
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
export function renderSourcesTable(
  sources: readonly SourceRecord[],
  totals: TotalsRecord,
  { width, color, hidden, rates }: SourcesTableOptions,
): string[] {
  const more = `+${hidden} more ${hidden === 1 ? 'source' : 'sources'}`;
  return [
    ...(sources.length === 0 ? [] : renderRows(sources, rates, width, color)),
    ...(hidden === 0 ? [] : [paint(cutLine(more, width), 'dim', color)]),
    ...wrapWords(describeTotals(totals), width, '  ').map((line) => cutLine(line, width)),
  ];
}

function renderRows(
  sources: readonly SourceRecord[],
  rates: boolean,
  width: number,
  color: boolean,
): string[] {
  const wanted = [
    SOURCE_COLUMN,
    PACKETS_COLUMN,
    BYTES_COLUMN,
    ...(rates ? [PACKET_RATE_COLUMN, BIT_RATE_COLUMN] : []),
    IDLE_COLUMN,
  ].map((column) => {
    const cells = [column.title, ...sources.map(column.cell)];
    return { ...column, cells, width: Math.max(column.minWidth, widestOf(cells)) };
  });
  const columns = fitColumns(wanted, width);
  return [...sources.keys(), sources.length].map((row) => {
    const cells = columns.map((column) =>
      alignCell(column.cells[row] ?? '', column.width, column === columns[0] ? 'left' : 'right'),
    );
    const line = cutLine(cells.join(COLUMN_GAP), width);
    return row === 0 ? paint(line, 'bold', color) : line;
  });
}

/** One sentence that accounts for every packet: `eth0: 2 sources; 15 packets (10 IPv4, 5 other), 1790 bytes`. */
export function describeTotals(totals: TotalsRecord): string {
  const name = printable(totals.interface);
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
    `${name}: ${plural(totals.sources, 'source')}; ` +
    `${plural(totals.packets, 'packet')} (${parts.join(', ')}), ` +
    `${plural(totals.bytes, 'byte')}${untracked}${rates}`
  );
}

function plural(count: number | bigint, noun: string): string {
  return `${count} ${noun}${BigInt(count) === 1n ? '' : 's'}`;
}
