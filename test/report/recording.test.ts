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
      owner: {},
    },
    {
      ...{ source: '192.0.2.1', packets: 20, bytes: 2000, peakPacketsPerSecond: 10 },
      lastSeenMs: START_MS + 2000,
      owner: {},
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

reading('keeps what is sent apart from what is received', async () => {
  const sent = SMALL.map((record) =>
    record.type === 'source'
      ? { ...record, type: 'destination', source: undefined, destination: record.source }
      : { ...record, direction: 'sent' },
  );
  const { interfaces } = await read([...SMALL, ...sent]);
  assert.equal(
    interfaces.map((each) => [each.interface, each.readings, each.totals.bytes]),
    [
      ['eth0', 3, 11_000],
      ['eth0 (sent)', 3, 11_000],
    ],
  );
  assert.equal(interfaces[1]?.sources, interfaces[0]?.sources);
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

reading(
  'a reading that comes late is one longer stretch, and the later ones stay apart',
  async () => {
    const seconds = [1, 2, 4.1, 5, 6, 7];
    const { interfaces } = await read(seconds.map((second) => totals(second, 100)));
    assert.equal(
      interfaces[0]?.points.map(({ endMs, durationMs }) => [endMs - START_MS, durationMs]),
      [
        [1000, 1000],
        [2000, 1000],
        [4100, 2100],
        [5000, 900],
        [6000, 1000],
        [7000, 1000],
      ],
    );
  },
);

reading('two runs in one file are summed, with nothing between them', async () => {
  const run = (programId: number, second: number) => [
    { ...attached(), program_id: programId },
    source('192.0.2.1', 30, 3000),
    totals(second, 100),
    source('192.0.2.1', 30, 3000),
    totals(second + 1, 100),
  ];
  for (const [second, expected] of [
    // Another attachment counts from 0 on.
    [18, [60, 6000]],
    // The same one goes on counting.
    [17, [30, 3000]],
  ] as const) {
    const { interfaces } = await read([...run(17, 1), ...run(second, 3600)]);
    const [only] = interfaces;
    assert.equal([only?.totals.packets, only?.totals.bytes], expected);
    assert.equal(
      only?.sources.map(({ packets, bytes }) => [packets, bytes]),
      [expected],
    );
    assert.equal(
      only?.points.map(({ endMs, durationMs, bytesPerSecond }) => [
        ...[endMs - START_MS, durationMs, bytesPerSecond],
      ]),
      [
        [1000, 1000, 100],
        [2000, 1000, 100],
        [3_599_000, 3_597_000, 0],
        [3_600_000, 1000, 100],
        [3_601_000, 1000, 100],
      ],
    );
  }
});

reading(
  'without the record that a run begins with, counts that fall are another attachment',
  async () => {
    const { interfaces } = await read([
      source('192.0.2.1', 30, 3000),
      totals(1, 100),
      source('192.0.2.1', 10, 1000),
      totals(2, 100, { packets: 10, bytes: 1000 }),
    ]);
    assert.equal([interfaces[0]?.totals.packets, interfaces[0]?.sources[0]?.packets], [40, 40]);
  },
);

reading('a clock that is set back leaves the times in order, and is told', async () => {
  const { interfaces } = await read(
    [1, 2, -3600, -3599, -3598].map((second) => totals(second, 100)),
  );
  const [only] = interfaces;
  assert.is(only?.wentBack, true);
  assert.equal(
    only?.points.map(({ endMs, durationMs }) => [endMs - START_MS, durationMs]),
    [1000, 2000, 3000, 4000, 5000].map((endMs) => [endMs, 1000]),
  );
  const { interfaces: usual } = await read(SMALL);
  assert.is(usual[0]?.wentBack, false);
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
