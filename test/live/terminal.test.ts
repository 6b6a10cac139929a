import { PassThrough } from 'node:stream';
import * as assert from 'uvu/assert';
import { Terminal } from '../../src/live/terminal.js';
import { suite } from '../suite.js';

const terminal = suite('Terminal');

terminal('takes no keys from what is no terminal, and reads none of it', () => {
  const input = new PassThrough();
  const output = new PassThrough();
  const keys: string[] = [];
  const taken = new Terminal(input, output, {
    onKey: (key) => keys.push(key),
    onRedraw: () => {},
  });
  taken.take();
  try {
    input.write('line of a list\nq\n');
    assert.is(input.listenerCount('keypress') + input.listenerCount('data'), 0);
    assert.is(input.readableLength, 17);
    assert.equal(keys, []);
  } finally {
    taken.release();
  }
});

terminal.run();
