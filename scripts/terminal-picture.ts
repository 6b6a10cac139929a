/** A terminal's screen as SVG text, or ten seconds of it: what `tmux capture-pane -e` prints, with its colours. Pure. */

const CELL = { width: 8.4, height: 18 } as const;
const PADDING = 14;
const TITLE_HEIGHT = 30;
const PAPER = '#16191d';
const INK = '#d6dade';
/** The eight colours of a terminal, in a shade that is readable on PAPER. */
const SIXTEEN = [
  '#16191d',
  '#e0605f',
  '#5fb36a',
  '#d9a441',
  '#5a9bd8',
  '#b77fc9',
  '#4fb3b8',
  '#d6dade',
];

interface Style {
  readonly ink: string;
  readonly bold: boolean;
  readonly dim: boolean;
  readonly inverse: boolean;
}

interface Run {
  readonly text: string;
  readonly column: number;
  readonly style: Style;
}

const PLAIN: Style = { ink: INK, bold: false, dim: false, inverse: false };

/** `title` is what stands in the window's bar. */
export function renderTerminalPicture(screen: string, columns: number, title: string): string {
  const lines = screen.replace(/\n+$/, '').split('\n');
  return draw({ columns, rows: lines.length, title, body: lines.map(drawLine) });
}

/** What a terminal showed from a moment on, in milliseconds since the beginning. */
export interface Moment {
  readonly atMs: number;
  readonly screen: string;
}

/**
 * A recording that plays again and again. Each line is drawn once for each time that it stays as it
 * is. What cannot play shows the end.
 */
export function renderTerminalRecording(
  moments: readonly Moment[],
  { columns, title, lastsMs }: { columns: number; title: string; lastsMs: number },
): string {
  const screens = moments.map(({ screen }) => screen.split('\n'));
  const rows = Math.max(...screens.map((lines) => lines.length));
  const body = Array.from({ length: rows }, (_, row) => {
    const stays: { readonly line: string; readonly fromMs: number; readonly toMs: number }[] = [];
    for (const [index, { atMs }] of moments.entries()) {
      const line = screens[index]?.[row] ?? '';
      const toMs = moments[index + 1]?.atMs ?? lastsMs;
      const before = stays.at(-1);
      if (before?.line === line) stays.splice(-1, 1, { ...before, toMs });
      else stays.push({ line, fromMs: atMs, toMs });
    }
    const drawn = stays.filter(({ line }) => line.trim() !== '');
    return drawn
      .map(({ line, fromMs, toMs }) => {
        if (fromMs === 0 && toMs === lastsMs) return drawLine(line, row);
        const isLast = toMs === lastsMs;
        const times = [0, fromMs / lastsMs, toMs / lastsMs].map((time) => time.toFixed(4));
        const change = `<animate attributeName="visibility" values="hidden;visible;hidden" keyTimes="${times.join(';')}" calcMode="discrete" dur="${lastsMs}ms" repeatCount="indefinite"/>`;
        return `<g visibility="${isLast ? 'visible' : 'hidden'}">${change}${drawLine(line, row)}</g>`;
      })
      .join('\n');
  });
  return draw({ columns, rows, title, body });
}

function drawLine(line: string, row: number): string {
  return runsOf(line)
    .map((run) => drawRun(run, row))
    .join('');
}

