import * as fc from 'fast-check';
import { equal, is, not, ok, throws } from 'uvu/assert';
import { addressKey } from '../../src/model/address.js';
import {
  HEAD_KIND,
  LOG_HEAD,
  LOG_SEGMENT,
  RECORD_KIND,
  SEGMENT_RECORDS,
} from '../../src/objects/layout.js';
import { ringBytes, ringSegments } from '../../src/objects/ring-size.js';
import { PacketLines } from '../../src/packet-log/lines.js';
import {
  announcesNothing,
  type Cursors,
  type Pass,
  PassBuffer,
  parsePass,
  recordCheck,
  selectFromDump,
  sortByTime,
} from '../../src/packet-log/ring.js';
import { measureOffsetUs, WallClock } from '../../src/packet-log/utc-offset.js';
import { suite } from '../suite.js';

/** Between the clocks of these tests: 2026-11-22T10:00:00Z at 0 ns. */
const OFFSET_US = Date.UTC(2026, 10, 22, 10) * 1000;
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

interface Packet {
  readonly cpu: number;
  readonly sequence: number;
  readonly timeNs: number;
  readonly source: string;
  readonly length: number;
}

/** Bytes as the C side makes them: u64 at these offsets, and so on. */
function entryOf(write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(48);
  const view = new DataView(bytes.buffer);
  write(view);
  view.setUint32(40, recordCheck(new Uint32Array(bytes.buffer), 0), LITTLE_ENDIAN);
  return bytes;
}

function recordOf({ cpu, sequence, timeNs, source, length }: Packet): Uint8Array {
  return entryOf((view) => {
    view.setBigUint64(0, BigInt(sequence), LITTLE_ENDIAN);
    view.setBigUint64(8, BigInt(timeNs), LITTLE_ENDIAN);
    new Uint8Array(view.buffer).set(addressKey(source), 16);
    view.setUint32(32, length, LITTLE_ENDIAN);
    view.setUint32(36, cpu, LITTLE_ENDIAN);
    view.setUint32(44, RECORD_KIND, LITTLE_ENDIAN);
  });
}

function headOf(cpu: number, first: number, end: number, sampled = 0, filtered = 0): Uint8Array {
  return entryOf((view) => {
    for (const [index, value] of [first, end, sampled, filtered].entries()) {
      view.setBigUint64(index * 8, BigInt(value), LITTLE_ENDIAN);
    }
    view.setUint32(36, cpu, LITTLE_ENDIAN);
    view.setUint32(44, HEAD_KIND, LITTLE_ENDIAN);
  });
}

function passOf(...chunks: readonly Uint8Array[]): Pass {
  const buffer = new PassBuffer();
  for (const chunk of chunks) buffer.append(chunk);
  return parsePass(buffer.words(), OFFSET_US);
}

function linesOf(pass: Pass, format: 'plain' | 'ndjson' = 'plain', name = 'eth0'): string {
  const lines = new PacketLines(name, format);
  return Buffer.concat([...lines.render(pass.packets)]).toString();
}

const SOURCES = ['192.0.2.7', '2001:db8::7', '198.51.100.255', '::', '2001:db8:1:2:3:4:5:6'];

