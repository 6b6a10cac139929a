import * as assert from 'uvu/assert';
import { compareRatios } from '../../src/bench/compare.js';
import {
  bencherMetrics,
  liveBencherMetrics,
  renderComparisons,
  renderCosts,
  renderLiveCost,
} from '../../src/bench/table.js';
import { renderDocument } from '../../src/text/json.js';
import { suite } from '../suite.js';
import { bencherFault } from './bencher-metrics.js';
import { around, COST, LIVE_COST } from './sample.js';

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
