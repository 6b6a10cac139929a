import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execaSync } from 'execa';
import * as assert from 'uvu/assert';
import { findTool } from '../../src/host/tools.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { Database } from '../../src/owners/database.js';
import type { Facts } from '../../src/owners/facts.js';
import { suite } from '../suite.js';
import { type Value, writeMmdb } from './mmdb.js';

const database = suite('Database');
let scratch = '';
database.before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'xdpwho-database-'));
});
database.after(() => rmSync(scratch, { recursive: true, force: true }));

let files = 0;
function fileOf(bytes: Uint8Array): string {
  const path = join(scratch, `${files++}.mmdb`);
  writeFileSync(path, bytes);
  return path;
}

const EXAMPLE = { autonomous_system_number: 64500, autonomous_system_organization: 'Example Org' };
const OTHER = { asn: 'AS64501', as_name: 'Other', country_code: 'FR' };
const NETWORKS: readonly (readonly [string, Value])[] = [
  ['192.0.2.0/24', EXAMPLE],
  ['192.0.2.128/25', OTHER],
  ['2001:db8::/32', EXAMPLE],
  ['2001:db8:1::/48', { country: { iso_code: 'DE' } }],
];

for (const recordSize of [24, 28, 32] as const) {
  database(`finds the longest network, in nodes of two halves of ${recordSize} bits`, () => {
    const path = fileOf(writeMmdb(NETWORKS, { recordSize }));
    const opened = Database.open(path);
    const example = { asn: 64500, as_name: 'Example Org' };
    const expected: readonly (readonly [string, Facts])[] = [
      ['192.0.2.1', example],
      ['192.0.2.127', example],
      ['192.0.2.128', { asn: 64501, as_name: 'Other', country: 'FR' }],
      ['192.0.3.0', {}],
      ['0.0.0.0', {}],
      ['255.255.255.255', {}],
      ['2001:db8::1', example],
      ['2001:db8:1::1', { country: 'DE' }],
      ['2001:db9::', {}],
      ['::', {}],
    ];
    for (const [address, facts] of expected) assert.equal(opened.lookUp(address), facts, address);
    assert.is(opened.lookUp('192.0.2.1'), opened.lookUp('192.0.2.2'), 'one object for a record');
    if (findTool('mmdblookup') === undefined) return;
    for (const [address, facts] of expected) assert.equal(reference(path, address), facts, address);
  });
}

database('a tree of IPv4 addresses says nothing of IPv6', () => {
  const opened = Database.open(fileOf(writeMmdb([['32.0.0.0/8', OTHER]], { ipVersion: 4 })));
  assert.is(opened.lookUp('32.1.13.184').asn, 64501);
  // 2001:db8:: begins with the bits of 32.1.13.184.
  assert.equal(opened.lookUp('2001:db8::1'), {});
});

database('a file that is replaced is another one, and one that is away is not yet', () => {
  const path = fileOf(writeMmdb(NETWORKS));
  const opened = Database.open(path);
  assert.not(opened.isReplaced());
  const other = fileOf(writeMmdb([['192.0.2.0/24', OTHER]]));
  rmSync(path);
  assert.not(opened.isReplaced());
  renameSync(other, path);
  assert.ok(opened.isReplaced());
  assert.is(opened.lookUp('192.0.2.1').asn, 64500, 'what was read stays');
  assert.is(Database.open(path).lookUp('192.0.2.1').asn, 64501);
});

