/** Text for a terminal: printable, cut, wrapped, coloured. Pure. */
import { eastAsianWidth } from 'get-east-asian-width';

/** Makes text of unknown origin safe for a terminal: control characters become \xNN. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`,
  );
}

/** The columns that a text takes on a terminal: two for a character of double width, none for one that combines. */
export function textWidth(text: string): number {
  // Almost all text is ASCII.
  if (/^[ -~]*$/.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** Cuts a line to `width` columns. Colour it afterwards: escape codes would be cut too. */
export function cutLine(line: string, width: number): string {
  if (textWidth(line) <= width) return line;
  let cut = '';
  let room = width;
  for (const character of line) {
    room -= characterWidth(character);
    if (room < 0) break;
    cut += character;
  }
  return cut;
}

function characterWidth(character: string): number {
  return /\p{M}/u.test(character) ? 0 : eastAsianWidth(character.codePointAt(0) ?? 0);
}

/** Breaks words into lines of at most `width` columns. All lines but the first begin with `indent`. */
export function wrapWords(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && textWidth(line) + 1 + textWidth(word) > width) {
      lines.push(line);
      line = `${indent}${word}`;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

export type Style = 'bold' | 'dim' | 'inverse' | 'green' | 'yellow' | 'red' | 'cyan';

/** The codes that switch a style on and off (ECMA-48, SGR). */
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

/** Colours text with `index` of the palette of 256 colours (xterm's form, with semicolons). */
export function paintIndexed(text: string, index: number): string {
  return text === '' ? text : `\x1b[38;5;${index}m${text}\x1b[39m`;
}
