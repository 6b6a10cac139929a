import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { inflateSync } from 'node:zlib';
import { equal, is, match, not, ok, unreachable } from 'uvu/assert';
import { findTool } from '../../src/host/exec.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { renderReport } from '../../src/report/page.js';
import { MAX_POINTS, type Report, readReport } from '../../src/report/recording.js';
import { suite } from '../suite.js';

const START_MS = Date.UTC(2026, 10, 22, 10, 0, 0);

type Fields = Readonly<Record<string, unknown>>;

function attached(device = 'eth0'): Fields {
  return { type: 'attached', interface: device, mode: 'native' };
}

function source(address: string, packets: number, bytes: number, more: Fields = {}): Fields {
  const rates = { packets_per_second: 0, bytes_per_second: 0 };
  return {
    type: 'source',
    interface: 'eth0',
    source: address,
    packets,
    bytes,
    idle_ms: 100,
    ...rates,
    ...more,
  };
}

function totals(second: number, bytesPerSecond: number, more: Fields = {}): Fields {
  return {
    ...{
      type: 'totals',
      interface: 'eth0',
      sources: 2,
      packets: 30,
      bytes: 3000,
      ipv4: 30,
      ipv6: 0,
    },
    ...{
      other: 0,
      malformed: 0,
      untracked: 0,
      time: new Date(START_MS + 1000 * second).toISOString(),
    },
    ...{ packets_per_second: bytesPerSecond / 100, bytes_per_second: bytesPerSecond, ...more },
  };
}

