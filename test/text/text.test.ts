import { equal, is, ok } from 'uvu/assert';
import { drawsInPlace, Screen } from '../../src/cli/screen.js';
import { describeTotals, renderSourcesTable } from '../../src/cli/sources-table.js';
import { renderChecks } from '../../src/doctor/table.js';
import type { Check, SourceRecord, TotalsRecord } from '../../src/model/records.js';
import { usesColor } from '../../src/text/color.js';
import { formatCount, formatIdle, formatRate } from '../../src/text/figures.js';
import { renderDocument, stringifyRecord } from '../../src/text/json.js';
import { ownCommand, quoteWord, renderCommand } from '../../src/text/shell-words.js';
import { cutLine, paint, printable, wrapWords } from '../../src/text/text.js';
import { suite } from '../suite.js';

const ESCAPE = '\x1b';

function source(address: string, figures: Partial<SourceRecord> = {}): SourceRecord {
  return {
    type: 'source',
    interface: 'eth0',
    source: address,
    packets: 10n,
    bytes: 1420n,
    idle_ms: 312,
    ...figures,
  };
}

function totals(figures: Partial<TotalsRecord> = {}): TotalsRecord {
  return {
    type: 'totals',
    interface: 'eth0',
    sources: 2,
    packets: 15n,
    bytes: 1790n,
    ipv4: 10n,
    ipv6: 3n,
    other: 2n,
    malformed: 0n,
    untracked: 0n,
    ...figures,
  };
}

const json = suite('stringifyRecord, renderDocument');

json('prints a counter beyond 2^53 with every digit', () => {
  is(
    stringifyRecord(source('192.0.2.7', { packets: 18446744073709551615n })),
    '{"type":"source","interface":"eth0","source":"192.0.2.7","packets":18446744073709551615,"bytes":1420,"idle_ms":312}',
  );
});

json('is what JSON.stringify prints where there is no bigint', () => {
  const value = {
    text: 'quote " backslash \\ line \n tab \t nul \0 \u2028 \ud800 ü',
    numbers: [0, -1.5, 1e21, Number.NaN, Number.POSITIVE_INFINITY],
    nothing: [null, undefined, true, false],
    absent: undefined,
    empty: [{}, []],
    nested: { deeper: [[1], { 'a key': '' }] },
  };
  is(renderDocument(value), JSON.stringify(value, null, 2));
  is(
    stringifyRecord({ type: 'error', code: 'usage', message: value.text, hint: null }),
    JSON.stringify({ type: 'error', code: 'usage', message: value.text, hint: null }),
  );
});

json('keeps bigint in documents too', () => {
  is(
    renderDocument({ counts: [1n, { more: 2n }] }),
    '{\n  "counts": [\n    1,\n    {\n      "more": 2\n    }\n  ]\n}',
  );
});

json.run();

const figures = suite('formatCount, formatRate, formatIdle');

figures('a count has every digit up to 99999, then a prefix, and is never rounded up', () => {
  const counts = [
    0n,
    99_999n,
    100_000n,
    123_456n,
    999_999n,
    1_000_000n,
    5_678_901n,
    2n ** 64n - 1n,
  ];
  equal(counts.map(formatCount), [
    '0',
    '99999',
    '100.0k',
    '123.4k',
    '999.9k',
    '1.0M',
    '5.6M',
    '18.4E',
  ]);
});

figures('a rate has one decimal below 10', () => {
  equal([0, 0.04, 0.5, 2, 9.94, 9.96, 1234.5, 120_000, Number.NaN, -1].map(formatRate), [
    '0',
    '0',
    '0.5',
    '2',
    '9.9',
    '10',
    '1235',
    '120.0k',
    '0',
    '0',
  ]);
});

figures('an age has the one unit that fits', () => {
  const ages = [0, 312, 9940, 9960, 59_999, 60_000, 3_599_999, 3_600_000, 172_799_999, 172_800_000];
  equal(ages.map(formatIdle), [
    '0.0s',
    '0.3s',
    '9.9s',
    '9.9s',
    '59s',
    '1m',
    '59m',
    '1h',
    '47h',
    '2d',
  ]);
});

figures.run();

