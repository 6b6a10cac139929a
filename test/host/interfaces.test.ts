import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import {
  listInterfaces,
  nameFault,
  parseProcNetDev,
  resolveInterface,
} from '../../src/host/interfaces.js';
import { currentPath, netnsPathsByInode, ownNetns, resolveNetns } from '../../src/host/netns.js';
import { nearNames } from '../../src/model/did-you-mean.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { printable } from '../../src/text/text.js';
import { suite } from '../suite.js';

const names = suite('nameFault');

names('lets every name pass that the kernel lets pass', () => {
  const odd = ['eth0', 'eth0.100', '-x', '%s', "a'b", 'a"b', '$(id)', '*', '..x', '~', 'ü', 'a@b'];
  for (const name of odd) assert.is(nameFault(name), undefined, name);
  assert.is(nameFault('x'.repeat(127)), undefined, 'an alternative name');
});

names('refuses what can be no name of an interface', () => {
  for (const name of ['', '.', '..', 'a/b', '/', '../eth0', 'a b', 'a\tb', 'a\nb', 'a:b', 'a\0']) {
    assert.type(nameFault(name), 'string', JSON.stringify(name));
  }
  assert.type(nameFault('x'.repeat(128)), 'string');
  assert.type(nameFault('ü'.repeat(64)), 'string', '128 bytes');
});

names.run();

const near = suite('nearNames');

near('gives the names that a misspelt one may stand for, the nearest first', () => {
  const all = ['lo', 'eth0', 'eth1', 'wlan0', 'enp3s0', 'enp3s0f1np1'];
  assert.equal(nearNames('eht0', all), ['eth0']);
  assert.equal(nearNames('eth', all), ['eth0', 'eth1']);
  assert.equal(nearNames('enp3s0f1np', all), ['enp3s0f1np1', 'enp3s0']);
  assert.equal(nearNames('l0', all), ['lo']);
  assert.equal(nearNames('docker', all), []);
});

near('gives three at most, however many there are', () => {
  const all = Array.from({ length: 50 }, (_, index) => `eth${index}`);
  assert.is(nearNames('eth', all).length, 3);
});

near.run();

const text = suite('printable');

text('leaves nothing that a terminal acts on', () => {
  assert.is(printable('eth0\u001b[31m\u0007'), 'eth0\\x1b[31m\\x07');
  assert.is(printable('a\u009bb\u202ec'), 'a\\x9bb\\x202ec');
  assert.is(printable('größe 漢字'), 'größe 漢字');
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (any) => {
      assert.not.match(printable(any), /[\p{Cc}\p{Cf}]/u);
    }),
  );
});

text.run();

const listing = suite('listInterfaces');

listing('reads names out of /proc/net/dev, with whatever characters they have', () => {
  const table = [
    'Inter-|   Receive                                                |  Transmit',
    ' face |bytes    packets errs drop fifo frame compressed multicast|bytes',
    '    lo:  100       1    0    0    0     0          0         0      100',
    'eth0.100: 0 0',
    '  a|b: 0 0',
    '',
  ].join('\n');
  assert.equal(parseProcNetDev(table), ['lo', 'eth0.100', 'a|b']);
});

listing('gives those of our own namespace', async () => {
  const found = await listInterfaces(ownNetns());
  for (const name of Object.keys(networkInterfaces())) assert.ok(found.includes(name), name);
  const lines = readFileSync('/proc/net/dev', 'utf8').trim().split('\n');
  assert.is(found.length, lines.length - 2);
});

listing.run();

const resolution = suite('resolveInterface');

resolution('gives the name of what is there', async () => {
  assert.is(await resolveInterface('lo', ownNetns()), 'lo');
});

resolution('refuses an absent one with a hint, whatever characters it has', async () => {
  for (const name of [
    'nosuch0',
    '-x',
    '--help',
    '$(id)',
    "'",
    '%s',
    'a/b',
    '..',
    'x'.repeat(200),
  ]) {
    try {
      await resolveInterface(name, ownNetns());
      assert.unreachable(name);
    } catch (error) {
      assert.ok(hasErrorCode(error, 'no-such-interface'), String(error));
      assert.ok(error.message.startsWith(name.slice(0, 100)), error.message);
      assert.ok(error.hint);
    }
  }
});

resolution.run();

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
