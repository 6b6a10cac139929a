/**
 * Measures what an XDP program costs per packet, with `bpftool prog run`: no interface and no
 * traffic is needed. The program and an empty one are run by turns in many short rounds. What else
 * the machine does slows both, so their difference and their ratio are stable where a time is not.
 */

import type { SessionContext } from '../attachment/context.js';
import type { ProgramRun } from '../host/bpftool-output.js';

import { XdpwhoError } from '../model/errors.js';
import { type BenchCase, DEFAULT_CASES, readPackets } from './cases.js';
import { type CaseRatio, type Comparison, compareRatios } from './compare.js';
import { type Estimate, estimate } from './median.js';
import { BenchPrograms, type ProgramChoice, SIDES, type Side, type Turn } from './programs.js';

interface BenchOptions extends ProgramChoice {
  /** A directory of files, each the raw bytes of one frame from the Ethernet header on. Default: DEFAULT_CASES. */
  readonly packetsDirectory?: string | undefined;
}

/** What one kind of packet costs. */
export interface Cost extends CaseRatio {
  /** The action that the program returned: `XDP_PASS`. */
  readonly returned: string;
  readonly program_ns: Estimate;
  readonly empty_ns: Estimate;
  /** The program's time minus the empty program's, in each round. */
  readonly added_ns: Estimate;
}

interface SkippedCase {
  readonly case: string;
  readonly why: string;
}

export const DEFAULT_ROUNDS = 15;
/** With fewer rounds the interval is too wide to be of use. */
export const LEAST_ROUNDS = 5;

/** The length of one run: much longer than a timer tick, and shorter than a scheduler's time slice. */
const RUN_NS = 10e6;
const LEAST_REPEAT = 1000;
const MOST_REPEAT = 500_000;
/** The names of enum xdp_action, by value (include/uapi/linux/bpf.h). */
const ACTIONS = ['XDP_ABORTED', 'XDP_DROP', 'XDP_PASS', 'XDP_TX', 'XDP_REDIRECT'];

/** A program and the empty one, loaded. The caller of `open` must close it. */
export class Bench {
  /** The name of the program that is measured. */
  readonly program: string;
  readonly cases: readonly BenchCase[];
  readonly skipped: readonly SkippedCase[];
  readonly #programs: BenchPrograms;

  private constructor(programs: BenchPrograms, program: string, cases: readonly BenchCase[]) {
    this.#programs = programs;
    this.program = program;
    this.cases = cases.filter((benchCase) => programs.canRun(benchCase));
    const why = 'the program cannot be called by another one';
    this.skipped = cases
      .filter((benchCase) => !programs.canRun(benchCase))
      .map(({ name }) => ({ case: name, why }));
  }

  static async open(context: SessionContext, options: BenchOptions = {}): Promise<Bench> {
    const { packetsDirectory } = options;
    const cases = packetsDirectory === undefined ? DEFAULT_CASES : readPackets(packetsDirectory);
    const programs = await BenchPrograms.open(context);
    try {
      const program = await programs.prepare(options, cases);
      return new Bench(programs, program, cases);
    } catch (error) {
      await programs.close();
      throw error;
    }
  }

