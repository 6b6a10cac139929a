import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { endianness, tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { checkBpffs, checkHost, checkKernel, checkObjects } from '../../src/doctor/checks.js';
import { checkInterface } from '../../src/doctor/interface.js';
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
  for (const name of [
    'xdpwho.frags',
    'xdpwho',
    'sources',
    'sources.front',
    'totals',
    'totals.front',
  ]) {
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
    context: undefined,
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
      context: undefined,
    });
    assert.equal(
      checks.map(({ name, status, detail }) => `${name} ${status} ${detail}`),
      [
        'interface pass lo',
        'link-layer pass loopback',
        'driver warn loopback, which has generic mode only, slower',
        'mtu pass 65536',
        'attached warn unknown: no bpftool that works',
      ],
    );
  },
);

whole.run();
