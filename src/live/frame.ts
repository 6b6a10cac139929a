/** Draws the live view of `watch`: makes the lines of a terminal from a frame. Pure. */
import { addressNoun, OWNER_COLUMNS, plural } from '../cli/sources-table.js';
import type { Order } from '../model/ranking.js';
import type { Direction, Mode, Owner, TotalsRecord } from '../model/records.js';
import type { Parts } from '../table/both.js';
import type { ColorDepth } from '../text/color.js';
import { type Alignment, alignCell, COLUMN_GAP, fitColumns, lineWidth } from '../text/columns.js';
import { formatCount, formatIdle, formatRate } from '../text/figures.js';
import { cutLine, paint, paintIndexed, printable, type Style, textWidth } from '../text/text.js';

/** What is shown. */
export interface LiveFrame {
  readonly interfaces: readonly LiveInterface[];
  /** In order. Rows that do not fit are counted as hidden. */
  readonly rows: readonly LiveRow[];
  /** How many sources or groups are not among `rows`. */
  readonly hidden: number;
  readonly sort: Order;
  /** As the option takes it, "24,64" or "owner"; undefined: the rows are single sources. */
  readonly group: string | undefined;
  readonly filter: string;
  /** Whether the filter is being typed. */
  readonly typing: boolean;
  readonly paused: boolean;
  readonly showsNames: boolean;
  /** Undefined where nothing is known of owners. */
  readonly showsOwners: boolean | undefined;
  readonly showsHelp: boolean;
  /** A note for the user. */
  readonly message: string | undefined;
  /** How many percent of one CPU our processes use together; undefined before it is known. */
  readonly cpuPercent: number | undefined;
}

export interface LiveInterface {
  readonly interface: string;
  readonly direction: Direction;
  readonly mode: Mode;
  readonly maxSources: number;
  /** Undefined before the first reading. */
  readonly totals: TotalsRecord | undefined;
  /** The program's time for a packet; undefined unless the kernel measures it (kernel.bpf_stats_enabled). */
  readonly nsPerPacket: number | undefined;
}

export interface LiveRow {
  readonly interface: string;
  /** An address, or a group. */
  readonly source: string;
  readonly name: string | undefined;
  /** Empty where it is not shown. */
  readonly owner: Owner;
  readonly isNew: boolean;
  readonly packets: bigint;
  readonly bytes: bigint;
  /** Undefined at the first reading. */
  readonly packetsPerSecond: number | undefined;
  readonly bytesPerSecond: number | undefined;
  /** What came from it and what was sent to it, where both are shown: the figures above are the sums. */
  readonly parts: Parts | undefined;
  /** The share of all traffic, in the figure that is sorted by: 0 to 1. */
  readonly share: number;
  /** Packets per second in each second of the last minute, oldest first. */
  readonly minute: readonly number[];
  readonly idleMs: number;
}

/** What the terminal can show. */
export interface LiveSize {
  readonly width: number;
  readonly height: number;
  readonly depth: ColorDepth;
  /** Whether it can show block elements (U+2580 to U+259F). */
  readonly blocks: boolean;
}

/** A colour: a style, and its number where the terminal has 256 colours. */
type Ink = Style | { readonly style: Style; readonly index: number };
type Piece = readonly [text: string, ink?: Ink | undefined];

/** Returns at most `height` lines, none wider than `width`. */
export function renderLive(frame: LiveFrame, size: LiveSize): string[] {
  const header = renderHeader(frame, size);
  const footer = [renderFooter(frame)];
  const bodyHeight = size.height - header.length - footer.length;
  const body = frame.showsHelp
    ? helpLines(frame).map((line): Piece[] => [[line]])
    : renderRows(frame, size, bodyHeight);
  return [...header, ...body.slice(0, Math.max(bodyHeight, 0)), ...footer]
    .slice(0, size.height)
    .map((pieces) => paintPieces(pieces, size));
}

function helpLines({ showsOwners }: LiveFrame): string[] {
  return HELP.filter((line) => showsOwners !== undefined || !line.startsWith('o  '));
}

