import { BlockList } from 'node:net';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { addressKey, formatAddress } from '../../src/model/address.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { contains, formatPrefix, parsePrefix, prefixMask } from '../../src/model/prefix.js';
import { suite } from '../suite.js';

/** IPv6 addresses without the v4-mapped ones, which are IPv4 in the table. */
const ipv6 = fc.ipV6().filter((text) => formatAddress(latin1(addressKey(text))).includes(':'));
const latin1 = (bytes: Uint8Array) => String.fromCharCode(...bytes);
const isUsage = (error: unknown) => hasErrorCode(error, 'usage');

const prefixes = suite('parsePrefix');

prefixes('takes an address or a prefix, and clears what is behind it', () => {
  assert.is(parsePrefix('192.0.2.7').bits, 128);
  assert.is(parsePrefix('2001:db8::/32').bits, 32);
  const prefix = parsePrefix('192.0.2.255/25');
  assert.is(prefix.bits, 96 + 25);
  assert.is(formatAddress(latin1(prefix.network)), '192.0.2.128');
});

prefixes('refuses everything else as a matter of usage', () => {
  for (const text of [
    ...['', '/', 'eth0', '192.0.2', '192.0.2.256', '192.0.2.1/33', '192.0.2.1/', '192.0.2.1/-1'],
    ...[
      '192.0.2.1/24/8',
      '192.0.2.1/x',
      '2001:db8::/129',
      '2001:db8:::',
      'fe80::1%eth0',
      '1.2.3.4 ',
    ],
  ]) {
    assert.throws(() => parsePrefix(text), isUsage, text);
  }
});

prefixes.run();

const written = suite('formatPrefix, prefixMask');

written('give the prefix back, and the bits that it has a say about', () => {
  for (const [text, mask] of [
    ['198.51.100.0/24', `${'ff'.repeat(15)}00`],
    ['0.0.0.0/0', `${'ff'.repeat(12)}00000000`],
    ['192.0.2.7/32', 'ff'.repeat(16)],
    ['2001:db8::/33', `ffffffff80${'00'.repeat(11)}`],
    ['::/0', '00'.repeat(16)],
  ] as const) {
    const prefix = parsePrefix(text);
    assert.is(formatPrefix(prefix), text);
    assert.is(Buffer.from(prefixMask(prefix)).toString('hex'), mask);
  }
  assert.is(formatPrefix(parsePrefix('198.51.100.77/24')), '198.51.100.0/24');
});

written.run();

const membership = suite('contains');

membership('agrees with BlockList of Node for IPv4', () => {
  fc.assert(
    fc.property(fc.ipV4(), fc.ipV4(), fc.nat(32), (network, address, bits) => {
      const list = new BlockList();
      list.addSubnet(network, bits, 'ipv4');
      assert.is(contains(parsePrefix(`${network}/${bits}`), address), list.check(address, 'ipv4'));
    }),
  );
});

membership('agrees with BlockList of Node for IPv6', () => {
  fc.assert(
    fc.property(ipv6, ipv6, fc.nat(128), fc.boolean(), (network, other, bits, same) => {
      const address = same ? network : other;
      const list = new BlockList();
      list.addSubnet(network, bits, 'ipv6');
      assert.is(contains(parsePrefix(`${network}/${bits}`), address), list.check(address, 'ipv6'));
    }),
  );
});

membership('keeps the families apart, also at length 0', () => {
  assert.not(contains(parsePrefix('::/0'), '192.0.2.1'));
  assert.not(contains(parsePrefix('0.0.0.0/0'), '2001:db8::1'));
  assert.ok(contains(parsePrefix('0.0.0.0/0'), '192.0.2.1'));
  assert.ok(contains(parsePrefix('::/0'), '2001:db8::1'));
});

membership.run();
