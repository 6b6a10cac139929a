import * as assert from 'uvu/assert';
import {
  alignCell,
  alignColumns,
  columnWidths,
  fitColumns,
  lineWidth,
  renderTable,
} from '../../src/text/columns.js';
import { suite } from '../suite.js';

const test = suite('columns');

const ROWS = [
  ['a', '1', 'x'],
  ['longer', '200', ''],
];

test('are as wide as their longest cell, with two blanks between them', () => {
  assert.equal(columnWidths(ROWS), [6, 3, 1]);
  assert.equal(alignColumns(ROWS, ['left', 'right']), ['a         1  x', 'longer  200']);
  assert.equal(alignColumns(ROWS), ['a       1    x', 'longer  200']);
  assert.equal(alignColumns([]), []);
});

test('leave a cell as it is that is wider', () => {
  assert.equal(
    [alignCell('ab', 4, 'left'), alignCell('ab', 4, 'right'), alignCell('ab', 1, 'right')],
    ['ab  ', '  ab', 'ab'],
  );
});

test('have bold titles above them', () => {
  assert.equal(renderTable(['A', 'B', 'C'], ROWS, ['left', 'right'], false), [
    'A         B  C',
    'a         1  x',
    'longer  200',
  ]);
  assert.is(renderTable(['A'], [], [], true)[0], '\x1b[1mA\x1b[22m');
});

test('go by their rank until the others fit, and two stay', () => {
  const columns = [
    { name: 'a', width: 10, rank: 0 },
    { name: 'b', width: 5, rank: 2 },
    { name: 'c', width: 5, rank: 1 },
    { name: 'd', width: 5, rank: 3 },
  ];
  const names = (width: number) =>
    fitColumns(columns, width)
      .map(({ name }) => name)
      .join('');
  assert.is(lineWidth(columns), 31);
  assert.equal(
    [names(31), names(30), names(24), names(23), names(1)],
    ['abcd', 'abc', 'abc', 'ac', 'ac'],
  );
  assert.is(columns.length, 4, 'the list that was given stays');
  assert.is(lineWidth([]), 0);
});

test.run();
