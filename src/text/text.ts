/** Lines for a terminal: safe, cut, wrapped, coloured. */

/** Text of unknown origin made fit for a terminal: control characters as \xNN. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`,
  );
}

/** `line` in at most `width` columns, one for each character. Before colouring, or codes are cut too. */
export function cutLine(line: string, width: number): string {
  return line.length <= width ? line : line.slice(0, Math.max(width, 0));
}

/** Words on as many lines of at most `width` columns as they need; later lines begin with `indent`. */
export function wrapWords(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = `${indent}${word}`;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

export type Style = 'bold' | 'dim' | 'inverse' | 'green' | 'yellow' | 'red' | 'cyan';

/** ECMA-48 SGR codes. */
const STYLE_CODES = {
  bold: [1, 22],
  dim: [2, 22],
  inverse: [7, 27],
  green: [32, 39],
  yellow: [33, 39],
  red: [31, 39],
  cyan: [36, 39],
} as const satisfies Record<Style, readonly [number, number]>;

export function paint(text: string, style: Style, color: boolean): string {
  if (!color || text === '') return text;
  const [on, off] = STYLE_CODES[style];
  return `\x1b[${on}m${text}\x1b[${off}m`;
}

/** Foreground `index` of the palette of 256 (xterm's, ISO 8613-6 syntax with semicolons). */
export function paintIndexed(text: string, index: number): string {
  return text === '' ? text : `\x1b[38;5;${index}m${text}\x1b[39m`;
}
