/** Plots as SVG text: bars, and lines on logarithmic axes, readable on light and dark pages. Pure. */

interface Bar {
  readonly label: string;
  readonly value: number;
  /** Beside the bar. */
  readonly note: string;
  /** What the plot is about. */
  readonly emphasis?: boolean;
}

export interface Line {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  readonly emphasis?: boolean;
}

const WIDTH = 760;
const LABEL_WIDTH = 250;
const NOTE_WIDTH = 170;
const ROW = 26;
const TOP = 44;
const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
const INK = '#808080';

/** Horizontal bars in groups, as long as their values are large. */
export function barChart(
  title: string,
  groups: readonly (readonly [string, readonly Bar[]])[],
): string {
  const largest = Math.max(...groups.flatMap(([, bars]) => bars.map((bar) => bar.value)), 10);
  const room = WIDTH - LABEL_WIDTH - NOTE_WIDTH;
  const parts: string[] = [];
  let y = TOP;
  for (const [name, bars] of groups) {
    parts.push(text(0, y + 12, name, { weight: 'bold' }));
    y += ROW;
    for (const bar of bars) {
      const color = bar.emphasis ? COLORS[0] : INK;
      const width = Math.max((bar.value / largest) * room, 1);
      parts.push(text(LABEL_WIDTH - 8, y + 12, bar.label, { anchor: 'end' }));
      parts.push(
        `<rect x="${LABEL_WIDTH}" y="${y}" width="${width.toFixed(1)}" height="16" fill="${color}"/>`,
      );
      parts.push(text(LABEL_WIDTH + width + 6, y + 12, bar.note));
      y += ROW;
    }
    y += 8;
  }
  return document(title, y, parts);
}

/** Lines over two logarithmic axes with marks at the powers of ten. */
export function lineChart(
  title: string,
  units: { x: string; y: string },
  lines: readonly Line[],
): string {
  const points = lines.flatMap((line) => line.points);
  const [left, right, top, bottom] = [70, WIDTH - 190, TOP + 10, 340];
  const x = axis(
    points.map(([value]) => value),
    left,
    right,
  );
  const y = axis(
    points.map(([, value]) => value),
    bottom,
    top,
  );
  const parts = [
    ...y.marks.flatMap((mark) => [
      `<line x1="${left}" x2="${right}" y1="${y.at(mark)}" y2="${y.at(mark)}" stroke="${INK}" stroke-opacity="0.3"/>`,
      text(left - 8, y.at(mark) + 4, power(mark), { anchor: 'end' }),
    ]),
    ...x.marks.map((mark) => text(x.at(mark), bottom + 20, power(mark), { anchor: 'middle' })),
    text((left + right) / 2, bottom + 40, units.x, { anchor: 'middle' }),
    text(left, TOP - 6, units.y, { anchor: 'middle' }),
  ];
  for (const [index, { label, points: own, emphasis }] of lines.entries()) {
    const color = COLORS[index % COLORS.length] ?? INK;
    const path = own.map(([px, py]) => `${x.at(px)},${y.at(py)}`).join(' ');
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="${emphasis ? 3 : 1.5}"/>`,
    );
    const [lastX, lastY] = own.at(-1) ?? [1, 1];
    parts.push(text(x.at(lastX) + 8, y.at(lastY) + 4, label, { color }));
  }
  return document(title, bottom + 56, parts);
}

function axis(values: readonly number[], from: number, to: number) {
  const low = Math.floor(Math.log10(Math.min(...values)));
  const high = Math.max(Math.ceil(Math.log10(Math.max(...values))), low + 1);
  const at = (value: number) =>
    Math.round(from + ((Math.log10(value) - low) / (high - low)) * (to - from));
  const marks = Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index));
  return { at, marks };
}

function power(value: number): string {
  if (value >= 1e6) return `${value / 1e6}M`;
  if (value >= 1e3) return `${value / 1e3}k`;
  return String(Number(value.toPrecision(1)));
}

function text(
  x: number,
  y: number,
  content: string,
  style: { anchor?: string; weight?: string; color?: string } = {},
): string {
  const { anchor = 'start', weight = 'normal', color = INK } = style;
  const escaped = content.replace(/[&<>]/g, (each) => `&#${each.charCodeAt(0)};`);
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" font-weight="${weight}" fill="${color}">${escaped}</text>`;
}

function document(title: string, height: number, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">`,
    `<title>${title}</title>`,
    text(0, 16, title, { weight: 'bold' }),
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}
