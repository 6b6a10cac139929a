/** Measures the difference between UTC and CLOCK_BOOTTIME, which the times of packets are in. */
import { BootClock } from './boot-clock.js';

/** The system time can be set at any moment, so the difference is measured again after this time, */
const REMEASURE_MS = 10_000;
/** or as soon as the clocks differ from it by this much. */
const SUSPICIOUS_US = 2000;
/** A measurement is repeated if the two readings of a clock around it are further apart than this. */
const PRECISE_NS = 20_000n;
const ATTEMPTS = 5;

/** The two clocks. The tests have their own. */
export interface Clocks {
  /** Whole milliseconds since 1970, UTC. */
  readonly utcMs: () => number;
  /** CLOCK_BOOTTIME, the clock of bpf_ktime_get_boot_ns. */
  readonly bootNs: () => bigint;
  /** Called before a measurement: the host may have been suspended since. */
  readonly synchronise: () => void;
}

function systemClocks(): Clocks {
  const clock = new BootClock();
  return {
    utcMs: () => Date.now(),
    bootNs: () => clock.nowNs(),
    synchronise: () => clock.synchronise(),
  };
}

export class UtcOffset {
  readonly #clocks: Clocks;
  #offsetUs: number;
  #measuredMs: number;

  constructor(clocks: Clocks = systemClocks()) {
    this.#clocks = clocks;
    this.#offsetUs = measureOffsetUs(clocks);
    this.#measuredMs = clocks.utcMs();
  }

  /** UTC minus CLOCK_BOOTTIME now, in microseconds. */
  currentUs(): number {
    const nowMs = this.#clocks.utcMs();
    const expectedUs = Number(this.#clocks.bootNs()) / 1000 + this.#offsetUs;
    const wasTimeSet = Math.abs(nowMs * 1000 + 500 - expectedUs) > SUSPICIOUS_US;
    if (wasTimeSet || Math.abs(nowMs - this.#measuredMs) >= REMEASURE_MS) {
      this.#clocks.synchronise();
      this.#offsetUs = measureOffsetUs(this.#clocks);
      this.#measuredMs = nowMs;
    }
    return this.#offsetUs;
  }
}

/**
 * Measures UTC minus CLOCK_BOOTTIME in microseconds. Node gives UTC in whole milliseconds, so this
 * reads it in a loop until it changes, for up to a millisecond: at that moment it is exact.
 */
export function measureOffsetUs({ utcMs, bootNs }: Pick<Clocks, 'utcMs' | 'bootNs'>): number {
  let best = { gapNs: 0n, offsetUs: Number.NaN };
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    let before = bootNs();
    const startMs = utcMs();
    for (;;) {
      const nowMs = utcMs();
      const after = bootNs();
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
