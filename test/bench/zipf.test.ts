import * as assert from 'uvu/assert';
import { QUANTILES, zipfRanks } from '../../src/bench/zipf.js';
import { suite } from '../suite.js';

const zipf = suite("Zipf's law");

for (const [count, exponent] of [
  [60_000, 1],
  [60_000, 1.2],
  [1_000_000, 1.2],
] as const) {
  zipf(`the ranks of ${count} sources, exponent ${exponent}, hold what the law says`, () => {
    const ranks = zipfRanks(count, exponent);
    assert.is(ranks.length, QUANTILES + 1);
    assert.is(ranks[0], 0);
    assert.is(ranks[QUANTILES], count);
    for (let index = 1; index < ranks.length; index++) {
      assert.ok((ranks[index] ?? 0) >= (ranks[index - 1] ?? 0));
    }
    const weights = Array.from({ length: count }, (_, rank) => (rank + 1) ** -exponent);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    // The share of the first sources, to a thousandth.
    let sum = 0;
    for (let rank = 0; rank < 100; rank++) {
      sum += weights[rank] ?? 0;
      const share = [...ranks].filter((each) => each <= rank).length / QUANTILES;
      assert.ok(Math.abs(share - sum / total) <= 2 / QUANTILES, `rank ${rank}: ${share}`);
    }
  });
}

zipf.run();
