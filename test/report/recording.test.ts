import * as assert from 'uvu/assert';
import { XdpwhoError } from '../../src/model/errors.js';
import { MAX_POINTS } from '../../src/report/recording.js';
import { suite } from '../suite.js';
import { attached, read, SMALL, START_MS, source, text, totals } from './sample.js';

const reading = suite('readReport');

reading('sums sources, and has the rates over time', async () => {
  const { interfaces } = await read(SMALL);
  assert.is(interfaces.length, 1);
  const [only] = interfaces;
  assert.equal(only?.sources, [
    {
      ...{ source: '2001:db8::1', packets: 10, bytes: 9000, peakPacketsPerSecond: 10 },
      lastSeenMs: START_MS + 1600,
    },
    {
      ...{ source: '192.0.2.1', packets: 20, bytes: 2000, peakPacketsPerSecond: 10 },
      lastSeenMs: START_MS + 2000,
    },
  ]);
  assert.is(only?.mode, 'native');
  assert.is(only?.readings, 3);
  assert.is(only?.totals.bytes, 11_000);
  assert.equal(
    only?.points.map(({ endMs, durationMs }) => [endMs - START_MS, durationMs]),
    [
      [1000, 1000],
      // The last reading is merged into the one before.
      [2100, 1100],
    ],
  );
  const rates = only?.points.map((point) => Math.round(point.bytesPerSecond));
  assert.equal(rates, [1000, Math.round((10_000 * 1000) / 1100)]);
  assert.is(
    Math.round(only?.points[1]?.sources.get('2001:db8::1') ?? 0),
    Math.round((9000 * 1000) / 1100),
  );
});

reading('keeps interfaces apart', async () => {
  const on = (device: string) => SMALL.map((record) => ({ ...record, interface: device }));
  const { interfaces } = await read([...on('eth0'), ...on('eth1').slice(0, 3)]);
  assert.equal(
    interfaces.map((each) => [each.interface, each.readings, each.sources.length]),
    [
      ['eth0', 3, 2],
      ['eth1', 1, 1],
    ],
  );
});

reading('a source that was evicted and came back keeps what it had', async () => {
  const { interfaces } = await read([
    source('192.0.2.1', 100, 1000),
    totals(1, 1),
    source('192.0.2.1', 3, 30),
    totals(2, 1),
    source('192.0.2.1', 5, 50),
    totals(3, 1),
  ]);
  const [first] = interfaces[0]?.sources ?? [];
  assert.equal([first?.packets, first?.bytes], [105, 1050]);
});

reading('a recording without times has an interval of a second', async () => {
  const { interfaces } = await read([
    totals(0, 5, { time: undefined }),
    totals(0, 6, { time: undefined }),
  ]);
  assert.equal(
    interfaces[0]?.points.map((point) => point.endMs),
    [1000, 2000],
  );
});

reading('a long recording keeps its bytes in fewer, longer stretches', async () => {
  const records = Array.from({ length: 5000 }, (_, index) => totals(index + 1, index % 100));
  const points = (await read(records)).interfaces[0]?.points ?? [];
  assert.ok(
    points.length <= MAX_POINTS && points.length > MAX_POINTS / 3,
    `${points.length} points`,
  );
  const bytes = points.reduce(
    (sum, point) => sum + (point.bytesPerSecond * point.durationMs) / 1000,
    0,
  );
  assert.is(Math.round(bytes), 50 * 4950);
  assert.is(
    points.reduce((sum, point) => sum + point.durationMs, 0),
    5_000_000,
  );
});

const WRONG: readonly (readonly [what: string, content: string, message: RegExp])[] = [
  ['nothing', '', /x\.ndjson: no recording of watch: it holds no reading/],
  ['other text', 'hello\n', /no recording of watch: Could not parse row hello/],
  ['half a record', `${text(SMALL)}{"type":"tot`, /: Could not parse row \{"type":"tot/],
  ['null', `${text(SMALL)}null\n{"type":"totals"}\n`, /x\.ndjson: no recording of watch: \S/],
  ['other JSON', '{"a":1}\n', /record 1 has no type/],
  ['no reading', text([attached()]), /it holds no reading/],
  [
    'a figure without end',
    '{"type":"totals","interface":"eth0","bytes":1e400}\n',
    /bytes is no figure/,
  ],
  [
    'a figure in words',
    text([source('192.0.2.1', 1, 1, { idle_ms: 'long' })]),
    /idle_ms is no fig/,
  ],
  ['a line without an end', `{"type":"${'x'.repeat(3_000_000)}`, /: maximum buffer reached/],
];

for (const [what, content, message] of WRONG) {
  reading(`${what} is an error of one line`, async () => {
    try {
      await read(content);
    } catch (error) {
      assert.ok(error instanceof XdpwhoError, String(error));
      assert.is(error.code, 'bad-output');
      assert.match(error.message, message);
      assert.ok(error.message.length < 300);
      return;
    }
    assert.unreachable();
  });
}

reading.run();
