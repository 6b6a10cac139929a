/** The table that `status` prints. Pure. */
import { asCalled } from '../host/called-as.js';
import { nameInDirection, type StatusRecord } from '../model/records.js';
import { renderTable } from '../text/columns.js';
import { formatCount } from '../text/figures.js';
import { printable } from '../text/text.js';

const COLUMNS: readonly (readonly [string, (row: StatusRecord) => string])[] = [
  ['INTERFACE', (row) => nameInDirection(printable(row.interface), row.direction)],
  ['NETNS', (row) => printable(row.netns ?? '-')],
  ['WHOSE', (row) => row.ownership],
  ['MODE', (row) => row.mode ?? '-'],
  ['PROGRAM', (row) => (row.program_id ?? '-').toString()],
  ['PACKETS', (row) => (row.packets === null ? '-' : formatCount(row.packets))],
  ['SOURCES', sourcesCell],
  ['SINCE', (row) => row.since?.replace(/\.\d+Z$/, 'Z') ?? '-'],
  ['NOTE', note],
];

/** Titles and a line for each record; where there is none, one line says so. */
export function renderStatus(records: readonly StatusRecord[], color: boolean): string[] {
  if (records.length === 0) return ['nothing is attached'];
  return renderTable(
    COLUMNS.map(([title]) => title),
    records.map((record) => COLUMNS.map(([, cell]) => cell(record))),
    [],
    color,
  );
}

function sourcesCell(row: StatusRecord): string {
  if (row.sources === null) return '-';
  const limit = row.options?.max_sources;
  const fill = limit === undefined ? '' : `/${limit} ${Math.round((100 * row.sources) / limit)}%`;
  return `${row.sources}${fill}`;
}

/** What a user can do about a state. */
const REMEDIES: Partial<Readonly<Record<StatusRecord['ownership'], string>>> = {
  stale: '; xdpwho clean',
  broken: '; xdpwho clean',
  'other-version': '; xdpwho attach --replace',
};

function note(row: StatusRecord): string {
  const { ownership, holder, why, file, link_id: link } = row;
  const notes = [
    ...(holder === null ? [] : [`xdpwho ${holder.command}, process ${holder.pid}`]),
    // The kernel refuses every other way.
    ...(holder === null || link === null ? [] : [`end that, or bpftool link detach id ${link}`]),
    ...(why === null ? [] : [`${why}${asCalled(REMEDIES[ownership] ?? '')}`]),
    ...(ownership === 'foreign' ? [row.program_name ?? ''] : []),
    ...(row.options?.log ? [`log of ${formatCount(BigInt(row.options.log.buffer_bytes))}B`] : []),
    ...(ownership === 'ours' && file !== null ? [file] : []),
  ];
  return printable(notes.join('; '));
}
