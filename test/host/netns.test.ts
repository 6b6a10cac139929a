import * as assert from 'uvu/assert';
import { currentPath, netnsPathsByInode, ownNetns, resolveNetns } from '../../src/host/netns.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { suite } from '../suite.js';

const netns = suite('resolveNetns');

netns('takes a path and a process id', () => {
  const own = ownNetns();
  assert.equal(resolveNetns('/proc/self/ns/net'), {
    name: '/proc/self/ns/net',
    path: '/proc/self/ns/net',
    inode: own.inode,
  });
  assert.is(resolveNetns(String(process.pid)).inode, own.inode);
});

netns('refuses what is no namespace', () => {
  const refused = (name: string, code: 'usage' | 'no-such-interface') =>
    assert.throws(
      () => resolveNetns(name),
      (error: unknown) => hasErrorCode(error, code),
    );
  refused('/etc/passwd', 'usage');
  refused('/proc/self', 'usage');
  refused('/nonexistent/net', 'no-such-interface');
  refused('no-such-namespace', 'no-such-interface');
  refused('4194305', 'no-such-interface');
  refused('', 'usage');
});

netns('takes a relative path from where the user stands', () => {
  const before = process.cwd();
  process.chdir('/proc/self/ns');
  try {
    assert.is(resolveNetns('./net').path?.endsWith('/ns/net'), true);
    assert.is(resolveNetns('./net').inode, ownNetns().inode);
  } finally {
    process.chdir(before);
  }
});

netns('currentPath knows our own, and that there is none with an inode of another kind', () => {
  assert.is(currentPath(ownNetns()), undefined);
  assert.is(currentPath({ name: 'gone', path: '/run/netns/gone', inode: 1 }), null);
  assert.not([...netnsPathsByInode().values()].includes('/proc/self/ns/net'));
});

netns.run();
