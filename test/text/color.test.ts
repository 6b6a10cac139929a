import * as assert from 'uvu/assert';
import { colorDepth, usesBlockElements } from '../../src/text/color.js';
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
