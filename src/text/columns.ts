/** Cells in columns below one another. Pure. */
import { paint, textWidth } from './text.js';

export const COLUMN_GAP = '  ';

export type Alignment = 'left' | 'right';

/** `text` in `width` columns; a longer one stays as it is. */
export function alignCell(text: string, width: number, alignment: Alignment): string {
  const blanks = ' '.repeat(Math.max(width - textWidth(text), 0));
  return alignment === 'left' ? text + blanks : blanks + text;
}

/** The width of each column: that of its longest cell. */
export function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, textWidth(cell));
    });
  }
  return widths;
}

/** A line for each row, without blanks at its end. A column without an alignment is aligned to the left. */
export function alignColumns(
  rows: readonly (readonly string[])[],
  alignments: readonly Alignment[] = [],
): string[] {
  const widths = columnWidths(rows);
  return rows.map((row) =>
    row
      .map((cell, column) => alignCell(cell, widths[column] ?? 0, alignments[column] ?? 'left'))
      .join(COLUMN_GAP)
      .trimEnd(),
  );
}

/** The same with a first row of titles, which are bold. */
export function renderTable(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  alignments: readonly Alignment[],
  color: boolean,
): string[] {
  const [header = '', ...lines] = alignColumns([titles, ...rows], alignments);
  return [paint(header, 'bold', color), ...lines];
}

/** Leaves out the column of the highest rank, again and again, until the others fit into `width` or two are left. */
export function fitColumns<C extends { readonly width: number; readonly rank: number }>(
  columns: readonly C[],
  width: number,
): C[] {
  const kept = [...columns];
  while (kept.length > 2 && lineWidth(kept) > width) {
    const ranks = kept.map(({ rank }) => rank);
    kept.splice(ranks.indexOf(Math.max(...ranks)), 1);
  }
  return kept;
}

/** Of a line with these columns and the gaps between them. */
export function lineWidth(columns: readonly { readonly width: number }[]): number {
  const cells = columns.reduce((sum, { width }) => sum + width, 0);
  return cells + Math.max(columns.length - 1, 0) * COLUMN_GAP.length;
}