/** `count` packets of each CPU, a microsecond apart, the CPUs in turn. */
function traffic(cpus: number, count: number): Packet[] {
  return Array.from({ length: cpus * count }, (_, index) => ({
    cpu: index % cpus,
    sequence: Math.floor(index / cpus),
    timeNs: 1_000_000 + index * 1000,
    source: SOURCES[index % SOURCES.length] ?? '',
    length: 60 + index,
  }));
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

const parser = suite('parsePass');

parser('gives every packet of every CPU, in the order of time', () => {
  const packets = traffic(3, 20);
  const heads = [0, 1, 2].map((cpu) => headOf(cpu, 0, 20));
  // As the rings have them: CPU by CPU, and within one the newer part first.
  const rings = [0, 1, 2].flatMap((cpu) => {
    const own = packets.filter((packet) => packet.cpu === cpu);
    return [...own.slice(13), ...own.slice(0, 13)];
  });
  const pass = passOf(...heads, ...rings.map(recordOf));
  is(pass.lost, 0);
  equal(
    [...pass.packets.records('eth0')].map(({ source, length, cpu }) => ({ source, length, cpu })),
    packets.map(({ source, length, cpu }) => ({ source, length, cpu })),
  );
});

parser('does not depend on where the bytes are cut', () => {
  const packets = traffic(2, 4);
  const all = joined([headOf(0, 0, 4), headOf(1, 0, 4), ...packets.map(recordOf)]);
  const whole = linesOf(passOf(all));
  is(whole.split('\n').length - 1, 8);
  for (let cut = 0; cut <= all.length; cut++) {
    is(linesOf(passOf(all.subarray(0, cut), all.subarray(cut))), whole, `cut at ${cut}`);
  }
  is(linesOf(passOf(...Array.from(all, (byte) => Uint8Array.of(byte)))), whole);
});

parser('counts what the heads announce and is not there as lost', () => {
  const packets = traffic(2, 100).filter(({ cpu, sequence }) => cpu !== 1 || sequence >= 60);
  const pass = passOf(headOf(0, 0, 100), headOf(1, 0, 100), ...packets.map(recordOf));
  is(pass.packets.length, 140);
  is(pass.lost, 60);
  equal(pass.heads.get(1), { first: 0, end: 100, sampledOut: 0, filteredOut: 0 });
});

parser('takes no record that is older or newer than the pass', () => {
  const packets = traffic(1, 10);
  const pass = passOf(headOf(0, 3, 8), ...packets.map(recordOf));
  equal(
    [...pass.packets.records('eth0')].map(({ length }) => length),
    [63, 64, 65, 66, 67],
  );
  is(pass.lost, 0);
});

parser('takes no record that is half old and half new, wherever it is torn', () => {
  const [old, fresh] = [
    { cpu: 0, sequence: 5, timeNs: 123_456_789, source: '192.0.2.7', length: 60 },
    { cpu: 0, sequence: 133, timeNs: 223_456_789, source: '2001:db8::8', length: 1500 },
  ].map(recordOf);
  ok(old !== undefined && fresh !== undefined);
  const head = headOf(0, 0, 1000);
  is(passOf(head, old).packets.length, 1);
  is(passOf(head, fresh).packets.length, 1);
  // Any words of the one in the other: more than one write may be on its way at a time.
  for (let mask = 0; mask < 2 ** 12; mask++) {
    const torn = Uint8Array.from(old, (byte, at) =>
      (mask >> (at >> 2)) & 1 ? (fresh[at] ?? 0) : byte,
    );
    const found = [...passOf(head, torn).packets.records('eth0')];
    const isWhole = Buffer.from(torn).equals(old) || Buffer.from(torn).equals(fresh);
    is(found.length, isWhole ? 1 : 0, mask.toString(2));
  }
});

parser('makes no packet of stray bytes, and does not fail', () => {
  const good = joined([headOf(0, 0, 3), ...traffic(1, 3).map(recordOf)]);
  const known = new Set(linesOf(passOf(good)).split('\n'));
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 400 }),
      fc.integer({ min: 0, max: good.length }),
      (stray, at) => {
        const pass = passOf(good.subarray(0, at), stray, good.subarray(at));
        ok(pass.lost >= 0 && pass.packets.length <= 3);
        for (const line of linesOf(pass).split('\n')) ok(known.has(line), line);
      },
    ),
    { numRuns: 500 },
  );
  const text = Buffer.from('Segmentation fault\n{"error":"no"}\n'.repeat(20));
  is(passOf(new Uint8Array(text)).packets.length, 0);
});

parser('makes no packet of a record with one bit changed', () => {
  const record = recordOf(traffic(1, 1)[0] ?? unreachable());
  for (let bit = 0; bit < record.length * 8; bit++) {
    const changed = record.slice();
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const pass = passOf(headOf(0, 0, 1), changed);
    is(pass.packets.length, 0, `bit ${bit}`);
    is(pass.lost, 1);
  }
});