const whole = writeMmdb(NETWORKS);
const UNUSABLE: readonly (readonly [what: string, bytes: Buffer, message: RegExp])[] = [
  ['empty', Buffer.alloc(0), /no MaxMind DB, or one that is cut short/],
  ['text', Buffer.from('192.0.2.0/24 office\n'), /no MaxMind DB, or one that is cut short/],
  ['cut behind the tree', whole.subarray(0, whole.length / 2), /cut short/],
  ['cut in the metadata', whole.subarray(0, whole.length - 20), /broken/],
  [
    'cut out of the middle',
    Buffer.concat([whole.subarray(0, 200), whole.subarray(300)]),
    /cut short|broken/,
  ],
  [
    'of another kind',
    writeMmdb([['192.0.2.0/24', { city: { names: { en: 'X' } } }]], {
      type: 'Test-\u001b[31mCity',
    }),
    /a database of another kind \(Test-[ -~]*City\): no owner and no country in it/,
  ],
  ['without a network', writeMmdb([]), /another kind/],
];

for (const [what, bytes, message] of UNUSABLE) {
  database(`a file that is ${what} is one line with its name`, () => {
    const path = fileOf(bytes);
    refused(path, message);
  });
}

database('so is one that there is not, a directory, and a FIFO', () => {
  refused(join(scratch, 'none.mmdb'), /: no such file$/);
  refused(scratch, /: no regular file$/);
  execaSync('mkfifo', [join(scratch, 'fifo.mmdb')]);
  // To open a FIFO waits for a writer.
  refused(join(scratch, 'fifo.mmdb'), /: no regular file$/);
});

function refused(path: string, message: RegExp): void {
  try {
    Database.open(path);
  } catch (error) {
    assert.ok(hasErrorCode(error, 'bad-database'), String(error));
    assert.ok(error.message.startsWith(`${path}: `), error.message);
    assert.match(error.message, message);
    assert.is(error.message.split('\n').length, 1);
    return;
  }
  assert.unreachable(path);
}

/** A pointer of 32 bits into the data (the format, "pointer"). */
function pointerTo(position: number): Buffer {
  const bytes = Buffer.from([0x38, 0, 0, 0, 0]);
  bytes.writeUInt32BE(position, 1);
  return bytes;
}

/** A file whose only record is `data`. */
function fileWithData(data: Buffer): string {
  const marker = 'x'.repeat(28);
  const bytes = writeMmdb([['192.0.2.0/24', marker]]);
  const at = bytes.indexOf(marker) - 1;
  return fileOf(Buffer.concat([bytes.subarray(0, at), data, bytes.subarray(at + 29)]));
}

const key = Buffer.from([0x41, 0x61]);
const CIRCLES: readonly (readonly [what: string, data: Buffer])[] = [
  ['a pointer to itself', pointerTo(0)],
  ['two pointers to each other', Buffer.concat([pointerTo(5), pointerTo(0)])],
  ['a map that holds itself', Buffer.concat([Buffer.from([0xe1]), key, pointerTo(0)])],
  ['a pointer out of the file', pointerTo(0x7fffffff)],
  ['a map of 16,000,000 members', Buffer.from([0xff, 0xff, 0xff, 0xff])],
  ['an array of 16,000,000 elements', Buffer.from([0x1f, 0x04, 0xff, 0xff, 0xff])],
  [
    // Each of 400 arrays holds the next one 200 times.
    'arrays of arrays',
    Buffer.concat([
      ...Array.from({ length: 400 }, (_, index) => {
        const elements = Array.from({ length: 200 }, () => pointerTo((index + 1) * 1003));
        return Buffer.concat([Buffer.from([0x1d, 0x04, 200 - 29]), ...elements]);
      }),
      key,
    ]),
  ],
];

for (const [what, data] of CIRCLES) {
  database(`${what} is an answer or an error, and soon`, () => {
    const startMs = performance.now();
    answerOrError(fileWithData(data));
    assert.ok(performance.now() - startMs < 10_000, 'it hung');
  });
}

