import * as assert from 'uvu/assert';
import { formatCount, formatIdle, formatRate } from '../../src/text/figures.js';
import { suite } from '../suite.js';

const figures = suite('formatCount, formatRate, formatIdle');

figures('a count has every digit up to 99999, then a prefix, and is never rounded up', () => {
  const counts = [
    0n,
    99_999n,
    100_000n,
    123_456n,
    999_999n,
    1_000_000n,
    5_678_901n,
    2n ** 64n - 1n,
  ];
  assert.equal(counts.map(formatCount), [
    '0',
    '99999',
    '100.0k',
    '123.4k',
    '999.9k',
    '1.0M',
    '5.6M',
    '18.4E',
  ]);
});

figures('a rate has one decimal below 10', () => {
  assert.equal([0, 0.04, 0.5, 2, 9.94, 9.96, 1234.5, 120_000, Number.NaN, -1].map(formatRate), [
    '0',
    '0',
    '0.5',
    '2',
    '9.9',
    '10',
    '1235',
    '120.0k',
    '0',
    '0',
  ]);
});

figures('an age has the one unit that fits', () => {
  const ages = [0, 312, 9940, 9960, 59_999, 60_000, 3_599_999, 3_600_000, 172_799_999, 172_800_000];
  assert.equal(ages.map(formatIdle), [
    '0.0s',
    '0.3s',
    '9.9s',
    '9.9s',
    '59s',
    '1m',
    '59m',
    '1h',
    '47h',
    '2d',
  ]);
});

figures.run();