/** The window, with what is drawn in it. */
function draw(picture: {
  readonly columns: number;
  readonly rows: number;
  readonly title: string;
  readonly body: readonly string[];
}): string {
  const { columns, rows, title, body } = picture;
  const width = Math.ceil(columns * CELL.width + 2 * PADDING);
  const height = rows * CELL.height + 2 * PADDING + TITLE_HEIGHT;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${escapeXml(title)}</title>
<rect width="${width}" height="${height}" rx="8" fill="${PAPER}"/>
<text x="${width / 2}" y="20" text-anchor="middle" font-family="monospace" font-size="13" fill="#8b949c">${escapeXml(title)}</text>
<g font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="14">
${body.filter((line) => line !== '').join('\n')}
</g>
</svg>
`;
}

/** Stretches of one style. SGR parameters as in ECMA-48, 8.3.117. */
function runsOf(line: string): Run[] {
  const runs: Run[] = [];
  let style = PLAIN;
  let column = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what it looks for
  for (const [, codes, text] of line.matchAll(/\x1b\[([\d;]*)m|([^\x1b]+)/g)) {
    if (text === undefined) {
      style = styleAfter(style, (codes ?? '').split(';').map(Number));
      continue;
    }
    runs.push({ text, column, style });
    column += [...text].length;
  }
  return runs;
}

function styleAfter(before: Style, codes: readonly number[]): Style {
  let style = before;
  for (let index = 0; index < codes.length; index++) {
    const code = codes[index] ?? 0;
    if (code === 0) style = PLAIN;
    else if (code === 1) style = { ...style, bold: true };
    else if (code === 2) style = { ...style, dim: true };
    else if (code === 22) style = { ...style, bold: false, dim: false };
    else if (code === 7 || code === 27) style = { ...style, inverse: code === 7 };
    else if (code >= 30 && code <= 37) style = { ...style, ink: SIXTEEN[code - 30] ?? INK };
    else if (code === 39) style = { ...style, ink: INK };
    else if (code === 38 && codes[index + 1] === 5) {
      style = { ...style, ink: paletteColor(codes[index + 2] ?? 0) };
      index += 2;
    }
  }
  return style;
}

/** Of xterm's 256 colours: the cube of 6 x 6 x 6 and the greys. */
function paletteColor(index: number): string {
  if (index < 16) return SIXTEEN[index % 8] ?? INK;
  const levels = [0, 95, 135, 175, 215, 255];
  const cube = index - 16;
  const channels =
    index < 232
      ? [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(
          (level) => levels[level] ?? 0,
        )
      : Array.from({ length: 3 }, () => 8 + 10 * (index - 232));
  return `#${channels.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`;
}

/** Block elements as rectangles, since fonts differ in how they draw them; everything else as text. */
function drawRun({ text, column, style }: Run, row: number): string {
  const top = PADDING + TITLE_HEIGHT + row * CELL.height;
  const left = (at: number) => PADDING + at * CELL.width;
  const ink = style.inverse ? PAPER : style.ink;
  const drawn: string[] = [];
  if (style.inverse) {
    drawn.push(rectangle(left(column), top, [...text].length * CELL.width, CELL.height, style.ink));
  }
  let at = column;
  for (const [part] of text.matchAll(/[\u2580-\u259f]|[^\u2580-\u259f]+/g)) {
    const block = blockOf(part);
    if (block !== undefined) {
      const { width, height } = block;
      const y = top + (1 - height) * CELL.height;
      drawn.push(rectangle(left(at), y, width * CELL.width, height * CELL.height, ink));
    } else {
      const look = `${style.bold ? ' font-weight="bold"' : ''}${style.dim ? ' opacity="0.6"' : ''}`;
      // Word by word, since spaces in a row count as one.
      for (const { 0: word, index } of part.matchAll(/\S+/g)) {
        const place = `x="${round(left(at + index))}" y="${round(top + 13)}"`;
        const length = `textLength="${round([...word].length * CELL.width)}"`;
        drawn.push(`<text ${place} ${length} fill="${ink}"${look}>${escapeXml(word)}</text>`);
      }
    }
    at += [...part].length;
  }
  return drawn.join('');
}

/** U+2581 to U+2588 fill a cell from below, U+2588 to U+258F from the left, in eighths. */
function blockOf(character: string): { width: number; height: number } | undefined {
  const code = character.codePointAt(0) ?? 0;
  if (code >= 0x2581 && code <= 0x2588) return { width: 1, height: (code - 0x2580) / 8 };
  if (code > 0x2588 && code <= 0x258f) return { width: (0x2590 - code) / 8, height: 1 };
  return undefined;
}

function rectangle(x: number, y: number, width: number, height: number, fill: string): string {
  return `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" fill="${fill}"/>`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
