/** The median of measurements and its confidence interval. Pure. */

/** The median of many measurements, and an interval that contains the true median in 95 of 100 cases. */
export interface Estimate {
  readonly median: number;
  readonly lower: number;
  readonly upper: number;
}

/**
 * The interval lies between two of the sorted values, at equal distances from both ends, so it does
 * not depend on how the values are distributed. With up to six values it is the lowest and the
 * highest. Without values all three figures are NaN.
 */
export function estimate(values: readonly number[]): Estimate {
  const sorted = [...values].sort((one, two) => one - two);
  const { length } = sorted;
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const median = (at(Math.floor((length - 1) / 2)) + at(Math.ceil((length - 1) / 2))) / 2;
  // The number of values below the true median has a binomial distribution, here taken as normal.
  const outside = Math.max(0, Math.floor((length - 1.96 * Math.sqrt(length)) / 2));
  return { median, lower: at(outside), upper: at(length - 1 - outside) };
}
