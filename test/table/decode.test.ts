import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { addressKey } from '../../src/model/address.js';
import { hasErrorCode } from '../../src/model/errors.js';
import {
  decodeSourceEntry,
  decodeTotals,
  idleMs,
  parseSourceLines,
  parseTotalsLine,
} from '../../src/table/decode.js';
import { suite } from '../suite.js';

const U64_MAX = 2n ** 64n - 1n;

const hex = (bytes: Iterable<number>) =>
  [...bytes].map((byte) => `0x${byte.toString(16).padStart(2, '0')}`);
const u64 = (value: bigint, littleEndian = true) => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, littleEndian);
  return [...bytes];
};
const perCpu = (values: readonly (readonly bigint[])[], littleEndian = true) =>
  values.map((members, cpu) => ({
    cpu,
    value: hex(members.flatMap((member) => u64(member, littleEndian))),
  }));
const latin1 = (bytes: Uint8Array) => String.fromCharCode(...bytes);

function refuses(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    assert.ok(hasErrorCode(error, 'bad-output'), String(error));
    assert.not(error.message.includes('\n'));
    return;
  }
  assert.unreachable('it took it');
}

const lines = suite('parseSourceLines');
const line = (source: string, more = '"packets":3,"bytes":180,"idle_ms":12') =>
  `{"type":"source","interface":"eth0","source":"${source}",${more}}\n`;

lines('reads whole lines, with counters to the last digit and the present name', () => {
  const text =
    line('192.0.2.1') + line('2001:db8::1', `"packets":${U64_MAX},"bytes":0,"idle_ms":0`);
  assert.equal(parseSourceLines(text, 'renamed'), [
    {
      type: 'source',
      interface: 'renamed',
      source: '192.0.2.1',
      packets: 3n,
      bytes: 180n,
      idle_ms: 12,
    },
    {
      type: 'source',
      interface: 'renamed',
      source: '2001:db8::1',
      packets: U64_MAX,
      bytes: 0n,
      idle_ms: 0,
    },
  ]);
  assert.equal(parseSourceLines('', 'eth0'), []);
});

lines('reads lines whose interface name is escaped as JSON', () => {
  for (const name of ['a"b', 'a\\', '\u0001x', '}{","source":"']) {
    const text = line('192.0.2.1').replace('"eth0"', JSON.stringify(name));
    assert.is(parseSourceLines(text, name)[0]?.source, '192.0.2.1');
  }
});

lines('refuses whatever is no line of it', () => {
  const good = line('192.0.2.1');
  refuses(() => parseSourceLines(good.trimEnd(), 'eth0'));
  refuses(() => parseSourceLines(`${good}\n`, 'eth0'));
  refuses(() => parseSourceLines(`${good}cat: permission denied\n`, 'eth0'));
  refuses(() => parseSourceLines(line('192.0.2.1', '"packets":-3,"bytes":1,"idle_ms":1'), 'eth0'));
  refuses(() => parseSourceLines(line('192.0.2.1', '"packets":3,"bytes":1'), 'eth0'));
  refuses(() => parseSourceLines(line('not an address'), 'eth0'));
  refuses(() => parseSourceLines(good.replace('source', 'totals'), 'eth0'));
  refuses(() => parseSourceLines('x'.repeat(10_000), 'eth0'));
});

lines.run();

const totalsLine = suite('parseTotalsLine');
const totalsText =
  '{"type":"totals","interface":"e\\"th","packets":10,"bytes":640,"ipv4":4,"ipv6":3,"other":2,"malformed":1}\n';

totalsLine('reads the one line', () => {
  const expected = { bytes: 640n, ipv4: 4n, ipv6: 3n, other: 2n, malformed: 1n };
  assert.equal(parseTotalsLine(totalsText), expected);
  const largest = totalsText.replace('"bytes":640', `"bytes":${U64_MAX}`);
  assert.is(parseTotalsLine(largest).bytes, U64_MAX);
});

