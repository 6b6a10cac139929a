/** Prints the result of the demo: what was sent and what was counted. Pure. */
import { paint } from '../text/text.js';
import type { DemoCount } from './demo.js';

/** A header, and a line for each count that says whether both numbers are equal. */
export function renderCounts(counts: readonly DemoCount[], color: boolean): string[] {
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
