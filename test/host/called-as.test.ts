import * as assert from 'uvu/assert';
import { asCalled } from '../../src/host/called-as.js';
import { suite } from '../suite.js';

const called = suite('a command in a hint');

const CLONE = { word: '/n/node /c/bin/xdpwho.js', asRoot: '/n/node /c/bin/xdpwho.js' };
/** nvm: Node and the command are in the home directory, where sudo does not look. */
const IN_HOME = { word: 'xdpwho', asRoot: '/home/u/n/node /home/u/n/xdpwho' };

called('is one that a shell finds here', () => {
  assert.is(asCalled('xdpwho clean', CLONE), '/n/node /c/bin/xdpwho.js clean');
  assert.is(
    asCalled('xdpwho attach --replace eth0, or xdpwho detach eth0', CLONE),
    '/n/node /c/bin/xdpwho.js attach --replace eth0, or /n/node /c/bin/xdpwho.js detach eth0',
  );
  assert.is(
    asCalled('run it as root: sudo xdpwho demo', IN_HOME),
    'run it as root: sudo /home/u/n/node /home/u/n/xdpwho demo',
  );
  assert.is(asCalled('xdpwho --help', IN_HOME), 'xdpwho --help');
});

called('is no path and no name of something else', () => {
  for (const text of [
    'look at it: ls -lR /sys/fs/bpf/xdpwho',
    'xdpwho.service',
    'rm /run/xdpwho x',
  ]) {
    assert.is(asCalled(text, CLONE), text);
  }
});

called.run();
