/** Measured costs against saved ones; pure. Only ratios to the empty program are compared: a time depends on the machine's mood. */
import { XdpwhoError } from '../model/errors.js';
import { numberIn, propertyOf, stringIn } from '../model/json-values.js';
import type { Estimate } from './median.js';

/** The part of a cost that is compared. */
export interface CaseRatio {
  readonly case: string;
  /** To the empty program. */
  readonly ratio: Estimate;
}

/**
 * `slower` and `faster`: beyond the threshold, and the two intervals have nothing in common.
 * `unclear`: beyond the threshold, but not beyond the noise.
 */
export type Verdict = 'same' | 'slower' | 'faster' | 'unclear';

export interface Comparison {
  readonly case: string;
  readonly saved: Estimate;
  readonly now: Estimate;
  /** Of the medians: 0.15 for 15 % slower. */
  readonly change: number;
  readonly verdict: Verdict;
}

/** The cases of a result that `bench -o json` printed. What is in it besides the ratios may be absent. */
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
  return cases.map((each: unknown, index) => {
    const name = stringIn(each, 'case');
    const ratio = propertyOf(each, 'ratio');
    const [median, lower, upper] = ['median', 'lower', 'upper'].map((key) => numberIn(ratio, key));
    if (name === undefined || !median || lower === undefined || upper === undefined) {
      throw bad(`no saved result: case ${index + 1} has no name or no ratio`);
    }
    return { case: name, ratio: { median, lower, upper } };
  });
}

/** Those cases that are in both, in the order of `measured`. `threshold`: 0.15 for 15 %. */
export function compareRatios(
  saved: readonly CaseRatio[],
  measured: readonly CaseRatio[],
  threshold: number,
): Comparison[] {
  return measured.flatMap(({ case: name, ratio: now }) => {
    const before = saved.find((each) => each.case === name)?.ratio;
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
