import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { addressKey } from '../../src/model/address.js';
import { groupOf } from '../../src/model/grouping.js';
import { groupingOf, Owners } from '../../src/owners/owners.js';
import { suite } from '../suite.js';
import { type Value, writeMmdb } from './mmdb.js';

const test = suite('Owners');
let scratch = '';
test.before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'xdpwho-owners-'));
});
test.after(() => rmSync(scratch, { recursive: true, force: true }));

function database(name: string, networks: readonly (readonly [string, Value])[]): string {
  const path = join(scratch, name);
  writeFileSync(path, writeMmdb(networks));
  return path;
}

function open(geo: readonly string[], networks?: string): Owners {
  const owners = Owners.open({ geo, networks });
  assert.ok(owners);
  return owners;
}

test('the first file counts; the number and the name of a system are of one file', () => {
  const one = database('one', [['192.0.2.0/24', { asn: 'AS1', country_code: 'DE' }]]);
  const two = database('two', [
    ['192.0.0.0/16', { asn: 'AS2', as_name: 'Two', country_code: 'FR' }],
    ['198.51.100.0/24', { as_name: 'Nameless' }],
  ]);
  const owners = open([one, two]);
  assert.equal(owners.of('192.0.2.1'), { asn: 1, country: 'DE' });
  assert.equal(owners.of('192.0.3.1'), { asn: 2, as_name: 'Two', country: 'FR' });
  assert.equal(owners.of('198.51.100.1'), { as_name: 'Nameless' });
  assert.equal(owners.of('2001:db8::1'), {});
  assert.is(owners.of('192.0.2.1'), owners.of('192.0.2.2'), 'one object for the same two records');
  assert.equal(open([two, one]).of('192.0.2.1'), { asn: 2, as_name: 'Two', country: 'FR' });
});

test('nothing to learn from is no object, and sums need a file', () => {
  assert.is(Owners.open({ geo: [] }), undefined);
  assert.throws(() => groupingOf('owner', undefined), /--group owner: no database of owners/);
  const file = join(scratch, 'only-networks');
  writeFileSync(file, '192.0.2.0/24 office\n');
  assert.throws(() => open([], file).grouping('country'), /--group country: no database/);
  assert.is(groupOf('192.0.2.9', open([], file).grouping('network')), 'office');
});

test('labels that begin alike are groups of their own, and sort by their label', () => {
  const file = join(scratch, 'alike');
  writeFileSync(
    file,
    '192.0.2.0/24 a-long-common-beginning-2\n198.51.100.0/24 a-long-common-beginning-1\n203.0.113.0/24 b\n',
  );
  const grouping = open([], file).grouping('network');
  const keyOf = (address: string) => {
    const key = addressKey(address);
    grouping.toGroup(key, 0);
    return Buffer.from(key);
  };
  const first = keyOf('192.0.2.1');
  assert.ok(first.equals(keyOf('192.0.2.200')));
  assert.not(first.equals(keyOf('198.51.100.1')));
  assert.ok(Buffer.compare(first, keyOf('203.0.113.1')) < 0);
  assert.ok(Buffer.compare(keyOf('203.0.113.1'), keyOf('2001:db8::1')) < 0, 'unknown is last');
  assert.equal(grouping.nameAt(keyOf('198.51.100.1'), 0), {
    source: 'a-long-common-beginning-1',
    network: 'a-long-common-beginning-1',
  });
});

test('systems sort by their number', () => {
  const owners = open([
    database('systems', [
      ['192.0.2.0/24', { asn: 'AS4200000000', as_name: 'Large' }],
      ['198.51.100.0/24', { asn: 'AS64500' }],
    ]),
  ]);
  const grouping = owners.grouping('owner');
  const keys = ['192.0.2.1', '198.51.100.1', '203.0.113.1'].map((address) => {
    const key = addressKey(address);
    grouping.toGroup(key, 0);
    return Buffer.from(key);
  });
  const [large = Buffer.alloc(0), small = Buffer.alloc(0), unknown = Buffer.alloc(0)] = keys;
  assert.ok(Buffer.compare(small, large) < 0 && Buffer.compare(large, unknown) < 0);
  assert.equal(grouping.nameAt(small, 0), { source: 'AS64500', asn: 64500 });
});

test('files are read anew; what is wrong with a new one is told once, and the old one is used', async () => {
  const path = database('replaced', [['192.0.2.0/24', { asn: 'AS1' }]]);
  const file = join(scratch, 'replaced-networks');
  writeFileSync(file, '192.0.2.0/24 office\n');
  const owners = open([path], file);
  assert.equal(owners.of('192.0.2.1'), { asn: 1, network: 'office' });
  writeFileSync(path, 'half a fi');
  writeFileSync(file, '192.0.2.0/24\n');
  assert.equal(owners.refresh(), [], 'not at each call');
  await sleep(1100);
  const notes = owners.refresh();
  assert.is(notes.length, 2);
  assert.match(notes[0] ?? '', /replaced: no MaxMind DB.*; what was read before is used on$/);
  assert.match(notes[1] ?? '', /replaced-networks: line 1: .*a label is missing; what was read/);
  assert.equal(owners.of('192.0.2.1'), { asn: 1, network: 'office' });
  await sleep(1100);
  assert.equal(owners.refresh(), []);
  database('replaced', [['192.0.2.0/24', { asn: 'AS2' }]]);
  writeFileSync(file, '192.0.2.0/24 lab\n');
  await sleep(1100);
  assert.equal(owners.refresh(), []);
  assert.equal(owners.of('192.0.2.1'), { asn: 2, network: 'lab' });
  rmSync(path);
  rmSync(file);
  await sleep(1100);
  assert.equal(owners.refresh(), []);
  assert.equal(owners.of('192.0.2.1'), { asn: 2, network: 'lab' });
});

test.run();