function text(records: readonly Fields[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}

function read(records: readonly Fields[] | string): Promise<Report> {
  const all = typeof records === 'string' ? records : text(records);
  return readReport(Readable.from([Buffer.from(all)], { objectMode: false }), 'x.ndjson');
}

const SMALL = [
  attached(),
  source('192.0.2.1', 10, 1000, { bytes_per_second: 1000, packets_per_second: 10 }),
  totals(1, 1000),
  source('192.0.2.1', 20, 2000, { bytes_per_second: 1000, packets_per_second: 10 }),
  source('2001:db8::1', 10, 9000, { bytes_per_second: 9000, packets_per_second: 10, idle_ms: 400 }),
  totals(2, 10_000, { packets: 30, bytes: 11_000 }),
  source('192.0.2.1', 20, 2000),
  source('2001:db8::1', 10, 9000, { idle_ms: 500 }),
  totals(2.1, 0, { packets: 30, bytes: 11_000 }),
  { type: 'detached', interface: 'eth0', program_id: 7 },
];

const reading = suite('readReport');

reading('sums sources, and has the rates over time', async () => {
  const { interfaces } = await read(SMALL);
  is(interfaces.length, 1);
  const [only] = interfaces;
  equal(only?.sources, [
    {
      ...{ source: '2001:db8::1', packets: 10, bytes: 9000, peakPacketsPerSecond: 10 },
      lastSeenMs: START_MS + 1600,
    },
    {
      ...{ source: '192.0.2.1', packets: 20, bytes: 2000, peakPacketsPerSecond: 10 },
      lastSeenMs: START_MS + 2000,
    },
  ]);
  is(only?.mode, 'native');
  is(only?.readings, 3);
  is(only?.totals.bytes, 11_000);
  equal(
    only?.points.map(({ endMs, durationMs }) => [endMs - START_MS, durationMs]),
    [
      [1000, 1000],
      // The reading after the end belongs to the one before.
      [2100, 1100],
    ],
  );
  const rates = only?.points.map((point) => Math.round(point.bytesPerSecond));
  equal(rates, [1000, Math.round((10_000 * 1000) / 1100)]);
  is(
    Math.round(only?.points[1]?.sources.get('2001:db8::1') ?? 0),
    Math.round((9000 * 1000) / 1100),
  );
});

reading('keeps interfaces apart', async () => {
  const on = (device: string) => SMALL.map((record) => ({ ...record, interface: device }));
  const { interfaces } = await read([...on('eth0'), ...on('eth1').slice(0, 3)]);
  equal(
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
  equal([first?.packets, first?.bytes], [105, 1050]);
});

reading('a recording without times has an interval of a second', async () => {
  const { interfaces } = await read([
    totals(0, 5, { time: undefined }),
    totals(0, 6, { time: undefined }),
  ]);
  equal(
    interfaces[0]?.points.map((point) => point.endMs),
    [1000, 2000],
  );
});

reading('a long recording keeps its bytes in fewer, longer stretches', async () => {
  const records = Array.from({ length: 5000 }, (_, index) => totals(index + 1, index % 100));
  const points = (await read(records)).interfaces[0]?.points ?? [];
  ok(points.length <= MAX_POINTS && points.length > MAX_POINTS / 3, `${points.length} points`);
  const bytes = points.reduce(
    (sum, point) => sum + (point.bytesPerSecond * point.durationMs) / 1000,
    0,
  );
  is(Math.round(bytes), 50 * 4950);
  is(
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
      ok(error instanceof XdpwhoError, String(error));
      is(error.code, 'bad-output');
      match(error.message, message);
      ok(error.message.length < 300);
      return;
    }
    unreachable();
  });
}

reading.run();

const page = suite('renderReport');

const MADE = { file: 'x.ndjson', version: '1.2.3' };

page('has a moment for a source that was idle since before there were any', async () => {
  const records = [source('192.0.2.1', 1, 100, { idle_ms: 2 ** 63 }), totals(1, 100)];
  match(renderReport(await read(records), MADE), '192.0.2.1');
});

page('is one page that needs no network and has no script', async () => {
  const html = renderReport(await read(SMALL), MADE);
  match(html, /^<!doctype html>/);
  match(html, /default-src 'none'; style-src 'unsafe-inline'/);
  not.match(html, /<script|<link|<img|<iframe|\ssrc=|href=|url\(|@import|https?:/i);
});

page('has a table of the sources, the most bytes first', async () => {
  const html = renderReport(await read(SMALL), MADE);
  const cells = [...html.matchAll(/<td>([^<]*)<\/td>/g)].map((found) => found[1]);
  equal(cells, [
    ...['1', '2001:db8::1', '10', '9000', '81.8%', '10', '10:00:01'],
    ...['2', '192.0.2.1', '20', '2000', '18.2%', '10', '10:00:02'],
  ]);
});

page('says how many sources are not in its table', async () => {
  const many = Array.from({ length: 700 }, (_, index) =>
    source(`198.51.100.${index}`, 1, 700 - index),
  );
  const html = renderReport(await read([...many, totals(1, 5)]), MADE);
  is([...html.matchAll(/<tr><td>/g)].length, 500);
  match(html, /<p>and 200 more<\/p>/);
});

page('shows text of others as text', async () => {
  const evil = '<script>alert(1)</script>&"\u202e';
  const html = renderReport(
    await read([
      { ...attached(evil), mode: evil },
      source(evil, 1, 1, { interface: evil }),
      totals(1, 1, { interface: evil }),
    ]),
    { file: evil, version: '1' },
  );
  not.match(html, /<script|\u202e/);
  match(html, /&lt;script&gt;alert\(1\)&lt;\/script&gt;&amp;&quot;\\x202e/);
});

page('a recording without rates has no charts, and still a table', async () => {
  const bare = { packets_per_second: undefined, bytes_per_second: undefined };
  const html = renderReport(
    await read([source('192.0.2.1', 1, 60, bare), totals(1, 0, bare)]),
    MADE,
  );
  match(html, /no rates were recorded/);
  match(html, /<td>192\.0\.2\.1<\/td>/);
});

page.run();

const browser = suite<{ directory: string }>(
  'the page in a browser',
  findTool('chromium') === undefined ? 'there is no chromium' : undefined,
);

browser.before((context) => {
  context.directory = mkdtempSync(join(tmpdir(), 'xdpwho-report-'));
});

browser.after(({ directory }) => {
  rmSync(directory, { recursive: true, force: true });
});

browser('is drawn: the colours of the charts are on the screen', async ({ directory }) => {
  const file = join(directory, 'report.html');
  writeFileSync(file, renderReport(await read(SMALL), MADE));
  const screenshot = join(directory, 'report.png');
  const offline = [
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ];
  const { status, stderr } = spawnSync(
    'chromium',
    [
      ...[
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        ...offline,
      ],
      ...[`--user-data-dir=${join(directory, 'profile')}`, '--window-size=1000,1200'],
      ...['--force-device-scale-factor=1', `--screenshot=${screenshot}`, `file://${file}`],
    ],
    { encoding: 'utf8', timeout: 120_000 },
  );
  is(status, 0, stderr);
  not.match(stderr, /Refused to|violates/);
  const pixels = countColors(readFileSync(screenshot));
  // The two sources of the first chart.
  for (const color of ['0072b2', 'e69f00'])
    ok((pixels.get(color) ?? 0) > 5000, `${color}: ${pixels.get(color)}`);
});

browser.run();

/** Pixels by colour (rrggbb) of a PNG with 8 bits a channel (PNG specification, 9.2 for the filters). */
function countColors(png: Buffer): Map<string, number> {
  const [width, height, channels] = [
    png.readUInt32BE(16),
    png.readUInt32BE(20),
    png[25] === 6 ? 4 : 3,
  ];
  const data: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString('latin1', at + 4, at + 8) !== 'IDAT') continue;
    data.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const bytes = inflateSync(Buffer.concat(data));
  const stride = width * channels;
  let above = Buffer.alloc(stride);
  const counts = new Map<string, number>();
  for (let row = 0; row < height; row++) {
    const filter = bytes[row * (stride + 1)] ?? 0;
    const line = Buffer.from(bytes.subarray(row * (stride + 1) + 1, (row + 1) * (stride + 1)));
    for (let index = 0; index < stride; index++) {
      const left = line[index - channels] ?? 0;
      const up = above[index] ?? 0;
      const corner = index < channels ? 0 : (above[index - channels] ?? 0);
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter] ?? 0;
      line[index] = ((line[index] ?? 0) + guess) & 0xff;
    }
    for (let index = 0; index < stride; index += channels) {
      const color = line.toString('hex', index, index + 3);
      counts.set(color, (counts.get(color) ?? 0) + 1);
    }
    above = line;
  }
  return counts;
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
