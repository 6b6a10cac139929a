import * as assert from 'uvu/assert';
import { colorDepth, takesEscapes, usesBlockElements, usesColor } from '../../src/text/color.js';
import { suite } from '../suite.js';

const terminal = suite('what a terminal can do');

terminal('colours: none, 16 or 256', () => {
  assert.is(colorDepth(false, { TERM: 'xterm-256color' }), 0);
  assert.is(colorDepth(true, { TERM: 'xterm' }), 16);
  assert.is(colorDepth(true, { TERM: 'screen-256color' }), 256);
  assert.is(colorDepth(true, { TERM: 'xterm', COLORTERM: 'truecolor' }), 256);
});

terminal('block elements: in UTF-8, and not on the Linux console', () => {
  assert.is(usesBlockElements({ LANG: 'C.UTF-8' }), true);
  assert.is(usesBlockElements({ LANG: 'de_DE.utf8', LC_ALL: '' }), true);
  assert.is(usesBlockElements({ LANG: 'C.UTF-8', LC_ALL: 'C' }), false);
  assert.is(usesBlockElements({}), false);
  assert.is(usesBlockElements({ LANG: 'C.UTF-8', TERM: 'linux' }), false);
});

terminal.run();

const color = suite('usesColor');

color('auto colours a terminal that can, unless NO_COLOR has a value', () => {
  assert.is(usesColor('auto', true, {}), true);
  assert.is(usesColor('auto', false, {}), false);
  assert.is(usesColor('auto', true, { NO_COLOR: '1' }), false);
  assert.is(usesColor('auto', true, { NO_COLOR: '' }), true);
  assert.is(usesColor('auto', true, { TERM: 'dumb' }), false);
});

color('always and never decide', () => {
  assert.is(usesColor('always', false, { NO_COLOR: '1', TERM: 'dumb' }), true);
  assert.is(usesColor('never', true, {}), false);
});

color('escape sequences are for terminals that are not dumb', () => {
  assert.equal(
    [{ TERM: 'xterm' }, {}, { TERM: 'dumb' }].map((environment) => takesEscapes(true, environment)),
    [true, true, false],
  );
  assert.is(takesEscapes(false, { TERM: 'xterm' }), false);
  assert.is(takesEscapes(undefined, {}), false);
});

color.run();
