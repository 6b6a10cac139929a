import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import * as assert from 'uvu/assert';
import {
  listInterfaces,
  nameFault,
  parseProcNetDev,
  resolveInterface,
} from '../../src/host/interfaces.js';
import { ownNetns } from '../../src/host/netns.js';
import { hasErrorCode } from '../../src/model/errors.js';
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
