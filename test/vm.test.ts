import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { suite } from './suite.js';
import { AMD64, S390X } from './vm/architecture.js';
import { CONFIGURATIONS } from './vm/configurations.js';
import { type CpioEntry, cpioArchive, treeEntries } from './vm/cpio.js';
import { parseDepends, parseIndexTargets, sourcesList } from './vm/debian.js';
import { parseExpectations, parseFinding } from './vm/findings.js';
import { ITERATOR_FILES } from './vm/iterator-suite.js';
import { qemuArguments } from './vm/qemu.js';
import { type GuestReport, renderGuests, renderNodes, replaceSection } from './vm/report.js';
import { parseVmArguments } from './vm/run.js';

const file = (path: string, text: string, mode = 0o644): CpioEntry => ({
  kind: 'file',
  ...{ path, mode, content: Buffer.from(text) },
});

/** Reads an archive back as the kernel's init/initramfs.c does: by the sizes and the padding. */
function readArchive(archive: Buffer) {
  const entries: { path: string; mode: number; owner: number; inode: number; text: string }[] = [];
  for (let at = 0; at < archive.length; ) {
    assert.is(archive.toString('latin1', at, at + 6), '070701', `no header at ${at}`);
    const field = (index: number) =>
      Number.parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
    const [inode, mode, owner, size, nameSize] = [
      field(0),
      field(1),
      field(2),
      field(6),
      field(11),
    ];
    const path = archive.toString('utf8', at + 110, at + 110 + nameSize - 1);
    const begin = (at + 110 + nameSize + 3) & ~3;
    entries.push({ path, mode, owner, inode, text: archive.toString('utf8', begin, begin + size) });
    at = (begin + size + 3) & ~3;
  }
  return entries;
}

const archives = suite('cpioArchive');

archives('holds directories before what is in them, and everything belongs to root', () => {
  const entries = readArchive(
    cpioArchive([
      file('usr/bin/tool', 'odd', 0o755),
      { kind: 'link', path: 'bin', target: 'usr/bin' },
      file('usr/bin/other', ''),
    ]),
  );
  assert.equal(
    entries.map(({ path, mode, text }) => [path, mode.toString(8), text]),
    [
      ['usr', '40755', ''],
      ['usr/bin', '40755', ''],
      ['usr/bin/tool', '100755', 'odd'],
      ['bin', '120777', 'usr/bin'],
      ['usr/bin/other', '100644', ''],
      ['TRAILER!!!', '0', ''],
    ],
  );
  assert.equal(new Set(entries.map(({ owner }) => owner)), new Set([0]));
  // Two files with one inode would be one file.
  assert.is(new Set(entries.map(({ inode }) => inode)).size, entries.length);
});

archives('can be put one after another', () => {
  const both = Buffer.concat([cpioArchive([file('a', '1')]), cpioArchive([file('b', '22222')])]);
  assert.is(both.length % 4, 0);
  assert.equal(
    readArchive(both).map(({ path }) => path),
    ['a', 'TRAILER!!!', 'b', 'TRAILER!!!'],
  );
});

archives('refuses a path twice, and one that leads out of the root', () => {
  assert.throws(() => cpioArchive([file('a', ''), file('a', '')]), /a twice/);
  assert.throws(() => cpioArchive([file('/etc/passwd', '')]), /bad path/);
  assert.throws(() => cpioArchive([file('../passwd', '')]), /bad path/);
});

