import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { cutLine, paint, printable, textWidth, wrapWords } from '../../src/text/text.js';
import { suite } from '../suite.js';

const ESCAPE = '\x1b';

const text = suite('printable, cutLine, wrapWords, paint');

text('printable replaces what a terminal would obey, and nothing else', () => {
  assert.is(printable('eth0.100 "ü" %n'), 'eth0.100 "ü" %n');
  assert.is(
    printable('a\nb\tc\0\x7f\u009b\u202e\u2028'),
    'a\\x0ab\\x09c\\x00\\x7f\\x9b\\x202e\\x2028',
  );
});

text('printable leaves nothing that a terminal acts on', () => {
  assert.is(printable('eth0\u001b[31m\u0007'), 'eth0\\x1b[31m\\x07');
  assert.is(printable('a\u009bb\u202ec'), 'a\\x9bb\\x202ec');
  assert.is(printable('größe 漢字'), 'größe 漢字');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (any) => {
      assert.not.match(printable(any), /[\p{Cc}\p{Cf}]/u);
    }),
  );
});

text('a width is that on a terminal: two columns for an ideograph, none for what combines', () => {
  assert.equal(['eth0', '网络接口名', 'e\u0301', ''].map(textWidth), [4, 10, 1, 0]);
  assert.equal(cutLine('网络接口名', 5), '网络');
  assert.equal(cutLine('e\u0301th0', 2), 'e\u0301t');
});

text('cutLine leaves what fits', () => {
  assert.equal([cutLine('abc', 3), cutLine('abcd', 3), cutLine('abc', 0)], ['abc', 'abc', '']);
});

text('wrapWords breaks between words only, and indents what follows', () => {
  assert.equal(wrapWords('one two three', 80), ['one two three']);
  assert.equal(wrapWords('one two three', 8, '  '), ['one two', '  three']);
  assert.equal(wrapWords('incomprehensible', 8), ['incomprehensible']);
});

text('paint does nothing without colour or text', () => {
  assert.equal(
    [paint('x', 'red', true), paint('x', 'red', false), paint('', 'red', true)],
    [`${ESCAPE}[31mx${ESCAPE}[39m`, 'x', ''],
  );
});

text.run();
