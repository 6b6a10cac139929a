/**
 * CLOCK_BOOTTIME of the host, which the times of packets are in: it goes on while the host is suspended. Node has
 * only CLOCK_MONOTONIC, which does not, so this adds how long the host has been suspended.
 */
import { readFileSync } from 'node:fs';

/** Where the clocks are read. The tests have their own. */
export interface ClockFiles {
  /** CLOCK_MONOTONIC. libuv's uv_hrtime() is that on Linux. */
  readonly monotonicNs: () => bigint;
  /** CLOCK_BOOTTIME in hundredths of a second, cut off: the first number of /proc/uptime (fs/proc/uptime.c). */
  readonly uptime: () => string;
  /** What a time namespace adds to both clocks, but not to those of BPF programs (time_namespaces(7)). Empty without such namespaces. */
  readonly offsets: () => string;
}

const PROC: ClockFiles = {
  monotonicNs: () => process.hrtime.bigint(),
  uptime: () => readFileSync('/proc/uptime', 'utf8'),
  offsets: () => {
    try {
      return readFileSync('/proc/self/timens_offsets', 'utf8');
    } catch {
      return '';
    }
  },
};

const NS_PER_S = 1_000_000_000n;
const TICK_NS = 10_000_000n;
/** A host that was never suspended shows less than a tick, and a little for the time between two readings. */
const NEVER_NS = 2n * TICK_NS;

export class BootClock {
  readonly #files: ClockFiles;
  readonly #namespaceNs: { readonly monotonic: bigint; readonly boottime: bigint };
  #suspendedNs = 0n;

  constructor(files: ClockFiles = PROC) {
    this.#files = files;
    const text = files.offsets();
    this.#namespaceNs = {
      monotonic: offsetIn(text, 'monotonic'),
      boottime: offsetIn(text, 'boottime'),
    };
    this.synchronise();
  }

  nowNs(): bigint {
    return this.#monotonicNs() + this.#suspendedNs;
  }

  /** To be called after the host may have been suspended. Takes up to a hundredth of a second where it has been. */
  synchronise(): void {
    const sample = () => this.#uptimeNs() - this.#monotonicNs();
    const first = sample();
    if (first < NEVER_NS && first > -NEVER_NS) {
      this.#suspendedNs = 0n;
      return;
    }
    // The uptime is cut off: the difference is right at the moment when it changes.
    const endNs = this.#monotonicNs() + NEVER_NS;
    let best = first;
    while (this.#monotonicNs() < endNs) {
      const next = sample();
      if (next > best) best = next;
    }
    this.#suspendedNs = best;
  }

  #monotonicNs(): bigint {
    return this.#files.monotonicNs() - this.#namespaceNs.monotonic;
  }

  #uptimeNs(): bigint {
    const [seconds = '0', hundredths = '0'] = (this.#files.uptime().split(' ')[0] ?? '').split('.');
    const ns = BigInt(seconds) * NS_PER_S + BigInt(hundredths) * TICK_NS;
    return ns - this.#namespaceNs.boottime;
  }
}

/** A line `NAME SECONDS NANOSECONDS` (time_namespaces(7)). */
function offsetIn(text: string, name: string): bigint {
  const [, seconds = '0', ns = '0'] =
    new RegExp(`^${name}\\s+(-?\\d+)\\s+(\\d+)`, 'm').exec(text) ?? [];
  return BigInt(seconds) * NS_PER_S + BigInt(ns);
}
