import * as assert from 'uvu/assert';
import { ringBytes, ringSegments } from '../../src/objects/ring-size.js';
import { suite } from '../suite.js';

const budget = suite('ringSegments');

budget('divides the budget among the CPUs, and never takes more', () => {
  for (const cpus of [1, 2, 3, 64, 1000]) {
    for (const bytes of [ringBytes(1, cpus), 32 * 1024 ** 2, 1024 ** 3]) {
      if (bytes < ringBytes(1, cpus)) continue;
      const segments = ringSegments(bytes, cpus);
      assert.ok(ringBytes(segments, cpus) <= bytes);
      assert.ok(ringBytes(segments + 1, cpus) > bytes);
    }
  }
});

budget('refuses one that has no room for a segment each', () => {
  assert.throws(() => ringSegments(24_575, 2), /at least 24K for 2 CPUs/);
  assert.is(ringSegments(24_576, 2), 1);
});

budget.run();
