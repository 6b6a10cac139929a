import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { XdpwhoError } from '../../src/model/errors.js';
import { arpFrame, malformedFrame, udpFrame } from '../../src/model/frames.js';
import { suite } from '../suite.js';

const hex = (frame: Uint8Array, from = 0, to = frame.length) =>
  Buffer.from(frame.subarray(from, to)).toString('hex');

const udp = suite('udpFrame');

udp('is an IPv4 datagram to a documentation address', () => {
  const frame = udpFrame({ source: '192.0.2.7' });
  assert.is(frame.length, 64);
  assert.is(hex(frame, 0, 14), '020000000002' + '020000000001' + '0800');
  // RFC 791: version 4, 5 words, 50 bytes, TTL 64, UDP; then the checksum and the addresses.
  assert.is(hex(frame, 14, 24), '45000032000000004011');
  assert.is(hex(frame, 26, 34), 'c0000207' + 'c00002fe');
  // RFC 768: from and to port 9, 30 bytes, no checksum.
  assert.is(hex(frame, 34, 42), '00090009001e0000');
});

udp('has an IPv4 header whose checksum is right, for every source and length', () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.integer({ min: 42, max: 9014 }), (source, length) => {
      const frame = Buffer.from(udpFrame({ source, length }));
      assert.is(frame.length, length);
      let sum = 0;
      for (let at = 14; at < 34; at += 2) sum += frame.readUInt16BE(at);
      while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
      assert.is(sum, 0xffff);
      assert.is(frame.readUInt16BE(16), length - 14);
      assert.is(frame.subarray(26, 30).join('.'), source);
    }),
  );
});

udp('is an IPv6 datagram for an IPv6 source', () => {
  const frame = udpFrame({ source: '2001:db8::7', length: 100 });
  assert.is(frame.length, 100);
  // RFC 8200: version 6, 46 bytes of payload, UDP, hop limit 64.
  assert.is(hex(frame, 12, 22), '86dd' + '60000000' + '002e' + '1140');
  assert.is(hex(frame, 22, 38), '20010db8000000000000000000000007');
  assert.is(hex(frame, 38, 54), '20010db800000000000000000000fffe');
});

udp('puts VLAN tags before the type, the service tag outermost', () => {
  const one = udpFrame({ source: '192.0.2.7', vlans: [100] });
  assert.is(hex(one, 12, 18), '8100' + '0064' + '0800');
  const two = udpFrame({ source: '2001:db8::7', vlans: [200, 100] });
  assert.is(hex(two, 12, 22), '88a8' + '00c8' + '8100' + '0064' + '86dd');
});

udp('is never shorter than its headers', () => {
  assert.is(udpFrame({ source: '192.0.2.7', length: 1 }).length, 14 + 20 + 8);
  assert.is(udpFrame({ source: '2001:db8::7', vlans: [1, 2] }).length, 14 + 8 + 40 + 8);
});

udp.run();

const others = suite('arpFrame and malformedFrame');

others('are 64 bytes, neither of them with an address to count', () => {
  assert.is(arpFrame().length, 64);
  assert.is(hex(arpFrame(), 12, 22), '0806' + '0001' + '0800' + '06040001');
  assert.is(malformedFrame().length, 64);
  assert.is(hex(malformedFrame(), 12, 16), '0800' + '0f00');
});

others('are the same at each call, and not the same bytes', () => {
  assert.equal(arpFrame(), arpFrame());
  assert.is.not(arpFrame(), arpFrame());
  assert.not.instance(arpFrame(), XdpwhoError);
});

others.run();