const table = suite('renderSourcesTable');

const SOURCES = [
  source('192.0.2.7', { packets_per_second: 10, bytes_per_second: 1420 }),
  source('2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff', {
    packets: 1_234_567n,
    bytes: 98_765_432_109n,
    idle_ms: 7_300_000,
    packets_per_second: 0.25,
    bytes_per_second: 1e9,
  }),
];

table('aligns its columns', () => {
  const options = { width: 80, color: false, hidden: 0, rates: false };
  equal(renderSourcesTable([source('192.0.2.7'), source('2001:db8::7')], totals(), options), [
    'SOURCE           PACKETS    BYTES  IDLE',
    '192.0.2.7             10     1420  0.3s',
    '2001:db8::7           10     1420  0.3s',
    'eth0: 2 sources; 15 packets (10 IPv4, 3 IPv6, 2 other), 1790 bytes',
  ]);
});

table('shows the longest address and every column in 80 columns', () => {
  const options = { width: 80, color: false, hidden: 3, rates: true };
  equal(renderSourcesTable(SOURCES, totals(), options), [
    'SOURCE                                  PACKETS    BYTES   PKT/S   BIT/S  IDLE',
    '192.0.2.7                                    10     1420      10   11360  0.3s',
    '2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff     1.2M    98.7G     0.3    8.0G    2h',
    '+3 more sources',
    'eth0: 2 sources; 15 packets (10 IPv4, 3 IPv6, 2 other), 1790 bytes',
  ]);
});

table('gives up columns before it cuts an address', () => {
  const at = (width: number) =>
    renderSourcesTable(SOURCES, totals(), { width, color: false, hidden: 0, rates: true });
  is(at(72)[0], 'SOURCE                                  PACKETS    BYTES   PKT/S   BIT/S');
  is(at(64)[0], 'SOURCE                                  PACKETS    BYTES   PKT/S');
  is(at(60)[0], 'SOURCE                                  PACKETS   PKT/S');
  is(at(50)[2], '2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff     1.2M');
  is(at(30)[2], '2001:db8:aaaa:bbbb:cccc:dddd:e');
});

table('no line is wider than asked, at any width', () => {
  const wide = totals({
    malformed: 7n,
    untracked: 12n,
    packets_per_second: 3,
    bytes_per_second: 5,
  });
  for (let width = 1; width <= 120; width++) {
    const lines = renderSourcesTable(SOURCES, wide, {
      width,
      color: false,
      hidden: 1,
      rates: true,
    });
    equal(
      lines.filter((line) => line.length > width),
      [],
      `width ${width}`,
    );
  }
});

table('shows what fits, and counts the rest', () => {
  const sources = Array.from({ length: 9 }, (_, index) => source(`192.0.2.${index}`));
  const lines = (maxLines: number, hidden: number) =>
    renderSourcesTable(sources, totals(), {
      width: 80,
      color: false,
      hidden,
      rates: false,
      maxLines,
    });
  for (let maxLines = 3; maxLines <= 12; maxLines++) {
    for (const hidden of [0, 5]) {
      const shown = lines(maxLines, hidden);
      ok(shown.length <= maxLines, `${shown.length} lines in ${maxLines}`);
      const rows = shown.filter((line) => line.startsWith('192.0.2.')).length;
      const more = Number(/^\+(\d+) more/m.exec(shown.join('\n'))?.[1] ?? 0);
      is(rows + more, sources.length + hidden, `${maxLines} lines, ${hidden} hidden`);
    }
  }
  is(lines(11, 0).length, 11);
  is(lines(10, 0).at(-2), '+2 more sources');
});

table('colours after cutting', () => {
  const options = { width: 20, color: true, hidden: 1, rates: false };
  equal(renderSourcesTable([source('192.0.2.7')], totals({ packets: 0n }), options), [
    `${ESCAPE}[1mSOURCE           PAC${ESCAPE}[22m`,
    '192.0.2.7           ',
    `${ESCAPE}[2m+1 more source${ESCAPE}[22m`,
    'eth0: no packets yet',
  ]);
});

