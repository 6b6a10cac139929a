import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { endianness, tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import {
  checkBpffs,
  checkDriver,
  checkHost,
  checkInterface,
  checkKernel,
  checkMtu,
  checkObjects,
  type LinkDescription,
  parseLinkDescription,
} from '../../src/doctor/checks.js';
import { suite } from '../suite.js';

interface Scratch {
  directory: string;
}

function makeScratch(context: Scratch): void {
  context.directory = mkdtempSync(join(tmpdir(), 'xdpwho-probes-'));
}

function removeScratch(context: Scratch): void {
  rmSync(context.directory, { recursive: true, force: true });
}

const kernels = suite('checkKernel');

kernels('fails only where it is known not to work', () => {
  const statuses = [
    '4.19.0',
    '5.5.19',
    '5.6.0',
    '5.9.16',
    '5.10.0',
    '5.17',
    '5.18.0',
    '6.18.44',
    'odd',
  ];
  assert.equal(
    statuses.map((version) => checkKernel(version).status),
    ['fail', 'fail', 'warn', 'warn', 'pass', 'pass', 'pass', 'pass', 'warn'],
  );
});

kernels.run();

const objects = suite<Scratch>('checkObjects');

objects.before.each(makeScratch);
objects.after.each(removeScratch);

/** The first bytes of an object for a machine (elf(5): e_machine). */
function elfHeader(machine: number): Buffer {
  const header = Buffer.alloc(64);
  header.write('\x7fELF\x02');
  header[5] = 1;
  header.writeUInt16LE(machine, 18);
  return header;
}

objects('passes only when every object is a BPF object', ({ directory }) => {
  const inner = join(directory, endianness() === 'LE' ? 'el' : 'eb');
  assert.is(checkObjects(directory).status, 'fail');
  mkdirSync(inner);
  for (const name of ['xdpwho.frags', 'xdpwho', 'sources', 'totals']) {
    writeFileSync(join(inner, `${name}.o`), elfHeader(247));
  }
  assert.equal(checkObjects(directory), {
    name: 'objects',
    title: 'compiled objects',
    status: 'pass',
    detail: directory,
  });
  truncateSync(join(inner, 'sources.o'), 40);
  const cut = checkObjects(directory);
  assert.equal(
    [cut.status, cut.detail, cut.fix],
    ['fail', `${inner}/sources.o: absent, or not a BPF object`, `xdpwho build ${directory}`],
  );
  writeFileSync(join(inner, 'sources.o'), elfHeader(62));
  assert.is(checkObjects(directory).status, 'fail');
});

objects.run();

const filesystems = suite<Scratch>('checkBpffs');

filesystems.before.each(makeScratch);
filesystems.after.each(removeScratch);

filesystems('names the command that mounts it where there is none', ({ directory }) => {
  const { status, fix } = checkBpffs(directory);
  assert.equal([status, fix], ['warn', `mount -t bpf bpf ${directory}`]);
  assert.is(checkBpffs("/it's not there").fix, "mount -t bpf bpf '/it'\\''s not there'");
});

filesystems.run();

const links = suite('parseLinkDescription, checkDriver, checkMtu');

function link(figures: Partial<LinkDescription>): LinkDescription {
  return { mtu: 1500, kind: undefined, driver: undefined, isLoopback: false, ...figures };
}

links('reads what iproute2 prints', () => {
  assert.equal(
    parseLinkDescription(
      '[{"ifindex":2,"ifname":"v0","mtu":9000,"link_type":"ether","linkinfo":{"info_kind":"veth"}}]',
    ),
    link({ mtu: 9000, kind: 'veth' }),
  );
  assert.equal(
    parseLinkDescription('[{"ifname":"lo","mtu":65536,"link_type":"loopback"}]'),
    link({ mtu: 65_536, isLoopback: true }),
  );
  for (const text of ['', 'nonsense', '{}', '[]', '[{}]', '[null]', '[{"linkinfo":7,"mtu":"x"}]']) {
    assert.equal(parseLinkDescription(text), link({ mtu: undefined }), text);
  }
});

links('says native only of drivers that are known to have it', () => {
  const said = (figures: Partial<LinkDescription>) => {
    const { status, detail } = checkDriver(link(figures));
    return `${status}: ${detail}`;
  };
  assert.is(said({ kind: 'veth' }), 'pass: veth, which has native mode');
  assert.is(said({ driver: 'virtio_net' }), 'pass: virtio_net, which has native mode');
  assert.is(said({ kind: 'bridge' }), 'warn: bridge, which has generic mode only, slower');
  assert.is(said({ isLoopback: true }), 'warn: loopback, which has generic mode only, slower');
  assert.is(
    said({ driver: 'e1000' }),
    'warn: e1000; whether it has native mode is unknown until tried',
  );
  assert.is(
    said({ driver: 'veth' }),
    'warn: veth; whether it has native mode is unknown until tried',
  );
  assert.is(said({}), 'warn: unknown: neither sysfs nor ip names it');
});

links('warns of an MTU that takes more than a page before kernel 5.18', () => {
  const status = (mtu: number | undefined, kernel: string) =>
    checkMtu(link({ mtu, kind: 'veth' }), kernel).status;
  assert.is(status(1500, '5.10.0'), 'pass');
  assert.is(status(9000, '5.10.0'), 'warn');
  assert.is(status(9000, '6.1.0'), 'pass');
  assert.is(status(undefined, '6.1.0'), 'warn');
  assert.is(checkMtu(link({ mtu: 65_536, isLoopback: true }), '5.10.0').detail, '65536');
});

links.run();

const whole = suite<Scratch>('checkHost, checkInterface');

whole.before.each(makeScratch);
whole.after.each(removeScratch);

whole('report a bad tool and absent objects, each with what mends it', async ({ directory }) => {
  const checks = await checkHost({
    path: join(directory, 'none'),
    bpffs: directory,
    objectsDirectory: directory,
  });
  const failed = checks.filter((check) => check.status === 'fail').map((check) => check.name);
  assert.equal(
    failed.filter((name) => name !== 'privileges'),
    ['bpftool', 'objects'],
  );
  for (const { name, status, detail, fix } of checks) {
    assert.ok(detail !== '', name);
    if (status === 'fail') assert.ok(fix !== undefined && fix !== '', name);
  }
  const names = checks.map((check) => check.name);
  assert.is(new Set(names).size, names.length, 'every name once');
});

whole('an interface that is not there is one failed check', async ({ directory }) => {
  const checks = await checkInterface({
    interface: 'no such\x1b',
    netns: undefined,
    bpffs: directory,
    bpftool: undefined,
  });
  assert.equal(
    checks.map(({ name, title, status, detail }) => [name, title, status, detail]),
    [['interface', 'interface no such\\x1b', 'fail', 'no such\\x1b: not a name of an interface']],
  );
});

whole(
  'the loopback interface has no native mode, and its program is unknown without bpftool',
  async ({ directory }) => {
    const checks = await checkInterface({
      interface: 'lo',
      netns: undefined,
      bpffs: directory,
      bpftool: undefined,
    });
    assert.equal(
      checks.map(({ name, status, detail }) => `${name} ${status} ${detail}`),
      [
        'interface pass lo',
        'driver warn loopback, which has generic mode only, slower',
        'mtu pass 65536',
        'attached warn unknown: no bpftool that works',
      ],
    );
  },
);

whole.run();
