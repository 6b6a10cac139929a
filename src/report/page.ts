/**
 * Makes an HTML page of a report. The page needs no other file: it has its styles in it, its charts
 * are SVG, and it has no script. Its Content-Security-Policy forbids the browser to load anything. Pure.
 */

import type { Owner } from '../model/records.js';
import { systemName } from '../owners/words.js';
import { formatCount, formatRate } from '../text/figures.js';
import { printable } from '../text/text.js';
import type { InterfaceReport, Point, Report } from './recording.js';

/** How many sources have a colour of their own in the first chart. The others share one. */
const CHARTED_SOURCES = 6;
const BARS = 15;
const TABLE_ROWS = 500;
/** The palette of Okabe and Ito, whose colours colour-blind people can distinguish. */
const COLORS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00'] as const;
const OTHERS_COLOR = '#9a9a9a';

const WIDTH = 960;
const CHART = { height: 260, left: 64, right: 12, top: 10, bottom: 26 } as const;

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2024; --soft: #666f78; --line: #d8dce0; --paper: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa3ab; --line: #3a4047; --paper: #16191d; }
}
body { margin: 0 auto; max-width: ${WIDTH}px; padding: 24px 16px 48px; color: var(--ink); background: var(--paper);
  font: 15px/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 20px; margin: 40px 0 4px; } h3 { font-size: 15px; margin: 24px 0 6px; }
