/**
 * What an XDP program costs per packet, by `bpftool prog run`: no interface, no traffic. It is
 * measured together with an empty program, in turn, many short rounds of both, so that whatever
 * else the machine does meets both: the difference and the ratio hold where times alone would not.
 */

import type { SessionContext } from '../attachment/context.js';
import type { ProgramRun } from '../host/bpftool-output.js';

import { XdpwhoError } from '../model/errors.js';
import { type BenchCase, DEFAULT_CASES, readPackets } from './cases.js';
import { type CaseRatio, type Comparison, compareRatios } from './compare.js';
import { type Estimate, estimate } from './median.js';
import { Place, type ProgramChoice, SIDES, type Side, type Turn } from './programs.js';

export interface BenchOptions extends ProgramChoice {
  /** A directory of frames, each a file of raw bytes from the Ethernet header on. Default: DEFAULT_CASES. */
  readonly packetsDirectory?: string | undefined;
}

/** What one kind of packet costs. */
export interface Cost extends CaseRatio {
  /** The action that the program returned: `XDP_PASS`. */
  readonly returned: string;
  readonly program_ns: Estimate;
  readonly empty_ns: Estimate;
  /** program - empty, in each round. */
  readonly added_ns: Estimate;
}

export interface SkippedCase {
  readonly case: string;
  readonly why: string;
}

export const DEFAULT_ROUNDS = 15;
/** Fewer give no interval worth the name. */
export const LEAST_ROUNDS = 5;

/** One run: long beside a timer's tick, short beside another process's turn on the CPU. */
const RUN_NS = 10e6;
const LEAST_REPEAT = 1000;
const MOST_REPEAT = 500_000;
/** include/uapi/linux/bpf.h: enum xdp_action. */
const ACTIONS = ['XDP_ABORTED', 'XDP_DROP', 'XDP_PASS', 'XDP_TX', 'XDP_REDIRECT'];

/** A program and the empty one, in a place of their own. Whoever opens it must close it. */
export class Bench {
  /** Name of the program that is measured. */
  readonly program: string;
  readonly cases: readonly BenchCase[];
  readonly skipped: readonly SkippedCase[];
  readonly #place: Place;

  private constructor(place: Place, program: string, cases: readonly BenchCase[]) {
    this.#place = place;
    this.program = program;
    this.cases = cases.filter((each) => place.canRun(each));
    const why = 'the program cannot be called by another one';
    this.skipped = cases
      .filter((each) => !place.canRun(each))
      .map(({ name }) => ({ case: name, why }));
  }

  static async open(context: SessionContext, options: BenchOptions = {}): Promise<Bench> {
    const { packetsDirectory } = options;
    const cases = packetsDirectory === undefined ? DEFAULT_CASES : readPackets(packetsDirectory);
    const place = await Place.open(context);
    try {
      const program = await place.prepare(options, cases);
      return new Bench(place, program, cases);
    } catch (error) {
      await place.close();
      throw error;
    }
  }

  /** Measures some of its cases, or all. The order of the two programs changes from round to round. */
  async measure(
    rounds: number,
    options: { readonly cases?: readonly string[]; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Cost[]> {
    const { cases, signal } = options;
    const chosen = this.cases.filter((each) => cases?.includes(each.name) ?? true);
    const series = chosen.map((each) => new Series(each));
    // The first round tells how often to run each, and counts for nothing else.
    for (let round = 0; round <= rounds; round++) {
      signal?.throwIfAborted();
      const sides = round % 2 === 0 ? SIDES : [...SIDES].reverse();
      const turns = series.flatMap((each) => sides.map((side) => each.turn(side)));
      const runs = await this.#place.run(turns);
      for (const each of series) each.take(turns, runs, round === 0);
    }
    return series.map((each) => each.cost());
  }

  async close(): Promise<void> {
    await this.#place.close();
  }
}

export interface CompareOptions {
  readonly rounds: number;
  /** 0.15 for 15 %. */
  readonly threshold: number;
  readonly signal?: AbortSignal | undefined;
  /** Told before cases are measured a second time. */
  readonly onAgain?: ((cases: readonly string[]) => void) | undefined;
}

/**
 * Measures the cases that a saved result has, and compares. What differs is measured a second time,
 * and that counts: a machine that was busy elsewhere for a while is no alarm.
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
    .map((each) => each.case);
  if (again.length > 0) onAgain?.(again);
  const second = again.length > 0 ? await bench.measure(rounds, { cases: again, signal }) : [];
  const costs = first.map((each) => second.find((other) => other.case === each.case) ?? each);
  return { costs, comparisons: compareRatios(saved, costs, threshold) };
}

function hasCase(list: readonly CaseRatio[], name: string): boolean {
  return list.some((each) => each.case === name);
}

/** The measurements of one case. */
class Series {
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

  /** Takes in what is its own of a round. */
  take(turns: readonly Turn[], runs: readonly ProgramRun[], isTrial: boolean): void {
    for (const [index, { benchCase, side }] of turns.entries()) {
      const run = runs[index];
      if (benchCase !== this.#case || run === undefined) continue;
      if (side === 'measured') this.#returned = run.returned;
      if (isTrial) this.#repeats[side] = repeatsFor(run.durationNs);
      // The kernel cuts off what is less than a nanosecond.
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
