/** What was sent beside what was counted, as the demo shows it. */
import { renderTable } from '../text/columns.js';
import type { DemoCount } from './demo.js';

/** A header and a line each, which says in words whether the two agree. */
export function renderCounts(counts: readonly DemoCount[], color: boolean): string[] {
  const rows = counts.map(({ what, note, sent, counted }) => [
    ...[what, sent.toString(), counted.toString()],
    ...[sent === counted ? 'exact' : `off by ${counted - sent}`, note],
  ]);
  const titles = ['SOURCE', 'SENT', 'COUNTED', '', ''];
  return renderTable(titles, rows, ['left', 'right', 'right'], color);
}