table('is one line where there was nothing', () => {
  const nothing = totals({ sources: 0, packets: 0n, bytes: 0n, ipv4: 0n, ipv6: 0n, other: 0n });
  equal(renderSourcesTable([], nothing, { width: 80, color: false, hidden: 0, rates: true }), [
    'eth0: no packets yet',
  ]);
});

table.run();

const words = suite('describeTotals');

words('accounts for every packet, and names only what there was', () => {
  is(
    describeTotals(
      totals({
        sources: 1,
        packets: 21n,
        ipv4: 1n,
        ipv6: 0n,
        other: 0n,
        malformed: 20n,
        untracked: 1n,
        bytes: 1n,
        packets_per_second: 0.5,
        bytes_per_second: 150,
      }),
    ),
    'eth0: 1 source; 21 packets (1 IPv4, 20 malformed), 1 byte; ' +
      '1 untracked, of sources that left the table; 0.5 packets/s, 1200 bits/s',
  );
});

words('is safe to print whatever the interface is called', () => {
  is(
    describeTotals(totals({ interface: `a${ESCAPE}[2J`, packets: 0n })),
    'a\\x1b[2J: no packets yet',
  );
});

words.run();

const text = suite('printable, cutLine, wrapWords, paint');

text('printable replaces what a terminal would obey, and nothing else', () => {
  is(printable('eth0.100 "ü" %n'), 'eth0.100 "ü" %n');
  is(printable('a\nb\tc\0\x7f\u009b\u202e\u2028'), 'a\\x0ab\\x09c\\x00\\x7f\\x9b\\x202e\\x2028');
});

text('cutLine leaves what fits', () => {
  equal([cutLine('abc', 3), cutLine('abcd', 3), cutLine('abc', 0)], ['abc', 'abc', '']);
});

text('wrapWords breaks between words only, and indents what follows', () => {
  equal(wrapWords('one two three', 80), ['one two three']);
  equal(wrapWords('one two three', 8, '  '), ['one two', '  three']);
  equal(wrapWords('incomprehensible', 8), ['incomprehensible']);
});

text('paint does nothing without colour or text', () => {
  equal(
    [paint('x', 'red', true), paint('x', 'red', false), paint('', 'red', true)],
    [`${ESCAPE}[31mx${ESCAPE}[39m`, 'x', ''],
  );
});

text.run();

const commands = suite('renderCommand, quoteWord, ownCommand');

commands('a command of ours is about the interface that was meant, whatever it is called', () => {
  is(ownCommand('dump', { interface: 'eth0', netns: null }), 'xdpwho dump eth0');
  is(
    ownCommand('attach --replace', { interface: 'eth0', netns: 'blue', bpffs: '/tmp/a b' }),
    "xdpwho attach --replace eth0 --netns blue --bpffs '/tmp/a b'",
  );
  is(ownCommand('log', { interface: '$(id)' }), "xdpwho log '$(id)'");
  is(ownCommand('log', { interface: '-x', netns: 'blue' }), 'xdpwho log --netns blue -- -x');
});

commands('prints words as a shell reads them back', () => {
  is(
    renderCommand('/usr/sbin/bpftool', ['-j', 'net', 'show', 'dev', 'eth0.100']),
    '/usr/sbin/bpftool -j net show dev eth0.100',
  );
  equal(['', 'a b', "it's", '$(id)', '*', 'a;b', '~'].map(quoteWord), [
    "''",
    "'a b'",
    "'it'\\''s'",
    "'$(id)'",
    "'*'",
    "'a;b'",
    "'~'",
  ]);
});

commands.run();

const color = suite('usesColor');

color('auto colours a terminal that can, unless NO_COLOR has a value', () => {
  is(usesColor('auto', true, {}), true);
  is(usesColor('auto', false, {}), false);
  is(usesColor('auto', true, { NO_COLOR: '1' }), false);
  is(usesColor('auto', true, { NO_COLOR: '' }), true);
  is(usesColor('auto', true, { TERM: 'dumb' }), false);
});

color('always and never decide', () => {
  is(usesColor('always', false, { NO_COLOR: '1', TERM: 'dumb' }), true);
  is(usesColor('never', true, {}), false);
});

color.run();

const screen = suite('Screen');

