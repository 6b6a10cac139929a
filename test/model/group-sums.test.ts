import * as assert from 'uvu/assert';
import { GroupSums } from '../../src/model/group-sums.js';
import type { SourceRecord } from '../../src/model/records.js';
import { suite } from '../suite.js';

const sums = suite('GroupSums');

function source(address: string, packets: bigint, more: Partial<SourceRecord> = {}): SourceRecord {
  const figures = { packets, bytes: 100n * packets, idle_ms: 500 };
  return { type: 'source', interface: 'eth0', source: address, ...figures, ...more };
}

sums('adds up the members of a prefix, and has the shortest idle time', () => {
  const groups = new GroupSums({ ipv4: 24, ipv6: 64 });
  groups.add(source('192.0.2.1', 1n));
  groups.add(source('192.0.2.2', 2n, { idle_ms: 20 }));
  groups.add(source('2001:db8::1', 4n));
  assert.equal(
    [...groups.records()],
    [source('192.0.2.0/24', 3n, { idle_ms: 20 }), source('2001:db8::/64', 4n)],
  );
  assert.is(groups.size, 2);
});

sums('keeps interfaces apart', () => {
  const groups = new GroupSums({ ipv4: 0, ipv6: 0 });
  for (const device of ['eth0', 'eth1']) {
    groups.add(source('192.0.2.1', 1n, { interface: device }));
    groups.add(source('198.51.100.1', 1n, { interface: device }));
  }
  assert.equal(
    [...groups.records()].map((group) => [group.interface, group.packets]),
    [
      ['eth0', 2n],
      ['eth1', 2n],
    ],
  );
});

sums('has rates where a member has them', () => {
  const groups = new GroupSums({ ipv4: 24, ipv6: 64 });
  groups.add(source('192.0.2.1', 1n, { packets_per_second: 3, bytes_per_second: 300 }));
  groups.add(source('192.0.2.2', 1n));
  groups.add(source('192.0.2.3', 1n, { packets_per_second: 0.5, bytes_per_second: 50 }));
  const [group] = groups.records();
  assert.is(group?.packets_per_second, 3.5);
  assert.is(group?.bytes_per_second, 350);
});

sums.run();
