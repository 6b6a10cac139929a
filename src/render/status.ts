/** The table of `status`. */
import { formatCount } from './figures.js';
import { paint, printable } from './text.js';

/** One interface; what is absent is not known, or does not apply to what is not ours. */
export interface StatusRow {
  readonly interface: string;
  readonly netns: string | null;
  readonly ownership: 'ours' | 'foreground' | 'stale' | 'broken' | 'foreign' | 'none';
  readonly why?: string | null;
  readonly mode?: string | null;
  readonly program_id?: number | null;
  readonly program_name?: string | null;
  readonly since?: string | null;
  readonly sources?: number | null;
  readonly packets?: bigint;
  readonly bytes?: bigint;
  readonly file?: string | null;
  readonly options?: { readonly max_sources: number };
  readonly holder?: { readonly pid: number; readonly command: string } | null;
}

const COLUMNS: readonly (readonly [string, (row: StatusRow) => string])[] = [
  ['INTERFACE', (row) => printable(row.interface)],
  ['NETNS', (row) => printable(row.netns ?? '-')],
  ['WHOSE', (row) => row.ownership],
  ['MODE', (row) => row.mode ?? '-'],
  ['PROGRAM', (row) => (row.program_id ?? '-').toString()],
  ['PACKETS', (row) => (row.packets === undefined ? '-' : formatCount(row.packets))],
  ['SOURCES', sourcesCell],
  ['SINCE', (row) => row.since?.replace(/\.\d+Z$/, 'Z') ?? '-'],
  ['NOTE', note],
];

/** A header and a line per row; nothing at all says so. */
export function renderStatus(rows: readonly StatusRow[], color: boolean): string[] {
  if (rows.length === 0) return ['nothing is attached'];
  const table = [
    COLUMNS.map(([title]) => title),
    ...rows.map((row) => COLUMNS.map(([, cell]) => cell(row))),
  ];
  const widths = COLUMNS.map((_, column) =>
    Math.max(...table.map((cells) => cells[column]?.length ?? 0)),
  );
  return table.map((cells, index) => {
    const line = cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd();
    return index === 0 ? paint(line, 'bold', color) : line;
  });
}

function sourcesCell(row: StatusRow): string {
  if (row.sources === undefined || row.sources === null) return '-';
  const limit = row.options?.max_sources;
  const fill = limit === undefined ? '' : `/${limit} ${Math.round((100 * row.sources) / limit)}%`;
  return `${row.sources}${fill}`;
}

function note(row: StatusRow): string {
  if (row.holder) return `xdpwho ${printable(row.holder.command)}, process ${row.holder.pid}`;
  if (row.why) return `${printable(row.why)}; xdpwho clean`;
  return printable(row.program_name ?? row.file ?? '');
}
