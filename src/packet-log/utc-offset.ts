/** UTC from the kernel's monotonic clock, which the packets' times are taken by; pure but for looking at the clocks. */

/** The system's time may be set at any moment; it is looked at again after so long, */
const REMEASURE_MS = 10_000;
/** or as soon as the two clocks are seen to be so far apart. */
const SUSPICIOUS_US = 2000;
/** A measurement during which we did not run for longer than this is taken again. */
const PRECISE_NS = 20_000n;
const ATTEMPTS = 5;

/** Where the time comes from; the tests have clocks of their own. */
export interface Clocks {
  /** Whole milliseconds since 1970, UTC. */
  readonly utcMs: () => number;
  /** CLOCK_MONOTONIC, the clock of bpf_ktime_get_ns. */
  readonly monotonicNs: () => bigint;
}

const SYSTEM_CLOCKS: Clocks = {
  utcMs: () => Date.now(),
  // libuv's uv_hrtime() is clock_gettime(CLOCK_MONOTONIC) on Linux.
  monotonicNs: () => process.hrtime.bigint(),
};

export class WallClock {
  readonly #clocks: Clocks;
  #offsetUs: number;
  #measuredMs: number;

  constructor(clocks: Clocks = SYSTEM_CLOCKS) {
    this.#clocks = clocks;
    this.#offsetUs = measureOffsetUs(clocks);
    this.#measuredMs = clocks.utcMs();
  }

  /** UTC minus the monotonic clock, in microseconds. */
  offsetUs(): number {
    const nowMs = this.#clocks.utcMs();
    const expectedUs = Number(this.#clocks.monotonicNs()) / 1000 + this.#offsetUs;
    const isStrange = Math.abs(nowMs * 1000 + 500 - expectedUs) > SUSPICIOUS_US;
    if (isStrange || Math.abs(nowMs - this.#measuredMs) >= REMEASURE_MS) {
      this.#offsetUs = measureOffsetUs(this.#clocks);
      this.#measuredMs = nowMs;
    }
    return this.#offsetUs;
  }
}

/**
 * UTC comes in whole milliseconds: the moment at which it changes tells it to the microsecond.
 * Waits for that moment, a millisecond at most, by looking on.
 */
export function measureOffsetUs({ utcMs, monotonicNs }: Clocks): number {
  let best = { gapNs: 0n, offsetUs: Number.NaN };
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    let before = monotonicNs();
    const startMs = utcMs();
    for (;;) {
      const nowMs = utcMs();
      const after = monotonicNs();
      if (nowMs !== startMs) {
        const gapNs = after - before;
        const offsetUs = nowMs * 1000 - Number((before + after) / 2n) / 1000;
        if (Number.isNaN(best.offsetUs) || gapNs < best.gapNs) best = { gapNs, offsetUs };
        break;
      }
      before = after;
    }
    if (best.gapNs <= PRECISE_NS) break;
  }
  return best.offsetUs;
}
