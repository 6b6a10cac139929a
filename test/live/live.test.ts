import { EventEmitter } from 'node:events';
import { equal, is, match, not, ok } from 'uvu/assert';
import { type LiveSize, renderLive } from '../../src/live/frame.js';
import { LiveModel } from '../../src/live/model.js';
import { HISTORY_SECONDS, History } from '../../src/live/rate-history.js';
import { ReverseNames } from '../../src/live/reverse-dns.js';
import type { SourceRecord, TotalsRecord } from '../../src/model/records.js';
import { colorDepth, usesBlockElements } from '../../src/text/color.js';
import type { Reading } from '../../src/verbs/watch.js';
import { suite } from '../suite.js';

const PLAIN: LiveSize = { width: 80, height: 24, depth: 0, blocks: true };

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what it looks for
const CODES = /\x1b\[[\d;]*m/g;

function source(address: string, packets: number, more: Partial<SourceRecord> = {}): SourceRecord {
  return {
    type: 'source',
    interface: 'eth0',
    source: address,
    packets: BigInt(packets),
    bytes: BigInt(packets) * 100n,
    idle_ms: 100,
    packets_per_second: packets / 10,
    bytes_per_second: packets * 10,
    ...more,
  };
}

function reading(sources: readonly SourceRecord[], device = 'eth0'): Reading {
  const packets = sources.reduce((sum, each) => sum + each.packets, 0n);
  const totals: TotalsRecord = {
    type: 'totals',
    interface: device,
    sources: sources.length,
    packets,
    bytes: packets * 100n,
    ipv4: packets,
    ipv6: 0n,
    other: 0n,
    malformed: 0n,
    untracked: 0n,
    packets_per_second: Number(packets) / 10,
    bytes_per_second: Number(packets) * 10,
  };
  return {
    interface: device,
    sources: sources.map((each) => ({ ...each, interface: device })),
    totals,
  };
}

const FOUR = [
  source('192.0.2.1', 600, { bytes: 60_000n, idle_ms: 20 }),
  source('192.0.2.2', 250, { bytes: 250_000n, packets_per_second: 90 }),
  source('198.51.100.7', 140, { bytes: 9_000n, idle_ms: 64_000, packets_per_second: 0 }),
  source('2001:db8::1', 10, { bytes: 1_000n }),
];

function model(readings: readonly Reading[] = [reading(FOUR)], top = 0): LiveModel {
  const live = new LiveModel({
    sort: 'packets',
    top,
    nameOf: (address) => (address === '192.0.2.2' ? 'printer.example' : undefined),
  });
  for (const { interface: name } of readings) live.attached(name, 'native', 1000);
  for (let second = 0; second < 3; second++) live.read(readings, second * 1000);
  return live;
}

function lines(live: LiveModel, size: Partial<LiveSize> = {}): string[] {
  const whole = { ...PLAIN, ...size };
  return renderLive(live.frame(whole.height), whole);
}

function press(live: LiveModel, keys: readonly string[]): LiveModel {
  for (const key of keys) is(live.press(key), false, key);
  return live;
}

const view = suite('the live view');

view('has a header, a line for each source and the keys', () => {
  const live = model();
  live.cost(1.26, new Map([['eth0', 46.6]]));
  equal(lines(live), [
    'eth0 native  100 pkt/s  80000 bit/s  4 sources  table 0.4%  47 ns/packet',
    '1000 packets: 1000 IPv4; 100000 bytes',
    'SOURCE            PKT/S   BIT/S  PACKETS    BYTES  SHARE       LAST MINUTE  IDLE',
    '192.0.2.1            60   48000      600    60000   60% ███              ▇  0.0s',
    '192.0.2.2            90   20000      250   250.0k   25% █▎               ▇  0.1s',
    '198.51.100.7          0   11200      140     9000   14% ▊                     1m',
    '2001:db8::1           1     800       10     1000    1% ▏                ▇  0.1s',
    'q quit  s sort:packets  p pause  g group:off  / filter  r names:off  ? help',
  ]);
});

view('says what it costs where there is room', () => {
  const live = model();
  live.cost(1.26, new Map([['eth0', 46.6]]));
  match(lines(live, { width: 100 })[0] ?? '', / {2}47 ns\/packet {2}own CPU 1\.3%$/);
  const unmeasured = model();
  unmeasured.cost(0.01, new Map());
  match(lines(unmeasured, { width: 100 })[0] ?? '', / {2}table 0\.4% {2}own CPU <0\.1%$/);
});

view('goes without block elements', () => {
  const text = lines(model(), { blocks: false });
  is(text[3], '192.0.2.1            60   48000      600    60000   60% ###              #  0.0s');
  ok(text.every((line) => /^[\x20-\x7e]*$/.test(line)));
});

view('never has a line or a column too many, whatever the size', () => {
  const many = Array.from({ length: 300 }, (_, index) =>
    source(`2001:db8:1234:5678:9abc:def0:1234:${index.toString(16)}`, 10_000 - index),
  );
  for (const live of [model([reading(many)]), press(model([reading(many)]), ['r'])]) {
    for (const help of [false, true]) {
      if (help) live.press('?');
      for (let width = 1; width <= 200; width += 7) {
        for (const height of [1, 2, 3, 4, 10, 24, 50, 200]) {
          const text = lines(live, { width, height });
          ok(text.length <= height, `${width}x${height}: ${text.length} lines`);
          ok(
            text.every((line) => line.length <= width),
            `${width}x${height}: a wide line`,
          );
        }
      }
    }
  }
});

view('fills terminals of 10 to 200 rows, and counts what does not fit', () => {
  const many = Array.from({ length: 250 }, (_, index) =>
    source(`198.51.100.${index}`, 1000 - index),
  );
  const live = model([reading(many)]);
  for (const [height, shown, hidden] of [
    [10, 6, 244],
    [24, 19, 231],
    [200, 195, 55],
  ] as const) {
    const text = lines(live, { height });
    is(text.length, height);
    is(text.filter((line) => line.startsWith('198.')).length, shown);
    is(text.at(-2), `+${hidden} more sources`);
  }
  is(
    lines(model([reading(many)], 5), { height: 24 }).filter((line) => line.startsWith('198.'))
      .length,
    5,
  );
});

view('leaves columns out on a narrow terminal, and widens the bars on a wide one', () => {
  is(lines(model(), { width: 46 })[2], 'SOURCE            PKT/S  PACKETS  SHARE');
  is(lines(model(), { width: 30 })[2], 'SOURCE            PKT/S');
  const wide = lines(model(), { width: 160 })[3] ?? '';
  match(wide, / 60% █{9}▋ /);
  is(wide.length, 140);
});

view('has a line for each interface and a column that names it', () => {
  const live = model([reading(FOUR.slice(0, 1)), reading(FOUR.slice(1, 2), 'eth1')]);
  const text = lines(live);
  match(text[0] ?? '', /^eth0 native {2}60 pkt\/s/);
  match(text[1] ?? '', /^eth1 native {2}25 pkt\/s/);
  match(text[2] ?? '', /^SOURCE {11}INTERFACE/);
  match(text[3] ?? '', /^192\.0\.2\.1 {8}eth0 /);
  match(text[4] ?? '', /^192\.0\.2\.2 {8}eth1 /);
  const twenty = Array.from({ length: 20 }, (_, index) => reading(FOUR, `eth${index}`));
  is(lines(model(twenty))[7], '+13 more interfaces');
});

view('says that nothing has come yet', () => {
  const live = new LiveModel({ sort: 'packets', top: 0, nameOf: () => undefined });
  live.attached('eth0', 'generic', 1000);
  equal(lines(live).slice(0, 1), ['eth0 generic  no reading yet']);
  live.read([reading([])], 0);
  equal(lines(live).slice(1, 3), ['no packets yet', 'no packets yet']);
});

view('uses no escape sequence without colour, and the codes that the terminal has with it', () => {
  const live = model();
  not.ok(lines(live).join('').includes('\x1b'));
  const sixteen = lines(live, { depth: 16 }).join('');
  ok(sixteen.includes('\x1b[31m') && sixteen.includes('\x1b[32m') && sixteen.includes('\x1b[36m'));
  not.ok(sixteen.includes('38;5'));
  ok(lines(live, { depth: 256 }).join('').includes('\x1b[38;5;196m'));
  // Colour changes nothing else.
  const bare = lines(live, { depth: 256 }).map((line) => line.replace(CODES, '').trimEnd());
  equal(bare, lines(live));
});

view('shows names and messages of others without their control characters', () => {
  const live = new LiveModel({ sort: 'packets', top: 0, nameOf: () => 'a\x1b[2Jb' });
  live.attached('eth0', 'native', 10);
  live.read([reading(FOUR)], 0);
  press(live, ['r']);
  live.tell('eth0: x\x07');
  const text = lines(live, { width: 200 }).join('\n');
  ok(text.includes('a\\x1b[2Jb') && text.includes('x\\x07'));
  not.ok(text.includes('\x1b') || text.includes('\x07'));
});

view.run();

const keys = suite('the keys of the live view');

const order = (live: LiveModel) => live.frame(100).rows.map((row) => row.source);

keys('s goes through the orders, and the shares follow', () => {
  const live = model();
  const shares = () => live.frame(9).rows.map((row) => Math.round(100 * row.share));
  equal(order(live), ['192.0.2.1', '192.0.2.2', '198.51.100.7', '2001:db8::1']);
  equal(shares(), [60, 25, 14, 1]);
  press(live, ['s']);
  equal(order(live), ['192.0.2.2', '192.0.2.1', '198.51.100.7', '2001:db8::1']);
  equal(shares(), [100, 60, 9, 1]);
  press(live, ['s']);
  equal(order(live), ['192.0.2.2', '192.0.2.1', '2001:db8::1', '198.51.100.7']);
  press(live, ['s']);
  equal(order(live), ['192.0.2.1', '192.0.2.2', '198.51.100.7', '2001:db8::1']);
  is(live.frame(9).sort, 'source');
  press(live, ['s']);
  is(live.frame(9).sort, 'packets');
});

keys('g sums by prefix: rates, counts, the shortest idle time, the minute', () => {
  const live = press(model(), ['g']);
  const { rows, group, hidden } = live.frame(100);
  equal([group, hidden], ['24,64', 0]);
  equal(
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
  equal(rows[0]?.minute.slice(-4), [0, 150, 150, 150]);
  press(live, ['g', 'g']);
  equal(order(live), ['192.0.0.0/8', '198.0.0.0/8', '2001:db8::/32']);
  press(live, ['g']);
  is(order(live).length, 4);
});

keys('p freezes what is shown, and goes on counting', () => {
  const live = press(model(), ['p']);
  live.read([reading([source('203.0.113.1', 5)])], 4000);
  is(order(live).length, 4);
  equal(live.frame(9).rows[0]?.minute.slice(-3), [60, 60, 60]);
  ok(lines(live)[0]?.startsWith('PAUSED  eth0'));
  press(live, ['s']);
  is(order(live)[0], '192.0.2.2', 'what is frozen can be sorted');
  press(live, ['p']);
  equal(order(live), ['203.0.113.1']);
});

keys('/ takes a prefix, or a part of an address, as it is typed', () => {
  const live = press(model(), ['/', ...'192.0.2.0/24']);
  is(live.frame(9).typing, true);
  equal(order(live), ['192.0.2.1', '192.0.2.2']);
  is(lines(live).at(-1), 'filter: 192.0.2.0/24_  Enter keeps it, Esc clears it');
  press(live, ['return']);
  match(lines(live).at(-1) ?? '', /filter:192\.0\.2\.0\/24/);
  press(live, ['escape', '/', ...'51.1', 'backspace', 'return']);
  equal(order(live), ['198.51.100.7']);
  press(live, ['/', ...'zzz']);
  match(lines(live)[2] ?? '', /^nothing matches/);
  press(live, ['escape']);
  is(order(live).length, 4);
});

keys('a letter that is typed into the filter is no command', () => {
  const live = press(model(), ['/', 'q', 's', 'p', '?']);
  const { filter, sort, paused, help } = live.frame(9);
  equal([filter, sort, paused, help], ['qsp?', 'packets', false, false]);
});

keys('r shows names, which the filter then looks at too', () => {
  const live = model();
  ok(
    live.frame(9).rows.every((row) => row.name === undefined),
    'off at first',
  );
  press(live, ['/', ...'print', 'return']);
  equal(order(live), []);
  press(live, ['r']);
  equal(order(live), ['192.0.2.2']);
  match(lines(live)[3] ?? '', /^192\.0\.2\.2 {8}printer\.example /);
});

keys('? is a page of help that any key leaves, q included', () => {
  const live = press(model(), ['?']);
  const text = lines(live).join('\n');
  for (const key of ['q  quit', 's  sort', 'p  pause', 'g  group', '/  filter', 'r  names']) {
    ok(text.includes(key), key);
  }
  press(live, ['q']);
  is(live.frame(9).help, false);
});

keys('q is the end, and other keys are nothing', () => {
  const live = press(model(), ['x', 'up', 'Q', '']);
  is(live.press('q'), true);
});

keys('a message stays until the next key', () => {
  const live = model();
  live.tell('eth0: the interface is called lan0 now');
  is(lines(live)[1], 'eth0: the interface is called lan0 now');
  press(live, ['x']);
  not.match(lines(live)[1] ?? '', /lan0/);
});

keys('of a hundred thousand sources with the same count only the first are looked for', () => {
  const many = Array.from({ length: 100_000 }, (_, index) =>
    source(`198.18.${(index >> 8) & 255}.${index & 255}`, 1, {
      interface: index > 65_535 ? 'eth1' : 'eth0',
    }),
  );
  const live = model([reading(many)]);
  const { rows, hidden } = live.frame(50);
  equal([rows.length, hidden], [50, 99_950]);
});

keys.run();

const history = suite('History');

history('keeps a minute, second by second', () => {
  const past = new History();
  for (let second = 0; second < 100; second++) {
    past.add([source('192.0.2.1', 0, { packets_per_second: second })], second);
  }
  const minute = past.sum([source('192.0.2.1', 0)]);
  is(minute.length, HISTORY_SECONDS);
  equal([minute[0], minute.at(-1)], [40, 99]);
});

history('a reading stands for the seconds since the one before', () => {
  const past = new History();
  past.add([source('192.0.2.1', 0, { packets_per_second: 5 })], 10);
  past.add([source('192.0.2.1', 0, { packets_per_second: 7 })], 14);
  equal(past.sum([source('192.0.2.1', 0)]).slice(-6), [0, 5, 7, 7, 7, 7]);
});

history('silence is zero, and after a minute of it the source is forgotten', () => {
  const past = new History();
  past.add([source('192.0.2.1', 0, { packets_per_second: 5 })], 10);
  past.add([], 12);
  equal(past.sum([source('192.0.2.1', 0)]).slice(-4), [0, 5, 0, 0]);
  past.add([source('192.0.2.1', 0, { packets_per_second: 9 })], 15);
  equal(past.sum([source('192.0.2.1', 0)]).slice(-6), [5, 0, 0, 9, 9, 9]);
  past.add([], 76);
  is(past.has(source('192.0.2.1', 0)), false);
});

history('a copy stays as it is', () => {
  const past = new History();
  past.add([source('192.0.2.1', 0, { packets_per_second: 5 })], 10);
  const copy = past.copy();
  past.add([source('192.0.2.1', 0, { packets_per_second: 6 })], 11);
  equal(copy.sum([source('192.0.2.1', 0)]).slice(-2), [0, 5]);
});

history('in a flood, only the busiest of each reading are kept', () => {
  const past = new History();
  const flood = Array.from({ length: 5000 }, (_, index) =>
    source(`198.18.${index >> 8}.${index & 255}`, 0, { packets_per_second: 1 + (index % 7) }),
  );
  past.add([...flood, source('192.0.2.1', 0, { packets_per_second: 100 })], 1);
  is(past.has(source('192.0.2.1', 0)), true);
  is(flood.filter((each) => past.has({ ...each, interface: 'eth0' })).length, 999);
});

history.run();

const names = suite('ReverseNames');

/** Resolves when it is told to. */
class SlowNames {
  readonly asked: string[] = [];
  readonly #events = new EventEmitter();
  readonly resolve = (address: string) => {
    this.asked.push(address);
    return new Promise<string[]>((resolve, reject) => {
      this.#events.once(address, (name?: string) =>
        name === undefined ? reject(new Error('ENOTFOUND')) : resolve([name]),
      );
    });
  };
  answer(address: string, name?: string): Promise<void> {
    this.#events.emit(address, name);
    return new Promise((resolve) => setImmediate(resolve));
  }
}

names('asks once, tells when a name has come, and remembers that there is none', async () => {
  const slow = new SlowNames();
  let told = 0;
  const reverse = new ReverseNames({ resolve: slow.resolve, onName: () => told++ });
  reverse.lookUp(['192.0.2.1', '192.0.2.2']);
  reverse.lookUp(['192.0.2.1', '192.0.2.2']);
  equal([reverse.get('192.0.2.1'), told], [undefined, 0]);
  await slow.answer('192.0.2.1', 'one.example');
  await slow.answer('192.0.2.2');
  equal([reverse.get('192.0.2.1'), reverse.get('192.0.2.2'), told], ['one.example', undefined, 1]);
  reverse.lookUp(['192.0.2.1', '192.0.2.2']);
  equal(slow.asked, ['192.0.2.1', '192.0.2.2']);
  reverse.close();
});

names('asks for few at a time, and not for what nobody looks at any more', async () => {
  const slow = new SlowNames();
  const reverse = new ReverseNames({ resolve: slow.resolve });
  const addresses = Array.from({ length: 20 }, (_, index) => `192.0.2.${index}`);
  reverse.lookUp(addresses);
  is(slow.asked.length, 8);
  reverse.lookUp(['198.51.100.1']);
  for (const address of addresses.slice(0, 8)) await slow.answer(address);
  equal(slow.asked.slice(8), ['198.51.100.1']);
  reverse.close();
});

names('prefixes have none', () => {
  const slow = new SlowNames();
  const reverse = new ReverseNames({ resolve: slow.resolve });
  reverse.lookUp(['192.0.2.0/24']);
  equal(slow.asked, []);
  reverse.close();
});

names.run();

const terminal = suite('what a terminal can do');

terminal('colours: none, 16 or 256', () => {
  is(colorDepth(false, { TERM: 'xterm-256color' }), 0);
  is(colorDepth(true, { TERM: 'xterm' }), 16);
  is(colorDepth(true, { TERM: 'screen-256color' }), 256);
  is(colorDepth(true, { TERM: 'xterm', COLORTERM: 'truecolor' }), 256);
});

terminal('block elements: in UTF-8, and not on the Linux console', () => {
  is(usesBlockElements({ LANG: 'C.UTF-8' }), true);
  is(usesBlockElements({ LANG: 'de_DE.utf8', LC_ALL: '' }), true);
  is(usesBlockElements({ LANG: 'C.UTF-8', LC_ALL: 'C' }), false);
  is(usesBlockElements({}), false);
  is(usesBlockElements({ LANG: 'C.UTF-8', TERM: 'linux' }), false);
});

terminal.run();