totalsLine('refuses two lines, none, and half a line', () => {
  for (const text of ['', totalsText + totalsText, totalsText.trimEnd(), totalsText.slice(0, 50)]) {
    refuses(() => parseTotalsLine(text));
  }
});

totalsLine.run();

const entry = suite('decodeSourceEntry');
const key = addressKey('192.0.2.7');

entry('sums the CPUs and takes the last time seen of any', () => {
  for (const littleEndian of [true, false]) {
    const values = perCpu(
      [
        [3n, 180n, 500n],
        [0n, 0n, 0n],
        [4n, 240n, 499n],
      ],
      littleEndian,
    );
    assert.equal(decodeSourceEntry({ key: hex(key), values }, littleEndian), {
      key: latin1(key),
      packets: 7n,
      bytes: 420n,
      lastSeen: 500n,
    });
  }
});

entry('reads the entry of a map with BTF, which also has a formatted part', () => {
  const values = perCpu([[1n, 60n, 9n]]);
  const formatted = { key: 1, values: [{ cpu: 0, value: { packets: 99, bytes: 99 } }] };
  const decoded = decodeSourceEntry({ key: hex(key), values, formatted }, true);
  assert.is(decoded?.packets, 1n);
});

entry('gives nothing for an element that went while it was dumped', () => {
  const gone = { key: hex(key), value: { error: 'No such file or directory' } };
  assert.is(decodeSourceEntry(gone, true), undefined);
});

entry('refuses bytes that are too few, too many or none', () => {
  const values = perCpu([[1n, 60n, 9n]]);
  const plain = { key: hex(key), value: values[0]?.value };
  const wrong: unknown[] = [
    null,
    7,
    'text',
    {},
    { error: 'Operation not permitted' },
    { key: hex(key.slice(1)), values },
    { key: hex(key), values: [] },
    { key: hex(key), values: perCpu([[1n, 60n]]) },
    { key: hex(key), values: [{ cpu: 0, value: 'text' }] },
    { key: hex(key), values: [{ cpu: 0, value: values[0]?.value.map(() => '0xzz') }] },
    { key: hex(key), values: [{ cpu: 0, value: values[0]?.value.map(() => 1) }] },
    plain,
  ];
  for (const each of wrong) refuses(() => decodeSourceEntry(each, true));
});

entry('takes any JSON without a failure of its own', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      try {
        decodeSourceEntry(value, true);
        decodeTotals([value], true);
      } catch (error) {
        assert.ok(hasErrorCode(error, 'bad-output'), String(error));
      }
    }),
  );
});

entry.run();

const totals = suite('decodeTotals');

totals('sums the CPUs of the one entry', () => {
  for (const littleEndian of [true, false]) {
    const values = perCpu(
      [
        [100n, 1n, 2n, 3n, 4n],
        [200n, 10n, 20n, 30n, 40n],
      ],
      littleEndian,
    );
    assert.equal(decodeTotals([{ key: hex([0, 0, 0, 0]), values }], littleEndian), {
      bytes: 300n,
      ipv4: 11n,
      ipv6: 22n,
      other: 33n,
      malformed: 44n,
    });
  }
});

totals('refuses an empty map', () => {
  refuses(() => decodeTotals([], true));
});

totals.run();

const idle = suite('idleMs');

idle('turns jiffies into milliseconds, over the wrap of the low 32 bits too', () => {
  assert.is(idleMs(1000n, 1250, 250), 1000);
  assert.is(idleMs(1000n, 1000, 250), 0);
  assert.is(idleMs(0x1_ffff_ffffn, 99, 100), 1000);
  assert.is(idleMs(0x5_0000_0000n, 0x8000_0000, 1000), 0x8000_0000);
  assert.is(idleMs(1n, 2, 300), 3);
});

idle('is 0 for a packet that came after the clock was read', () => {
  assert.is(idleMs(1010n, 1000, 250), 0);
  assert.is(idleMs(5n, 0xffff_fffe, 1000), 0);
});

idle.run();
