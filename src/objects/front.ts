/** The size of the front table (bpf/front.h), and the values that its programs need. Pure, but for the random numbers. */
import { randomBytes } from 'node:crypto';
import { FRONT_LINE } from './layout.js';

/** A megabyte for each CPU. More lines do not make a known source cheaper: they no longer fit into its cache. */
export const MOST_LINES = 16_384;
/** The memory that the lines of all CPUs may take, beside that of the table. */
export const FRONT_BYTES = 16 * 1024 * 1024;

/** The name of the map in the compiled iterator. It is replaced by another one for each attachment. */
export const FRONT_PIN_NAME = `xdpwho_front_${'0'.repeat(32)}`;

/**
 * For 512 the verifier processes 269,530 instructions of the iterator (kernels 5.10 and 6.1), and its limit is a
 * million. With more than twice as many it finds the program too complex.
 */
export const MOST_CPUS = 512;

/** The CPUs of a host: how many are possible, one more than the highest number of those, and of those present. */
export interface CpuNumbers {
  readonly possible: number;
  readonly limit: number;
  readonly present: number;
}

/**
 * The lines of each CPU that is present, a power of two: two for each source that the table has room for, as far as
 * they fit. 0 where there can be no front table. A line is found by the number of its CPU, and a value in a per-CPU
 * table by its place among the possible CPUs, so both must be the same: no number may be left out. A CPU that is
 * added later has no lines, and counts in the table.
 */
export function frontLines({ possible, limit, present }: CpuNumbers, maxSources: number): number {
  if (possible !== limit || possible > MOST_CPUS) return 0;
  const fitting = 2 ** Math.floor(Math.log2(FRONT_BYTES / (FRONT_LINE.size * present)));
  return Math.min(MOST_LINES, fitting, 2 ** Math.ceil(Math.log2(2 * maxSources)));
}

/** The front table of a host with so many possible CPUs: elements with totals, then the lines of those present. */
export interface FrontSize {
  /** Of each CPU. */
  readonly lines: number;
  readonly totals: number;
  readonly entries: number;
}

/** Undefined where there is no front table (`lines` is 0). */
export function frontSize(
  lines: number,
  { limit, present }: Pick<CpuNumbers, 'limit' | 'present'>,
): FrontSize | undefined {
  if (lines === 0) return undefined;
  // Even, so that two lines that lie side by side are in one pair of cache lines.
  const totals = 2 * Math.ceil(limit / 2);
  return { lines, totals, entries: totals + lines * present };
}

/** The constants of the programs that use the front table. A program without one needs none. */
export function frontConstants(front: FrontSize | undefined, hz: number) {
  if (front === undefined) return {};
  const { lines, totals } = front;
  return {
    front_lines: lines,
    front_totals: totals,
    front_seeds: randomOddNumbers(),
    jiffies_per_second: hz,
  };
}

/** Two of 64 bits, in either byte order. */
function randomOddNumbers(): Uint8Array {
  const bytes = Uint8Array.from(randomBytes(16));
  for (const end of [0, 7, 8, 15]) bytes[end] = (bytes[end] ?? 0) | 1;
  return bytes;
}
