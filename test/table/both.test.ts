import * as assert from 'uvu/assert';
import { PrefixGrouping } from '../../src/model/grouping.js';
import { BothColumns, sumOfTotals } from '../../src/table/both.js';
import { SourceColumns } from '../../src/table/source-columns.js';
import { reading, source } from '../live/sample.js';
import { suite } from '../suite.js';

const both = suite('BothColumns');

function columnsOf(...sources: readonly ReturnType<typeof source>[]): SourceColumns {
  const columns = new SourceColumns('eth0');
  for (const each of sources) columns.add(each);
  return columns;
}

const RECEIVED = () => columnsOf(source('192.0.2.1', 30), source('2001:db8::1', 5, { idle_ms: 7 }));
const SENT = () =>
  columnsOf(source('2001:db8::1', 20), source('192.0.2.9', 4), source('192.0.2.1', 1));

function rows(columns: BothColumns) {
  return Object.fromEntries(
    Array.from({ length: columns.sums.size }, (_, at) => {
      const { from, to } = columns.parts(at);
      return [columns.sums.source(at), [from.packets, to.packets]];
    }),
  );
}

both('has what came from each address and what was sent to it', () => {
  const columns = BothColumns.of(RECEIVED(), SENT());
  assert.equal(rows(columns), {
    '192.0.2.1': [30n, 1n],
    '2001:db8::1': [5n, 20n],
    '192.0.2.9': [0n, 4n],
  });
  const [at = -1] = columns.sums.first('packets', 1, () => true).indexes;
  const { from, to } = columns.parts(at);
  assert.equal([from.bytes, to.bytes], [3000n, 100n]);
  assert.equal([from.packets_per_second, to.packets_per_second], [3, 0.1]);
  assert.is(columns.sums.record(1).idle_ms, 7, 'the shorter of both');
});

both('sums by prefix keep the two apart, also in a copy and with a filter', () => {
  const columns = BothColumns.of(RECEIVED(), SENT()).copy();
  const grouped = columns.grouped(new PrefixGrouping(24, 64), () => () => true);
  assert.equal(rows(grouped), { '192.0.2.0/24': [30n, 5n], '2001:db8::/64': [5n, 20n] });
  const without = (each: SourceColumns) => (at: number) => each.source(at) !== '192.0.2.1';
  assert.equal(rows(columns.grouped(new PrefixGrouping(24, 64), without)), {
    '2001:db8::/64': [5n, 20n],
    '192.0.2.0/24': [0n, 4n],
  });
});

both('an attachment that was joined has no rates in its first reading', () => {
  const plain = source('192.0.2.1', 3);
  const { packets_per_second: _, bytes_per_second: __, ...unrated } = plain;
  const columns = BothColumns.of(columnsOf(unrated), columnsOf(source('192.0.2.1', 9)));
  const { from, to } = columns.parts(0);
  assert.is(from.packets_per_second, undefined);
  assert.equal([from.packets, to.packets], [3n, 9n]);
});

both('the totals of both are their sum', () => {
  const [one, other] = [reading([source('192.0.2.1', 10)]), reading([source('192.0.2.2', 5)])];
  const sum = sumOfTotals(one.totals, other.totals);
  assert.equal([sum.packets, sum.bytes, sum.packets_per_second], [15n, 1500n, 1.5]);
});

both.run();
