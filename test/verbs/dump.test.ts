import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { Attachment } from '../../src/attachment/attachment.js';
import type { SessionContext } from '../../src/attachment/context.js';
import { initialState } from '../../src/attachment/defaults.js';
import { pinsIn } from '../../src/attachment/pin-paths.js';
import { Bpftool } from '../../src/host/bpftool.js';
import { ownNetns } from '../../src/host/netns.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { PrefixGrouping } from '../../src/model/grouping.js';
import { parsePrefix } from '../../src/model/prefix.js';
import { SourceSet } from '../../src/table/source-set.js';
import { stringifyRecord } from '../../src/text/json.js';
import { dump, dumpLines, examineLines } from '../../src/verbs/dump.js';
import { suite } from '../suite.js';

const ALL = { top: 0, sort: 'packets' } as const;
/** Nothing here runs it. */
const context: SessionContext = {
  bpftool: new Bpftool({ path: '/none' }),
  objectsDirectory: '/none',
};

let directory: string;

function line(source: string, packets: bigint | number, name = 'eth0'): string {
  const record = {
    type: 'source' as const,
    ...{
      interface: name,
      source,
      packets: BigInt(packets),
      bytes: BigInt.asUintN(64, BigInt(packets) * 64n),
    },
    idle_ms: 5,
  };
  return `${stringifyRecord(record)}\n`;
}

/** An attachment whose files hold these lines, as an iterator would print them. */
function attachmentWith(lines: readonly string[], ipv4: number | bigint): Attachment {
  const pins = pinsIn(directory);
  mkdirSync(directory, { recursive: true });
  writeFileSync(pins.sourcesFile, lines.join(''));
  writeFileSync(
    pins.totalsFile,
    `{"type":"totals","interface":"eth0","packets":${ipv4},"bytes":1,"ipv4":${ipv4},"ipv6":0,"other":0,"malformed":0}\n`,
  );
  const netns = ownNetns();
  const state = initialState({ device: 'eth0', netns }, { maxSources: 1000 });
  return new Attachment(context, {
    ...{ pins, netns },
    state: { ...state, programId: 1, mode: 'native', reader: 'iterator' },
  });
}

async function printed(attachment: Attachment) {
  const lines = dumpLines(context, attachment);
  let text = '';
  for (;;) {
    const { done, value } = await lines.next();
    if (done === true) return { text, totals: value };
    text += value;
  }
}

const dumping = suite('dump');
dumping.before(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'xdpwho-test-')), 'pins');
});
dumping.after(() => rmSync(join(directory, '..'), { recursive: true }));

const LINES = [
  line('192.0.2.9', 10),
  line('192.0.2.10', 300),
  line('2001:db8::1', 7),
  line('198.51.100.1', 10),
];

dumping('orders, cuts, and says what it cut', async () => {
  const { sources, totals, rest } = await dump(context, attachmentWith(LINES, 330), {
    ...{ top: 2, sort: 'packets' },
  });
  assert.equal(
    [...sources].map((each) => each.source),
    ['192.0.2.10', '192.0.2.9'],
  );
  assert.equal(rest, { sources: 2, packets: 17n, bytes: 17n * 64n });
  assert.equal([totals.sources, totals.untracked], [4, 3n]);
});

dumping('a filter and sums by prefix leave the totals as they are', async () => {
  const options = {
    ...ALL,
    source: parsePrefix('192.0.2.0/24'),
    group: new PrefixGrouping(30, 64),
  };
  const { sources, totals } = await dump(context, attachmentWith(LINES, 330), options);
  assert.equal(
    [...sources].map((each) => [each.source, each.packets]),
    [['192.0.2.8/30', 310n]],
  );
  assert.equal([totals.sources, totals.untracked, totals.packets], [4, 3n, 330n]);
});

dumping('what the kernel comes past twice counts once, in both ways of reading', async () => {
  const twice = [...LINES, line('192.0.2.10', 301), line('203.0.113.1', 2)];
  const attachment = attachmentWith(twice, 400);
  const { sources, totals } = await dump(context, attachment, ALL);
  assert.equal(
    [...sources].map((each) => each.packets),
    [300n, 10n, 10n, 7n, 2n],
  );
  assert.equal([totals.sources, totals.untracked], [5, 71n]);
  const lines = await printed(attachment);
  assert.is(lines.text, [...LINES, line('203.0.113.1', 2)].join(''));
  assert.equal(lines.totals, totals);
});

dumping('counts beyond 2^53 keep every digit', async () => {
  const large = 18446744073709551615n;
  const attachment = attachmentWith([line('192.0.2.1', large)], large);
  assert.is([...(await dump(context, attachment, ALL)).sources][0]?.packets, large);
  const { text, totals } = await printed(attachment);
  assert.match(text, `"packets":${large},`);
  assert.is(totals.untracked, 0n);
});

dumping('a file that has gone is `not-attached`', async () => {
  const attachment = attachmentWith(LINES, 330);
  rmSync(attachment.pins.sourcesFile);
  try {
    await dump(context, attachment, ALL);
    assert.unreachable();
  } catch (error) {
    assert.ok(hasErrorCode(error, 'not-attached'), String(error));
  }
});

dumping.run();

const examining = suite('examineLines');

examining('counts what JSON.parse finds, whatever the interface is called', () => {
  const names = fc.constantFrom('eth0', 'a","source":"b', '\\', '"', 'é', '","packets":1,');
  const entries = fc.array(fc.tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.bigInt(0n, 2n ** 64n - 1n)));
  fc.assert(
    fc.property(names, entries, (name, list) => {
      const unique = new Map([...list].reverse());
      const text = list.map(([source, packets]) => line(source, packets, name)).join('');
      const result = examineLines(text, new SourceSet());
      assert.is(result.sources, unique.size);
      let sum = 0n;
      for (const packets of unique.values()) sum += packets;
      assert.is(result.packets, sum);
      assert.is(result.text.split('\n').length - 1, unique.size);
    }),
  );
});

examining('refuses what is no such line', () => {
  for (const text of [
    '{}\n',
    '{"type":"source","interface":"eth0","source":"192.0.2.1"}\n',
    'x\n',
  ]) {
    assert.throws(
      () => examineLines(line('192.0.2.1', 1) + text, new SourceSet()),
      (error: unknown) => hasErrorCode(error, 'bad-output'),
    );
  }
});

examining.run();
