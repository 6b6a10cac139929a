import { existsSync, readlinkSync, statSync } from 'node:fs';
import * as assert from 'uvu/assert';
import {
  currentPath,
  isHostNetns,
  netnsPathsByInode,
  ownNetns,
  resolveNetns,
} from '../../src/host/netns.js';
import { INITIAL_PID_NAMESPACE } from '../../src/host/processes.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { suite } from '../suite.js';

const host = suite(
  'isHostNetns',
  process.getuid?.() === 0 ? undefined : 'it takes root to become another user',
);

/** What a user gets who may not look at process 1: nobody, with no capabilities. */
function asNobody<Result>(get: () => Result): Result {
  process.seteuid?.(65534);
  try {
    return get();
  } finally {
    process.seteuid?.(0);
  }
}

host('tells the namespace of the host to a user as to root', () => {
  const own = ownNetns();
  const inFirst = existsSync('/proc/sys/net/core/netdev_max_backlog');
  const atHome = inFirst && readlinkSync('/proc/self/ns/pid') === INITIAL_PID_NAMESPACE;
  assert.throws(() => asNobody(() => statSync('/proc/1/ns/net')), /EACCES/);
  assert.is(isHostNetns(own), atHome);
  assert.is(
    asNobody(() => isHostNetns(own)),
    atHome,
  );
});

host('takes no other namespace for it', () => {
  const other = { name: 'other', path: '/nonexistent', inode: ownNetns().inode + 1 };
  assert.is(isHostNetns(other), false);
  assert.is(
    asNobody(() => isHostNetns(other)),
    false,
  );
});

host.run();

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
