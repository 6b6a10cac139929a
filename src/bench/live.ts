/** Measures what the XDP program of an interface costs on real traffic. It only reads, so the program may be anybody's. */
import { setTimeout as sleep } from 'node:timers/promises';
import { resolveTarget } from '../attachment/target.js';
import type { Bpftool } from '../host/bpftool.js';
import { BpftoolError } from '../host/bpftool-error.js';
import type { XdpAttachment } from '../host/bpftool-output.js';

import { XdpwhoError } from '../model/errors.js';
import type { Mode } from '../model/records.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import { RunTimeStatistics } from './kernel-statistics.js';
import { type Estimate, estimate } from './median.js';

interface LiveBenchOptions {
  /** A name or alternative name. */
  readonly interface: string;
  /** A name, path or process id. Default: the namespace that we run in. */
  readonly netns?: string | undefined;
  readonly durationMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Called before the first measurement; says whether we had to switch on the kernel's statistics. */
  readonly onStart?: ((switchedOn: boolean) => void) | undefined;
}

/** `program_ns` includes the time that the kernel takes to read the clock twice. */
export interface LiveCost {
  readonly interface: string;
  readonly mode: Mode;
  readonly program_id: number;
  readonly program: string;
  readonly seconds: number;
  readonly packets: number;
  readonly packets_per_second: number;
  /** Nanoseconds per packet in each twentieth of the time; null when no packet came. */
  readonly program_ns: Estimate | null;
  /** The share of one CPU's time. */
  readonly cpu_percent: number;
}

const SAMPLES = 20;

interface Sample {
  readonly runCount: number;
  readonly runTimeNs: number;
  readonly timeNs: bigint;
}

/** Rejects with `not-attached` when there is no program, or when it is gone before the end. */
export async function measureLive(bpftool: Bpftool, options: LiveBenchOptions): Promise<LiveCost> {
  const { device, netns } = await resolveTarget(options);
  const attached = (await bpftool.showNet(netns.path)).find(
    // An offloaded program runs on the network card, and the kernel does not measure it.
    (attachment) => attachment.device === device && attachment.mode !== 'offload',
  );
  if (attached === undefined) {
    throw new XdpwhoError('not-attached', `${printable(device)}: no XDP program`, {
      hint: ownCommand('attach', { interface: device, netns: options.netns }),
    });
  }
  const statistics = await RunTimeStatistics.open();
  try {
    options.onStart?.(statistics.switchedOn);
    const { samples, name } = await sample(bpftool, attached, options);
    statistics.check();
    return summarize(attached, name, samples);
  } finally {
    await statistics.close();
  }
}

async function sample(
  bpftool: Bpftool,
  { device, programId }: XdpAttachment,
  { durationMs, signal }: LiveBenchOptions,
): Promise<{ samples: Sample[]; name: string }> {
  const samples: Sample[] = [];
  let name = '';
  for (let index = 0; index <= SAMPLES; index++) {
    if (index > 0) await sleep(durationMs / SAMPLES, undefined, signal && { signal });
    try {
      const { runCount, runTimeNs, ...program } = await bpftool.showProgramById(programId);
      samples.push({ runCount, runTimeNs, timeNs: process.hrtime.bigint() });
      name = program.name ?? String(programId);
    } catch (error) {
      if (!(error instanceof BpftoolError) || error.errno !== 'ENOENT') throw error;
      const what = `${printable(device)}: program ${programId} went away`;
      throw new XdpwhoError('not-attached', what, { cause: error });
    }
  }
  return { samples, name };
}

function summarize(attached: XdpAttachment, name: string, samples: readonly Sample[]): LiveCost {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined) throw new RangeError('no samples');
  const seconds = Number(last.timeNs - first.timeNs) / 1e9;
  const packets = last.runCount - first.runCount;
  const costs = samples.slice(1).flatMap((now, index) => {
    const before = samples[index] ?? now;
    const count = now.runCount - before.runCount;
    return count > 0 ? [(now.runTimeNs - before.runTimeNs) / count] : [];
  });
  return {
    interface: attached.device,
    mode: attached.mode,
    program_id: attached.programId,
    program: name,
    seconds,
    packets,
    packets_per_second: packets / seconds,
    program_ns: costs.length > 0 ? estimate(costs) : null,
    cpu_percent: (last.runTimeNs - first.runTimeNs) / (seconds * 1e7),
  };
}
