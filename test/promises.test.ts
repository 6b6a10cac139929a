import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { suite } from './suite.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

interface Promise {
  readonly text: string;
  readonly file: string;
}

/** The lines of README's section: `- **promise**...([name](file)...`. */
function promisesIn(readme: string): Promise[] {
  const section = /^## What it promises\n([\s\S]*?)(?=^## )/m.exec(`${readme}\n## `)?.[1] ?? '';
  return section
    .split(/^- /m)
    .slice(1)
    .map((line) => ({
      text: (/^\*\*([\s\S]*?)\*\*/.exec(line)?.[1] ?? '').replace(/\s+/g, ' '),
      file: /\]\((test\/[\w./-]+)\)/.exec(line)?.[1] ?? '',
    }));
}

/** The promise of each test file that has one: what its suite is named. */
function promisesOfTests(): Promise[] {
  const files = readdirSync(`${ROOT}test`, { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => file.endsWith('.test.ts'))
    .flatMap((file) => {
      const code = readFileSync(`${ROOT}test/${file}`, 'utf8');
      const text = /^const PROMISE =\s*(?:'([^']*)'|"([^"]*)");$/m.exec(code);
      if (text === null) return [];
      assert.ok(/= suite\(PROMISE\b/.test(code), `${file}: its suite has another name`);
      return [{ text: text[1] ?? text[2] ?? '', file: `test/${file}` }];
    });
}

const byFile = (a: Promise, b: Promise) => a.file.localeCompare(b.file);

const test = suite('the promises');

test('of the README are the test suites that try to break them, and the other way round', () => {
  const promised = promisesIn(readFileSync(`${ROOT}README.md`, 'utf8'));
  assert.equal(promised.sort(byFile), promisesOfTests().sort(byFile));
});

test('have each a table of what was tried in docs/reliability.md', () => {
  const document = readFileSync(`${ROOT}docs/reliability.md`, 'utf8');
  const titles = [...document.matchAll(/^### (.*)$/gm)].map((match) => match[1]);
  assert.equal(
    titles.sort(),
    promisesOfTests()
      .map(({ text }) => text)
      .sort(),
  );
});

test('are found in a README that has some', () => {
  const readme =
    '# x\n\n## What it promises\n\nText.\n\n- **One\n  line**: so\n  ([a](test/a.test.ts)).\n\n## Next\n\n- no\n';
  assert.equal(promisesIn(readme), [{ text: 'One line', file: 'test/a.test.ts' }]);
  assert.is(promisesIn('# x\n').length, 0);
});

test.run();
