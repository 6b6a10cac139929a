import * as fc from 'fast-check';
import * as assert from 'uvu/assert';
import { propertyOf } from '../../src/model/json-values.js';
import { PacketLines } from '../../src/packet-log/lines.js';
import { suite } from '../suite.js';
import { headOf, linesOf, type Packet, passOf, recordOf, traffic } from './packets.js';

const lines = suite('PacketLines');

lines('are the documented ones', () => {
  const packets: Packet[] = [
    { cpu: 1, sequence: 0, timeNs: 123_456_789, source: '192.0.2.7', length: 142 },
    { cpu: 1, sequence: 1, timeNs: 1_000_001_000, source: '2001:db8::7', length: 60 },
  ];
  const pass = passOf(headOf(1, 0, 2), ...packets.map(recordOf));
  assert.is(
    linesOf(pass),
    '2026-11-22T10:00:00.123456Z eth0 192.0.2.7 142\n' +
      '2026-11-22T10:00:01.000001Z eth0 2001:db8::7 60\n',
  );
  assert.is(
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
      assert.is(linesOf(pass, 'ndjson', 'e"\u0001'), `${expected.join('\n')}\n`);
    }),
  );
});

lines('have no control character of the name of an interface raw', () => {
  const pass = passOf(
    headOf(0, 0, 1),
    recordOf({ cpu: 0, sequence: 0, timeNs: 1, source: '192.0.2.7', length: 60 }),
  );
  const name = 'e\u007f\u0080\u009f\u0085';
  const line = linesOf(pass, 'ndjson', name);
  assert.not.match(line.trimEnd(), /\p{Cc}/u);
  const record: unknown = JSON.parse(line);
  assert.is(propertyOf(record, 'interface'), name);
});

lines('come in whole lines, however many there are', () => {
  const packets = traffic(1, 20_000);
  const pass = passOf(headOf(0, 0, packets.length), ...packets.map(recordOf));
  const pieces = [...new PacketLines('eth0', 'plain').render(pass.packets)];
  assert.ok(pieces.length > 1);
  assert.ok(pieces.every((piece) => piece.at(-1) === 10));
  assert.is(Buffer.concat(pieces).toString().split('\n').length - 1, 20_000);
  assert.is(linesOf({ ...pass, packets: pass.packets.last(5) }).split('\n').length - 1, 5);
  assert.is(linesOf({ ...pass, packets: pass.packets.first(7) }).split('\n').length - 1, 7);
});

lines.run();
