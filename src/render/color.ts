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
