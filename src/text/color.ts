/** Whether to colour a stream. */
export type ColorChoice = 'auto' | 'always' | 'never';

/**
 * `always` and `never` decide; `auto` colours a terminal, but not a dumb one, and not where NO_COLOR
 * has a value (no-color.org).
 */
export function usesColor(
  choice: ColorChoice,
  isTerminal: boolean,
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  if (choice !== 'auto') return choice === 'always';
  const { NO_COLOR: noColor, TERM: terminalType } = environment;
  return isTerminal && terminalType !== 'dumb' && (noColor === undefined || noColor === '');
}

/** How many colours to use; 0 for none, and no bold either. */
export type ColorDepth = 0 | 16 | 256;

/** What the terminal says of itself: COLORTERM, or `256color` in TERM (terminfo's naming). */
export function colorDepth(
  color: boolean,
  environment: Readonly<Record<string, string | undefined>>,
): ColorDepth {
  if (!color) return 0;
  const { COLORTERM: colorTerminal = '', TERM: terminalType = '' } = environment;
  return colorTerminal !== '' || /256color|direct/.test(terminalType) ? 256 : 16;
}

/** Whether bars and sparklines may be block elements: a UTF-8 locale (locale(7)), and no Linux console, whose font lacks them. */
export function usesBlockElements(
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  const { LC_ALL: all, LC_CTYPE: type, LANG: language, TERM: terminalType } = environment;
  return /utf-?8/i.test(all || type || language || '') && terminalType !== 'linux';
}