p { margin: 0 0 12px; color: var(--soft); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; } svg .name { fill: var(--ink); } svg .grid { stroke: var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: 13px; margin: 6px 0 0; padding: 0; list-style: none; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
.figures { display: flex; flex-wrap: wrap; gap: 8px 32px; margin: 12px 0; }
.figures b { display: block; font-size: 22px; font-weight: 600; } .figures span { color: var(--soft); font-size: 13px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 3px 8px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } th:nth-child(2), td:nth-child(2) { text-align: left; }
th.text, td.text { text-align: left; }
td:nth-child(2) { font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
`;

/** Returns the page. `made`: the file and the version of xdpwho that the page names. */
export function renderReport(
  report: Report,
  made: { readonly file: string; readonly version: string },
): string {
  const names = report.interfaces.map((one) => printable(one.interface)).join(', ');
  const title = `${names}: who sent packets`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(`From ${printable(made.file)}, by xdpwho ${made.version}. Times are UTC; k, M and G are powers of 1000; bytes count from the Ethernet header on.`)}</p>
${report.interfaces.map((one) => renderInterface(one, report.interfaces.length > 1)).join('\n')}
</body>
</html>
`;
}

function renderInterface(report: InterfaceReport, named: boolean): string {
  const charted = report.sources.slice(0, CHARTED_SOURCES).map(({ source }) => source);
  const shown = report.sources.slice(0, TABLE_ROWS);
  const more = report.sources.length - shown.length;
  return `<section>
${named ? `<h2>${escapeHtml(printable(report.interface))}</h2>` : ''}
<p>${escapeHtml(describePeriod(report))}</p>
${renderFigures(report)}
<h3>Bits per second, by source</h3>
${renderStack(report.points, charted)}
<h3>Packets per second</h3>
${renderArea(report.points)}
<h3>Top sources, by bytes</h3>
${renderBars(report)}
<h3>Sources</h3>
${renderTable(report, shown)}
${more > 0 ? `<p>and ${more} more</p>` : ''}
</section>`;
}

function describePeriod({ points, readings, mode, wentBack }: InterfaceReport): string {
  const [first] = points;
  const last = points.at(-1);
  const attached = mode === null ? '' : `, attached in ${printable(mode)} mode`;
  const times =
    first === undefined || last === undefined
      ? ''
      : hasTimes(points)
        ? `${isoTime(first.endMs - first.durationMs)} to ${isoTime(last.endMs)}, `
        : 'The recording has no times; every interval is drawn as a second. ';
  const shifted = wentBack
    ? ' The clock went back in it: later times are drawn after earlier ones.'
    : '';
  return `${times}${readings} ${readings === 1 ? 'reading' : 'readings'}${attached}.${shifted}`;
}

function renderFigures({ totals, sources, points }: InterfaceReport): string {
  const figures: [string, string][] = [
    [count(totals.packets), 'packets'],
    [count(totals.bytes), 'bytes'],
    [count(sources.length), 'sources'],
    [formatRate(Math.max(0, ...points.map((point) => 8 * point.bytesPerSecond))), 'bits/s at most'],
    [count(totals.ipv4), 'IPv4'],
    [count(totals.ipv6), 'IPv6'],
    [count(totals.other), 'other'],
    [count(totals.malformed), 'malformed'],
    ...(totals.untracked > 0
      ? [[count(totals.untracked), 'untracked'] satisfies [string, string]]
      : []),
  ];
  const cells = figures.map(([figure, what]) => `<div><b>${figure}</b><span>${what}</span></div>`);
  return `<div class="figures">${cells.join('')}</div>`;
}

// Charts over time.

interface Band {
  readonly name: string;
  readonly color: string;
  /** One value for each point. */
  readonly values: readonly number[];
}

function renderStack(points: readonly Point[], charted: readonly string[]): string {
  const bands: Band[] = charted.map((source, index) => ({
    name: source,
    color: COLORS[index] ?? OTHERS_COLOR,
    values: points.map((point) => 8 * (point.sources.get(source) ?? 0)),
  }));
  const others = points.map((point, index) => {
    const chartedBits = bands.reduce((sum, band) => sum + (band.values[index] ?? 0), 0);
    return Math.max(8 * point.bytesPerSecond - chartedBits, 0);
  });
  if (others.some((value) => value > 0)) {
    bands.push({ name: 'everything else', color: OTHERS_COLOR, values: others });
  }
  const legend = bands.map(
    ({ name, color }) =>
      `<li><i style="background:${color}"></i>${escapeHtml(printable(name))}</li>`,
  );
  return `${renderChart(points, bands, 'bit/s')}\n<ul class="legend">${legend.join('')}</ul>`;
}

function renderArea(points: readonly Point[]): string {
  const values = points.map((point) => point.packetsPerSecond);
  return renderChart(points, [{ name: 'packets', color: COLORS[0], values }], 'packets/s');
}

/** Draws bands on top of each other. They have steps, because a point is the mean over its interval. */
function renderChart(points: readonly Point[], bands: readonly Band[], unit: string): string {
  const [first] = points;
  const last = points.at(-1);
  if (first === undefined || last === undefined) return '<p>no rates were recorded</p>';
  const startMs = first.endMs - first.durationMs;
  const sums = points.map((_, index) =>
    bands.reduce((sum, band) => sum + (band.values[index] ?? 0), 0),
  );
  const ticks = valueTicks(sums.reduce((most, sum) => Math.max(most, sum), 0));
  const top = ticks.at(-1) ?? 1;
  const right = WIDTH - CHART.right;
  const bottom = CHART.height - CHART.bottom;
  const x = (timeMs: number) =>
    CHART.left + ((right - CHART.left) * (timeMs - startMs)) / Math.max(last.endMs - startMs, 1);
  const y = (value: number) => bottom - ((bottom - CHART.top) * value) / top;

  const base = points.map(() => 0);
  const paths = bands.map(({ name, color, values }) => {
    const lower = [...base];
    values.forEach((value, index) => {
      base[index] = (base[index] ?? 0) + value;
    });
    const step = (point: Point, level: number) =>
      `${round(x(point.endMs - point.durationMs))},${round(y(level))} ${round(x(point.endMs))},${round(y(level))}`;
    const upper = points.map((point, index) => step(point, base[index] ?? 0));
    const back = points.map((point, index) =>
      step(point, lower[index] ?? 0)
        .split(' ')
        .reverse()
        .join(' '),
    );
    const outline = [...upper, ...back.reverse()].join(' ');
    return `<polygon points="${outline}" fill="${color}"><title>${escapeHtml(printable(name))}</title></polygon>`;
  });
  const rows = ticks.map(
    (tick) =>
      `<line class="grid" x1="${CHART.left}" x2="${right}" y1="${round(y(tick))}" y2="${round(y(tick))}"/>` +
      `<text x="${CHART.left - 6}" y="${round(y(tick) + 4)}" text-anchor="end">${formatTick(tick)}</text>`,
  );
  const times = timeTicks(startMs, last.endMs).map(
    (timeMs) =>
      `<text x="${round(x(timeMs))}" y="${CHART.height - 8}" text-anchor="middle">${timeLabel(timeMs, points)}</text>`,
  );
  return `<svg viewBox="0 0 ${WIDTH} ${CHART.height}" role="img" aria-label="${unit} over time">
${rows.join('')}
${paths.join('\n')}
${times.join('')}
</svg>`;
}

/** Ticks from 0 to at least `highest`, in steps of 1, 2 or 5 times a power of ten. */
function valueTicks(highest: number): number[] {
  if (!(highest > 0)) return [0, 1];
  const rough = highest / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  return Array.from({ length: Math.ceil(highest / step - 1e-9) + 1 }, (_, index) => index * step);
}

const TIME_STEPS_S = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400,
];

