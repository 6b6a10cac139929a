import { BlockList } from 'node:net';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { addressKey } from '../../src/model/address.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { Networks } from '../../src/owners/networks.js';
import { suite } from '../suite.js';

const networks = suite('Networks');

function labelOf(text: string, address: string): string | undefined {
  return Networks.parse(text, 'FILE').labelOf(addressKey(address), 0);
}

networks('the longest prefix wins, whatever the order of the lines', () => {
  const lines = ['0.0.0.0/0 all', '192.0.2.0/24 office', '192.0.2.128/25 lab', '192.0.2.200 one'];
  for (const text of [lines.join('\n'), [...lines].reverse().join('\n')]) {
    assert.is(labelOf(text, '192.0.2.1'), 'office');
    assert.is(labelOf(text, '192.0.2.129'), 'lab');
    assert.is(labelOf(text, '192.0.2.200'), 'one');
    assert.is(labelOf(text, '198.51.100.1'), 'all');
    assert.is(labelOf(text, '2001:db8::1'), undefined);
  }
});

networks('families do not meet', () => {
  const text = '::/0 six\n2001:db8:1::/48 lab';
  assert.is(labelOf(text, '2001:db8:1::7'), 'lab');
  assert.is(labelOf(text, '2001:db8:2::7'), 'six');
  assert.is(labelOf(text, '192.0.2.1'), undefined);
});

networks('comments, blanks, line ends of other systems, labels of several words', () => {
  const text = '# mine\r\n\r\n  192.0.2.0/24\tthe office # old\r\n198.51.100.0/24 a#1\n';
  assert.is(labelOf(text, '192.0.2.1'), 'the office');
  assert.is(labelOf(text, '198.51.100.1'), 'a#1');
  assert.is(labelOf('', '192.0.2.1'), undefined);
});

const WRONG: readonly (readonly [text: string, message: RegExp])[] = [
  [
    '192.0.2.0/24 a\n\n192.0.2.0/33 b',
    /^FILE: line 3: 192\.0\.2\.0\/33: not an address or prefix$/,
  ],
  ['192.0.2.0/24', /^FILE: line 1: 192\.0\.2\.0\/24: a label is missing$/],
  ['192.0.2.0/24 # office', /line 1: .*a label is missing/],
  ['192.0.2.0/24 a\n192.0.2.9/24 b', /line 2: 192\.0\.2\.9\/24 has another label in line 1/],
  [`192.0.2.0/24 ${'x'.repeat(61)}`, /line 1: a label of more than 60 characters/],
  ['\u001b[31mx y', /line 1: [ -~]*: not an address or prefix$/],
  [`${'9'.repeat(1000)} a`, /line 1: 9{60}\.\.\.: not an address/],
];

for (const [text, message] of WRONG) {
  networks(`a wrong line is told by its number: ${JSON.stringify(text.slice(0, 40))}`, () => {
    try {
      Networks.parse(text, 'FILE');
      assert.unreachable();
    } catch (error) {
      assert.ok(hasErrorCode(error, 'usage'), String(error));
      assert.match(error.message, message);
      assert.is(error.message.split('\n').length, 1);
    }
  });
}

networks('agree with net.BlockList, for random prefixes and addresses', () => {
  const address = fc.oneof(
    fc.tuple(fc.constant('ipv4' as const), fc.ipV4(), fc.nat(32)),
    fc.tuple(
      fc.constant('ipv6' as const),
      fc.nat(255).map((byte) => `2001:db8:${byte}::1`),
      fc.nat(128),
    ),
  );
  fc.assert(
    fc.property(fc.array(address, { maxLength: 20 }), fc.array(address), (lines, asked) => {
      const text = lines.map(([, each, bits], index) => [`${each}/${bits}`, `n${index}`] as const);
      let parsed: Networks;
      try {
        parsed = Networks.parse(text.map((each) => each.join(' ')).join('\n'), 'FILE');
      } catch {
        // The same network with two labels.
        return;
      }
      for (const [family, each] of [...asked, ...lines]) {
        let best = -1;
        let expected: string | undefined;
        lines.forEach(([lineFamily, network, bits], index) => {
          const list = new BlockList();
          list.addSubnet(network, bits, lineFamily);
          if (lineFamily !== family || bits <= best || !list.check(each, family)) return;
          best = bits;
          expected = `n${index}`;
        });
        assert.is(
          parsed.labelOf(addressKey(each), 0),
          expected,
          `${each} in ${JSON.stringify(text)}`,
        );
      }
    }),
  );
});

networks.run();
