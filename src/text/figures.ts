/** Numbers for people. k, M, G and T are powers of 1000. Pure. */

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E'];

/** Every digit up to 99999, then one decimal and a prefix: 123.4k, 5.6M. It rounds down, so that a count is never too high. */
export function formatCount(count: bigint): string {
  if (count < 100_000n) return count.toString();
  let divisor = 1000n;
  let prefix = 1;
  while (count >= divisor * 1000n) {
    divisor *= 1000n;
    prefix += 1;
  }
  const tenths = (count * 10n) / divisor;
  return `${tenths / 10n}.${tenths % 10n}${PREFIXES[prefix] ?? ''}`;
}

/** A number per second: one decimal below 10, otherwise like formatCount. */
export function formatRate(perSecond: number): string {
  if (!Number.isFinite(perSecond) || perSecond <= 0) return '0';
  if (perSecond < 9.95) return perSecond.toFixed(1).replace(/\.0$/, '');
  return formatCount(BigInt(Math.round(perSecond)));
}

/** An age as `w` shows it, in the one unit that fits: 0.3s, 12s, 5m, 2h, 3d. */
export function formatIdle(idleMs: number): string {
  const seconds = Math.max(idleMs, 0) / 1000;
  if (seconds < 10) return `${(Math.floor(seconds * 10) / 10).toFixed(1)}s`;
  if (seconds < 60) return `${Math.floor(seconds)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