archives('takes a folder as it is, links included', () => {
  const directory = mkdtempSync(join(tmpdir(), 'xdpwho-cpio-'));
  try {
    mkdirSync(join(directory, 'deep'));
    writeFileSync(join(directory, 'deep/file'), 'x', { mode: 0o700 });
    symlinkSync('deep/file', join(directory, 'link'));
    assert.equal(
      readArchive(cpioArchive(treeEntries(directory, 'opt/x'))).map(({ path, mode, text }) => [
        path,
        mode.toString(8),
        text,
      ]),
      [
        ['opt', '40755', ''],
        ['opt/x', '40755', ''],
        ['opt/x/deep', '40755', ''],
        ['opt/x/deep/file', '100700', 'x'],
        ['opt/x/link', '120777', 'deep/file'],
        ['TRAILER!!!', '0', ''],
      ],
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});

archives.run();

const mirrors = suite('parseIndexTargets');

mirrors("finds Debian's archive and its security archive among other sources", () => {
  const text = `https://deb.example/node_20.x/ nodistro main
http://mirror.example/debian/ bookworm contrib
http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm-updates main
http://security.example/debian-security/ bookworm-security main`;
  assert.equal(parseIndexTargets(text), {
    archive: 'http://mirror.example/debian/',
    security: 'http://security.example/debian-security/',
  });
});

mirrors('takes a method of apt that is not HTTP', () => {
  assert.equal(parseIndexTargets('mirror+file:/etc/apt/mirrors/debian.list trixie main'), {
    archive: 'mirror+file:/etc/apt/mirrors/debian.list',
    security: undefined,
  });
});

mirrors('finds none where the host is of another distribution', () => {
  assert.is(parseIndexTargets('http://archive.example/ubuntu/ noble main\n'), undefined);
  assert.is(parseIndexTargets(''), undefined);
});

mirrors.run();

const sources = suite('sourcesList');

sources('has each suite at its mirror, signed by the keyring', () => {
  assert.is(
    sourcesList(
      { archive: 'http://a', security: 'http://s' },
      ['sid', 'trixie-security'],
      '/k.gpg',
    ),
    `deb [signed-by=/k.gpg] http://a sid main
deb [signed-by=/k.gpg] http://s trixie-security main
`,
  );
});

sources('leaves security updates out where the host has no mirror of them', () => {
  assert.is(
    sourcesList(
      { archive: 'http://a', security: undefined },
      ['bullseye', 'bullseye-security'],
      undefined,
    ),
    'deb http://a bullseye main\n',
  );
});

sources.run();

const depends = suite('parseDepends');

depends('gives what a package depends on, of alternatives the first, and nothing virtual', () => {
  const text = `linux-image-7.3.4
  PreDepends: linux-base
 |Depends: dracut
  Depends: <linux-initramfs-tool>
    dracut
  Depends: linux-binary-7.3.4
  Breaks: initramfs-tools
  Recommends: apparmor
`;
  assert.equal(parseDepends(text), ['linux-base', 'dracut', 'linux-binary-7.3.4']);
});

depends.run();

const line = suite('parseVmArguments');

line('runs the demo on 6.1 with the bpftool of its release', () => {
  const { kernel, bpftool, cpus, command } = parseVmArguments([]);
  assert.equal(
    [kernel.kernel, bpftool.bpftool, cpus, command],
    ['6.1', '7.1', '2', ['xdpwho', 'demo']],
  );
});

line('takes both versions apart, and all from the first word on as the command', () => {
  const { kernel, bpftool, cpus, command } = parseVmArguments(
    '--kernel 5.10 --bpftool=newest --cpus 2,maxcpus=4 xdpwho watch --kernel lo'.split(' '),
  );
  assert.equal([kernel.name, bpftool.name, cpus], ['bullseye', 'newest', '2,maxcpus=4']);
  assert.equal(command, ['xdpwho', 'watch', '--kernel', 'lo']);
  assert.equal(parseVmArguments(['--refresh', '--', '-x']).command, ['-x']);
});

line('refuses what it does not know, and says what there is', () => {
  assert.throws(
    () => parseVmArguments(['--kernel', '4.19']),
    /there are 5\.10, 6\.1, 6\.12, newest/,
  );
  assert.throws(
    () => parseVmArguments(['--bpftool', '6.1']),
    /there are 5\.10, 7\.1, 7\.5, newest/,
  );
  assert.throws(() => parseVmArguments(['--kernle', '6.1']), /Unknown option '--kernle'/);
  assert.throws(() => parseVmArguments(['--cpus', '0']), /a number, or as in 2,maxcpus=4/);
});

line.run();

const guests = suite('the guests');

guests('are each the one of a test file', () => {
  const named = ['vm', 'vm-more'].flatMap((folder) => {
    const directory = new URL(`${folder}/`, import.meta.url);
    return readdirSync(directory)
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => readFileSync(new URL(name, directory), 'utf8'))
      .flatMap((text) => /checkGuest\('(.+)'\)/.exec(text)?.[1] ?? []);
  });
  assert.equal(named.sort(), Object.keys(CONFIGURATIONS).sort());
});

guests('run every file that a host leaves tests of iterators out of', () => {
  const folder = new URL('kernel/', import.meta.url);
  const leaving = readdirSync(folder).filter(
    (name) =>
      name.endsWith('.test.ts') &&
      /\bwithIterator\(/.test(readFileSync(new URL(name, folder), 'utf8')),
  );
  const run = Object.values(ITERATOR_FILES).flatMap((files) => Object.keys(files));
  assert.equal(leaving, run.sort());
});

guests.run();

const machine = suite('qemuArguments');
const options = { architecture: AMD64, vmlinuz: '/k', cpus: '3', initrd: '/i', log: '/l' };

machine('connects no network, and emulates several CPUs in one thread', () => {
  const words = qemuArguments({ ...options, accelerator: 'tcg' }).join(' ');
  assert.match(words, / -nic none /);
  assert.match(words, /-accel tcg,thread=single /);
  assert.match(words, / -smp 3 /);
  assert.match(words, /panic=-1/);
});

machine('uses KVM when it is told to', () => {
  assert.match(qemuArguments({ ...options, accelerator: 'kvm' }).join(' '), /^-accel kvm /);
});

machine('gives every machine its console and three lines of its own kind', () => {
  const big = { ...options, architecture: S390X, accelerator: 'tcg' } as const;
  const words = qemuArguments(big).join(' ');
  assert.match(words, /-device sclpconsole,chardev=console /);
  assert.match(words, /-chardev socket,id=line5,fd=5 -device virtserialport,chardev=line5,nr=3$/);
  assert.is(
    qemuArguments({ ...options, accelerator: 'tcg' }).filter((word) => word === '-serial').length,
    4,
  );
});

machine.run();

const findings = suite('parseFinding');

findings('reads what a guest writes, and takes nothing else for it', () => {
  const check = { type: 'check', name: 'x', why: 'y', seconds: 1.5 } as const;
  assert.equal(parseFinding(JSON.stringify(check)), check);
  assert.equal(parseFinding(JSON.stringify({ ...check, why: null })), { ...check, why: null });
  const fact = { type: 'fact', name: 'mode', value: 'native' } as const;
  assert.equal(parseFinding(JSON.stringify(fact)), fact);
  const others = ['', 'hello', '{}', '{"type":"check","name":"x","seconds":1}', '{"name":"mode"}'];
  for (const text of others) assert.is(parseFinding(text), undefined);
});

findings('expectations cross unchanged, or not at all', () => {
  const expected = {
    ...{ kernel: '6.1', kernelRelease: '6.1.0-1', bpftool: '7.1' },
    ...{ possibleCpus: 4, onlineCpus: 2 },
  };
  assert.equal(parseExpectations(JSON.stringify(expected)), expected);
  assert.throws(() => parseExpectations('{"kernel":"6.1"}'), /not what a guest is to expect/);
});

findings.run();

const report = suite('docs/compatibility.md');

const guest = (kernel: string, check: string, why: string | null): GuestReport => [
  { type: 'fact', name: 'kernel', value: `${kernel}.1` },
  { type: 'fact', name: 'kernel package', value: `${kernel}.1-1` },
  { type: 'fact', name: 'restriction', value: `can't load /run/xdpwho-${kernel}/sources.o` },
  { type: 'check', name: check, why, seconds: 1 },
];

report('has a row for each guest, each restriction once, and each check', () => {
  const text = renderGuests([guest('5.10', 'counts', null), guest('6.1', 'logs', 'no')]);
  assert.match(text, /^\| 1 \| 5\.10\.1 \(5\.10\.1-1\) \| - \(-\) \|/m);
  assert.match(text, /^- can't load sources\.o \(1, 2\)$/m);
  assert.match(text, /^\| counts \| ok \| - \|$/m);
  assert.match(text, /^\| logs \| - \| \*\*failed\*\* \|$/m);
});

report('has a row for each Node', () => {
  const text = renderNodes([{ version: '18.19.1', tests: '9 passed', demo: 'exact' }]);
  assert.match(text, /^\| 18\.19\.1 \| 9 passed \| exact \|$/m);
});

report('keeps what is written by hand around a section', () => {
  const document = 'before\n<!-- a -->\nold\n<!-- /a -->\nafter\n';
  assert.is(
    replaceSection(document, 'a', 'new\n'),
    'before\n<!-- a -->\n\nnew\n\n<!-- /a -->\nafter\n',
  );
  assert.throws(() => replaceSection('nothing', 'a', 'new'), /no section a/);
});

report.run();
