import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { SourceSet } from '../../src/table/source-set.js';
import { suite } from '../suite.js';

const set = suite('SourceSet');

set('a source is new once, wherever it stands in a text', () => {
  const sources = new SourceSet();
  const slot = sources.add('192.0.2.1');
  assert.ok(slot >= 0);
  assert.is(sources.add('x"192.0.2.1"', 2, 11), ~slot);
  assert.is(sources.find('192.0.2.1'), slot);
  assert.is(sources.find('192.0.2.2'), undefined);
  assert.is.not(sources.add('192.0.2.2'), slot);
  sources.clear();
  assert.is(sources.find('192.0.2.1'), undefined);
  assert.ok(sources.add('192.0.2.1') >= 0);
});

set('does what a Set of texts does', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 60 }), (texts) => {
      const sources = new SourceSet();
      const model = new Set<string>();
      for (const text of [...texts, ...texts]) {
        assert.is(sources.add(text) >= 0, !model.has(text), text);
        model.add(text);
      }
    }),
  );
});

set('takes none of 300,000 neighbouring addresses for another', () => {
  const count = 300_000;
  const sources = new SourceSet();
  const address = (index: number) =>
    index % 2 === 0
      ? `198.18.${(index >> 9) & 255}.${(index >> 1) & 255}`
      : `2001:db8::${(index >> 17).toString(16)}:${((index >> 1) & 0xffff).toString(16)}`;
  const model = new Set<string>();
  for (let index = 0; index < count; index++) {
    const text = address(index);
    assert.is(sources.add(text) >= 0, !model.has(text), text);
    model.add(text);
  }
});

set('numbers what it takes as it comes, and keeps the numbers when it grows', () => {
  const sources = new SourceSet();
  const texts = Array.from({ length: 5000 }, (_, index) => `source ${index}`);
  assert.equal(
    texts.map((text) => sources.add(text)),
    texts.map((_, index) => index),
  );
  assert.equal(
    texts.map((text) => sources.find(text)),
    texts.map((_, index) => index),
  );
  assert.is(sources.size, 5000);
  assert.is(sources.add('source 4711'), ~4711);
});

/** The last product of the hash of an address, in a process of its own. */
function hashInAnotherProcess(): string {
  const module = new URL('../../src/table/source-set.ts', import.meta.url).href;
  const code = `
    import { SourceSet } from ${JSON.stringify(module)};
    const search = [];
    const real = Math.imul;
    Math.imul = (a, b) => { const product = real(a, b); search.push(product); return product; };
    new SourceSet().add('192.0.2.1');
    console.log(search.at(-1));
  `;
  const words = ['--import', 'tsx', '--input-type=module', '-e', code];
  return execFileSync(process.execPath, words, { encoding: 'utf8' });
}

set(
  'has another hash in each process, so that nobody can choose addresses that hide others',
  () => {
    assert.is.not(hashInAnotherProcess(), hashInAnotherProcess());
  },
);

set.run();
