import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import * as assert from 'uvu/assert';
import {
  listInterfaces,
  nameFault,
  parseProcNetDev,
  resolveInterface,
} from '../../src/host/interfaces.js';
import { ownNetns } from '../../src/host/netns.js';
import { findTool } from '../../src/host/tools.js';
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

const tools = suite(
  'an ip that is not that of iproute2',
  process.getuid?.() === 0 ? undefined : 'it takes root to put another ip in its place',
);

/** What a process says of an interface of another namespace, in whose mounts `ip` is this shell script. */
function askedWith(ip: string): string {
  const directory = mkdtempSync('/tmp/xdpwho-ip-');
  try {
    writeFileSync(`${directory}/ip`, `#!/bin/sh\n${ip}\n`, { mode: 0o755 });
    const interfaces = new URL('../../src/host/interfaces.ts', import.meta.url);
    const ask = `const { resolveInterface } = await import('${interfaces}');
      const netns = { name: 'blue', path: '/proc/self/ns/net', inode: 1 };
      await resolveInterface('eth0', netns).catch((error) => console.log(error.code, error.message, error.hint));`;
    const inPlace = `mount --bind "$1" "$2"; shift 2; exec "$@"`;
    const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', ask];
    const args = ['-m', '--propagation', 'private', 'sh', '-c', inPlace, 'sh', `${directory}/ip`];
    return spawnSync('unshare', [...args, findTool('ip') ?? '', ...node], {
      encoding: 'utf8',
    }).stdout;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

tools('is told, and no interface is said to be missing for it', () => {
  const busybox = `echo 'BusyBox v1.35.0 multi-call binary.' >&2; exit 1`;
  assert.match(askedWith(busybox), /^tool-missing \S+ip: the ip of BusyBox.* install iproute2\n$/);
  const failing = `echo 'Cannot open netlink socket: Too many open files' >&2; exit 1`;
  assert.match(
    askedWith(failing),
    /^tool-failed ip -j link show .*: Cannot open netlink socket: Too many open files/,
  );
  assert.match(askedWith(`echo '[{"ifname":"et'`), /^bad-output ip -j link show .*: .* in JSON/);
});

tools('that has it is not in the way', () => {
  assert.match(
    askedWith(`echo '[{"ifname":"eth1","ifindex":2,"mtu":1500}]'`),
    /^no-such-interface/,
  );
});

tools.run();
