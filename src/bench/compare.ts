/** Compares measured costs with saved ones. Pure. Only ratios to the empty program are compared, because times change with the machine's load. */
import { XdpwhoError } from '../model/errors.js';
import { numberIn, propertyOf, stringIn } from '../model/json-values.js';
import type { Estimate } from './median.js';

/** The part of a cost that is compared. */
export interface CaseRatio {
  readonly case: string;
  /** The program's time divided by the empty program's. */
  readonly ratio: Estimate;
}

/**
 * `same`: the medians differ by the threshold at most. `slower`, `faster`: they differ by more, and
 * the two intervals do not overlap. `unclear`: they differ by more, but the intervals overlap.
 */
export type Verdict = 'same' | 'slower' | 'faster' | 'unclear';

export interface Comparison {
  readonly case: string;
  readonly saved: Estimate;
  readonly now: Estimate;
  /** The change of the median: 0.15 is 15 % slower. */
  readonly change: number;
  readonly verdict: Verdict;
}

/**
 * Reads the cases of a result that `bench -o json` printed; only their names and ratios are needed.
 * @throws XdpwhoError `usage`, with the file's name, for any other text.
 */
export function parseSaved(text: string, file: string): CaseRatio[] {
  const bad = (why: string, cause?: unknown) =>
    new XdpwhoError('usage', `${file}: ${why}`, { hint: 'xdpwho bench -o json writes one', cause });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw bad('not JSON', cause);
  }
  const cases = propertyOf(value, 'cases');
  if (!Array.isArray(cases)) throw bad('no saved result: it has no cases');
  return cases.map((item: unknown, index) => {
    const name = stringIn(item, 'case');
    const ratio = propertyOf(item, 'ratio');
    const [median, lower, upper] = ['median', 'lower', 'upper'].map((key) => numberIn(ratio, key));
    if (name === undefined || !median || lower === undefined || upper === undefined) {
      throw bad(`no saved result: case ${index + 1} has no name or no ratio`);
    }
    return { case: name, ratio: { median, lower, upper } };
  });
}

/** Compares the cases that are in both lists, in the order of `measured`. `threshold` is a share: 0.15 is 15 %. */
export function compareRatios(
  saved: readonly CaseRatio[],
  measured: readonly CaseRatio[],
  threshold: number,
): Comparison[] {
  return measured.flatMap(({ case: name, ratio: now }) => {
    const before = saved.find((ratio) => ratio.case === name)?.ratio;
    if (before === undefined) return [];
    const change = now.median / before.median - 1;
    return [{ case: name, saved: before, now, change, verdict: judge(before, now, threshold) }];
  });
}

function judge(saved: Estimate, now: Estimate, threshold: number): Verdict {
  if (now.median > saved.median * (1 + threshold)) {
    return now.lower > saved.upper ? 'slower' : 'unclear';
  }
  if (now.median * (1 + threshold) < saved.median) {
    return now.upper < saved.lower ? 'faster' : 'unclear';
  }
  return 'same';
}
