import * as assert from 'uvu/assert';
import { FRONT_BYTES, frontConstants, frontLines, frontSize } from '../../src/objects/front.js';
import { FRONT_LINE } from '../../src/objects/layout.js';
import { suite } from '../suite.js';

const front = suite('the size of the front table');

const host = (cpus: number) => ({ possible: cpus, limit: cpus, present: cpus });

front('is a power of two, at most 16,384 lines a CPU, and within its memory', () => {
  for (let cpus = 1; cpus <= 512; cpus++) {
    const lines = frontLines(host(cpus), 65_536);
    assert.is(Math.log2(lines) % 1, 0, String(cpus));
    assert.ok(lines >= 2 && lines <= 16_384);
    assert.ok(lines * cpus * FRONT_LINE.size <= FRONT_BYTES);
    // Twice as many would not fit, or be too many.
    assert.ok(lines === 16_384 || 2 * lines * cpus * FRONT_LINE.size > FRONT_BYTES);
  }
});

front('is at least twice the size of a small table', () => {
  const lines = [1, 2, 3, 4, 5, 1000].map((sources) => frontLines(host(2), sources));
  assert.equal(lines, [2, 4, 8, 8, 16, 2048]);
});

front(
  'counts the CPUs that are present, and is none where a number is left out or too many are',
  () => {
    assert.is(frontLines({ possible: 128, limit: 128, present: 2 }, 65_536), 16_384);
    assert.is(frontLines({ possible: 3, limit: 4, present: 4 }, 65_536), 0);
    assert.is(frontLines(host(513), 65_536), 0);
  },
);

front('has an even number of totals, one for each possible CPU, before the lines', () => {
  assert.equal(frontSize(16, { limit: 3, present: 2 }), { lines: 16, totals: 4, entries: 36 });
  assert.equal(frontSize(16, { limit: 4, present: 4 }), { lines: 16, totals: 4, entries: 68 });
  assert.is(frontSize(0, { limit: 4, present: 4 }), undefined);
});

front('comes with other odd numbers each time', () => {
  const size = frontSize(16, { limit: 2, present: 2 });
  const all = Array.from({ length: 100 }, () => frontConstants(size, 250).front_seeds);
  for (const seeds of all) {
    const numbers = new DataView(Uint8Array.from(seeds ?? []).buffer);
    for (const order of [true, false]) {
      for (const at of [0, 8]) assert.is(numbers.getBigUint64(at, order) & 1n, 1n);
    }
  }
  assert.is(new Set(all.map(String)).size, 100);
  assert.equal(frontConstants(undefined, 250), {});
});

front.run();