const HELP = [
  '',
  'q  quit: detach and leave          p  pause: freeze the figures, go on counting',
  's  sort: packets, bytes, rate, source',
  'g  group: by /24 and /64, /16 and /48, /8 and /32, by what is known of owners, off',
  'o  owners, countries and networks: on, off',
  '/  filter: a prefix (198.51.100.0/24), or a part of an address or a name',
  'r  names by reverse DNS: asked for in the background, off at first',
  '?  this help; any key leaves it',
  '',
  'PKT/S, BIT/S   over the last interval     PACKETS, BYTES  since it was attached',
  'SHARE          of all packets, of all bytes, or of the rate: as it is sorted',
  'LAST MINUTE    packets per second, each line on a scale of its own',
  'IDLE           time since the last packet',
];

// The header.

/** The most lines that interfaces may take; the rest of the terminal is for sources. */
function maxHeaderLines(height: number): number {
  return Math.max(Math.floor(height / 3), 1);
}

function renderHeader(frame: LiveFrame, { width, height }: LiveSize): Piece[][] {
  const limit = maxHeaderLines(height);
  const all = frame.interfaces.length;
  const shown = all > limit ? frame.interfaces.slice(0, Math.max(limit - 1, 1)) : frame.interfaces;
  const lines = shown.map((attached, index) =>
    headerLine(attached, index === 0 ? frame : undefined, width),
  );
  if (shown.length < all && limit > 1)
    lines.push([[`+${all - shown.length} more interfaces`, 'dim']]);
  const [only] = frame.interfaces;
  if (frame.message !== undefined) lines.push([[printable(frame.message), 'yellow']]);
  else if (all === 1 && only?.totals !== undefined && height >= 12) {
    lines.push([[accountOf(only.totals), 'dim']]);
  }
  return lines;
}

/** The line of one interface. The first line also has the state of the view. Items that do not fit are left out at the end. */
function headerLine(attached: LiveInterface, frame: LiveFrame | undefined, width: number): Piece[] {
  const { totals, mode, maxSources, nsPerPacket } = attached;
  const pieces: Piece[] = [
    ...(frame?.paused === true ? [['PAUSED', 'inverse'] as const, ['  '] as const] : []),
    [printable(attached.interface), 'bold'],
    [` ${mode}`],
    ...(attached.direction === 'sent' ? [[' sent', 'bold'] as const] : []),
  ];
  const fill = totals === undefined ? 0 : totals.sources / maxSources;
  const items: Piece[] =
    totals === undefined
      ? [['no reading yet']]
      : [
          [`${formatRate(totals.packets_per_second ?? 0)} pkt/s`, 'bold'],
          [`${formatRate(8 * (totals.bytes_per_second ?? 0))} bit/s`],
          [plural(totals.sources, addressNoun(attached.direction))],
          [`table ${formatPercent(100 * fill)}`, fill >= 0.9 ? 'yellow' : undefined],
          ...(nsPerPacket === undefined
            ? []
            : [[`${Math.round(nsPerPacket)} ns/packet`] satisfies Piece]),
          ...(frame?.cpuPercent === undefined
            ? []
            : [[`own CPU ${formatPercent(frame.cpuPercent)}`] satisfies Piece]),
        ];
  let used = pieces.reduce((sum, [text]) => sum + textWidth(text), 0);
  for (const item of items) {
    used += 2 + textWidth(item[0]);
    if (used > width) break;
    pieces.push(['  '], item);
  }
  return pieces;
}

/** Accounts for every packet: `1080 packets: 790 IPv4, 260 IPv6, 20 other, 10 malformed; 192852 bytes`. */
function accountOf(totals: TotalsRecord): string {
  const kinds: readonly (readonly [bigint, string])[] = [
    [totals.ipv4, 'IPv4'],
    [totals.ipv6, 'IPv6'],
    [totals.other, 'other'],
    [totals.malformed, 'malformed'],
  ];
  const parts = kinds.filter(([count]) => count > 0n).map(([count, kind]) => `${count} ${kind}`);
  if (parts.length === 0) return 'no packets yet';
  const untracked = totals.untracked > 0n ? `; ${totals.untracked} untracked` : '';
  return `${totals.packets} packets: ${parts.join(', ')}; ${totals.bytes} bytes${untracked}`;
}