/** Opens a file and asks it for addresses. Whatever is thrown must be ours. Returns whether all went well. */
function answerOrError(path: string): boolean {
  try {
    const opened = Database.open(path);
    for (const address of [
      '192.0.2.1',
      '192.0.2.200',
      '10.1.2.3',
      '2001:db8::1',
      '2001:db8:1::',
      '::',
    ]) {
      const { asn, as_name, country, ...rest } = opened.lookUp(address);
      assert.equal(rest, {});
      assert.ok(asn === undefined || (Number.isInteger(asn) && asn > 0 && asn < 2 ** 32));
      assert.ok(as_name === undefined || (as_name.length > 0 && as_name.length <= 200));
      assert.ok(country === undefined || /^[A-Z]{2}$/.test(country));
    }
    return true;
  } catch (error) {
    assert.ok(hasErrorCode(error, 'bad-database'), String(error));
    assert.ok(error.message.startsWith(path));
    return false;
  }
}

database('20,000 files that are cut or have wrong bits: an answer, or an error of ours', () => {
  let seed = 12345;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  const path = fileOf(whole);
  const counts = { answers: 0, errors: 0 };
  for (let round = 0; round < 20_000; round++) {
    const bytes = Buffer.from(whole);
    for (let flips = random(4); flips >= 0; flips--) {
      const at = random(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    }
    const cut = random(3) === 0 ? bytes.subarray(random(bytes.length)) : bytes;
    writeFileSync(path, random(5) === 0 ? cut.subarray(0, random(cut.length)) : cut);
    const startMs = performance.now();
    counts[answerOrError(path) ? 'answers' : 'errors']++;
    assert.ok(performance.now() - startMs < 10_000, `round ${round} hung`);
  }
  assert.ok(counts.answers > 1000 && counts.errors > 1000, JSON.stringify(counts));
});

const REAL = join(
  dirname(
    createRequire(import.meta.url).resolve(
      '@ip-location-db/geo-whois-asn-country-mmdb/package.json',
    ),
  ),
  'geo-whois-asn-country.mmdb',
);

database('10,000 addresses in a real database: each as mmdblookup says', () => {
  if (findTool('mmdblookup') === undefined) return;
  const opened = Database.open(REAL);
  let seed = 7;
  const word = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed >>> 16;
  };
  const addresses = Array.from({ length: 10_000 }, (_, index) =>
    index % 2 === 0
      ? [word(), word()].map((each) => `${each >> 8}.${each & 255}`).join('.')
      : `2${(word() & 0xfff).toString(16).padStart(3, '0')}:${word().toString(16)}:${word().toString(16)}::1`,
  );
  const answers = referenceOfAll(REAL, addresses);
  let known = 0;
  for (const [index, address] of addresses.entries()) {
    const facts = opened.lookUp(address);
    if (facts.country !== undefined) known++;
    assert.equal(facts, answers[index], address);
  }
  assert.ok(known > 3000, `${known} of them are known`);
});

/** What mmdblookup of libmaxminddb prints of the fields that the tests use. */
function factsInText(text: string): Facts {
  const textOf = (name: string) => new RegExp(`"${name}":\\s+"([^"]*)"`).exec(text)?.[1];
  const asn = /"autonomous_system_number":\s+(\d+)/.exec(text)?.[1] ?? textOf('asn')?.slice(2);
  const name = textOf('autonomous_system_organization') ?? textOf('as_name');
  const country = textOf('iso_code') ?? textOf('country_code');
  return {
    ...(asn === undefined ? {} : { asn: Number(asn) }),
    ...(name === undefined ? {} : { as_name: name }),
    ...(country === undefined ? {} : { country }),
  };
}

function reference(path: string, address: string): Facts {
  const { stdout } = execaSync('mmdblookup', ['--file', path, '--ip', address], { reject: false });
  return factsInText(stdout);
}

/** One shell for all: to start mmdblookup from Node takes three times as long. */
function referenceOfAll(path: string, addresses: readonly string[]): Facts[] {
  const script = 'while read -r ip; do mmdblookup --file "$1" --ip "$ip" 2>&1; echo =; done';
  const { stdout } = execaSync('sh', ['-c', script, 'sh', path], {
    input: `${addresses.join('\n')}\n`,
    maxBuffer: 1e8,
  });
  return stdout.split('=').map(factsInText);
}

database.run();
