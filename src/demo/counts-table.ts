/** What was sent beside what was counted, as the demo shows it. */
import type { Direction } from '../model/records.js';
import { renderTable } from '../text/columns.js';
import type { DemoCount } from './demo.js';

/** For each direction a header and a line each, which says in words whether the two agree. */
export function renderCounts(counts: readonly DemoCount[], color: boolean): string[] {
  const received = counts.filter(({ direction }) => direction === 'received');
  const sent = counts.filter(({ direction }) => direction === 'sent');
  return [
    ...linesOf(received, 'received', color),
    ...(sent.length === 0 ? [] : ['', ...linesOf(sent, 'sent', color)]),
  ];
}

function linesOf(counts: readonly DemoCount[], direction: Direction, color: boolean): string[] {
  const rows = counts.map(({ what, note, sent, counted }) => [
    ...[what, sent.toString(), counted.toString()],
    ...[sent === counted ? 'exact' : `off by ${counted - sent}`, note],
  ]);
  const address = direction === 'sent' ? 'DESTINATION' : 'SOURCE';
  return renderTable([address, 'SENT', 'COUNTED', '', ''], rows, ['left', 'right', 'right'], color);
}
