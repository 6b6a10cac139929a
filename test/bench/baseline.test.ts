import * as assert from 'uvu/assert';
import { scaleBaseline } from '../benchmarks/baseline.js';
import { suite } from '../suite.js';
import { around } from './sample.js';

const scale = suite('scaleBaseline');

scale('expects of the program what has become of the yardstick, over an empty program', () => {
  const baseline = { yardstick: around(2, 0), cases: [{ case: 'a', ratio: around(3, 0.5) }] };
  assert.equal(scaleBaseline(baseline, around(2, 0)), baseline.cases);
  assert.equal(scaleBaseline(baseline, around(3, 0)), [{ case: 'a', ratio: around(5, 1) }]);
});

scale.run();
