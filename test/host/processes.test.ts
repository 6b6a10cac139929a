import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { processStartTicks } from '../../src/host/processes.js';
import { suite } from '../suite.js';

const processes = suite('processStartTicks');

processes('is the same for one process at any time, and undefined for none', () => {
  const ticks = processStartTicks('self');
  assert.match(ticks ?? '', /^\d+$/);
  assert.is(processStartTicks(process.pid), ticks);
  // pid_max is at most 2^22 (proc(5)).
  assert.is(processStartTicks(2 ** 22 + 1), undefined);
});

processes('is not misled by parentheses and blanks in the name of a process', () => {
  const title = process.title;
  process.title = ') S 1 1 1 (';
  try {
    assert.match(processStartTicks('self') ?? '', /^\d{2,}$/);
    assert.match(readFileSync('/proc/self/stat', 'utf8'), /^\d+ \(\) S 1 1 1 \(\) /);
  } finally {
    process.title = title;
  }
});

processes.run();