parser('knows a pass that announces nothing', () => {
  const words = (...entries: Uint8Array[]) => {
    const buffer = new PassBuffer();
    for (const entry of entries) buffer.append(entry);
    return buffer.words();
  };
  ok(announcesNothing(words(headOf(0, 7, 7), headOf(1, 0, 0)), 2));
  not(announcesNothing(words(headOf(0, 7, 7)), 2));
  not(announcesNothing(words(headOf(0, 7, 8), headOf(1, 0, 0)), 2));
});

parser.run();

function unreachable(): never {
  throw new Error('there is one');
}

const sorting = suite('sortByTime');

sorting('is a stable sort', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 200 }), (given) => {
      const offsets = Uint32Array.from(given, (_, index) => index);
      const times = Float64Array.from(given);
      sortByTime(offsets, times);
      const expected = given
        .map((time, index) => ({ time, index }))
        .sort((one, two) => one.time - two.time);
      equal(
        [...offsets],
        expected.map(({ index }) => index),
      );
      equal(
        [...times],
        expected.map(({ time }) => time),
      );
    }),
  );
});

sorting.run();

const dumped = suite('selectFromDump');

/** The map's values after `count` packets on each of `cpus`. */
function mapOf(cpus: number, segments: number, count: number): Uint8Array[] {
  const heads = Array.from({ length: cpus }, () => {
    const head = new Uint8Array(LOG_SEGMENT.size);
    new DataView(head.buffer).setBigUint64(LOG_HEAD.next, BigInt(count), LITTLE_ENDIAN);
    return head;
  });
  const rings = Array.from({ length: cpus * segments }, () => new Uint8Array(LOG_SEGMENT.size));
  for (const packet of traffic(cpus, count)) {
    const segment = Math.floor(packet.sequence / SEGMENT_RECORDS) % segments;
    const slot = packet.sequence % SEGMENT_RECORDS;
    rings[packet.cpu * segments + segment]?.set(recordOf(packet), slot * 48);
  }
  return [...heads, ...rings];
}

dumped('gives what came since the cursors, and knows what was overwritten', () => {
  const cursors: Cursors = new Map();
  const read = (count: number) =>
    parsePass(selectFromDump(mapOf(2, 2, count), 2, cursors, 10), OFFSET_US);
  const first = read(50);
  equal([first.packets.length, first.lost], [20, 0]);
  const second = read(300);
  equal([second.packets.length, second.lost], [500, 0]);
  const none = read(300);
  equal([none.packets.length, none.lost], [0, 0]);
  const late = read(1000);
  equal([late.packets.length, late.lost], [2 * 256, 2 * (700 - 256)]);
});

dumped.run();

const budget = suite('ringSegments');

budget('divides the budget among the CPUs, and never takes more', () => {
  for (const cpus of [1, 2, 3, 64, 1000]) {
    for (const bytes of [ringBytes(1, cpus), 32 * 1024 ** 2, 1024 ** 3]) {
      if (bytes < ringBytes(1, cpus)) continue;
      const segments = ringSegments(bytes, cpus);
      ok(ringBytes(segments, cpus) <= bytes);
      ok(ringBytes(segments + 1, cpus) > bytes);
    }
  }
});

budget('refuses one that has no room for a segment each', () => {
  throws(() => ringSegments(24_575, 2), /at least 24K for 2 CPUs/);
  is(ringSegments(24_576, 2), 1);
});

budget.run();

const lines = suite('PacketLines');

lines('are the documented ones', () => {
  const packets: Packet[] = [
    { cpu: 1, sequence: 0, timeNs: 123_456_789, source: '192.0.2.7', length: 142 },
    { cpu: 1, sequence: 1, timeNs: 1_000_001_000, source: '2001:db8::7', length: 60 },
  ];
  const pass = passOf(headOf(1, 0, 2), ...packets.map(recordOf));
  is(
    linesOf(pass),
    '2026-11-22T10:00:00.123456Z eth0 192.0.2.7 142\n' +
      '2026-11-22T10:00:01.000001Z eth0 2001:db8::7 60\n',
  );
  is(
    linesOf(pass, 'ndjson').split('\n')[0],
    '{"type":"packet","interface":"eth0","time":"2026-11-22T10:00:00.123456Z","source":"192.0.2.7","length":142,"cpu":1}',
  );
});

