/**
 * The kernel's jiffies, as the program `clock` returns them: for hosts that do not publish
 * CONFIG_HZ, and for readings without an iterator, which knows the time itself.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bpftool } from '../host/bpftool.js';
import { XdpwhoError } from '../model/errors.js';
import type { ObjectFiles } from './files.js';

/** The values that a kernel can be configured with (kernel/Kconfig.hz; 1024 and others on a few machines). */
export const USUAL_HZ: readonly number[] = [100, 250, 300, 1000];
const MEASURING_MS = 200;
/** net/bpf/test_run.c takes no frame shorter than an Ethernet header. */
const FRAME = new Uint8Array(64);

/** A moment in jiffies (their low 32 bits) and on this process's monotonic clock. */
export interface JiffiesMoment {
  readonly jiffies: number;
  readonly timeNs: bigint;
}

/** Reads the jiffies `times` times, `pauseMs` apart. Loads the program, pins it at `pin` for the while, and removes it. */
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

/** Jiffies per second, measured over 200 ms and rounded to a value that kernels are built with. */
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

/** Pure: the usual value that is nearest to a measured one. */
export function nearestHz(measured: number): number {
  const distance = (hz: number) => Math.abs(Math.log(hz / measured));
  return USUAL_HZ.reduce((best, hz) => (distance(hz) < distance(best) ? hz : best));
}
