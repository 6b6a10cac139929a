import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { compareAddresses, compareSources, Ranking } from '../../src/model/ranking.js';
import type { SourceRecord } from '../../src/model/records.js';
import { suite } from '../suite.js';

const ORDERS = ['packets', 'bytes', 'rate', 'source'] as const;

function record(source: string, packets = 0, bytes = 0, rate?: number): SourceRecord {
  return {
    type: 'source',
    interface: 'eth0',
    source,
    packets: BigInt(packets),
    bytes: BigInt(bytes),
    idle_ms: 0,
    ...(rate === undefined ? {} : { packets_per_second: rate }),
  };
}

const addresses = suite('compareAddresses');

addresses('sorts by number, IPv4 first', () => {
  const sorted = [
    '0.0.0.0',
    '9.0.0.1',
    '10.0.0.1',
    '192.0.2.9',
    '192.0.2.10',
    '255.255.255.255',
    '::',
    '::1',
    '::2:0:0',
    '1::',
    '2001:db8::1',
    '2001:db8::10',
    '2001:db8:0:1::',
    '2001:db8:a::',
    'fe80::1',
  ];
  assert.equal([...sorted].reverse().sort(compareAddresses), sorted);
  for (const each of sorted) assert.is(compareAddresses(each, each), 0);
});

addresses.run();

const order = suite('compareSources');

order('puts the largest figure first and the lower address where figures are equal', () => {
  const a = record('192.0.2.1', 1, 900, 5);
  const b = record('192.0.2.2', 2, 800, 5);
  const c = record('192.0.2.10', 2, 700);
  const sorted = (by: (typeof ORDERS)[number]) =>
    [c, b, a].sort((one, two) => compareSources(by, one, two)).map((each) => each.source);
  assert.equal(sorted('packets'), ['192.0.2.2', '192.0.2.10', '192.0.2.1']);
  assert.equal(sorted('bytes'), ['192.0.2.1', '192.0.2.2', '192.0.2.10']);
  assert.equal(sorted('rate'), ['192.0.2.1', '192.0.2.2', '192.0.2.10']);
  assert.equal(sorted('source'), ['192.0.2.1', '192.0.2.2', '192.0.2.10']);
});

order('compares counters beyond the exact numbers of JavaScript', () => {
  const a = { ...record('192.0.2.1'), packets: 2n ** 64n - 2n };
  const b = { ...record('192.0.2.2'), packets: 2n ** 64n - 1n };
  assert.ok(compareSources('packets', b, a) < 0);
});

order.run();

const ranking = suite('Ranking');

const records = fc.array(
  fc
    .tuple(fc.nat(255), fc.nat(5), fc.nat(5), fc.nat(3))
    .map(([host, packets, bytes, rate]) => record(`198.51.100.${host}`, packets, bytes, rate)),
  { maxLength: 400 },
);

ranking('keeps exactly the first of a sort of all, in every order', () => {
  fc.assert(
    fc.property(records, fc.nat(20), fc.constantFrom(...ORDERS), (all, limit, by) => {
      const kept = new Ranking(by, limit);
      for (const each of all) kept.add(each);
      const sorted = [...all].sort((a, b) => compareSources(by, a, b));
      assert.equal(kept.result(), limit === 0 ? sorted : sorted.slice(0, limit));
    }),
  );
});

ranking('gives the same twice, and takes more after it was asked', () => {
  const kept = new Ranking('packets', 2);
  kept.add(record('192.0.2.1', 1));
  kept.add(record('192.0.2.2', 5));
  assert.equal(kept.result(), kept.result());
  kept.add(record('192.0.2.3', 3));
  assert.equal(
    kept.result().map((each) => each.source),
    ['192.0.2.2', '192.0.2.3'],
  );
});

ranking.run();

const many = suite('sources of equal figures');

many('are sorted with the key of each address made once', () => {
  let reads = 0;
  const count = 5000;
  const all = Array.from({ length: count }, (_, index) => {
    const source = `198.18.${(index * 7919) % 256}.${(index * 31) % 256}`;
    return Object.defineProperty(record(source, 1), 'source', {
      get: () => {
        reads++;
        return source;
      },
    });
  });
  const ranking = new Ranking('packets', 0);
  for (const each of all) ranking.add(each);
  const sorted = ranking.result();
  assert.ok(reads <= count, `${reads} of ${count}`);
  const names = sorted.map(({ source }) => source);
  assert.equal(names, [...names].sort(compareAddresses));
});

many('are the first few by address, however many there are', () => {
  const ranking = new Ranking('packets', 3);
  for (let index = 70_000; index > 0; index--) {
    ranking.add(record(`198.18.${(index >> 8) & 255}.${index & 255}`, 1));
  }
  assert.is(ranking.result().length, 3);
  assert.is(ranking.result()[0]?.source, '198.18.0.0');
});

many.run();
