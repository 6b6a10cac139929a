import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { addressKey, formatAddress } from '../../src/model/address.js';
import { suite } from '../suite.js';

const latin1 = (bytes: Uint8Array) => String.fromCharCode(...bytes);

const keys = suite('addressKey');

keys('is the 16 bytes of the table: IPv6 as it is, IPv4 as v4-mapped', () => {
  const hex = (address: string) => Buffer.from(addressKey(address)).toString('hex');
  assert.is(hex('192.0.2.7'), '00000000000000000000ffffc0000207');
  assert.is(hex('2001:db8::7'), '20010db8000000000000000000000007');
  assert.is(hex('::'), '0'.repeat(32));
  assert.is(hex('1::'), `0001${'0'.repeat(28)}`);
  assert.is(hex('1:2:3:4:5:6:7:8'), '00010002000300040005000600070008');
  assert.is(hex('64:ff9b::192.0.2.33'), '0064ff9b0000000000000000c0000221');
  assert.is(hex('::ffff:192.0.2.7'), hex('192.0.2.7'));
});

keys.run();

const address = suite('formatAddress');

address('writes IPv4 dotted and IPv6 as RFC 5952 does', () => {
  // RFC 5952, sections 1, 4 and 5, in the order of its rules.
  for (const [text, expected] of [
    ['192.0.2.7', '192.0.2.7'],
    ['0.0.0.0', '0.0.0.0'],
    ['2001:0db8:0000:0000:0000:0000:0000:0001', '2001:db8::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:DB8:AAAA::', '2001:db8:aaaa::'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['1:0:0:0:0:0:0:0', '1::'],
    ['fe80::1:0', 'fe80::1:0'],
  ] as const) {
    assert.is(formatAddress(latin1(addressKey(text))), expected);
  }
});

address('writes every key as the URL standard does, and addressKey reads it back', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.uint8Array({ minLength: 8, maxLength: 8 }),
      (bytes, zeroed) => {
        // Random bytes alone would hardly ever have a run of zeros.
        zeroed.forEach((value, group) => {
          if (value < 128) bytes.fill(0, group * 2, group * 2 + 2);
        });
        const text = formatAddress(latin1(bytes));
        assert.equal(addressKey(text), bytes);
        if (!isIPv6(text)) return;
        assert.is(text, new URL(`http://[${text}]/`).hostname.slice(1, -1));
      },
    ),
  );
});

address.run();
