import * as assert from 'uvu/assert';
import { BootClock } from '../../src/packet-log/boot-clock.js';
import { measureOffsetUs, UtcOffset } from '../../src/packet-log/utc-offset.js';
import { suite } from '../suite.js';

const clock = suite('UtcOffset');

/** Clocks that advance by `stepNs` each time they are read, and that can be set. */
class TestClocks {
  now = 5_000_000_123n;
  utcNs = 1_700_000_000_123_456_789n;
  stepNs = 300n;
  readonly synchronise = () => {};
  readonly bootNs = () => {
    this.now += this.stepNs;
    this.utcNs += this.stepNs;
    return this.now;
  };
  readonly utcMs = () => Number(this.utcNs / 1_000_000n);

  get offsetUs(): number {
    return Number(this.utcNs - this.now) / 1000;
  }

  pass(ns: bigint): void {
    this.now += ns;
    this.utcNs += ns;
  }
}

clock('measures the offset far better than a millisecond', () => {
  for (const stepNs of [100n, 300n, 20_000n]) {
    const clocks = new TestClocks();
    clocks.stepNs = stepNs;
    assert.ok(
      Math.abs(measureOffsetUs(clocks) - clocks.offsetUs) <= Number(2n * stepNs) / 1000 + 1,
    );
  }
});

clock('measures again after a while, and when the time was set', () => {
  const clocks = new TestClocks();
  const offset = new UtcOffset(clocks);
  assert.ok(Math.abs(offset.currentUs() - clocks.offsetUs) < 10);
  // This is too small a change to be noticed at once.
  clocks.utcNs += 1_000_000n;
  clocks.pass(20_000_000_000n);
  assert.ok(Math.abs(offset.currentUs() - clocks.offsetUs) < 10);
  clocks.utcNs -= 3_600_000_000_000n;
  assert.ok(Math.abs(offset.currentUs() - clocks.offsetUs) < 10);
  clocks.utcNs += 5_000_000n;
  assert.ok(Math.abs(offset.currentUs() - clocks.offsetUs) < 10);
});

clock('agrees with the real clocks within a millisecond', () => {
  const offset = new UtcOffset();
  const before = Date.now();
  const nowUs = Number(new BootClock().nowNs()) / 1000 + offset.currentUs();
  const after = Date.now();
  assert.ok(nowUs >= before * 1000 - 1000 && nowUs <= after * 1000 + 2000);
});

clock.run();
