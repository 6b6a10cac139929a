import * as assert from 'uvu/assert';
import { bothTableLines, describeTotals, renderSourcesTable } from '../../src/cli/sources-table.js';
import type { SourceRecord, TotalsRecord } from '../../src/model/records.js';
import { BothColumns } from '../../src/table/both.js';
import { SourceColumns } from '../../src/table/source-columns.js';
import { suite } from '../suite.js';

const ESCAPE = '\x1b';

function source(address: string, figures: Partial<SourceRecord> = {}): SourceRecord {
  return {
    type: 'source',
    interface: 'eth0',
    source: address,
    packets: 10n,
    bytes: 1420n,
    idle_ms: 312,
    ...figures,
  };
}

function totals(figures: Partial<TotalsRecord> = {}): TotalsRecord {
  return {
    type: 'totals',
    interface: 'eth0',
    sources: 2,
    packets: 15n,
    bytes: 1790n,
    ipv4: 10n,
    ipv6: 3n,
    other: 2n,
    malformed: 0n,
    untracked: 0n,
    ...figures,
  };
}

const table = suite('renderSourcesTable');

const SOURCES = [
  source('192.0.2.7', { packets_per_second: 10, bytes_per_second: 1420 }),
  source('2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff', {
    packets: 1_234_567n,
    bytes: 98_765_432_109n,
    idle_ms: 7_300_000,
    packets_per_second: 0.25,
    bytes_per_second: 1e9,
  }),
];

table('aligns its columns', () => {
  const options = { width: 80, color: false, hidden: 0, rates: false };
  assert.equal(
    renderSourcesTable([source('192.0.2.7'), source('2001:db8::7')], totals(), options),
    [
      'SOURCE           PACKETS    BYTES  IDLE',
      '192.0.2.7             10     1420  0.3s',
      '2001:db8::7           10     1420  0.3s',
      'eth0: 2 sources; 15 packets (10 IPv4, 3 IPv6, 2 other), 1790 bytes',
    ],
  );
});

table('names destinations, and shows both directions of an address', () => {
  const options = { width: 100, color: false, hidden: 0, rates: false };
  const sent = totals({ direction: 'sent', sources: 1 });
  assert.equal(renderSourcesTable([source('192.0.2.7')], sent, { ...options, hidden: 2 }), [
    'DESTINATION      PACKETS    BYTES  IDLE',
    '192.0.2.7             10     1420  0.3s',
    '+2 more destinations',
    'eth0 (sent): 1 destination; 15 packets (10 IPv4, 3 IPv6, 2 other), 1790 bytes',
  ]);
  const [from, to] = [new SourceColumns('eth0'), new SourceColumns('eth0')];
  from.add(source('192.0.2.7'));
  to.add(source('192.0.2.7', { packets: 3n, bytes: 300n, idle_ms: 100 }));
  to.add(source('192.0.2.8', { packets: 1n, bytes: 100n }));
  const order = { ...options, sort: 'packets', top: 1 } as const;
  assert.equal(
    [...bothTableLines(BothColumns.of(from, to), [totals(), sent], order)],
    [
      'ADDRESS          FROM PKT  FROM BYTES   TO PKT  TO BYTES  IDLE',
      '192.0.2.7              10        1420        3       300  0.1s',
      '+1 more address',
      'eth0: 2 sources; 15 packets (10 IPv4, 3 IPv6, 2 other), 1790 bytes',
      'eth0 (sent): 1 destination; 15 packets (10 IPv4, 3 IPv6, 2 other), 1790 bytes',
    ],
  );
});

table('shows the longest address and every column in 80 columns', () => {
  const options = { width: 80, color: false, hidden: 3, rates: true };
  assert.equal(renderSourcesTable(SOURCES, totals(), options), [
    'SOURCE                                  PACKETS    BYTES   PKT/S   BIT/S  IDLE',
    '192.0.2.7                                    10     1420      10   11360  0.3s',
    '2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff     1.2M    98.7G     0.3    8.0G    2h',
    '+3 more sources',
    'eth0: 2 sources; 15 packets (10 IPv4, 3 IPv6, 2 other), 1790 bytes',
  ]);
});

table('gives up columns before it cuts an address', () => {
  const at = (width: number) =>
    renderSourcesTable(SOURCES, totals(), { width, color: false, hidden: 0, rates: true });
  assert.is(at(72)[0], 'SOURCE                                  PACKETS    BYTES   PKT/S   BIT/S');
  assert.is(at(64)[0], 'SOURCE                                  PACKETS    BYTES   PKT/S');
  assert.is(at(60)[0], 'SOURCE                                  PACKETS   PKT/S');
  assert.is(at(50)[2], '2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff     1.2M');
  assert.is(at(30)[2], '2001:db8:aaaa:bbbb:cccc:dddd:e');
});

table('no line is wider than asked, at any width', () => {
  const wide = totals({
    malformed: 7n,
    untracked: 12n,
    packets_per_second: 3,
    bytes_per_second: 5,
  });
  for (let width = 1; width <= 120; width++) {
    const lines = renderSourcesTable(SOURCES, wide, {
      width,
      color: false,
      hidden: 1,
      rates: true,
    });
    assert.equal(
      lines.filter((line) => line.length > width),
      [],
      `width ${width}`,
    );
  }
});

table('colours after cutting', () => {
  const options = { width: 20, color: true, hidden: 1, rates: false };
  assert.equal(renderSourcesTable([source('192.0.2.7')], totals({ packets: 0n }), options), [
    `${ESCAPE}[1mSOURCE           PAC${ESCAPE}[22m`,
    '192.0.2.7           ',
    `${ESCAPE}[2m+1 more source${ESCAPE}[22m`,
    'eth0: no packets yet',
  ]);
});

table('is one line where there was nothing', () => {
  const nothing = totals({ sources: 0, packets: 0n, bytes: 0n, ipv4: 0n, ipv6: 0n, other: 0n });
  assert.equal(
    renderSourcesTable([], nothing, { width: 80, color: false, hidden: 0, rates: true }),
    ['eth0: no packets yet'],
  );
});

table('has as many lines as a full table has sources', () => {
  const many = Array.from({ length: 200_000 }, (_, index) => source(`198.18.${index}`));
  const lines = renderSourcesTable(many, totals(), {
    ...{ width: 80, color: false, hidden: 0, rates: false },
  });
  assert.ok(lines.length > many.length);
});

table.run();

const words = suite('describeTotals');

words('accounts for every packet, and names only what there was', () => {
  assert.is(
    describeTotals(
      totals({
        sources: 1,
        packets: 21n,
        ipv4: 1n,
        ipv6: 0n,
        other: 0n,
        malformed: 20n,
        untracked: 1n,
        bytes: 1n,
        packets_per_second: 0.5,
        bytes_per_second: 150,
      }),
    ),
    'eth0: 1 source; 21 packets (1 IPv4, 20 malformed), 1 byte; ' +
      '1 untracked, of sources that left the table; 0.5 packets/s, 1200 bits/s',
  );
});

words('is safe to print whatever the interface is called', () => {
  assert.is(
    describeTotals(totals({ interface: `a${ESCAPE}[2J`, packets: 0n })),
    'a\\x1b[2J: no packets yet',
  );
});

words.run();
