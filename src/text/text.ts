/** Text for a terminal: printable, cut, wrapped, coloured. Pure. */

/** Makes text of unknown origin safe for a terminal: control characters become \xNN. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\x${(character.codePointAt(0) ?? 0).toString(16).padStart(2, '0')}`,
  );
}

/** Cuts a line to `width` characters. Colour it afterwards: escape codes would be cut too. */
export function cutLine(line: string, width: number): string {
  return line.length <= width ? line : line.slice(0, Math.max(width, 0));
}

/** Breaks words into lines of at most `width` characters. All lines but the first begin with `indent`. */
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