/** One decimal below 10. Only 0 is printed as 0. */
function formatPercent(percent: number): string {
  if (percent > 0 && percent < 0.05) return '<0.1%';
  return `${percent < 9.95 ? percent.toFixed(1).replace(/\.0$/, '') : Math.round(percent)}%`;
}

// The footer.

function renderFooter(frame: LiveFrame): Piece[] {
  if (frame.typing) {
    return [
      ['filter: ', 'bold'],
      [`${printable(frame.filter)}_`],
      ['  Enter keeps it, Esc clears it', 'dim'],
    ];
  }
  const keys: readonly (readonly [key: string, text: string])[] = [
    ['q', 'quit'],
    ['s', `sort:${frame.sort}`],
    ['p', frame.paused ? 'go on' : 'pause'],
    ['g', `group:${frame.group ?? 'off'}`],
    ['/', frame.filter === '' ? 'filter' : `filter:${printable(frame.filter)}`],
    ['r', `names:${frame.showsNames ? 'on' : 'off'}`],
    ...(frame.showsOwners === undefined
      ? []
      : [['o', `owners:${frame.showsOwners ? 'on' : 'off'}`] as const]),
    ['?', 'help'],
  ];
  return keys.flatMap(([key, text], index): Piece[] => [
    ...(index === 0 ? [] : [['  '] as const]),
    [key, 'inverse'],
    [` ${text}`],
  ]);
}

// The table.

interface Column {
  readonly title: string;
  /** Default: right. */
  readonly alignment?: Alignment;
  /** The title is marked when this order is the current one. */
  readonly order?: Order;
  readonly minWidth: number;
  /** The width that the column may grow to on a wide terminal. Default: the width of its cells. */
  readonly maxWidth?: number;
  /** On a narrow terminal the column with the highest rank is left out first. */
  readonly rank: number;
  readonly cell: (row: LiveRow, width: number) => Piece;
}

function renderRows(frame: LiveFrame, size: LiveSize, maxLines: number): Piece[][] {
  if (frame.rows.length === 0) {
    if (frame.interfaces.every(({ totals }) => totals === undefined)) return [];
    return [[[frame.filter === '' ? 'no packets yet' : 'nothing matches the filter', 'dim']]];
  }
  // The titles take one line, and the number of hidden rows another.
  const all = frame.rows.length + frame.hidden;
  const fitting = all <= maxLines - 1 ? frame.rows.length : Math.max(maxLines - 2, 0);
  const rows = frame.rows.slice(0, fitting);
  const columns = layOut(columnsOf(frame, size), rows, size.width);
  const titles = columns.map(({ column, width }): Piece => {
    const { title, alignment = 'right', order } = column;
    return [alignCell(title, width, alignment), order === frame.sort ? 'inverse' : 'bold'];
  });
  const hidden = all - rows.length;
  const address = addressIn(frame);
  const noun = groupNoun(frame.group) ?? address;
  const nouns = PLURALS[noun] ?? `${noun}s`;
  return [
    joinCells(titles),
    ...rows.map((row) =>
      joinCells(
        columns.map(({ column, width }): Piece => {
          const [text, ink] = column.cell(row, width);
          return [alignCell(cutLine(text, width), width, column.alignment ?? 'right'), ink];
        }),
      ),
    ),
    ...(hidden === 0 ? [] : [[[`+${hidden} more ${hidden === 1 ? noun : nouns}`, 'dim'] as const]]),
  ];
}

const PLURALS: Readonly<Record<string, string>> = {
  address: 'addresses',
  prefix: 'prefixes',
  country: 'countries',
};

/** What a row is, where it is a group. */
function groupNoun(group: string | undefined): string | undefined {
  return group === undefined || !/^\d/.test(group) ? group : 'prefix';
}

