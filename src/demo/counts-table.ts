/** What was sent beside what was counted, as the demo shows it. */
import { paint } from '../text/text.js';

export interface Count {
  readonly what: string;
  readonly note: string;
  readonly sent: bigint;
  readonly counted: bigint;
}

/** A header and a line each, which says in words whether the two agree. */
export function renderCounts(counts: readonly Count[], color: boolean): string[] {
  const rows = counts.map(({ what, note, sent, counted }) => ({
    cells: [what, sent.toString(), counted.toString()],
    verdict: sent === counted ? 'exact' : `off by ${counted - sent}`,
    note,
  }));
  const header = { cells: ['SOURCE', 'SENT', 'COUNTED'], verdict: '', note: '' };
  const widths = [0, 1, 2].map((column) =>
    Math.max(...[header, ...rows].map((row) => (row.cells[column] ?? '').length)),
  );
  return [header, ...rows].map(({ cells, verdict, note }, row) => {
    const aligned = cells.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
    );
    const line = [...aligned, verdict.padEnd(5), note].join('  ').trimEnd();
    return row === 0 ? paint(line, 'bold', color) : line;
  });
}
