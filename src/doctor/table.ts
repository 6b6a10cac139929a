/** Prints the checks of `doctor` as text. Pure. */
import type { Check, CheckStatus } from '../model/records.js';
import { paint, printable, type Style, wrapWords } from '../text/text.js';

const LABELS: Readonly<Record<CheckStatus, readonly [label: string, style: Style]>> = {
  pass: ['ok', 'green'],
  warn: ['warn', 'yellow'],
  fail: ['FAIL', 'red'],
};
const LABEL_WIDTH = 4;

/** One or more lines for each check, with `fix:` below it if there is one, and a last line with the counts. */
export function renderChecks(
  checks: readonly Check[],
  options: { readonly width: number; readonly color: boolean },
): string[] {
  const titleWidth = Math.max(...checks.map((check) => check.title.length));
  const indent = ' '.repeat(LABEL_WIDTH + titleWidth + 4);
  const room = Math.max(options.width - indent.length, 20);
  return [
    ...checks.flatMap(({ status, title, detail, fix }) => {
      const [label, style] = LABELS[status];
      const [first = '', ...rest] = wrapWords(printable(detail), room);
      const head = `${paint(label, style, options.color)}${' '.repeat(LABEL_WIDTH - label.length)}`;
      return [
        `${head}  ${title.padEnd(titleWidth)}  ${first}`.trimEnd(),
        ...rest.map((line) => `${indent}${line}`),
        // Not wrapped, so that it can be copied.
        ...(fix === undefined || status === 'pass' ? [] : [`${indent}fix: ${printable(fix)}`]),
      ];
    }),
    '',
    summarize(checks),
  ];
}

function summarize(checks: readonly Check[]): string {
  const count = (status: CheckStatus) => checks.filter((check) => check.status === status).length;
  const warnings = count('warn');
  return `${count('pass')} passed, ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}, ${count('fail')} failed`;
}
