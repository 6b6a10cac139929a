import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { API_REFERENCE, renderApiReference } from '../scripts/api-reference.js';
import * as library from '../src/index.js';
import { suite } from './suite.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const page = readFileSync(API_REFERENCE, 'utf8');

const test = suite('the API reference');

test('is the one that the doc comments make: npm run docs', () => {
  assert.is(
    page,
    renderApiReference((path) => readFileSync(`${ROOT}${path}`, 'utf8')),
  );
});

test('has everything that the library exports, and a text for each function', () => {
  const sections = page.split(/^### /m).slice(1);
  const names = sections.map((section) => section.split('\n', 1)[0] ?? '');
  for (const [name, value] of Object.entries(library)) {
    assert.ok(names.includes(name), name);
    if (typeof value !== 'function') continue;
    const section = sections.find((each) => each.startsWith(`${name}\n`)) ?? '';
    assert.ok(/^\w+\n\n[A-Z]/.test(section), `${name} has no text`);
  }
  for (const verb of ['attach', 'watch', 'log', 'dump', 'status', 'detach'])
    assert.ok(verb in library, verb);
});

test('shows no private member, and every block is closed', () => {
  assert.ok(!/#private|#\w+:/.test(page));
  for (const [, code = ''] of page.matchAll(/```ts\n([\s\S]*?)\n```/g)) {
    const count = (character: string) => code.split(character).length;
    assert.equal([count('{'), count('(')], [count('}'), count(')')], code);
  }
});

test.run();
