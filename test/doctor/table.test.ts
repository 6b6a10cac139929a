import * as assert from 'uvu/assert';
import { renderChecks } from '../../src/doctor/table.js';
import type { Check } from '../../src/model/records.js';
import { suite } from '../suite.js';

const ESCAPE = '\x1b';

const checks = suite('renderChecks');

const CHECKS: readonly Check[] = [
  { name: 'kernel', title: 'kernel', status: 'pass', detail: '6.1.0', fix: 'not shown' },
  { name: 'clang', title: 'clang', status: 'warn', detail: 'not found', fix: 'apt install clang' },
  { name: 'x', title: 'a title', status: 'fail', detail: 'words that take\nmore than a line' },
];

checks('shows the status, what was found and what mends it', () => {
  assert.equal(renderChecks(CHECKS, { width: 36, color: false }), [
    'ok    kernel   6.1.0',
    'warn  clang    not found',
    '               fix: apt install clang',
    'FAIL  a title  words that',
    '               take\\x0amore than a',
    '               line',
    '',
    '1 passed, 1 warning, 1 failed',
  ]);
});

checks('colours the status only', () => {
  assert.equal(renderChecks(CHECKS.slice(0, 1), { width: 80, color: true }), [
    `${ESCAPE}[32mok${ESCAPE}[39m    kernel  6.1.0`,
    '',
    '1 passed, 0 warnings, 0 failed',
  ]);
});

checks.run();
