import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import * as assert from 'uvu/assert';
import { findTool } from '../../src/host/tools.js';
import { renderReport } from '../../src/report/page.js';
import { suite } from '../suite.js';
import { attached, read, SMALL, source, totals } from './sample.js';

const page = suite('renderReport');

const MADE = { file: 'x.ndjson', version: '1.2.3' };

page('has a moment for a source that was idle since before there were any', async () => {
  const records = [source('192.0.2.1', 1, 100, { idle_ms: 2 ** 63 }), totals(1, 100)];
  assert.match(renderReport(await read(records), MADE), '192.0.2.1');
});

page('is one page that needs no network and has no script', async () => {
  const html = renderReport(await read(SMALL), MADE);
  assert.match(html, /^<!doctype html>/);
  assert.match(html, /default-src 'none'; style-src 'unsafe-inline'/);
  assert.not.match(html, /<script|<link|<img|<iframe|\ssrc=|href=|url\(|@import|https?:/i);
});

page('has a table of the sources, the most bytes first', async () => {
  const html = renderReport(await read(SMALL), MADE);
  const cells = [...html.matchAll(/<td>([^<]*)<\/td>/g)].map((found) => found[1]);
  assert.equal(cells, [
    ...['1', '2001:db8::1', '10', '9000', '81.8%', '10', '10:00:01'],
    ...['2', '192.0.2.1', '20', '2000', '18.2%', '10', '10:00:02'],
  ]);
});

page('says how many sources are not in its table', async () => {
  const many = Array.from({ length: 700 }, (_, index) =>
    source(`198.51.100.${index}`, 1, 700 - index),
  );
  const html = renderReport(await read([...many, totals(1, 5)]), MADE);
  assert.is([...html.matchAll(/<tr><td>/g)].length, 500);
  assert.match(html, /<p>and 200 more<\/p>/);
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
  assert.not.match(html, /<script|\u202e/);
  assert.match(html, /&lt;script&gt;alert\(1\)&lt;\/script&gt;&amp;&quot;\\x202e/);
});

page('a recording without rates has no charts, and still a table', async () => {
  const bare = { packets_per_second: undefined, bytes_per_second: undefined };
  const html = renderReport(
    await read([source('192.0.2.1', 1, 60, bare), totals(1, 0, bare)]),
    MADE,
  );
  assert.match(html, /no rates were recorded/);
  assert.match(html, /<td>192\.0\.2\.1<\/td>/);
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
  assert.is(status, 0, stderr);
  assert.not.match(stderr, /Refused to|violates/);
  const pixels = countColors(readFileSync(screenshot));
  // The two sources of the first chart.
  for (const color of ['0072b2', 'e69f00'])
    assert.ok((pixels.get(color) ?? 0) > 5000, `${color}: ${pixels.get(color)}`);
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
