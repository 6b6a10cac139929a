import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { addressKey, formatAddress } from '../../src/model/address.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { type Grouping, groupOf, PrefixGrouping, parseGrouping } from '../../src/model/grouping.js';
import { contains, parsePrefix } from '../../src/model/prefix.js';
import { suite } from '../suite.js';

/** IPv6 addresses without the v4-mapped ones, which are IPv4 in the table. */
const ipv6 = fc
  .ipV6()
  .filter((text) => formatAddress(String.fromCharCode(...addressKey(text))).includes(':'));
const isUsage = (error: unknown) => hasErrorCode(error, 'usage');

function prefixes(text: string): Grouping {
  const grouping = parseGrouping(text);
  assert.ok(typeof grouping !== 'string');
  return grouping;
}

const groups = suite('groupOf and parseGrouping');

groups('give the prefix that an address belongs to', () => {
  const grouping = prefixes('24,48');
  assert.is(groupOf('198.51.100.7', grouping), '198.51.100.0/24');
  assert.is(groupOf('2001:db8:1:2::7', grouping), '2001:db8:1::/48');
  assert.is(groupOf('198.51.100.7', prefixes('0')), '0.0.0.0/0');
  assert.is(groupOf('2001:db8::1', prefixes('24,0')), '::/0');
  assert.is(groupOf('2001:db8::1', prefixes('24,128')), '2001:db8::1/128');
});

groups('take one length for IPv4 with 64 for IPv6, or both', () => {
  assert.is(prefixes('16').text, '16,64');
  assert.is(prefixes('32,128').text, '32,128');
  assert.is(parseGrouping('owner'), 'owner');
  for (const text of ['', '33', '24,129', '24,', ',64', '-1', 'x', '24,64,1', '1e1', 'OWNER']) {
    assert.throws(() => parseGrouping(text), isUsage, text);
  }
});

groups('put every address into a group that contains it', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), ipv6), fc.nat(32), fc.nat(128), (address, bits4, bits6) => {
      const group = groupOf(address, new PrefixGrouping(bits4, bits6));
      assert.ok(contains(parsePrefix(group), address));
    }),
  );
});

groups.run();
