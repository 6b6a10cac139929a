import { readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { arpFrame, udpFrame } from '../../src/model/frames.js';
import { propertyOf } from '../../src/model/json-values.js';
import { suite } from '../suite.js';
import { READERS, USUAL_READER, withIterator } from './iterators.js';
import { type JsonRecord, Lab, lastReading, recordsIn, type Started, WHY_NOT } from './lab.js';

/** Frames to send, and what has to be counted of them. */
interface Batch {
  readonly what: string;
  readonly frame: Uint8Array;
  readonly count: number;
  readonly class: 'ipv4' | 'ipv6' | 'other' | 'malformed';
  /** Of IPv4 and IPv6. */
  readonly source?: string;
  /** Sent cut to this length, or filled up with zeros. */
  readonly length?: number;
  /** A bridge drops it. */
  readonly directOnly?: boolean;
}

const ETHERNET = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

function withTags(frame: Uint8Array, tags: readonly (readonly number[])[]): Uint8Array {
  return Uint8Array.from([...frame.subarray(0, 12), ...tags.flat(), ...frame.subarray(12)]);
}

/** A frame of this Ethernet type, zeros behind it. */
function frameOfType(type: readonly number[], length = 64): Uint8Array {
  const frame = new Uint8Array(length);
  frame.set([...ETHERNET, ...type]);
  return frame;
}

function changed(frame: Uint8Array, at: number, bytes: readonly number[]): Uint8Array {
  const copy = Uint8Array.from(frame);
  copy.set(bytes, at);
  return copy;
}

/** IPv6 with a hop-by-hop header and destination options between its header and UDP. */
function withExtensions(source: string): Uint8Array {
  const frame = udpFrame({ source, length: 100 });
  return changed(changed(frame, 20, [0]), 54, [
    ...[60, 0, 1, 4, 0, 0, 0, 0],
    ...[17, 0, 1, 4, 0, 0, 0, 0],
  ]);
}

const VLAN = [0x81, 0x00, 0x00, 0x05];
const SERVICE_VLAN = [0x88, 0xa8, 0x00, 0x06];
const IPV4 = udpFrame({ source: '192.0.2.1' });
const IPV6 = udpFrame({ source: '2001:db8::1' });

const lengths = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

const BATCHES: readonly Batch[] = [
  { what: 'IPv4', frame: IPV4, count: 300, class: 'ipv4', source: '192.0.2.1' },
  {
    what: 'IPv4, large',
    frame: udpFrame({ source: '192.0.2.2', length: 1514 }),
    count: 17,
    class: 'ipv4',
    source: '192.0.2.2',
  },
  {
    what: 'IPv4 with options',
    frame: changed(udpFrame({ source: '192.0.2.3' }), 14, [0x46]),
    count: 3,
    class: 'ipv4',
    source: '192.0.2.3',
  },
  {
    what: 'IPv4, nothing behind its header',
    frame: udpFrame({ source: '192.0.2.4' }),
    length: 34,
    count: 4,
    class: 'ipv4',
    source: '192.0.2.4',
  },
  { what: 'IPv6', frame: IPV6, count: 200, class: 'ipv6', source: '2001:db8::1' },
  {
    what: 'IPv6 with extension headers',
    frame: withExtensions('2001:db8::2'),
    count: 6,
    class: 'ipv6',
    source: '2001:db8::2',
  },
  {
    what: 'IPv4, one tag',
    frame: withTags(udpFrame({ source: '198.51.100.1' }), [VLAN]),
    count: 7,
    class: 'ipv4',
    source: '198.51.100.1',
  },
  {
    what: 'IPv4, two tags',
    frame: withTags(udpFrame({ source: '198.51.100.2' }), [SERVICE_VLAN, VLAN]),
    count: 8,
    class: 'ipv4',
    source: '198.51.100.2',
  },
  {
    what: 'IPv6, one tag',
    frame: withTags(udpFrame({ source: '2001:db8::3' }), [VLAN]),
    count: 9,
    class: 'ipv6',
    source: '2001:db8::3',
  },
  {
    what: 'IPv6, two tags',
    frame: withTags(udpFrame({ source: '2001:db8::4' }), [VLAN, VLAN]),
    count: 10,
    class: 'ipv6',
    source: '2001:db8::4',
  },
  {
    what: 'IPv4, three tags',
    frame: withTags(IPV4, [SERVICE_VLAN, VLAN, VLAN]),
    count: 11,
    class: 'other',
  },
  { what: 'ARP', frame: arpFrame(), count: 12, class: 'other' },
  { what: 'a length for a type (802.3)', frame: frameOfType([0, 46]), count: 2, class: 'other' },
  { what: 'IPv4 of version 5', frame: changed(IPV4, 14, [0x55]), count: 2, class: 'malformed' },
  {
    what: 'IPv4 with a header of 16 bytes',
    frame: changed(IPV4, 14, [0x44]),
    count: 2,
    class: 'malformed',
  },
  { what: 'IPv6 of version 4', frame: changed(IPV6, 14, [0x40]), count: 2, class: 'malformed' },
  ...lengths(14, 33).flatMap((length): Batch[] => [
    { what: `IPv4 of ${length} bytes`, frame: IPV4, length, count: 1, class: 'malformed' },
    { what: `IPv6 of ${length} bytes`, frame: IPV6, length, count: 1, class: 'malformed' },
    { what: `ARP of ${length} bytes`, frame: arpFrame(), length, count: 1, class: 'other' },
  ]),
  { what: 'IPv6, one byte short', frame: IPV6, length: 53, count: 1, class: 'malformed' },
  {
    what: 'one tag, cut',
    frame: withTags(IPV4, [VLAN]),
    length: 17,
    count: 1,
    class: 'malformed',
    directOnly: true,
  },
  {
    what: 'two tags, nothing behind',
    frame: withTags(IPV4, [VLAN, VLAN]),
    length: 22,
    count: 1,
    class: 'malformed',
  },
];

/** A table that has more than a few: 40 addresses of each family. */
const MANY = 40;
const MANY_COUNT = 4 * MANY;
const MANY_FRAMES = [
  { first: '198.18.0.0', frame: udpFrame({ source: '198.18.0.0' }) },
  { first: '2001:db8:5::', frame: udpFrame({ source: '2001:db8:5::', length: 200 }) },
];

interface Expected {
  readonly packets: Record<string, number>;
  readonly bytes: Record<string, number>;
  readonly totals: Record<string, number>;
}

type Way = 'direct' | 'bridged';

const batchesFor = (way: Way) =>
  BATCHES.filter((batch) => way === 'direct' || batch.directOnly !== true);

function expected(way: Way): Expected {
  const packets: Record<string, number> = {};
  const bytes: Record<string, number> = {};
  const totals = { packets: 0, bytes: 0, ipv4: 0, ipv6: 0, other: 0, malformed: 0, untracked: 0 };
  for (const batch of batchesFor(way)) {
    const length = (batch.length ?? batch.frame.length) * batch.count;
    totals.packets += batch.count;
    totals.bytes += length;
    totals[batch.class] += batch.count;
    if (batch.source === undefined) continue;
    packets[batch.source] = batch.count;
    bytes[batch.source] = length;
  }
  for (const { frame } of MANY_FRAMES) {
    const ipv6 = frame[12] === 0x86;
    totals.packets += MANY_COUNT;
    totals.bytes += MANY_COUNT * frame.length;
    totals[ipv6 ? 'ipv6' : 'ipv4'] += MANY_COUNT;
    for (let host = 0; host < MANY; host++) {
      const number = host === 0 ? '' : host.toString(16);
      const source = ipv6 ? `2001:db8:5::${number}` : `198.18.0.${host}`;
      packets[source] = MANY_COUNT / MANY;
      bytes[source] = (MANY_COUNT / MANY) * frame.length;
    }
  }
  return { packets, bytes, totals: { ...totals, sources: Object.keys(packets).length } };
}

/**
 * A bridge takes the outermost tag out of the frame, as many cards do, before a program sees it: on
 * that way such frames get one more.
 */
async function sendAll(lab: Lab, way: Way): Promise<number> {
  let sent = 0;
  for (const { frame, count, length } of batchesFor(way)) {
    const tagged = frame[12] === 0x81 || frame[12] === 0x88;
    const hidden = way === 'bridged' && tagged;
    await lab.send(hidden ? withTags(frame, [SERVICE_VLAN]) : frame, count, {
      ...(length === undefined ? {} : { length: hidden ? length + 4 : length }),
    });
    sent += count;
  }
  for (const { frame } of MANY_FRAMES) {
    await lab.send(frame, MANY_COUNT, { sources: MANY });
    sent += MANY_COUNT;
  }
  return sent;
}

/** Ends it when it has counted that many packets (or says, in its last reading, how many it has). */
async function endAfter(lab: Lab, run: Started, packets: number): Promise<void> {
  await lab
    .until(() => {
      const { totals } = lastReading(recordsIn(wholeLines(run.stdout)));
      return Number(totals?.packets ?? 0) >= packets;
    }, `${packets} packets`)
    .catch(() => {});
  run.child.kill('SIGINT');
  const { exitCode } = await run.ended();
  assert.is(exitCode, 130, run.stderr);
}

const wholeLines = (text: string) => text.slice(0, text.lastIndexOf('\n') + 1);

const exactness = suite<{ direct: Lab; bridged: Lab }>('watch counts exactly', WHY_NOT);

exactness.before(async (context) => {
  [context.direct, context.bridged] = await Promise.all([
    Lab.create(),
    Lab.create({ bridged: true }),
  ]);
});
exactness.after(async ({ direct, bridged }) => {
  await direct?.close();
  await bridged?.close();
});

for (const mode of ['native', 'generic'] as const) {
  for (const reader of READERS) {
    exactness(`every frame in ${mode} mode, read by ${reader}`, async ({ direct, bridged }) => {
      const way = mode === 'native' ? 'direct' : 'bridged';
      const lab = way === 'direct' ? direct : bridged;
      const args = ['--mode', mode, '--reader', reader, '--interval', '300ms', '-o', 'ndjson'];
      const run = lab.start(['watch', lab.device, ...args]);
      await run.says(/attached in/);
      await sendAll(lab, way);
      const { totals, packets, bytes } = expected(way);
      await endAfter(lab, run, totals.packets ?? 0);

      const records = recordsIn(run.stdout);
      const last = lastReading(records);
      assert.equal(last.packets, packets);
      assert.equal(last.bytes, bytes);
      for (const [name, value] of Object.entries(totals)) {
        assert.is(last.totals?.[name], value, name);
      }
      assert.is(records[0]?.mode, mode);
      assert.is(records[0]?.reader, reader);
      await lab.untilNothingLeft();
    });
  }
}

exactness('every frame by the program of kernels before 5.18', async ({ direct: lab }) => {
  const bpftool = `${lab.scratch}/bpftool-5.17`;
  writeFileSync(
    bpftool,
    `#!/bin/sh
case "$*" in
  *'prog load'*xdpwho.frags.o*)
    echo '{"error":"failed to load object file"}'
    echo "libbpf: prog 'xdpwho': BPF program load failed: Invalid argument" >&2
    exit 255 ;;
esac
exec '${lab.bpftool.path}' "$@"
`,
    { mode: 0o755 },
  );
  const args = ['--bpftool', bpftool, '--interval', '300ms', '-o', 'ndjson'];
  const run = lab.start(['watch', lab.device, ...args]);
  await run.says(/attached in native mode/);
  await sendAll(lab, 'direct');
  const { totals, packets, bytes } = expected('direct');
  await endAfter(lab, run, totals.packets ?? 0);
  const last = lastReading(recordsIn(run.stdout));
  assert.equal(last.packets, packets);
  assert.equal(last.bytes, bytes);
  assert.is(last.totals?.malformed, totals.malformed);
});

exactness('and delivers every frame to the stack, whatever it is', async ({ bridged: lab }) => {
  for (const mode of ['native', 'generic'] as const) {
    const run = lab.start(['watch', lab.device, '--mode', mode, '--interval', '60s']);
    await run.says(/attached in/);
    const before = await lab.countDelivered();
    const sent = await sendAll(lab, 'bridged');
    await lab.until(async () => (await lab.countDelivered()) - before >= sent, `${sent} delivered`);
    assert.is((await lab.countDelivered()) - before, sent);
    run.child.kill('SIGINT');
    await run.ended();
  }
});

exactness('a full table evicts, and what it lost is untracked', async ({ direct: lab }) => {
  const args = ['--max-sources', '64', '--interval', '60s', '-o', 'ndjson'];
  const run = lab.start(['watch', lab.device, ...args]);
  await run.says(/up to 64 sources/);
  await lab.send(udpFrame({ source: '198.18.0.0' }), 512, { sources: 256 });
  run.child.kill('SIGINT');
  await run.ended();
  const { totals, packets } = lastReading(recordsIn(run.stdout));
  const tracked = Object.values(packets).reduce((sum: number, each) => sum + Number(each), 0);
  assert.ok(Object.keys(packets).length <= 64);
  assert.is(totals?.ipv4, 512);
  assert.is(totals?.untracked, 512 - tracked);
  assert.ok(tracked > 0);
});

exactness.run();

/** The exact keys of each record, in their order. */
const KEYS: Readonly<Record<string, readonly string[]>> = {
  attached: ['type', 'interface', 'netns', 'mode', 'program_id', 'held_by', 'reader', 'file'],
  source: ['type', 'interface', 'source', 'packets', 'bytes', 'idle_ms'],
  totals: [
    ...['type', 'interface', 'sources', 'packets', 'bytes', 'ipv4', 'ipv6', 'other', 'malformed'],
    ...['untracked', 'time'],
  ],
  detached: ['type', 'interface', 'program_id'],
  error: ['type', 'code', 'message', 'hint'],
};
const RATES = ['packets_per_second', 'bytes_per_second'];

function hasDocumentedKeys(record: JsonRecord, rates: boolean): void {
  const keys = KEYS[record.type] ?? [];
  const rated = rates && (record.type === 'source' || record.type === 'totals');
  assert.equal(Object.keys(record), rated ? [...keys, ...RATES] : keys, record.type);
}

const output = suite<{ lab: Lab }>('watch prints', WHY_NOT);

/** Packets and bytes differ in their order; so does the address. */
const TALKERS = [
  { source: '192.0.2.10', frames: 30, length: 100 },
  { source: '192.0.2.9', frames: 20, length: 1000 },
  { source: '2001:db8::9', frames: 40, length: 90 },
  { source: '198.51.100.1', frames: 10, length: 64 },
];

output.before(async (context) => {
  context.lab = await Lab.create();
});
output.after(async ({ lab }) => {
  await lab?.close();
});

output('records with exactly the documented keys, from attached to detached', async ({ lab }) => {
  const run = lab.start(['watch', lab.device, '-o', 'ndjson', '--interval', '100ms']);
  await run.says(/attached in/);
  await lab.send(IPV4, 5);
  await endAfter(lab, run, 5);
  const records = recordsIn(run.stdout);
  for (const record of records) hasDocumentedKeys(record, true);
  assert.equal([...new Set(records.map((record) => record.type))].sort(), [
    ...['attached', 'detached', 'source', 'totals'],
  ]);
  const [first] = records;
  const last = records.at(-1);
  assert.is(first?.type, 'attached');
  assert.is(first?.netns, lab.netns);
  const file = USUAL_READER === 'iterator' ? `^${lab.bpffs}/xdpwho/[^/]+/sources$` : '^null$';
  assert.match(String(first?.file), new RegExp(file));
  assert.is(last?.type, 'detached');
  assert.is(last?.program_id, first?.program_id);

  const dumped = await lab.run([
    ...['watch', lab.device, '--reader', 'dump', '-o', 'ndjson', '--count', '1'],
    ...['--interval', '100ms'],
  ]);
  assert.is(recordsIn(dumped.stdout)[0]?.file, null);
  const failed = await lab.run(['watch', 'nosuch0', '-o', 'ndjson']);
  for (const record of recordsIn(failed.stdout)) hasDocumentedKeys(record, false);
  assert.is(recordsIn(failed.stdout).length, 1);
});

withIterator(output)(
  'the file of the attached record, which prints the same to anybody',
  async ({ lab }) => {
    const run = lab.start(['watch', lab.device, '-o', 'ndjson', '--interval', '100ms']);
    await run.says(/attached in/);
    await lab.send(IPV4, 5);
    const [attached] = recordsIn(wholeLines(run.stdout));
    const records = recordsIn(readFileSync(String(attached?.file), 'utf8'));
    assert.is(records.length, 1);
    for (const record of records) hasDocumentedKeys(record, false);
    await endAfter(lab, run, 5);
    assert.equal(lastReading([...records, { type: 'totals' }]).packets, { '192.0.2.1': 5 });
  },
);

output('the age of a source, which grows until it sends again', async ({ lab }) => {
  for (const reader of READERS) {
    const run = lab.start([
      ...['watch', lab.device, '--reader', reader, '-o', 'ndjson', '--interval', '100ms'],
    ]);
    await run.says(/attached in/);
    const sourcesOf = (name: string) =>
      recordsIn(wholeLines(run.stdout)).filter((record) => record.source === name);
    const readings = async (name: string, count: number) => {
      const seen = sourcesOf(name).length;
      await lab.until(() => sourcesOf(name).length >= seen + count, `${count} readings of ${name}`);
    };
    await lab.send(udpFrame({ source: '192.0.2.1' }), 1);
    await readings('192.0.2.1', 3);
    await lab.send(udpFrame({ source: '192.0.2.2' }), 1);
    await readings('192.0.2.2', 3);
    const quiet = sourcesOf('192.0.2.1').map((record) => Number(record.idle_ms));
    await lab.send(udpFrame({ source: '192.0.2.1' }), 1);
    await readings('192.0.2.1', 2);
    run.child.kill('SIGINT');
    await run.ended();

    assert.equal(
      quiet,
      [...quiet].sort((a, b) => a - b),
      'it never goes back',
    );
    assert.ok(quiet.every((each) => Number.isInteger(each) && each >= 0));
    assert.ok((quiet.at(-1) ?? 0) > (quiet[0] ?? 0));
    const records = recordsIn(run.stdout);
    const again = records.find((each) => each.source === '192.0.2.1' && each.packets === 2);
    assert.ok(Number(again?.idle_ms) < (quiet.at(-1) ?? 0), 'it has sent again');
    const [other] = records.filter((each) => each.source === '192.0.2.2');
    assert.ok(Number(other?.idle_ms) < (quiet.at(-1) ?? 0), 'the later one is the younger');
  }
});

output('rates that are there while packets come and 0 when they have stopped', async ({ lab }) => {
  const run = lab.start(['watch', lab.device, '-o', 'ndjson', '--interval', '200ms']);
  await run.says(/attached in/);
  await lab.send(udpFrame({ source: '192.0.2.1', length: 200 }), 100);
  const own = () => recordsIn(wholeLines(run.stdout)).filter((each) => each.type === 'source');
  await lab.until(() => own().length >= 3, 'three readings');
  run.child.kill('SIGINT');
  await run.ended();
  const rates = own().map((each) => Number(each.packets_per_second));
  const byteRates = own().map((each) => Number(each.bytes_per_second));
  assert.ok((rates[0] ?? 0) > 0);
  assert.equal(rates.slice(1), rates.slice(1).fill(0));
  // One decimal each.
  assert.ok(Math.abs((byteRates[0] ?? 0) / (rates[0] ?? 1) - 200) < 1);
});

output('as many readings as --count says, and ends by itself', async ({ lab }) => {
  const args = ['-o', 'ndjson', '--interval', '100ms', '--count', '3'];
  const { exitCode, stdout } = await lab.run(['watch', lab.device, ...args]);
  assert.is(exitCode, 0);
  assert.is(recordsIn(stdout).filter((record) => record.type === 'totals').length, 3);
  await lab.untilNothingLeft();
});

output('what it has by the end of --duration, though the interval is longer', async ({ lab }) => {
  const args = ['-o', 'ndjson', '--interval', '1h', '--duration', '300ms'];
  const { exitCode, stdout } = await lab.run(['watch', lab.device, ...args]);
  assert.is(exitCode, 0);
  const types = recordsIn(stdout).map((record) => record.type);
  assert.equal(types, ['attached', 'totals', 'detached']);
  await lab.untilNothingLeft();
});

output(
  'nothing but data and errors with --quiet, and only data on standard output',
  async ({ lab }) => {
    const args = ['--interval', '100ms', '--count', '1'];
    const quiet = await lab.run(['watch', lab.device, '-q', '-o', 'ndjson', ...args]);
    assert.is(quiet.stderr, '');
    const talking = await lab.run(['watch', lab.device, '-o', 'ndjson', ...args]);
    for (const line of talking.stderr.trim().split('\n')) assert.match(line, /^xdpwho: eth0: /);
    recordsIn(talking.stdout);
  },
);

output.run();

const formats = suite<{ lab: Lab; ndjson: JsonRecord[] }>('watch, formats and order', WHY_NOT);

const ONCE = ['--count', '1', '--interval', '100ms'];

formats.before(async (context) => {
  const lab = await Lab.create();
  context.lab = lab;
  const attached = await lab.run(['attach', lab.device]);
  assert.is(attached.exitCode, 0, attached.stderr);
  for (const { source, frames, length } of TALKERS) {
    await lab.send(udpFrame({ source, length }), frames);
  }
  await lab.send(arpFrame(), 6);
  const { stdout } = await lab.run(['watch', lab.device, '-o', 'ndjson', ...ONCE]);
  context.ndjson = recordsIn(stdout);
});
formats.after(async ({ lab }) => {
  await lab?.run(['detach', lab.device]);
  await lab?.close();
});

formats('joins what attach has left, and leaves it attached', async ({ lab, ndjson }) => {
  assert.equal(lastReading(ndjson).packets, {
    '2001:db8::9': 40,
    '192.0.2.10': 30,
    '192.0.2.9': 20,
    '198.51.100.1': 10,
  });
  assert.is((await lab.attached()).length, 1);
});

formats('gives the same figures as ndjson and as json', async ({ lab, ndjson }) => {
  for (const args of [['-o', 'json'], ['--json']]) {
    const { stdout } = await lab.run(['watch', lab.device, ...args, ...ONCE]);
    const document: unknown = JSON.parse(stdout);
    const interfaces = propertyOf(document, 'interfaces');
    assert.ok(Array.isArray(interfaces) && interfaces.length === 1);
    const { sources, totals, ...attached } = interfaces[0];
    assert.ok(Array.isArray(sources));
    const withoutAge = (record: Record<string, unknown>) => ({ ...record, idle_ms: undefined });
    const [first, ...rest] = ndjson;
    const { type: _, ...expectedAttached } = first ?? { type: '' };
    assert.equal(attached, expectedAttached);
    assert.equal(sources.map(withoutAge), rest.slice(0, 4).map(withoutAge));
    assert.equal({ ...totals, time: '' }, { ...rest[4], time: '' });
  }
});

formats('gives the same figures as a table', async ({ lab, ndjson }) => {
  const { stdout } = await lab.run(['watch', lab.device, ...ONCE]);
  const rows = stdout.split('\n').filter((line) => /^[0-9a-f:.]+ /.test(line));
  const cells = rows.map((row) => row.split(/\s+/).slice(0, 3));
  const sources = ndjson.filter((record) => record.type === 'source');
  assert.equal(
    cells,
    sources.map(({ source, packets, bytes }) => [source, String(packets), String(bytes)]),
  );
  const { totals } = lastReading(ndjson);
  assert.is(totals?.packets, 106);
  assert.match(stdout, /4 sources/);
  assert.match(stdout, /106 packets/);
  assert.match(stdout, new RegExp(`\\b${totals?.bytes} bytes`));
  assert.not.match(stdout, /\p{Cc}(?<!\n)/u, 'no escape sequences where there is no terminal');
});

for (const [order, expectedOrder] of [
  ['packets', ['2001:db8::9', '192.0.2.10', '192.0.2.9', '198.51.100.1']],
  ['bytes', ['192.0.2.9', '2001:db8::9', '192.0.2.10', '198.51.100.1']],
  ['source', ['192.0.2.9', '192.0.2.10', '198.51.100.1', '2001:db8::9']],
] as const) {
  formats(`puts them in the order of --sort ${order}, and --top cuts the list`, async ({ lab }) => {
    const sorted = async (...args: string[]) => {
      const words = ['watch', lab.device, '-o', 'ndjson', '--sort', order, ...args, ...ONCE];
      const { stdout } = await lab.run(words);
      const records = recordsIn(stdout);
      const totals = records.find((record) => record.type === 'totals');
      assert.is(totals?.sources, 4, 'whatever is shown');
      assert.is(totals?.untracked, 0);
      return records.flatMap((record) => (record.type === 'source' ? [record.source] : []));
    };
    assert.equal(await sorted(), expectedOrder);
    assert.equal(await sorted('--top', '2'), expectedOrder.slice(0, 2));
  });
}

formats('says in the table how many sources --top has left out', async ({ lab }) => {
  const { stdout } = await lab.run(['watch', lab.device, '--top', '3', ...ONCE]);
  assert.match(stdout, /\+1 more source/);
});

formats('puts the busiest first with --sort rate', async ({ lab }) => {
  const run = lab.start([
    ...['watch', lab.device, '-o', 'ndjson', '--sort', 'rate', '--interval', '1s'],
  ]);
  const totals = () => recordsIn(wholeLines(run.stdout)).filter((each) => each.type === 'totals');
  await lab.until(() => totals().length >= 1, 'the first reading');
  await lab.send(udpFrame({ source: '198.51.100.1' }), 3);
  await lab.until(() => totals().at(-1)?.packets === 109, 'the three');
  const records = recordsIn(wholeLines(run.stdout));
  run.child.kill('SIGINT');
  await run.ended();
  const last = lastReading(records);
  assert.is(Object.keys(last.packets)[0], '198.51.100.1');
});

formats.run();
