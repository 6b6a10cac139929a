import * as assert from 'uvu/assert';
import { type RightsFacts, rightsHintOf } from '../../src/host/rights.js';
import { suite } from '../suite.js';

const rights = suite('rightsHintOf');

const HOST: RightsFacts = {
  euid: 0,
  uidMap: '         0          0 4294967295\n',
  status: 'Name:\tnode\nSeccomp:\t0\n',
};

rights('sends a user to root', () => {
  assert.is(
    rightsHintOf({ ...HOST, euid: 1000 }, 'xdpwho demo'),
    'run it as root: sudo xdpwho demo',
  );
});

rights('sends nobody to root who is root', () => {
  const inUserNamespace = { ...HOST, uidMap: '         0       1000          1\n' };
  assert.match(rightsHintOf(inUserNamespace, 'x'), /root of a user namespace.* of the host/);
  assert.match(
    rightsHintOf(HOST, 'x'),
    /^this root lacks capabilities, as in a container: run it on/,
  );
  const filtered = { ...HOST, status: 'Name:\tnode\nSeccomp:\t2\n' };
  assert.match(
    rightsHintOf(filtered, 'x'),
    /in a container, or a filter of system calls \(seccomp\)/,
  );
  assert.match(
    rightsHintOf({ euid: 0, uidMap: undefined, status: undefined }, 'x'),
    /^this root lacks/,
  );
});

rights.run();
