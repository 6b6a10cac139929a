import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { type Grouping, groupOf, PrefixGrouping } from '../../src/model/grouping.js';
import { contains, parsePrefix } from '../../src/model/prefix.js';
import { type Order, Ranking } from '../../src/model/ranking.js';
import type { SourceRecord } from '../../src/model/records.js';
import { SourceColumns } from '../../src/table/source-columns.js';
import { suite } from '../suite.js';

const columns = suite('SourceColumns');

const ORDERS: readonly Order[] = ['packets', 'bytes', 'rate', 'source'];

/** Few addresses and figures, so that many are equal. */
const record = fc
  .tuple(
    fc.constantFrom('192.0.2.', '198.51.100.', '2001:db8::', '::', 'ffff::1:'),
    fc.nat({ max: 255 }),
    fc.nat({ max: 3 }),
    fc.bigInt(0n, 2n ** 64n - 1n),
    fc.option(fc.nat({ max: 2 }), { nil: undefined }),
  )
  .map(
    ([head, last, packets, bytes, rate]): SourceRecord => ({
      type: 'source',
      interface: 'eth0',
      source: head + (head.includes(':') ? (last + 1).toString(16) : last),
      packets: BigInt(packets),
      bytes,
      idle_ms: last,
      ...(rate === undefined ? {} : { packets_per_second: rate, bytes_per_second: rate * 100 }),
    }),
  );
const table = fc.uniqueArray(record, { selector: ({ source }) => source, maxLength: 200 });

function columnsOf(records: readonly SourceRecord[]): SourceColumns {
  const made = new SourceColumns('eth0');
  for (const each of records) made.add(each);
  return made;
}

function firstOf(made: SourceColumns, order: Order, limit: number): SourceRecord[] {
  return made.first(order, limit, () => true).indexes.map((at) => made.record(at));
}

columns('give back what was added, in the order of a ranking', () => {
  fc.assert(
    fc.property(
      table,
      fc.constantFrom(...ORDERS),
      fc.integer({ min: 1, max: 50 }),
      (records, order, limit) => {
        const ranking = new Ranking(order, limit);
        for (const each of records) ranking.add(each);
        assert.equal(firstOf(columnsOf(records), order, limit), ranking.result().slice(0, limit));
      },
    ),
  );
});

columns('take a prefix as the filter of a dump does', () => {
  const prefixes = ['192.0.2.0/25', '198.51.100.7', '2001:db8::/32', '::/0', '0.0.0.0/0', '::/121'];
  fc.assert(
    fc.property(table, fc.constantFrom(...prefixes), (records, text) => {
      const prefix = parsePrefix(text);
      const made = columnsOf(records);
      const { accepted } = made.first('source', 1, (at) => made.isIn(at, prefix));
      assert.is(accepted, records.filter(({ source }) => contains(prefix, source)).length);
    }),
  );
});

/** The sums of each prefix, by themselves. */
function sums(records: readonly SourceRecord[], grouping: Grouping): Map<string, SourceRecord> {
  const groups = new Map<string, SourceRecord>();
  const both = (one: number | undefined, two: number | undefined) =>
    one === undefined || two === undefined ? (one ?? two) : one + two;
  for (const each of records) {
    const source = groupOf(each.source, grouping);
    const group = groups.get(source);
    if (group === undefined) {
      groups.set(source, { ...each, source });
      continue;
    }
    const packetRate = both(group.packets_per_second, each.packets_per_second);
    const byteRate = both(group.bytes_per_second, each.bytes_per_second);
    groups.set(source, {
      ...group,
      packets: group.packets + each.packets,
      bytes: group.bytes + each.bytes,
      idle_ms: Math.min(group.idle_ms, each.idle_ms),
      ...(packetRate === undefined ? {} : { packets_per_second: packetRate }),
      ...(byteRate === undefined ? {} : { bytes_per_second: byteRate }),
    });
  }
  return groups;
}

columns('sum by prefix, as they come or afterwards, with the shortest idle time', () => {
  const groupings = [
    new PrefixGrouping(24, 64),
    new PrefixGrouping(0, 0),
    new PrefixGrouping(31, 127),
    new PrefixGrouping(32, 128),
  ];
  const named = (list: Iterable<SourceRecord>) =>
    new Map([...list].map((each) => [each.source, each] as const));
  fc.assert(
    fc.property(table, fc.constantFrom(...groupings), (records, grouping) => {
      const small = records.map((each) => ({ ...each, bytes: each.bytes >> 9n }));
      const expected = sums(small, grouping);
      assert.equal(
        named(
          columnsOf(small)
            .grouped(grouping, () => true)
            .list('none'),
        ),
        expected,
      );
      const direct = new SourceColumns('eth0', grouping);
      for (const each of small) direct.addToGroup(each);
      assert.equal(named(direct.list('none')), expected);
    }),
  );
});

columns('list all of them in the order of a ranking', () => {
  fc.assert(
    fc.property(table, fc.constantFrom(...ORDERS), (records, order) => {
      const ranking = new Ranking(order, 0);
      for (const each of records) ranking.add(each);
      const list = columnsOf(records).list(order);
      assert.equal([...list], ranking.result());
      assert.is(list.length, records.length);
    }),
  );
});

columns('of a copy stay as they are', () => {
  const made = columnsOf([
    { type: 'source', interface: 'eth0', source: '192.0.2.1', packets: 1n, bytes: 2n, idle_ms: 3 },
  ]);
  const copy = made.copy();
  made.add({
    type: 'source',
    interface: 'eth0',
    source: '::1',
    packets: 9n,
    bytes: 9n,
    idle_ms: 9,
  });
  assert.equal([copy.size, made.size], [1, 2]);
  assert.equal(firstOf(copy, 'packets', 9)[0]?.source, '192.0.2.1');
});

columns.run();
