import * as assert from 'uvu/assert';
import { nearestHz } from '../../src/objects/jiffies.js';
import { suite } from '../suite.js';

const hz = suite('nearestHz');

hz('rounds to a value that kernels are built with', () => {
  for (const [measured, expected] of [
    [252.6, 250],
    [99.2, 100],
    [287, 300],
    [1024, 1000],
    [940, 1000],
  ] as const) {
    assert.is(nearestHz(measured), expected);
  }
});

hz.run();
