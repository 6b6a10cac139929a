/** What needs no kernel: the figures, their comparison, their forms, and who puts the switch back. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { compareRatios, parseSaved } from '../../src/bench/compare.js';
import { RunTimeStatistics } from '../../src/bench/kernel-statistics.js';
import { estimate } from '../../src/bench/median.js';
import {
  bencherMetrics,
  liveBencherMetrics,
  renderComparisons,
  renderCosts,
  renderLiveCost,
} from '../../src/bench/table.js';
import { parsePercentage } from '../../src/cli/option-values.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { renderDocument } from '../../src/text/json.js';
import { scaleBaseline } from '../benchmarks/baseline.js';
import { suite } from '../suite.js';
import { bencherFault } from './bencher-metrics.js';

const around = (median: number, by: number) => ({ median, lower: median - by, upper: median + by });

const COST = {
  case: 'ipv4',
  returned: 'XDP_PASS',
  program_ns: around(60, 2),
  empty_ns: around(20, 1),
  added_ns: around(40, 3),
  ratio: around(3, 0.2),
};

const LIVE_COST = {
  interface: 'eth0',
  mode: 'native',
  program: 'xdpwho',
  program_id: 7,
  seconds: 10,
  packets: 12_345,
  packets_per_second: 1234.5,
  program_ns: around(80, 5),
  cpu_percent: 0.01,
};

const figures = suite('estimate');

figures('gives the median, of an even number of values the mean of the middle two', () => {
  assert.is(estimate([9, 1, 5]).median, 5);
  assert.is(estimate([9, 1, 5, 6]).median, 5.5);
});

figures('is the one value where there is one, and lowest to highest where there are few', () => {
  assert.equal(estimate([4]), { median: 4, lower: 4, upper: 4 });
  assert.equal(estimate([3, 1, 2, 5, 4]), { median: 3, lower: 1, upper: 5 });
});

figures('leaves out as many values at both ends as the binomial distribution allows', () => {
  // Of 25 values, the 8th and the 18th: David and Nagaraja, Order Statistics, 7.1.
  const values = Array.from({ length: 25 }, (_, index) => index + 1);
  assert.equal(estimate(values), { median: 13, lower: 8, upper: 18 });
});

figures('does not depend on the order, and has the median inside the interval', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ noNaN: true, min: 0, max: 1e9 }), { minLength: 1 }),
      (values) => {
        const found = estimate(values);
        assert.equal(estimate([...values].reverse()), found);
        assert.ok(found.lower <= found.median && found.median <= found.upper);
      },
    ),
  );
});

figures('holds the true median in at least nine of ten series of noise', () => {
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  let inside = 0;
  for (let series = 0; series < 1000; series++) {
    // Skewed, as the noise of a busy machine is; its median is 1/4.
    const { lower, upper } = estimate(Array.from({ length: 15 }, () => random() ** 2));
    if (lower <= 0.25 && 0.25 <= upper) inside++;
  }
  assert.ok(inside >= 900, `${inside} of 1000`);
});

figures.run();

const compare = suite('compareRatios');

const verdictOf = (saved: ReturnType<typeof around>, now: ReturnType<typeof around>) =>
  compareRatios([{ case: 'a', ratio: saved }], [{ case: 'a', ratio: now }], 0.15)[0]?.verdict;

compare('calls slower what is beyond the threshold and beyond the noise', () => {
  assert.is(verdictOf(around(2, 0.1), around(2.4, 0.1)), 'slower');
});

compare('calls nothing slower that is within the threshold, however sure it is', () => {
  assert.is(verdictOf(around(2, 0), around(2.3, 0)), 'same');
});

compare('calls unclear what the noise may explain, in the saved or in the new figure', () => {
  assert.is(verdictOf(around(2, 0.5), around(2.4, 0)), 'unclear');
  assert.is(verdictOf(around(2, 0), around(2.4, 0.5)), 'unclear');
  assert.is(verdictOf(around(2.4, 0.5), around(2, 0)), 'unclear');
});

compare('calls faster what has gained likewise', () => {
  assert.is(verdictOf(around(2.4, 0.1), around(2, 0.1)), 'faster');
});

compare('takes the cases that are on both sides, and gives the change of the medians', () => {
  const ratio = around(2, 0);
  const result = compareRatios(
    [
      { case: 'a', ratio },
      { case: 'b', ratio },
    ],
    [
      { case: 'c', ratio },
      { case: 'a', ratio: around(3, 0) },
    ],
    0.15,
  );
  assert.equal(result, [
    { case: 'a', saved: ratio, now: around(3, 0), change: 0.5, verdict: 'slower' },
  ]);
});

compare.run();

const saved = suite('parseSaved');

saved('reads what -o json printed', () => {
  const text = renderDocument({ program: 'xdpwho', cases: [COST] });
  assert.equal(parseSaved(text, 'f'), [{ case: 'ipv4', ratio: COST.ratio }]);
});

for (const [what, text] of [
  ['no JSON', '{'],
  ['no cases', '{}'],
  ['a case without a name', '{"cases":[{"ratio":{"median":1,"lower":1,"upper":1}}]}'],
  ['a case without a ratio', '{"cases":[{"case":"a"}]}'],
  ['a ratio of zero', '{"cases":[{"case":"a","ratio":{"median":0,"lower":0,"upper":0}}]}'],
  ['a ratio that is text', '{"cases":[{"case":"a","ratio":{"median":"1","lower":1,"upper":1}}]}'],
] as const) {
  saved(`refuses ${what}, by the file's name`, () => {
    assert.throws(
      () => parseSaved(text, 'saved.json'),
      (error: unknown) =>
        error instanceof XdpwhoError &&
        error.code === 'usage' &&
        /^saved\.json: /.test(error.message),
    );
  });
}

saved.run();

const percentage = suite('parsePercentage');

percentage('reads a share', () => {
  assert.is(parsePercentage('--threshold', '15%'), 0.15);
  assert.is(parsePercentage('--threshold', '2.5%'), 0.025);
});

for (const text of ['15', '0%', '-1%', '1001%', '%', '', 'x%']) {
  percentage(`refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parsePercentage('--threshold', text), /^--threshold /);
  });
}

percentage.run();

const scale = suite('scaleBaseline');

scale('expects of the program what has become of the yardstick, over an empty program', () => {
  const baseline = { yardstick: around(2, 0), cases: [{ case: 'a', ratio: around(3, 0.5) }] };
  assert.equal(scaleBaseline(baseline, around(2, 0)), baseline.cases);
  assert.equal(scaleBaseline(baseline, around(3, 0)), [{ case: 'a', ratio: around(5, 1) }]);
});

scale.run();

const tables = suite('renderCosts, renderComparisons, renderLiveCost');

tables('has a line per kind of packet', () => {
  assert.equal(renderCosts([COST], false), [
    'PACKET  PROGRAM  EMPTY  ADDED          (95 %)  RATIO          (95 %)  RETURNS',
    'ipv4       60.0   20.0   40.0  (37.0 to 43.0)   3.00  (2.80 to 3.20)  XDP_PASS',
  ]);
});

tables('says what has become of it', () => {
  const comparisons = compareRatios([COST], [{ case: 'ipv4', ratio: around(4, 0.2) }], 0.15);
  assert.equal(renderComparisons(comparisons, false), [
    'PACKET  SAVED          (95 %)   NOW          (95 %)  CHANGE',
    'ipv4     3.00  (2.80 to 3.20)  4.00  (3.80 to 4.20)  +33.3%  slower',
  ]);
  assert.ok(renderComparisons(comparisons, true)[1]?.startsWith('\x1b[31mipv4 '));
});

tables('makes the names of files fit for a terminal', () => {
  assert.match(renderCosts([{ ...COST, case: 'a\x1b[2Jb' }], false)[1] ?? '', /^a\\x1b\[2Jb /);
});

tables('says what a live program costs, and no cost where no packet came', () => {
  assert.equal(renderLiveCost(LIVE_COST), [
    'eth0: program 7 (xdpwho), native mode',
    '  80.0 ns per packet (75.0 to 85.0)',
    '  12345 packets in 10.0 s, 1235 packets/s, 0.01 % of a CPU',
  ]);
  assert.equal(renderLiveCost({ ...LIVE_COST, packets: 0, program_ns: null }), [
    'eth0: program 7 (xdpwho), native mode',
    '  0 packets in 10.0 s',
  ]);
});

tables.run();

const bmf = suite('bencherMetrics');

bmf('follows the published schema', () => {
  for (const metrics of [
    bencherMetrics('xdpwho', [COST]),
    liveBencherMetrics(LIVE_COST),
    liveBencherMetrics({ ...LIVE_COST, program_ns: null }),
  ]) {
    assert.is(bencherFault(JSON.parse(renderDocument(metrics))), undefined);
  }
});

bmf('has latency in nanoseconds and throughput in packets per second, with their bounds', () => {
  assert.equal(bencherMetrics('xdpwho', [COST])['xdpwho/ipv4'], {
    latency: { value: 60, lower_value: 58, upper_value: 62 },
    throughput: { value: 1e9 / 60, lower_value: 1e9 / 62, upper_value: 1e9 / 58 },
    'added-latency': { value: 40, lower_value: 37, upper_value: 43 },
    'empty-program-ratio': { value: 3, lower_value: 2.8, upper_value: 3.2 },
  });
});

for (const [what, document] of [
  ['a list', []],
  ['a benchmark that is a number', { a: 1 }],
  ['a metric without a value', { a: { latency: { lower_value: 1 } } }],
  ['a value that is text', { a: { latency: { value: '1' } } }],
  [
    'a bound that is null, as JSON has infinity',
    { a: { latency: { value: 1, upper_value: null } } },
  ],
] as const) {
  bmf(`differs from ${what}, which the check refuses`, () => {
    assert.type(bencherFault(document), 'string');
  });
}

bmf.run();

interface Files {
  directory: string;
  switch: string;
  users: string;
}

const statistics = suite<Files>('RunTimeStatistics');

statistics.before.each((files) => {
  files.directory = mkdtempSync(join(tmpdir(), 'xdpwho-switch-'));
  files.switch = join(files.directory, 'switch');
  files.users = join(files.directory, 'users');
  writeFileSync(files.switch, '0\n');
});

statistics.after.each((files) => rmSync(files.directory, { recursive: true, force: true }));

const isOn = (files: Files) => readFileSync(files.switch, 'utf8').trim() === '1';

statistics('are on while they are used, and off again afterwards', async (files) => {
  const use = await RunTimeStatistics.open(files);
  assert.is(use.switchedOn, true);
  assert.is(isOn(files), true);
  use.check();
  await use.close();
  assert.is(isOn(files), false);
});

statistics('stay on where they were on', async (files) => {
  writeFileSync(files.switch, '1\n');
  const use = await RunTimeStatistics.open(files);
  assert.is(use.switchedOn, false);
  await use.close();
  assert.is(isOn(files), true);
});

statistics('stay on until the last of several users has gone, in any order', async (files) => {
  const uses = [];
  for (let user = 0; user < 3; user++) uses.push(await RunTimeStatistics.open(files));
  for (const use of [uses[1], uses[0], uses[2]]) {
    assert.is(isOn(files), true);
    await use?.close();
  }
  assert.is(isOn(files), false);
});

statistics('go off and on as users come and go at once', async (files) => {
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const use = await RunTimeStatistics.open(files);
      use.check();
      await use.close();
    }),
  );
  assert.is(isOn(files), false);
});

statistics('go off when the shell that should see to it was killed', async (files) => {
  const use = await RunTimeStatistics.open(files);
  process.kill(use.pid, 'SIGKILL');
  await use.close();
  assert.is(isOn(files), false);
});

statistics(
  'are put back by the next user after one whose shell was killed with it',
  async (files) => {
    const dead = await RunTimeStatistics.open(files);
    process.kill(dead.pid, 'SIGKILL');
    assert.is(isOn(files), true);
    const next = await RunTimeStatistics.open(files);
    await next.close();
    assert.is(isOn(files), false);
  },
);

statistics('say so when somebody else switches them off', async (files) => {
  const use = await RunTimeStatistics.open(files);
  writeFileSync(files.switch, '0\n');
  assert.throws(() => use.check(), /switched off meanwhile/);
  await use.close();
  assert.is(isOn(files), false);
});

statistics(
  'are refused where there is no switch, or it cannot be noted who uses it',
  async (files) => {
    const failure = async (changed: Partial<Files>) => {
      try {
        const use = await RunTimeStatistics.open({ ...files, ...changed });
        await use.close();
      } catch (error) {
        return error instanceof XdpwhoError ? error.code : error;
      }
      return 'opened';
    };
    assert.is(await failure({ switch: join(files.directory, 'none') }), 'kernel-too-old');
    assert.is(await failure({ users: join(files.directory, 'none/users') }), 'not-permitted');
    assert.is(isOn(files), false);
  },
);

statistics.run();