lines('say the same as the records, for any address and any number of lines', () => {
  const address = fc.oneof(
    fc.ipV4(),
    fc.ipV6().filter((text) => !text.includes('.')),
  );
  const packet = fc.record({
    source: address,
    timeNs: fc.integer({ min: 0, max: 2 ** 51 }),
    length: fc.integer({ min: 14, max: 0xffff_ffff }),
  });
  fc.assert(
    fc.property(fc.array(packet, { minLength: 1, maxLength: 50 }), (given) => {
      const records = given.map((each, sequence) => recordOf({ ...each, cpu: 4095, sequence }));
      const pass = passOf(headOf(4095, 0, given.length), ...records);
      const expected = [...pass.packets.records('e"\u0001')].map((each) => JSON.stringify(each));
      is(linesOf(pass, 'ndjson', 'e"\u0001'), `${expected.join('\n')}\n`);
    }),
  );
});

lines('come in whole lines, however many there are', () => {
  const packets = traffic(1, 20_000);
  const pass = passOf(headOf(0, 0, packets.length), ...packets.map(recordOf));
  const pieces = [...new PacketLines('eth0', 'plain').render(pass.packets)];
  ok(pieces.length > 1);
  ok(pieces.every((piece) => piece.at(-1) === 10));
  is(Buffer.concat(pieces).toString().split('\n').length - 1, 20_000);
  is(linesOf({ ...pass, packets: pass.packets.last(5) }).split('\n').length - 1, 5);
  is(linesOf({ ...pass, packets: pass.packets.first(7) }).split('\n').length - 1, 7);
});

lines.run();

const clock = suite('WallClock');

/** Clocks that move on by `stepNs` with each look, and can be set. */
class TestClocks {
  now = 5_000_000_123n;
  utcNs = 1_700_000_000_123_456_789n;
  stepNs = 300n;
  readonly monotonicNs = () => {
    this.now += this.stepNs;
    this.utcNs += this.stepNs;
    return this.now;
  };
  readonly utcMs = () => Number(this.utcNs / 1_000_000n);

  get offsetUs(): number {
    return Number(this.utcNs - this.now) / 1000;
  }

  pass(ns: bigint): void {
    this.now += ns;
    this.utcNs += ns;
  }
}

clock('measures the offset far better than a millisecond', () => {
  for (const stepNs of [100n, 300n, 20_000n]) {
    const clocks = new TestClocks();
    clocks.stepNs = stepNs;
    ok(Math.abs(measureOffsetUs(clocks) - clocks.offsetUs) <= Number(2n * stepNs) / 1000 + 1);
  }
});

clock('measures again after a while, and when the time was set', () => {
  const clocks = new TestClocks();
  const wall = new WallClock(clocks);
  ok(Math.abs(wall.offsetUs() - clocks.offsetUs) < 10);
  // Too little to be noticed at once.
  clocks.utcNs += 1_000_000n;
  clocks.pass(20_000_000_000n);
  ok(Math.abs(wall.offsetUs() - clocks.offsetUs) < 10);
  clocks.utcNs -= 3_600_000_000_000n;
  ok(Math.abs(wall.offsetUs() - clocks.offsetUs) < 10);
  clocks.utcNs += 5_000_000n;
  ok(Math.abs(wall.offsetUs() - clocks.offsetUs) < 10);
});

clock('agrees with the real clocks within a millisecond', () => {
  const wall = new WallClock();
  const before = Date.now();
  const nowUs = Number(process.hrtime.bigint()) / 1000 + wall.offsetUs();
  const after = Date.now();
  ok(nowUs >= before * 1000 - 1000 && nowUs <= after * 1000 + 2000);
});

clock.run();
