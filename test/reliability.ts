/**
 * What a test tried, how often and with which result: rows for docs/reliability.md, which
 * `npm run reliability` writes (test/reliability.mjs).
 */
import { randomInt } from 'node:crypto';
import { appendFileSync } from 'node:fs';

interface Trial {
  /** What was done to it, in a few words. */
  readonly what: string;
  readonly times: number;
  /** What came of it, with the figures of this run. */
  readonly result: string;
}

/** To be called when the assertions have held. Writes only where RELIABILITY_LOG names a file. */
export function tried(promise: string, trial: Trial): void {
  const file = process.env.RELIABILITY_LOG;
  if (file === undefined) return;
  appendFileSync(file, `${JSON.stringify({ promise, ...trial })}\n`);
}

/** How often to try: `whole` where the result is written down, and `quick` for everybody else. */
export function timesOf(whole: number, quick: number): number {
  return process.env.RELIABILITY_LOG === undefined ? quick : whole;
}

/** All of the cases where the result is written down, and for everybody else every third, another third each time. */
export function someOf<T>(cases: readonly T[]): readonly T[] {
  if (process.env.RELIABILITY_LOG !== undefined) return cases;
  const first = randomInt(3);
  return cases.filter((_, index) => index % 3 === first);
}
