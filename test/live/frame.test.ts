import * as assert from 'uvu/assert';
import { LiveModel } from '../../src/live/model.js';
import { textWidth } from '../../src/text/text.js';
import { suite } from '../suite.js';
import { FOUR, lines, model, press, reading, source } from './sample.js';

// biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what it looks for
const CODES = /\x1b\[[\d;]*m/g;

const view = suite('the live view');

view('has a header, a line for each source and the keys', () => {
  const live = model();
  live.setCosts(1.26, new Map([['received eth0', 46.6]]));
  assert.equal(lines(live), [
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
  live.setCosts(1.26, new Map([['received eth0', 46.6]]));
  assert.match(lines(live, { width: 100 })[0] ?? '', / {2}47 ns\/packet {2}own CPU 1\.3%$/);
  const unmeasured = model();
  unmeasured.setCosts(0.01, new Map());
  assert.match(lines(unmeasured, { width: 100 })[0] ?? '', / {2}table 0\.4% {2}own CPU <0\.1%$/);
});

view('no row is wider than the terminal, whatever letters the interfaces are named with', () => {
  for (const name of ['网络接口名', 'ｗｉｄｅ', 'e\u0301\u0301\u0301th0']) {
    const two = [reading(FOUR, name), reading(FOUR, 'eth0')];
    for (const width of [80, 60, 41]) {
      for (const line of lines(model(two), { width })) {
        assert.ok(textWidth(line) <= width, `${textWidth(line)}: ${line}`);
      }
    }
  }
});

view('goes without block elements', () => {
  const text = lines(model(), { blocks: false });
  assert.is(
    text[3],
    '192.0.2.1            60   48000      600    60000   60% ###              #  0.0s',
  );
  assert.ok(text.every((line) => /^[\x20-\x7e]*$/.test(line)));
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
          assert.ok(text.length <= height, `${width}x${height}: ${text.length} lines`);
          assert.ok(
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
    assert.is(text.length, height);
    assert.is(text.filter((line) => line.startsWith('198.')).length, shown);
    assert.is(text.at(-2), `+${hidden} more sources`);
  }
  assert.is(
    lines(model([reading(many)], 5), { height: 24 }).filter((line) => line.startsWith('198.'))
      .length,
    5,
  );
});

view('leaves columns out on a narrow terminal, and widens the bars on a wide one', () => {
  assert.is(lines(model(), { width: 46 })[2], 'SOURCE            PKT/S  PACKETS  SHARE');
  assert.is(lines(model(), { width: 30 })[2], 'SOURCE            PKT/S');
  const wide = lines(model(), { width: 160 })[3] ?? '';
  assert.match(wide, / 60% █{9}▋ /);
  assert.is(wide.length, 140);
});

view('has a line for each interface and a column that names it', () => {
  const live = model([reading(FOUR.slice(0, 1)), reading(FOUR.slice(1, 2), 'eth1')]);
  const text = lines(live);
  assert.match(text[0] ?? '', /^eth0 native {2}60 pkt\/s/);
  assert.match(text[1] ?? '', /^eth1 native {2}25 pkt\/s/);
  assert.match(text[2] ?? '', /^SOURCE {11}INTERFACE/);
  assert.match(text[3] ?? '', /^192\.0\.2\.1 {8}eth0 /);
  assert.match(text[4] ?? '', /^192\.0\.2\.2 {8}eth1 /);
  const twenty = Array.from({ length: 20 }, (_, index) => reading(FOUR, `eth${index}`));
  assert.is(lines(model(twenty))[7], '+13 more interfaces');
});

view('names what is sent, and shows both directions of an address in one row', () => {
  const sent = { ...reading(FOUR.slice(0, 2)), direction: 'sent' } as const;
  const text = lines(model([sent]));
  assert.match(text[0] ?? '', /^eth0 native sent {2}.* {2}2 destinations /);
  assert.match(text[2] ?? '', /^DESTINATION /);
  const more = source('192.0.2.1', 400, { bytes: 1000n, idle_ms: 9, packets_per_second: 5 });
  const live = model([reading(FOUR), { ...reading([more]), direction: 'sent' }]);
  const both = lines(live, { width: 150 });
  assert.match(both[0] ?? '', /^eth0 native {2}/);
  assert.match(both[1] ?? '', /^eth0 native sent {2}/);
  assert.match(both[2] ?? '', /^ADDRESS .*FROM PKT\/S .*FROM PKT .*TO PKT\/S .*TO PKT .*IDLE$/);
  assert.match(both[3] ?? '', /^192\.0\.2\.1 +60 +\S+ +600 +60000 +5 +\S+ +400 +1000 .* 0\.0s$/);
  assert.match(both[4] ?? '', /^192\.0\.2\.2 +90 +\S+ +250 +250\.0k +0 +0 +0 +0 /);
  // Groups, a filter and a pause keep the two apart.
  press(live, ['g']);
  assert.match(lines(live, { width: 150 })[3] ?? '', /^192\.0\.2\.0\/24 .* 850 .* 400 /);
  press(live, ['p', 'g', 'g', 'g', '/', ...'192.0.2.1', 'return']);
  assert.match(lines(live, { width: 150 })[3] ?? '', /^192\.0\.2\.1 .* 600 .* 400 /);
});

view('says that nothing has come yet', () => {
  const live = new LiveModel({ sort: 'packets', top: 0, nameOf: () => undefined });
  live.addInterface('eth0', 'received', 'generic', 1000);
  assert.equal(lines(live).slice(0, 1), ['eth0 generic  no reading yet']);
  live.setReadings([reading([])], 0);
  assert.equal(lines(live).slice(1, 3), ['no packets yet', 'no packets yet']);
});

view('uses no escape sequence without colour, and the codes that the terminal has with it', () => {
  const live = model();
  assert.not.ok(lines(live).join('').includes('\x1b'));
  const sixteen = lines(live, { depth: 16 }).join('');
  assert.ok(
    sixteen.includes('\x1b[31m') && sixteen.includes('\x1b[32m') && sixteen.includes('\x1b[36m'),
  );
  assert.not.ok(sixteen.includes('38;5'));
  assert.ok(lines(live, { depth: 256 }).join('').includes('\x1b[38;5;196m'));
  // Colour changes nothing else.
  const bare = lines(live, { depth: 256 }).map((line) => line.replace(CODES, '').trimEnd());
  assert.equal(bare, lines(live));
});

view('shows names and messages of others without their control characters', () => {
  const live = new LiveModel({ sort: 'packets', top: 0, nameOf: () => 'a\x1b[2Jb' });
  live.addInterface('eth0', 'received', 'native', 10);
  live.setReadings([reading(FOUR)], 0);
  press(live, ['r']);
  live.showMessage('eth0: x\x07');
  const text = lines(live, { width: 200 }).join('\n');
  assert.ok(text.includes('a\\x1b[2Jb') && text.includes('x\\x07'));
  assert.not.ok(text.includes('\x1b') || text.includes('\x07'));
});

view.run();
