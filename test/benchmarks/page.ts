/** Writes tables into docs/benchmarks.md, each between two marks: `<!-- NAME: begin -->`, `<!-- NAME: end -->`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url));

/** Replaces what is between the marks of a name. */
export function replacePart(name: string, lines: readonly string[]): void {
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const page = readFileSync(PAGE, 'utf8');
  const [before = '', rest = ''] = page.split(begin);
  const after = rest.split(end)[1] ?? '';
  writeFileSync(PAGE, `${before}${begin}\n${lines.join('\n')}\n${end}${after}`);
}

/** The same with a table. */
export function replaceTable(
  name: string,
  titles: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): void {
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  replacePart(name, [line(titles), line(titles.map(() => '---')), ...rows.map(line)]);
}
