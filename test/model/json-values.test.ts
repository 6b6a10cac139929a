import * as assert from 'uvu/assert';
import { propertyOf } from '../../src/model/json-values.js';
import { suite } from '../suite.js';

const property = suite('propertyOf');

property('reads own properties of objects only', () => {
  assert.is(propertyOf({ a: 1 }, 'a'), 1);
  for (const value of [undefined, null, 7, 'a', {}, []]) {
    assert.is(propertyOf(value, 'toString'), undefined);
    assert.is(propertyOf(value, 'a'), undefined);
  }
});

property.run();
