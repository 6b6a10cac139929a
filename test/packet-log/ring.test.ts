import * as fc from 'fast-check';
import * as assert from 'uvu/assert';
import { LOG_HEAD, LOG_SEGMENT, SEGMENT_RECORDS } from '../../src/objects/layout.js';
import {
  announcesNothing,
  type Cursors,
  PassBuffer,
  parsePass,
  selectFromDump,
  sortByTime,
} from '../../src/packet-log/ring.js';
import { suite } from '../suite.js';
import { headOf, LITTLE_ENDIAN, linesOf, OFFSET_US, passOf, recordOf, traffic } from './packets.js';

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

const parser = suite('parsePass');

parser('gives every packet of every CPU, in the order of time', () => {
  const packets = traffic(3, 20);
  const heads = [0, 1, 2].map((cpu) => headOf(cpu, 0, 20));
  // The rings are in the order of CPUs; in each ring the newer part comes first.
  const rings = [0, 1, 2].flatMap((cpu) => {
    const own = packets.filter((packet) => packet.cpu === cpu);
    return [...own.slice(13), ...own.slice(0, 13)];
  });
  const pass = passOf(...heads, ...rings.map(recordOf));
  assert.is(pass.lost, 0);
  assert.equal(
    [...pass.packets.records('eth0')].map(({ source, length, cpu }) => ({ source, length, cpu })),
    packets.map(({ source, length, cpu }) => ({ source, length, cpu })),
  );
});

parser('does not depend on where the bytes are cut', () => {
  const packets = traffic(2, 4);
  const all = joined([headOf(0, 0, 4), headOf(1, 0, 4), ...packets.map(recordOf)]);
  const whole = linesOf(passOf(all));
  assert.is(whole.split('\n').length - 1, 8);
  for (let cut = 0; cut <= all.length; cut++) {
    assert.is(linesOf(passOf(all.subarray(0, cut), all.subarray(cut))), whole, `cut at ${cut}`);
  }
  assert.is(linesOf(passOf(...Array.from(all, (byte) => Uint8Array.of(byte)))), whole);
});

parser('counts what the heads announce and is not there as lost', () => {
  const packets = traffic(2, 100).filter(({ cpu, sequence }) => cpu !== 1 || sequence >= 60);
  const pass = passOf(headOf(0, 0, 100), headOf(1, 0, 100), ...packets.map(recordOf));
  assert.is(pass.packets.length, 140);
  assert.is(pass.lost, 60);
  assert.equal(pass.heads.get(1), { first: 0, end: 100, sampledOut: 0, filteredOut: 0 });
});

parser('takes no record that is older or newer than the pass', () => {
  const packets = traffic(1, 10);
  const pass = passOf(headOf(0, 3, 8), ...packets.map(recordOf));
  assert.equal(
    [...pass.packets.records('eth0')].map(({ length }) => length),
    [63, 64, 65, 66, 67],
  );
  assert.is(pass.lost, 0);
});

parser('takes no record that is half old and half new, wherever it is torn', () => {
  const [old, fresh] = [
    { cpu: 0, sequence: 5, timeNs: 123_456_789, source: '192.0.2.7', length: 60 },
    { cpu: 0, sequence: 133, timeNs: 223_456_789, source: '2001:db8::8', length: 1500 },
  ].map(recordOf);
  assert.ok(old !== undefined && fresh !== undefined);
  const head = headOf(0, 0, 1000);
  assert.is(passOf(head, old).packets.length, 1);
  assert.is(passOf(head, fresh).packets.length, 1);
  // Any words may be old or new, because the kernel writes several words at a time.
  for (let mask = 0; mask < 2 ** 12; mask++) {
    const torn = Uint8Array.from(old, (byte, at) =>
      (mask >> (at >> 2)) & 1 ? (fresh[at] ?? 0) : byte,
    );
    const found = [...passOf(head, torn).packets.records('eth0')];
    const isWhole = Buffer.from(torn).equals(old) || Buffer.from(torn).equals(fresh);
    assert.is(found.length, isWhole ? 1 : 0, mask.toString(2));
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
        assert.ok(pass.lost >= 0 && pass.packets.length <= 3);
        for (const line of linesOf(pass).split('\n')) assert.ok(known.has(line), line);
      },
    ),
    { numRuns: 500 },
  );
  const text = Buffer.from('Segmentation fault\n{"error":"no"}\n'.repeat(20));
  assert.is(passOf(new Uint8Array(text)).packets.length, 0);
});

parser('makes no packet of a record with one bit changed', () => {
  const record = recordOf(traffic(1, 1)[0] ?? unreachable());
  for (let bit = 0; bit < record.length * 8; bit++) {
    const changed = record.slice();
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const pass = passOf(headOf(0, 0, 1), changed);
    assert.is(pass.packets.length, 0, `bit ${bit}`);
    assert.is(pass.lost, 1);
  }
});

parser('knows a pass that announces nothing', () => {
  const words = (...entries: Uint8Array[]) => {
    const buffer = new PassBuffer();
    for (const entry of entries) buffer.append(entry);
    return buffer.words();
  };
  assert.ok(announcesNothing(words(headOf(0, 7, 7), headOf(1, 0, 0)), 2));
  assert.not(announcesNothing(words(headOf(0, 7, 7)), 2));
  assert.not(announcesNothing(words(headOf(0, 7, 8), headOf(1, 0, 0)), 2));
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
      assert.equal(
        [...offsets],
        expected.map(({ index }) => index),
      );
      assert.equal(
        [...times],
        expected.map(({ time }) => time),
      );
    }),
  );
});

sorting.run();

const dumped = suite('selectFromDump');

/** The values of the log's map after `count` packets on each CPU. */
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
  assert.equal([first.packets.length, first.lost], [20, 0]);
  const second = read(300);
  assert.equal([second.packets.length, second.lost], [500, 0]);
  const none = read(300);
  assert.equal([none.packets.length, none.lost], [0, 0]);
  const late = read(1000);
  assert.equal([late.packets.length, late.lost], [2 * 256, 2 * (700 - 256)]);
});

dumped.run();
