import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { type Pins, parsePinName, pinName, pinsAt } from '../../src/attachment/pin-paths.js';
import { claim, pinsExist } from '../../src/attachment/pins.js';
import {
  type AttachmentState,
  readState,
  STATE_VERSION,
  writeState,
} from '../../src/attachment/record.js';
import { pinsRoot, unreachableDirectory } from '../../src/host/bpffs.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { suite } from '../suite.js';

/** What the kernel takes as an interface's name (net/core/dev.c dev_valid_name). */
const interfaceName = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 15 })
  .filter(
    (name) =>
      Buffer.byteLength(name) < 16 && name !== '.' && name !== '..' && !/[/:\s\0]/.test(name),
  );
const inode = fc.option(fc.integer({ min: 0, max: 0xffff_ffff }));

const names = suite('pinName');

names('keeps usual names as they are and encodes every other byte', () => {
  assert.is(pinName('eth0', null), 'eth0');
  assert.is(pinName('br-lan_2', null), 'br-lan_2');
  assert.is(pinName('eth0.100', null), 'eth0%2e100');
  assert.is(pinName('a@b', 7), 'a%40b@7');
  assert.is(pinName('100%', null), '100%25');
  assert.is(pinName('ü', 4026531840), '%c3%bc@4026531840');
});

names('gives what bpffs takes as the name of one directory, for every interface', () => {
  fc.assert(
    fc.property(interfaceName, inode, (name, netns) => {
      assert.match(pinName(name, netns), /^[\w@%-]{1,255}$/);
    }),
  );
});

names('is undone by parsePinName', () => {
  fc.assert(
    fc.property(interfaceName, inode, (name, netnsInode) => {
      assert.equal(parsePinName(pinName(name, netnsInode)), { interface: name, netnsInode });
    }),
  );
});

names('tells interfaces and namespaces apart', () => {
  fc.assert(
    fc.property(interfaceName, inode, interfaceName, inode, (one, oneNetns, two, twoNetns) => {
      const same = one === two && oneNetns === twoNetns;
      assert.is(pinName(one, oneNetns) === pinName(two, twoNetns), same);
    }),
  );
});

names('parsePinName takes nothing that pinName never gives', () => {
  for (const name of ['', '@7', 'eth0@', 'eth0@x', 'eth0@1@2', 'a.b', 'a%2', 'a%2E', 'a b', '..']) {
    assert.is(parsePinName(name), undefined, name);
  }
});

names.run();

const paths = suite('pinsAt');

paths('puts every path of an attachment into its own directory', () => {
  const { directory, ...files } = pinsAt('/sys/fs/bpf', 'eth0@7');
  assert.is(directory, '/sys/fs/bpf/xdpwho/eth0@7');
  const paths = Object.values(files);
  for (const path of paths) assert.match(path, new RegExp(`^${directory}/[a-z/]+$`));
  assert.is(new Set(paths).size, paths.length);
  assert.is(files.sourcesFile, `${directory}/sources`);
  assert.is(files.sourcesMap, `${directory}/maps/sources`);
});

paths('does not mind slashes at the end of the mount point', () => {
  assert.is(pinsRoot('/run/bpf//'), pinsRoot('/run/bpf'));
});

paths.run();

const reach = suite('unreachableDirectory');

reach('names the first directory that keeps other users out', () => {
  assert.is(unreachableDirectory('/proc/self/fd/0'), '/proc/self/fd');
  assert.is(unreachableDirectory('/usr/bin/env'), undefined);
});

reach.run();

const STATE: AttachmentState = {
  version: STATE_VERSION,
  token: '6e1e7f4e-5f3c-4a8e-9d6b-0c8b5f6f1a2b',
  interface: 'eth0',
  netns: null,
  netnsInode: 7,
  mode: null,
  programId: null,
  reader: null,
  readerNote: null,
  maxSources: 65536,
  modeAsked: 'auto',
  readerAsked: 'auto',
  fileMode: 0o400,
  log: null,
  since: '2026-11-22T10:00:00.000Z',
  holder: { pid: 1, startTicks: '5', pidNamespace: 'pid:[1]', command: 'watch' },
};

/** Runs on a plain file system: what is claimed and removed there is what bpffs can hold as well. */
function inDirectory(run: (pins: Pins) => void): void {
  const root = mkdtempSync(`${tmpdir()}/xdpwho-pins-`);
  try {
    mkdirSync(pinsRoot(root));
    run(pinsAt(root, 'eth0'));
  } finally {
    rmSync(root, { recursive: true });
  }
}