function columnsOf(frame: LiveFrame, size: LiveSize): Column[] {
  const rate = (value: number | undefined, factor: number) =>
    value === undefined ? '-' : formatRate(factor * value);
  const figures = showsBoth(frame)
    ? [...partColumns('from', rate), ...partColumns('to', rate)]
    : sumColumns(rate);
  const columns: (Column | false)[] = [
    {
      ...{
        title: groupNoun(frame.group)?.toUpperCase() ?? addressIn(frame).toUpperCase(),
        alignment: 'left',
        order: 'source',
      },
      ...{ minWidth: 15, rank: 0, cell: (row) => [printable(row.source)] },
    },
    new Set(frame.interfaces.map((one) => one.interface)).size > 1 && {
      ...{ title: 'INTERFACE', alignment: 'left', minWidth: 9, rank: 2 },
      cell: (row) => [printable(row.interface)],
    },
    frame.rows.some(({ isNew }) => isNew) && {
      ...{ title: 'NEW', alignment: 'left', minWidth: 3, rank: 3 },
      cell: ({ isNew }) => [isNew ? 'new' : '', 'bold'],
    },
    frame.showsNames && {
      ...{ title: 'NAME', alignment: 'left', minWidth: 12, maxWidth: 40, rank: 1 },
      cell: ({ name }) => (name === undefined ? ['-', 'dim'] : [printable(name)]),
    },
    ...ownerColumns(frame),
    ...figures,
    {
      ...{ title: 'SHARE', alignment: 'left', minWidth: 10, maxWidth: 21, rank: 4 },
      cell: (row, width) => [shareCell(row.share, width, size.blocks), shareInk(row.share)],
    },
    {
      ...{ title: 'LAST MINUTE', alignment: 'left', minWidth: 11, maxWidth: 60, rank: 8 },
      cell: (row, width) => [sparkline(row.minute, width, size.blocks), 'cyan'],
    },
    {
      ...{ title: 'IDLE', minWidth: 4, rank: 6 },
      cell: (row) => [formatIdle(row.idleMs)],
    },
  ];
  return columns.filter((column) => column !== false);
}

/** Only those that a row has something for; names have a column of their own. */
function ownerColumns({ rows }: LiveFrame): Column[] {
  return OWNER_COLUMNS.filter(
    ({ title, cell }) => title !== 'NAME' && rows.some(({ owner }) => cell(owner) !== ''),
  ).map(({ title, maxWidth, rank, cell }) => ({
    ...{ title, alignment: 'left', rank, minWidth: title.length },
    cell: ({ owner }) => [cutLine(cell(owner), maxWidth)],
  }));
}

type RateCell = (value: number | undefined, factor: number) => string;

function sumColumns(rate: RateCell): Column[] {
  return [
    {
      ...{ title: 'PKT/S', order: 'rate', minWidth: 6, rank: 0 },
      cell: (row) => [rate(row.packetsPerSecond, 1)],
    },
    {
      ...{ title: 'BIT/S', minWidth: 6, rank: 5 },
      cell: (row) => [rate(row.bytesPerSecond, 8)],
    },
    {
      ...{ title: 'PACKETS', order: 'packets', minWidth: 7, rank: 3 },
      cell: (row) => [formatCount(row.packets)],
    },
    {
      ...{ title: 'BYTES', order: 'bytes', minWidth: 7, rank: 7 },
      cell: (row) => [formatCount(row.bytes)],
    },
  ];
}

/** What came from an address, or what was sent to it. */
function partColumns(part: keyof Parts, rate: RateCell): Column[] {
  const of = (row: LiveRow) => row.parts?.[part];
  const titled = (unit: string) => {
    const title = `${part.toUpperCase()} ${unit}`;
    return { title, minWidth: title.length };
  };
  return [
    {
      ...{ ...titled('PKT/S'), order: 'rate', rank: 0 },
      cell: (row) => [rate(of(row)?.packets_per_second, 1)],
    },
    {
      ...{ ...titled('BIT/S'), rank: 5 },
      cell: (row) => [rate(of(row)?.bytes_per_second, 8)],
    },
    {
      ...{ ...titled('PKT'), order: 'packets', rank: 3 },
      cell: (row) => [formatCount(of(row)?.packets ?? 0n)],
    },
    {
      ...{ ...titled('BYTES'), order: 'bytes', rank: 7 },
      cell: (row) => [formatCount(of(row)?.bytes ?? 0n)],
    },
  ];
}

function showsBoth({ interfaces }: LiveFrame): boolean {
  return new Set(interfaces.map(({ direction }) => direction)).size > 1;
}

