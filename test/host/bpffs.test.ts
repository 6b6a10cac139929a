import * as assert from 'uvu/assert';
import { unreachableDirectory } from '../../src/host/bpffs.js';
import { suite } from '../suite.js';

const reach = suite('unreachableDirectory');

reach('names the first directory that keeps other users out', () => {
  assert.is(unreachableDirectory('/proc/self/fd/0'), '/proc/self/fd');
  assert.is(unreachableDirectory('/usr/bin/env'), undefined);
});

reach.run();