  /** Measures all cases, or those that are named. The order of the two programs alternates between rounds. */
  async measure(
    rounds: number,
    options: { readonly cases?: readonly string[]; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Cost[]> {
    const { cases, signal } = options;
    const chosen = this.cases.filter(({ name }) => cases?.includes(name) ?? true);
    const measurements = chosen.map((benchCase) => new CaseMeasurement(benchCase));
    // The first round only finds out how often to run each program; its durations are dropped.
    for (let round = 0; round <= rounds; round++) {
      signal?.throwIfAborted();
      const sides = round % 2 === 0 ? SIDES : [...SIDES].reverse();
      const turns = measurements.flatMap((one) => sides.map((side) => one.turn(side)));
      const runs = await this.#programs.run(turns);
      for (const one of measurements) one.record(turns, runs, round === 0);
    }
    return measurements.map((one) => one.cost());
  }

  async close(): Promise<void> {
    await this.#programs.close();
  }
}

interface CompareOptions {
  readonly rounds: number;
  /** A share: 0.15 is 15 %. */
  readonly threshold: number;
  readonly signal?: AbortSignal | undefined;
  /** Called with the names of the cases that will be measured a second time. */
  readonly onAgain?: ((cases: readonly string[]) => void) | undefined;
}

/**
 * Measures the cases of a saved result and compares them with it. Cases that differ are measured a
 * second time, and the second result replaces the first, because the machine may have been busy.
 * @throws XdpwhoError `usage` when no case of the saved result can be measured.
 */
export async function compareWithSaved(
  bench: Bench,
  saved: readonly CaseRatio[],
  options: CompareOptions,
): Promise<{ costs: Cost[]; comparisons: Comparison[] }> {
  const { rounds, threshold, signal, onAgain } = options;
  const cases = bench.cases.map(({ name }) => name).filter((name) => hasCase(saved, name));
  if (cases.length === 0) {
    throw new XdpwhoError('usage', 'the saved result has none of the cases that can be measured');
  }
  const first = await bench.measure(rounds, { cases, signal });
  const again = compareRatios(saved, first, threshold)
    .filter(({ verdict }) => verdict !== 'same')
    .map((comparison) => comparison.case);
  if (again.length > 0) onAgain?.(again);
  const second = again.length > 0 ? await bench.measure(rounds, { cases: again, signal }) : [];
  const costs = first.map((cost) => second.find((again) => again.case === cost.case) ?? cost);
  return { costs, comparisons: compareRatios(saved, costs, threshold) };
}

function hasCase(list: readonly CaseRatio[], name: string): boolean {
  return list.some((ratio) => ratio.case === name);
}

/** What has been measured of one case. */
class CaseMeasurement {
  readonly #case: BenchCase;
  readonly #durations: Record<Side, number[]> = { measured: [], empty: [] };
  readonly #repeats: Record<Side, number> = { measured: LEAST_REPEAT, empty: LEAST_REPEAT };
  #returned = 0;

  constructor(benchCase: BenchCase) {
    this.#case = benchCase;
  }

  turn(side: Side): Turn {
    return { benchCase: this.#case, side, repeat: this.#repeats[side] };
  }

  /** Records this case's runs of a round; `turns` and `runs` hold those of all cases. */
  record(turns: readonly Turn[], runs: readonly ProgramRun[], isTrial: boolean): void {
    for (const [index, { benchCase, side }] of turns.entries()) {
      const run = runs[index];
      if (benchCase !== this.#case || run === undefined) continue;
      if (side === 'measured') this.#returned = run.returned;
      if (isTrial) this.#repeats[side] = repeatsFor(run.durationNs);
      // The kernel rounds down to whole nanoseconds; on average that is half a nanosecond less.
      else this.#durations[side].push(run.durationNs + 0.5);
    }
  }

  cost(): Cost {
    const { measured, empty } = this.#durations;
    const pairs = measured.map((programNs, round) => [programNs, empty[round] ?? 0] as const);
    return {
      case: this.#case.name,
      returned: ACTIONS[this.#returned] ?? String(this.#returned),
      program_ns: estimate(measured),
      empty_ns: estimate(empty),
      added_ns: estimate(pairs.map(([programNs, emptyNs]) => programNs - emptyNs)),
      ratio: estimate(pairs.map(([programNs, emptyNs]) => programNs / emptyNs)),
    };
  }
}

function repeatsFor(durationNs: number): number {
  const repeats = Math.round(RUN_NS / Math.max(durationNs, 1));
  return Math.min(Math.max(repeats, LEAST_REPEAT), MOST_REPEAT);
}
