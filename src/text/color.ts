/** What a terminal can show: escape sequences, colours, block elements. */

type Environment = Readonly<Record<string, string | undefined>>;

export type ColorChoice = 'auto' | 'always' | 'never';

/** Whether a stream is a terminal that obeys escape sequences. `isTerminal` is the stream's `isTTY`. */
export function takesEscapes(isTerminal: boolean | undefined, { TERM }: Environment): boolean {
  return isTerminal === true && TERM !== 'dumb';
}

/**
 * Whether to colour a stream. `always` and `never` decide; `auto` colours a terminal, unless NO_COLOR
 * has a value (no-color.org).
 */
export function usesColor(
  choice: ColorChoice,
  isTerminal: boolean | undefined,
  environment: Environment,
): boolean {
  if (choice !== 'auto') return choice === 'always';
  const { NO_COLOR: noColor } = environment;
  return takesEscapes(isTerminal, environment) && (noColor === undefined || noColor === '');
}

/** How many colours to use. With 0 nothing is bold or dim either. */
export type ColorDepth = 0 | 16 | 256;

/** COLORTERM, or a TERM with `256color` or `direct` in its name (terminfo's naming), stands for 256. */
export function colorDepth(color: boolean, environment: Environment): ColorDepth {
  if (!color) return 0;
  const { COLORTERM: colorTerminal = '', TERM: terminalType = '' } = environment;
  return colorTerminal !== '' || /256color|direct/.test(terminalType) ? 256 : 16;
}

/** Whether bars and sparklines can be block elements: a UTF-8 locale (locale(7)). The font of the Linux console lacks them. */
export function usesBlockElements(environment: Environment): boolean {
  const { LC_ALL: all, LC_CTYPE: type, LANG: language, TERM: terminalType } = environment;
  return /utf-?8/i.test(all || type || language || '') && terminalType !== 'linux';
}