/** A terminal that remembers what was written to it. */
class Recorder {
  text = '';
  columns: number | undefined = 40;
  rows: number | undefined = 10;

  write(text: string): void {
    this.text += text;
  }

  take(): string {
    const { text } = this;
    this.text = '';
    return text;
  }
}

const BEGIN = `${ESCAPE}[?2026h`;
const END = `${ESCAPE}[J${ESCAPE}[?2026l`;

screen('draws one block over the other', () => {
  const terminal = new Recorder();
  const drawn = new Screen(terminal, true);
  drawn.draw(['one', `${ESCAPE}[1mtwo${ESCAPE}[22m`]);
  is(terminal.take(), `${BEGIN}\rone${ESCAPE}[K\n${ESCAPE}[1mtwo${ESCAPE}[22m${ESCAPE}[K\n${END}`);
  drawn.draw(['three']);
  is(terminal.take(), `${BEGIN}${ESCAPE}[2A\rthree${ESCAPE}[K\n${END}`);
  drawn.close();
  is(terminal.take(), `\r${ESCAPE}[J`);
});

screen('draws below what somebody else wrote', () => {
  const terminal = new Recorder();
  const drawn = new Screen(terminal, true);
  drawn.draw(['one']);
  drawn.interrupt();
  terminal.take();
  drawn.draw(['two']);
  is(terminal.take(), `${BEGIN}\rtwo${ESCAPE}[K\n${END}`);
});

screen('leaves out what is beyond the last row', () => {
  const terminal = new Recorder();
  terminal.rows = 3;
  const drawn = new Screen(terminal, true);
  is(drawn.height, 2);
  drawn.draw(['one', 'two', 'three']);
  is(terminal.take(), `${BEGIN}\rone${ESCAPE}[K\ntwo${ESCAPE}[K\n${END}`);
});

screen('begins below when the terminal has become narrower than what was drawn', () => {
  const terminal = new Recorder();
  const drawn = new Screen(terminal, true);
  drawn.draw(['x'.repeat(40)]);
  terminal.take();
  terminal.columns = 30;
  drawn.draw(['y']);
  is(terminal.take(), `${BEGIN}\ry${ESCAPE}[K\n${END}`);
  drawn.draw(['z']);
  is(terminal.take(), `${BEGIN}${ESCAPE}[1A\rz${ESCAPE}[K\n${END}`);
});

screen('elsewhere prints blocks with an empty line between them, and no escapes', () => {
  const file = new Recorder();
  file.columns = undefined;
  const drawn = new Screen(file, false);
  equal([drawn.width, drawn.height], [80, undefined]);
  drawn.draw(['one', 'two']);
  drawn.interrupt();
  drawn.draw(['three']);
  drawn.close();
  is(file.take(), 'one\ntwo\n\nthree\n');
});

screen('is drawn in place on terminals that are not dumb', () => {
  equal(
    [drawsInPlace(true, 'xterm'), drawsInPlace(true, undefined), drawsInPlace(true, 'dumb')],
    [true, true, false],
  );
  is(drawsInPlace(false, 'xterm'), false);
});

screen.run();

const checks = suite('renderChecks');

const CHECKS: readonly Check[] = [
  { name: 'kernel', title: 'kernel', status: 'pass', detail: '6.1.0', fix: 'not shown' },
  { name: 'clang', title: 'clang', status: 'warn', detail: 'not found', fix: 'apt install clang' },
  { name: 'x', title: 'a title', status: 'fail', detail: 'words that take\nmore than a line' },
];

checks('shows the status, what was found and what mends it', () => {
  equal(renderChecks(CHECKS, { width: 36, color: false }), [
    'ok    kernel   6.1.0',
    'warn  clang    not found',
    '               fix: apt install clang',
    'FAIL  a title  words that',
    '               take\\x0amore than a',
    '               line',
    '',
    '1 passed, 1 warning, 1 failed',
  ]);
});

checks('colours the status only', () => {
  equal(renderChecks(CHECKS.slice(0, 1), { width: 80, color: true }), [
    `${ESCAPE}[32mok${ESCAPE}[39m    kernel  6.1.0`,
    '',
    '1 passed, 0 warnings, 0 failed',
  ]);
});

checks.run();
