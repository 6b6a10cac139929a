import * as assert from 'uvu/assert';
import type { LiveModel } from '../../src/live/model.js';
import { suite } from '../suite.js';
import { lines, model, press, reading, source } from './sample.js';

const keys = suite('the keys of the live view');

const order = (live: LiveModel) => live.frame(100).rows.map((row) => row.source);

keys('s goes through the orders, and the shares follow', () => {
  const live = model();
  const shares = () => live.frame(9).rows.map((row) => Math.round(100 * row.share));
  assert.equal(order(live), ['192.0.2.1', '192.0.2.2', '198.51.100.7', '2001:db8::1']);
  assert.equal(shares(), [60, 25, 14, 1]);
  press(live, ['s']);
  assert.equal(order(live), ['192.0.2.2', '192.0.2.1', '198.51.100.7', '2001:db8::1']);
  assert.equal(shares(), [100, 60, 9, 1]);
  press(live, ['s']);
  assert.equal(order(live), ['192.0.2.2', '192.0.2.1', '2001:db8::1', '198.51.100.7']);
  press(live, ['s']);
  assert.equal(order(live), ['192.0.2.1', '192.0.2.2', '198.51.100.7', '2001:db8::1']);
  assert.is(live.frame(9).sort, 'source');
  press(live, ['s']);
  assert.is(live.frame(9).sort, 'packets');
});

keys('g sums by prefix: rates, counts, the shortest idle time, the minute', () => {
  const live = press(model(), ['g']);
  const { rows, group, hidden } = live.frame(100);
  assert.equal([group, hidden], ['24,64', 0]);
  assert.equal(
    rows.map(({ source: prefix, packets, bytes, packetsPerSecond, idleMs }) => ({
      ...{ prefix, packets, bytes, packetsPerSecond, idleMs },
    })),
    [
      { prefix: '192.0.2.0/24', packets: 850n, bytes: 310_000n, packetsPerSecond: 150, idleMs: 20 },
      {
        prefix: '198.51.100.0/24',
        packets: 140n,
        bytes: 9000n,
        packetsPerSecond: 0,
        idleMs: 64_000,
      },
      { prefix: '2001:db8::/64', packets: 10n, bytes: 1000n, packetsPerSecond: 1, idleMs: 100 },
    ],
  );
  assert.equal(rows[0]?.minute.slice(-4), [0, 150, 150, 150]);
  press(live, ['g', 'g']);
  assert.equal(order(live), ['192.0.0.0/8', '198.0.0.0/8', '2001:db8::/32']);
  press(live, ['g']);
  assert.is(order(live).length, 4);
});

keys('p freezes what is shown, and goes on counting', () => {
  const live = press(model(), ['p']);
  live.setReadings([reading([source('203.0.113.1', 5)])], 4000);
  assert.is(order(live).length, 4);
  assert.equal(live.frame(9).rows[0]?.minute.slice(-3), [60, 60, 60]);
  assert.ok(lines(live)[0]?.startsWith('PAUSED  eth0'));
  press(live, ['s']);
  assert.is(order(live)[0], '192.0.2.2', 'what is frozen can be sorted');
  press(live, ['p']);
  assert.equal(order(live), ['203.0.113.1']);
});

keys('/ takes a prefix, or a part of an address, as it is typed', () => {
  const live = press(model(), ['/', ...'192.0.2.0/24']);
  assert.is(live.frame(9).typing, true);
  assert.equal(order(live), ['192.0.2.1', '192.0.2.2']);
  assert.is(lines(live).at(-1), 'filter: 192.0.2.0/24_  Enter keeps it, Esc clears it');
  press(live, ['return']);
  assert.match(lines(live).at(-1) ?? '', /filter:192\.0\.2\.0\/24/);
  press(live, ['escape', '/', ...'51.1', 'backspace', 'return']);
  assert.equal(order(live), ['198.51.100.7']);
  press(live, ['/', ...'zzz']);
  assert.match(lines(live)[2] ?? '', /^nothing matches/);
  press(live, ['escape']);
  assert.is(order(live).length, 4);
});

keys('a letter that is typed into the filter is no command', () => {
  const live = press(model(), ['/', 'q', 's', 'p', '?']);
  const { filter, sort, paused, showsHelp } = live.frame(9);
  assert.equal([filter, sort, paused, showsHelp], ['qsp?', 'packets', false, false]);
});

keys('r shows names, which the filter then looks at too', () => {
  const live = model();
  assert.ok(
    live.frame(9).rows.every((row) => row.name === undefined),
    'off at first',
  );
  press(live, ['/', ...'print', 'return']);
  assert.equal(order(live), []);
  press(live, ['r']);
  assert.equal(order(live), ['192.0.2.2']);
  assert.match(lines(live)[3] ?? '', /^192\.0\.2\.2 {8}printer\.example /);
});

keys('? is a page of help that any key leaves, q included', () => {
  const live = press(model(), ['?']);
  const text = lines(live).join('\n');
  for (const key of ['q  quit', 's  sort', 'p  pause', 'g  group', '/  filter', 'r  names']) {
    assert.ok(text.includes(key), key);
  }
  press(live, ['q']);
  assert.is(live.frame(9).showsHelp, false);
});

keys('q is the end, and other keys are nothing', () => {
  const live = press(model(), ['x', 'up', 'Q', '']);
  assert.is(live.press('q'), true);
});

keys('a message stays until the next key', () => {
  const live = model();
  live.showMessage('eth0: the interface is called lan0 now');
  assert.is(lines(live)[1], 'eth0: the interface is called lan0 now');
  press(live, ['x']);
  assert.not.match(lines(live)[1] ?? '', /lan0/);
});

keys('of a hundred thousand sources with the same count only the first are looked for', () => {
  const many = Array.from({ length: 100_000 }, (_, index) =>
    source(`198.18.${(index >> 8) & 255}.${index & 255}`, 1, {
      interface: index > 65_535 ? 'eth1' : 'eth0',
    }),
  );
  const live = model([reading(many)]);
  const { rows, hidden } = live.frame(50);
  assert.equal([rows.length, hidden], [50, 99_950]);
});

keys.run();
