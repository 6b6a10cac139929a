/** The table of sources that `watch`, `dump` and `demo` show, and the totals in words. */
import type { SourceRecord, TotalsRecord } from '../model/records.js';
import { formatCount, formatIdle, formatRate } from '../text/figures.js';
import { cutLine, paint, printable, wrapWords } from '../text/text.js';

export interface SourcesTableOptions {
  /** Columns of the terminal. */
  readonly width: number;
  readonly color: boolean;
  /** Sources of the table that are not among those given. */
  readonly hidden: number;
  /** Whether to show packets and bits per second. */
  readonly rates: boolean;
  /** Lines that there is room for; sources that do not fit are counted as hidden. Default: no limit. */
  readonly maxLines?: number | undefined;
}

interface Column {
  readonly title: string;
  /** So that columns stand still from one reading to the next. */
  readonly minWidth: number;
  /** The column with the highest rank goes first when the terminal is too narrow. */
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

const GAP = '  ';

/**
 * A header, a line per source, `+N more sources` where some are hidden, and the totals in words,
 * which account for every packet. No line is wider than `width`.
 */
export function renderSourcesTable(
  sources: readonly SourceRecord[],
  totals: TotalsRecord,
  options: SourcesTableOptions,
): string[] {
  const words = wrapWords(describeTotals(totals), options.width, '  ').map((line) =>
    cutLine(line, options.width),
  );
  const fitting = rowsThatFit(sources.length, options, words.length);
  const shown = sources.slice(0, fitting);
  const hidden = options.hidden + sources.length - fitting;
  const more = cutLine(`+${hidden} more ${hidden === 1 ? 'source' : 'sources'}`, options.width);
  return [
    ...(shown.length === 0 ? [] : renderRows(shown, options)),
    ...(hidden === 0 ? [] : [paint(more, 'dim', options.color)]),
    ...words,
  ];
}

/** How many sources fit, when the header, the totals and perhaps the line on the hidden ones are there. */
function rowsThatFit(sources: number, options: SourcesTableOptions, totalsLines: number): number {
  const room = (options.maxLines ?? Number.POSITIVE_INFINITY) - totalsLines - 1;
  if (sources <= room - (options.hidden > 0 ? 1 : 0)) return sources;
  return Math.max(room - 1, 0);
}

function renderRows(sources: readonly SourceRecord[], options: SourcesTableOptions): string[] {
  const columns = [
    SOURCE_COLUMN,
    PACKETS_COLUMN,
    BYTES_COLUMN,
    ...(options.rates ? [PACKET_RATE_COLUMN, BIT_RATE_COLUMN] : []),
    IDLE_COLUMN,
  ].map((column) => {
    const cells = [column.title, ...sources.map(column.cell)];
    return {
      ...column,
      cells,
      width: Math.max(column.minWidth, ...cells.map((cell) => cell.length)),
    };
  });
  while (lineWidth(columns) > options.width && columns.length > 2) {
    const ranks = columns.map((column) => column.rank);
    columns.splice(ranks.indexOf(Math.max(...ranks)), 1);
  }
  return [...sources.keys(), sources.length].map((row) => {
    const cells = columns.map(({ cells, width }, index) => {
      const cell = cells[row] ?? '';
      return index === 0 ? cell.padEnd(width) : cell.padStart(width);
    });
    const line = cutLine(cells.join(GAP), options.width);
    return row === 0 ? paint(line, 'bold', options.color) : line;
  });
}

function lineWidth(columns: readonly { readonly width: number }[]): number {
  return columns.reduce((sum, column) => sum + column.width, (columns.length - 1) * GAP.length);
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
