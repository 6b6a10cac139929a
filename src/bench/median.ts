/** A figure and how far it is known; pure. */

/** Of many measurements: the median, and an interval that holds the true median 95 times of 100. */
export interface Estimate {
  readonly median: number;
  readonly lower: number;
  readonly upper: number;
}

/**
 * The interval is between two of the values, counted in from both ends: it supposes nothing about
 * how they are distributed. Up to six values: the lowest and the highest.
 */
export function estimate(values: readonly number[]): Estimate {
  const sorted = [...values].sort((one, two) => one - two);
  const { length } = sorted;
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const median = (at(Math.floor((length - 1) / 2)) + at(Math.ceil((length - 1) / 2))) / 2;
  // How many of `length` values lie below the median is binomially distributed, near enough normally.
  const outside = Math.max(0, Math.floor((length - 1.96 * Math.sqrt(length)) / 2));
  return { median, lower: at(outside), upper: at(length - 1 - outside) };
}
