import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { SourceSet } from '../../src/table/source-set.js';
import { suite } from '../suite.js';

const set = suite('SourceSet');

set('a source is new once, wherever it stands in a text', () => {
  const sources = new SourceSet(10);
  const slot = sources.add('192.0.2.1') ?? -1;
  assert.ok(slot >= 0);
  assert.is(sources.add('x"192.0.2.1"', 2, 11), ~slot);
  assert.is(sources.find('192.0.2.1'), slot);
  assert.is(sources.find('192.0.2.2'), undefined);
  assert.is.not(sources.add('192.0.2.2'), slot);
  sources.clear();
  assert.is(sources.find('192.0.2.1'), undefined);
  assert.ok((sources.add('192.0.2.1') ?? -1) >= 0);
});

set('does what a Set of texts does', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.ipV4(), fc.ipV6()), { maxLength: 60 }), (texts) => {
      const sources = new SourceSet(64);
      const model = new Set<string>();
      for (const text of [...texts, ...texts]) {
        assert.is((sources.add(text) ?? 0) >= 0, !model.has(text), text);
        model.add(text);
      }
    }),
  );
});

set('takes none of 300,000 neighbouring addresses for another', () => {
  const count = 300_000;
  const sources = new SourceSet(count);
  const address = (index: number) =>
    index % 2 === 0
      ? `198.18.${(index >> 9) & 255}.${(index >> 1) & 255}`
      : `2001:db8::${(index >> 17).toString(16)}:${((index >> 1) & 0xffff).toString(16)}`;
  const model = new Set<string>();
  for (let index = 0; index < count; index++) {
    const text = address(index);
    assert.is((sources.add(text) ?? 0) >= 0, !model.has(text), text);
    model.add(text);
  }
});

set('without room, what it does not know stays new', () => {
  const sources = new SourceSet(64);
  const texts = Array.from({ length: sources.slots }, (_, index) => `source ${index}`);
  const slots = texts.map((text) => sources.add(text));
  assert.ok(slots.includes(undefined));
  assert.ok(slots.every((slot) => slot === undefined || slot >= 0));
  assert.is(sources.add('source 0'), ~(slots[0] ?? 0));
});

set.run();
