import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { estimate } from '../../src/bench/median.js';
import { suite } from '../suite.js';

const figures = suite('estimate');

figures('gives the median, of an even number of values the mean of the middle two', () => {
  assert.is(estimate([9, 1, 5]).median, 5);
  assert.is(estimate([9, 1, 5, 6]).median, 5.5);
});

figures('is the one value where there is one, and lowest to highest where there are few', () => {
  assert.equal(estimate([4]), { median: 4, lower: 4, upper: 4 });
  assert.equal(estimate([3, 1, 2, 5, 4]), { median: 3, lower: 1, upper: 5 });
});

figures('leaves out as many values at both ends as the binomial distribution allows', () => {
  // Of 25 values, the 8th and the 18th: David and Nagaraja, Order Statistics, 7.1.
  const values = Array.from({ length: 25 }, (_, index) => index + 1);
  assert.equal(estimate(values), { median: 13, lower: 8, upper: 18 });
});

figures('does not depend on the order, and has the median inside the interval', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ noNaN: true, min: 0, max: 1e9 }), { minLength: 1 }),
      (values) => {
        const found = estimate(values);
        assert.equal(estimate([...values].reverse()), found);
        assert.ok(found.lower <= found.median && found.median <= found.upper);
      },
    ),
  );
});

figures('holds the true median in at least nine of ten series of noise', () => {
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  let inside = 0;
  for (let series = 0; series < 1000; series++) {
    // Skewed, as the noise of a busy machine is; its median is 1/4.
    const { lower, upper } = estimate(Array.from({ length: 15 }, () => random() ** 2));
    if (lower <= 0.25 && 0.25 <= upper) inside++;
  }
  assert.ok(inside >= 900, `${inside} of 1000`);
});

figures.run();
