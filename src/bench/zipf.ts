/** Sources as they are in real traffic: few send most (Zipf's law). Pure. */

/** QUANTILES in bpf/zipf.h. */
export const QUANTILES = 1024;

/**
 * The ranks, from 0 on, at evenly spaced quantiles of Zipf's law: source k of `count` has the weight
 * (k + 1) ** -exponent. The last is `count`. So a draw is right to a thousandth.
 */
export function zipfRanks(count: number, exponent: number): Uint32Array {
  const ranks = new Uint32Array(QUANTILES + 1).fill(count);
  let total = 0;
  for (let rank = 1; rank <= count; rank++) total += rank ** -exponent;
  let sum = 0;
  let quantile = 0;
  for (let rank = 0; rank < count; rank++) {
    sum += (rank + 1) ** -exponent;
    while (quantile < QUANTILES && (quantile / QUANTILES) * total < sum) ranks[quantile++] = rank;
  }
  return ranks;
}
