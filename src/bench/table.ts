/** Prints what programs cost, as tables and in the Bencher Metric Format. Pure. */

import { type Alignment, renderTable } from '../text/columns.js';
import { formatRate } from '../text/figures.js';
import { paint, printable, type Style } from '../text/text.js';
import type { Cost } from './bench.js';
import type { Comparison, Verdict } from './compare.js';
import type { LiveCost } from './live.js';
import type { Estimate } from './median.js';

interface ShownCost {
  readonly case: string;
  readonly returned: string;
  readonly program_ns: Estimate;
  readonly empty_ns: Estimate;
  readonly added_ns: Estimate;
  readonly ratio: Estimate;
}

/** A name and five figures. */
const FIGURES: readonly Alignment[] = ['left', 'right', 'right', 'right', 'right', 'right'];

/** A header and a line per kind of packet. Nanoseconds per packet. */
export function renderCosts(costs: readonly ShownCost[], color: boolean): string[] {
  const titles = ['PACKET', 'PROGRAM', 'EMPTY', 'ADDED', '(95 %)', 'RATIO', '(95 %)', 'RETURNS'];
  const rows = costs.map((cost) => [
    printable(cost.case),
    formatNs(cost.program_ns.median),
    formatNs(cost.empty_ns.median),
    formatNs(cost.added_ns.median),
    interval(cost.added_ns, formatNs),
    formatRatio(cost.ratio.median),
    interval(cost.ratio, formatRatio),
    cost.returned,
  ]);
  return renderTable(titles, rows, [...FIGURES, 'right', 'left'], color);
}

const VERDICT_STYLES: Partial<Record<Verdict, Style>> = {
  slower: 'red',
  faster: 'green',
  unclear: 'yellow',
};

/** A header, and a line for each kind of packet with its ratio to the empty program then and now. */
export function renderComparisons(comparisons: readonly Comparison[], color: boolean): string[] {
  const titles = ['PACKET', 'SAVED', '(95 %)', 'NOW', '(95 %)', 'CHANGE', ''];
  const rows = comparisons.map(({ case: name, saved, now, change, verdict }) => [
    printable(name),
    formatRatio(saved.median),
    interval(saved, formatRatio),
    formatRatio(now.median),
    interval(now, formatRatio),
    `${change < 0 ? '' : '+'}${(change * 100).toFixed(1)}%`,
    verdict,
  ]);
  const [head = '', ...lines] = renderTable(titles, rows, [...FIGURES, 'left'], color);
  return [
    head,
    ...lines.map((line, index) => {
      const style = VERDICT_STYLES[comparisons[index]?.verdict ?? 'same'];
      return style === undefined ? line : paint(line, style, color);
    }),
  ];
}

export function renderLiveCost(cost: LiveCost): string[] {
  const { program_ns: programNs, packets, seconds } = cost;
  const what = `${printable(cost.interface)}: program ${cost.program_id} (${printable(cost.program)}), ${cost.mode} mode`;
  const counted = `${packets} packets in ${seconds.toFixed(1)} s`;
  if (programNs === null) return [what, `  ${counted}`];
  const per = `${formatNs(programNs.median)} ns per packet (${interval(programNs, formatNs).slice(1, -1)})`;
  const rate = `${formatRate(cost.packets_per_second)} packets/s`;
  return [what, `  ${per}`, `  ${counted}, ${rate}, ${cost.cpu_percent.toFixed(2)} % of a CPU`];
}

/** The metrics by benchmark and measure (https://bencher.dev/v0/bmf.json). */
type BencherMetrics = Readonly<Record<string, Readonly<Record<string, BencherMetric>>>>;

interface BencherMetric {
  readonly value: number;
  readonly lower_value: number;
  readonly upper_value: number;
}

/**
 * `latency` is in nanoseconds and `throughput` in packets per second on one CPU: Bencher has these
 * units for these names. `added-latency` and `empty-program-ratio` depend less on the machine's load.
 */
export function bencherMetrics(program: string, costs: readonly Cost[]): BencherMetrics {
  return Object.fromEntries(
    costs.map((cost) => [
      `${program}/${cost.case}`,
      {
        ...latencyMetrics(cost.program_ns),
        'added-latency': metric(cost.added_ns),
        'empty-program-ratio': metric(cost.ratio),
      },
    ]),
  );
}

/** Empty when no packet came, because nothing was measured then. */
export function liveBencherMetrics(cost: LiveCost): BencherMetrics {
  if (cost.program_ns === null) return {};
  return { [`${cost.program}/live`]: latencyMetrics(cost.program_ns) };
}

function latencyMetrics(programNs: Estimate) {
  const perSecond = (ns: number) => 1e9 / ns;
  const { median, lower, upper } = programNs;
  return {
    latency: metric(programNs),
    throughput: metric({
      median: perSecond(median),
      lower: perSecond(upper),
      upper: perSecond(lower),
    }),
  };
}

function metric({ median, lower, upper }: Estimate): BencherMetric {
  return { value: median, lower_value: lower, upper_value: upper };
}

function formatNs(ns: number): string {
  return ns.toFixed(1);
}

function formatRatio(ratio: number): string {
  return ratio.toFixed(2);
}

function interval({ lower, upper }: Estimate, format: (value: number) => string): string {
  return `(${format(lower)} to ${format(upper)})`;
}