/** At most seven round times. None is so near to an end that its label would be cut off. */
function timeTicks(startMs: number, endMs: number): number[] {
  const spanMs = endMs - startMs;
  const stepMs =
    1000 * (TIME_STEPS_S.find((step) => spanMs / (1000 * step) <= 7) ?? Math.ceil(spanMs / 7000));
  const ticks: number[] = [];
  for (let tick = Math.ceil(startMs / stepMs) * stepMs; tick <= endMs; tick += stepMs) {
    if (tick - startMs >= spanMs / 30 && endMs - tick >= spanMs / 30) ticks.push(tick);
  }
  return ticks;
}

/** Whether the recording has times. Times before 1971 are milliseconds since the first reading. */
function hasTimes(points: readonly Point[]): boolean {
  return (points[0]?.endMs ?? 0) > 365 * 86_400_000;
}

function timeLabel(timeMs: number, points: readonly Point[]): string {
  return hasTimes(points) ? isoTime(timeMs).slice(11) : `${Math.round(timeMs / 1000)} s`;
}

/** 2026-11-22 10:00:00 */
function isoTime(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 19).replace('T', ' ');
}

// Sources.

function renderBars({ sources, totals }: InterfaceReport): string {
  const shown = sources.slice(0, BARS);
  const highest = shown.reduce((most, { bytes }) => Math.max(most, bytes), 1);
  const rowHeight = 22;
  const left = 300;
  const bars = shown.map(({ source, bytes }, index) => {
    const y = index * rowHeight;
    const width = Math.max(((WIDTH - left - 150) * bytes) / highest, 1);
    const share = totals.bytes > 0 ? `, ${percent(bytes / totals.bytes)}` : '';
    const color = index < CHARTED_SOURCES ? COLORS[index] : OTHERS_COLOR;
    return (
      `<text class="name" x="${left - 8}" y="${y + 15}" text-anchor="end">${escapeHtml(printable(source))}</text>` +
      `<rect x="${left}" y="${y + 3}" width="${round(width)}" height="${rowHeight - 6}" rx="2" fill="${color}"/>` +
      `<text x="${round(left + width + 6)}" y="${y + 15}">${byteCount(bytes)}${share}</text>`
    );
  });
  return `<svg viewBox="0 0 ${WIDTH} ${shown.length * rowHeight}" role="img" aria-label="top sources">
${bars.join('\n')}
</svg>`;
}

/** Only those that the recording says something of. */
const OWNER_COLUMNS: readonly {
  readonly title: string;
  readonly cell: (owner: Owner) => string;
}[] = [
  { title: 'Name', cell: ({ name = '' }) => printable(name) },
  { title: 'Network', cell: ({ network = '' }) => printable(network) },
  { title: 'Owner', cell: systemName },
  { title: 'Country', cell: ({ country = '' }) => printable(country) },
];

function renderTable(report: InterfaceReport, shown: InterfaceReport['sources']): string {
  const timed = hasTimes(report.points);
  const known = OWNER_COLUMNS.filter(({ cell }) => shown.some(({ owner }) => cell(owner) !== ''));
  const rows = shown.map((row, index) => {
    const cells = [
      `${index + 1}`,
      escapeHtml(printable(row.source)),
      row.packets.toString(),
      row.bytes.toString(),
      report.totals.bytes > 0 ? percent(row.bytes / report.totals.bytes) : '',
      formatRate(row.peakPacketsPerSecond),
      timed
        ? isoTime(row.lastSeenMs).slice(11)
        : `${Math.max(Math.round(row.lastSeenMs / 1000), 0)} s`,
    ];
    const texts = known.map(({ cell }) => `<td class="text">${escapeHtml(cell(row.owner))}</td>`);
    const all = cells.map((cell) => `<td>${cell}</td>`);
    return `<tr>${[...all.slice(0, 2), ...texts, ...all.slice(2)].join('')}</tr>`;
  });
  const titles = ['', 'Source', 'Packets', 'Bytes', 'Share', 'Peak packets/s', 'Last seen'];
  const heads = titles.map((title) => `<th>${title}</th>`);
  const textHeads = known.map(({ title }) => `<th class="text">${title}</th>`);
  return `<table>
<thead><tr>${[...heads.slice(0, 2), ...textHeads, ...heads.slice(2)].join('')}</tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>`;
}

function percent(part: number): string {
  if (part > 0 && part < 0.001) return '<0.1%'.replace('<', '&lt;');
  return `${(100 * Math.min(part, 1)).toFixed(1)}%`;
}

function count(value: number): string {
  return formatCount(BigInt(Math.round(value)));
}

/** 15.8 MB */
function byteCount(bytes: number): string {
  return count(bytes).replace(/([A-Z]?)$/i, ' $1B');
}

function formatTick(value: number): string {
  return value < 10 ? String(round(value)) : formatRate(value).replace(/(\d{2,3})000$/, '$1k');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
  };
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? character);
}
