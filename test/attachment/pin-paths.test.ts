import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { parsePinName, pinName, pinsAt } from '../../src/attachment/pin-paths.js';
import { pinsRoot } from '../../src/host/bpffs.js';
import type { Direction } from '../../src/model/records.js';
import { suite } from '../suite.js';

/** What the kernel takes as an interface's name (net/core/dev.c dev_valid_name). */
const interfaceName = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 15 })
  .filter(
    (name) =>
      Buffer.byteLength(name) < 16 && name !== '.' && name !== '..' && !/[/:\s\0]/.test(name),
  );
const inode = fc.option(fc.integer({ min: 0, max: 0xffff_ffff }));
const direction = fc.constantFrom<Direction>('received', 'sent');
const attachment = fc.tuple(interfaceName, inode, direction);

const names = suite('pinName');

names('keeps usual names as they are and encodes every other byte', () => {
  assert.is(pinName('eth0', null), 'eth0');
  assert.is(pinName('br-lan_2', null), 'br-lan_2');
  assert.is(pinName('eth0', null, 'sent'), 'eth0+sent');
  assert.is(pinName('a+sent', 7, 'sent'), 'a%2bsent+sent@7');
  assert.is(pinName('eth0.100', null), 'eth0%2e100');
  assert.is(pinName('a@b', 7), 'a%40b@7');
  assert.is(pinName('100%', null), '100%25');
  assert.is(pinName('ü', 4026531840), '%c3%bc@4026531840');
});

names('gives what bpffs takes as the name of one directory, for every interface', () => {
  fc.assert(
    fc.property(attachment, (parts) => {
      assert.match(pinName(...parts), /^[\w@%+-]{1,255}$/);
    }),
  );
});

names('is undone by parsePinName', () => {
  fc.assert(
    fc.property(interfaceName, inode, direction, (name, netnsInode, sent) => {
      const parsed = parsePinName(pinName(name, netnsInode, sent));
      assert.equal(parsed, { interface: name, netnsInode, direction: sent });
    }),
  );
});

names('tells interfaces and namespaces apart', () => {
  fc.assert(
    fc.property(attachment, attachment, (one, two) => {
      const same = one.every((part, index) => part === two[index]);
      assert.is(pinName(...one) === pinName(...two), same);
    }),
  );
});

names('parsePinName takes nothing that pinName never gives', () => {
  for (const name of [
    '',
    '@7',
    'eth0@',
    'eth0@x',
    'eth0@1@2',
    'a+b',
    'a@7+sent',
    'a+sent+sent',
    'a.b',
    'a%2',
    'a%2E',
    'a b',
    '..',
  ]) {
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
