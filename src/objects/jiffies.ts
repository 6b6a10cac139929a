/**
 * Reads the kernel's jiffies with the BPF program `clock`. Readings by `map dump` need them, because
 * only an iterator can read the time in the kernel; so do hosts that do not publish CONFIG_HZ.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bpftool } from '../host/bpftool.js';
import { XdpwhoError } from '../model/errors.js';
import type { ObjectFiles } from './files.js';

/** The usual values of CONFIG_HZ (kernel/Kconfig.hz). A few machines have others, such as 1024. */
export const USUAL_HZ: readonly number[] = [100, 250, 300, 1000];
const MEASURING_MS = 200;
/** `prog run` requires a frame of at least an Ethernet header (net/bpf/test_run.c). */
const FRAME = new Uint8Array(64);

/** One moment, as the low 32 bits of the jiffies and as `process.hrtime` in nanoseconds. */
export interface JiffiesMoment {
  readonly jiffies: number;
  readonly timeNs: bigint;
}

/** Reads the jiffies `times` times, `pauseMs` apart. It pins the program at `pin` meanwhile, and then removes it. */
export async function readJiffies(
  bpftool: Bpftool,
  objects: ObjectFiles,
  pin: string,
  scratch: string,
  times: number,
  pauseMs: number,
): Promise<JiffiesMoment[]> {
  const frame = `${scratch}/frame`;
  writeFileSync(frame, FRAME);
  await bpftool.loadProgram(objects.writePatched('clock', {}, scratch), pin);
  try {
    const moments: JiffiesMoment[] = [];
    for (let index = 0; index < times; index++) {
      if (index > 0) await sleep(pauseMs);
      const before = process.hrtime.bigint();
      const { returned } = await bpftool.runProgram(pin, frame, 1);
      const timeNs = (before + process.hrtime.bigint()) / 2n;
      moments.push({ jiffies: returned, timeNs });
    }
    return moments;
  } finally {
    rmSync(pin, { force: true });
  }
}

/** Measures the jiffies per second over 200 ms, and returns the nearest usual value. */
export async function measureHz(
  bpftool: Bpftool,
  objects: ObjectFiles,
  pin: string,
  scratch: string,
): Promise<number> {
  const moments = await readJiffies(bpftool, objects, pin, scratch, 2, MEASURING_MS);
  const [first, second] = moments;
  if (first === undefined || second === undefined) {
    throw new XdpwhoError('bad-output', 'the kernel clock could not be read');
  }
  const ticks = (second.jiffies - first.jiffies) >>> 0;
  const measured = (ticks * 1e9) / Number(second.timeNs - first.timeNs);
  return nearestHz(measured);
}

/** The usual value that is nearest to a measured one. Pure. */
export function nearestHz(measured: number): number {
  const distance = (hz: number) => Math.abs(Math.log(hz / measured));
  return USUAL_HZ.reduce((best, hz) => (distance(hz) < distance(best) ? hz : best));
}
