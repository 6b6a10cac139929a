import * as assert from 'uvu/assert';
import { BootClock, type ClockFiles } from '../../src/packet-log/boot-clock.js';
import { suite } from '../suite.js';

const clock = suite('BootClock');

/** A host whose clocks advance by `STEP_NS` each time one is read. */
class Host implements ClockFiles {
  nowNs = 123_456_789_012n;
  suspendedNs = 0n;
  monotonicOffset = 0n;
  boottimeOffset = 0n;
  readonly monotonicNs = () => {
    this.nowNs += STEP_NS;
    return this.nowNs + this.monotonicOffset * 1_000_000_000n;
  };
  readonly uptime = () => {
    this.nowNs += STEP_NS;
    const ns = this.nowNs + this.suspendedNs + this.boottimeOffset * 1_000_000_000n;
    const hundredths = ns / 10_000_000n;
    return `${hundredths / 100n}.${String(hundredths % 100n).padStart(2, '0')} 17.00\n`;
  };
  readonly offsets = () =>
    `monotonic  ${this.monotonicOffset}         0\nboottime   ${this.boottimeOffset}         0\n`;

  get bootNs(): bigint {
    return this.nowNs + this.suspendedNs;
  }
}
const STEP_NS = 5000n;
const CLOSE_NS = 20_000n;

function isRight(host: Host, boot: BootClock): void {
  const wrongNs = boot.nowNs() - host.bootNs;
  assert.ok(wrongNs < CLOSE_NS && wrongNs > -CLOSE_NS, `${wrongNs} ns`);
}

clock('counts the time of a suspend, to the microsecond', () => {
  const host = new Host();
  const boot = new BootClock(host);
  isRight(host, boot);
  host.suspendedNs += 40_123_456_789n;
  boot.synchronise();
  isRight(host, boot);
  host.suspendedNs += 5_000_000_001n;
  boot.synchronise();
  isRight(host, boot);
});

clock('is that of the host in a time namespace too', () => {
  const host = new Host();
  host.monotonicOffset = -100n;
  host.boottimeOffset = 1_000_000n;
  isRight(host, new BootClock(host));
  host.suspendedNs = 7_000_000_000n;
  isRight(host, new BootClock(host));
});

clock('goes on without the files of time namespaces', () => {
  const host = new Host();
  isRight(host, new BootClock({ ...host, offsets: () => '' }));
});

clock.run();