/** What the addresses of the rows are. */
function addressIn(frame: LiveFrame): string {
  if (showsBoth(frame)) return 'address';
  return addressNoun(frame.interfaces[0]?.direction);
}

/** Leaves columns out until the others fit, then gives the spare width to columns that can grow. */
function layOut(columns: Column[], rows: readonly LiveRow[], width: number) {
  const sized = fitColumns(
    columns.map((column) => ({
      column,
      rank: column.rank,
      width: Math.max(
        column.minWidth,
        ...(column.maxWidth === undefined
          ? rows.map((row) => textWidth(column.cell(row, 0)[0]))
          : []),
      ),
    })),
    width,
  );
  let spare = width - lineWidth(sized);
  for (const entry of sized) {
    const more = Math.min(Math.max((entry.column.maxWidth ?? 0) - entry.width, 0), spare);
    if (more <= 0) continue;
    entry.width += more;
    spare -= more;
  }
  return sized;
}

function joinCells(cells: readonly Piece[]): Piece[] {
  return cells.flatMap((cell, index) => (index === 0 ? [cell] : [[COLUMN_GAP] as const, cell]));
}

/** Bars of 0 to 8 eighths of a character's width. */
const LEFT_BLOCKS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
/** Levels of 0 to 7 eighths of a character's height. The full block is not used, because lines below one another would touch. */
const LOWER_BLOCKS = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇'];
const ASCII_LEVELS = [' ', '.', ':', '-', '=', '+', '*', '#'];

/** `25% ██▌`. Only a share of 0 has no bar and `0%`. */
function shareCell(share: number, width: number, blocks: boolean): string {
  const part = Math.min(Math.max(share, 0), 1);
  const percent = part > 0 && part < 0.005 ? '<1%' : `${Math.round(100 * part)}%`;
  const eighths = part === 0 ? 0 : Math.max(Math.round(part * 8 * (width - 5)), 1);
  const bar = blocks
    ? `${'█'.repeat(eighths >> 3)}${LEFT_BLOCKS[eighths & 7] ?? ''}`
    : '#'.repeat(Math.round(eighths / 8));
  return `${percent.padStart(4)} ${bar}`;
}

/** From green to red, in steps of the 6 x 6 x 6 cube of the palette of 256 colours. */
function shareInk(share: number): Ink {
  const style = share >= 0.5 ? 'red' : share >= 0.2 ? 'yellow' : 'green';
  const steps = [34, 70, 106, 142, 178, 208, 202, 196];
  const step = Math.min(Math.floor(share * 2 * steps.length), steps.length - 1);
  return { style, index: steps[step] ?? 34 };
}

/** Each character shows the highest of the figures that it stands for. Its top is the highest figure of the line. */
function sparkline(figures: readonly number[], width: number, blocks: boolean): string {
  const highest = Math.max(...figures, 0);
  const levels = blocks ? LOWER_BLOCKS : ASCII_LEVELS;
  if (highest <= 0) return '';
  const cells = Array.from({ length: width }, (_, cell) => {
    const from = Math.floor((cell * figures.length) / width);
    const to = Math.max(Math.floor(((cell + 1) * figures.length) / width), from + 1);
    const peak = Math.max(...figures.slice(from, to), 0);
    return levels[peak === 0 ? 0 : Math.max(Math.round((peak / highest) * 7), 1)] ?? ' ';
  });
  return cells.join('');
}

/** Cuts the pieces to the width before it colours them, because colour codes have no width. */
function paintPieces(pieces: readonly Piece[], { width, depth }: LiveSize): string {
  let remaining = width;
  let line = '';
  for (const [text, ink] of pieces) {
    const cut = cutLine(text, remaining);
    remaining -= textWidth(cut);
    line += paintPiece(cut, ink, depth);
  }
  return depth === 0 ? line.trimEnd() : line;
}

function paintPiece(text: string, ink: Ink | undefined, depth: ColorDepth): string {
  if (ink === undefined || depth === 0) return text;
  if (typeof ink === 'string') return paint(text, ink, true);
  return depth === 256 ? paintIndexed(text, ink.index) : paint(text, ink.style, true);
}
