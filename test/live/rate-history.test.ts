import * as assert from 'uvu/assert';
import { HISTORY_SECONDS, RateHistory } from '../../src/live/rate-history.js';
import { suite } from '../suite.js';
import { source } from './sample.js';

const history = suite('RateHistory');

/** Whether any rates of a source are kept. */
function has(past: RateHistory, address: string): boolean {
  return [...past.sources()].some(
    ({ interface: device, source: kept }) => device === 'eth0' && kept === address,
  );
}

history('keeps a minute, second by second', () => {
  const past = new RateHistory();
  for (let second = 0; second < 100; second++) {
    past.add([source('192.0.2.1', 0, { packets_per_second: second })], second);
  }
  const minute = past.sum([source('192.0.2.1', 0)]);
  assert.is(minute.length, HISTORY_SECONDS);
  assert.equal([minute[0], minute.at(-1)], [40, 99]);
});

history('a reading stands for the seconds since the one before', () => {
  const past = new RateHistory();
  past.add([source('192.0.2.1', 0, { packets_per_second: 5 })], 10);
  past.add([source('192.0.2.1', 0, { packets_per_second: 7 })], 14);
  assert.equal(past.sum([source('192.0.2.1', 0)]).slice(-6), [0, 5, 7, 7, 7, 7]);
});

history('silence is zero, and after a minute of it the source is forgotten', () => {
  const past = new RateHistory();
  past.add([source('192.0.2.1', 0, { packets_per_second: 5 })], 10);
  past.add([], 12);
  assert.equal(past.sum([source('192.0.2.1', 0)]).slice(-4), [0, 5, 0, 0]);
  past.add([source('192.0.2.1', 0, { packets_per_second: 9 })], 15);
  assert.equal(past.sum([source('192.0.2.1', 0)]).slice(-6), [5, 0, 0, 9, 9, 9]);
  past.add([], 76);
  assert.is(has(past, '192.0.2.1'), false);
});

history('a copy stays as it is', () => {
  const past = new RateHistory();
  past.add([source('192.0.2.1', 0, { packets_per_second: 5 })], 10);
  const copy = past.copy();
  past.add([source('192.0.2.1', 0, { packets_per_second: 6 })], 11);
  assert.equal(copy.sum([source('192.0.2.1', 0)]).slice(-2), [0, 5]);
});

history('in a flood, only the busiest of each reading are kept', () => {
  const past = new RateHistory();
  const flood = Array.from({ length: 5000 }, (_, index) =>
    source(`198.18.${index >> 8}.${index & 255}`, 0, { packets_per_second: 1 + (index % 7) }),
  );
  past.add([...flood, source('192.0.2.1', 0, { packets_per_second: 100 })], 1);
  assert.is(has(past, '192.0.2.1'), true);
  assert.is(flood.filter((each) => has(past, each.source)).length, 999);
});

history.run();