const record = suite('claim, readState and writeState');

record('give the directory to the first who claims it, and its record to everybody', () => {
  inDirectory((pins) => {
    assert.is(readState(pins), undefined);
    assert.is(claim(pins, STATE), true);
    assert.is(claim(pins, { ...STATE, token: 'another' }), false);
    assert.equal(readState(pins), STATE);
  });
});

record('put one record in the place of another', () => {
  inDirectory((pins) => {
    claim(pins, STATE);
    const whole = { ...STATE, mode: 'native', programId: 9, reader: 'dump', holder: null } as const;
    writeState(pins, whole);
    assert.equal(readState(pins), whole);
    assert.equal(readdirSync(pins.directory).sort(), ['maps', 'state']);
  });
});

record('say so of a record of another version', () => {
  inDirectory((pins) => {
    mkdirSync(pins.directory);
    symlinkSync(JSON.stringify({ ...STATE, version: STATE_VERSION + 1 }), pins.state);
    assert.throws(
      () => readState(pins),
      (error: unknown) => hasErrorCode(error, 'other-version'),
    );
  });
});

record('refuse what is no record', () => {
  const texts = [
    'no JSON',
    'null',
    '7',
    JSON.stringify({ ...STATE, programId: '9' }),
    JSON.stringify({ ...STATE, token: undefined }),
    JSON.stringify({ ...STATE, holder: 1 }),
    JSON.stringify({ ...STATE, log: undefined }),
    JSON.stringify({ ...STATE, log: {} }),
    JSON.stringify({ ...STATE, holder: { pid: '1' } }),
  ];
  for (const text of texts) {
    inDirectory((pins) => {
      mkdirSync(pins.directory);
      symlinkSync(text, pins.state);
      assert.throws(
        () => readState(pins),
        (error: unknown) => hasErrorCode(error, 'bad-object'),
      );
    });
  }
  inDirectory((pins) => {
    mkdirSync(pins.directory);
    writeFileSync(pins.state, JSON.stringify(STATE));
    assert.throws(
      () => readState(pins),
      (error: unknown) => hasErrorCode(error, 'bad-object'),
    );
  });
});

record.run();

/** The shell that removes pins for the command, the guard and the agentless script. */
const END = fileURLToPath(new URL('../../src/attachment/end.sh', import.meta.url));

function removePins(pins: Pins): void {
  const script = `. ${END}\nremove_pins "$1"\n:`;
  const { status, stderr } = spawnSync('/bin/sh', ['-c', script, 'sh', pins.directory]);
  assert.is(status, 0, String(stderr));
}

const removal = suite('remove_pins');

removal('removes everything that an attachment has, and its directory', () => {
  inDirectory((pins) => {
    claim(pins, STATE);
    const files = [pins.program, pins.sourcesFile, pins.totalsFile, pins.clock];
    for (const file of [...files, pins.sourcesMap, pins.totalsMap]) writeFileSync(file, '');
    removePins(pins);
    assert.not(pinsExist(pins));
    removePins(pins);
  });
});

removal('leaves a file that is not ours, and the directory around it', () => {
  inDirectory((pins) => {
    claim(pins, STATE);
    writeFileSync(`${pins.directory}/theirs`, '');
    removePins(pins);
    assert.equal(readdirSync(pins.directory), ['theirs']);
  });
});

removal('takes a link in the place of the directory for what it is, and spares its target', () => {
  inDirectory((pins) => {
    const target = `${pins.directory}-target`;
    mkdirSync(target);
    writeFileSync(`${target}/program`, '');
    symlinkSync(target, pins.directory);
    removePins(pins);
    assert.not(pinsExist(pins));
    assert.ok(existsSync(`${target}/program`));
  });
});

removal('takes a link in the place of a directory in it for what it is too', () => {
  inDirectory((pins) => {
    claim(pins, STATE);
    const target = `${pins.directory}-target`;
    mkdirSync(target);
    writeFileSync(`${target}/sources`, '');
    rmdirSync(pins.mapsDirectory);
    symlinkSync(target, pins.mapsDirectory);
    symlinkSync(target, pins.readersDirectory);
    removePins(pins);
    assert.not(pinsExist(pins));
    assert.ok(existsSync(`${target}/sources`));
  });
});

removal.run();
