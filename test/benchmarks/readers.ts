/**
 * What the two readers cost: tables of different sizes, filled by test/kernel/fill.bpf.c, are read by
 * `xdpwho dump`, which prints the first 20 sources or all of them. By the iterator, all of them are
 * the kernel's own lines; by the dump, they are sorted, for which they have to be held. Time is the
 * whole process's; memory is its largest resident set, and of the dump also that of its bpftool.
 *
 * Usage: npm run bench:readers [-- SOURCES...]   (as root, with clang and bpftool)
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { attach } from '../../src/api.js';
import { propertyOf } from '../../src/model/json-values.js';
import type { Reader } from '../../src/model/records.js';
import { CLI, Lab, WHY_NOT } from '../kernel/lab.js';
import { fillTable } from '../kernel/table.js';

const BOUND_MB = { iterator: 150, dump: 250 } as const;
/** Of the bounds. */
const BOUND_SOURCES = 1_000_000;
const SAMPLE_MS = 20;
const READERS = ['iterator', 'dump'] as const;
const PRINTED = { 'first 20': ['--top', '20'], all: [] } as const;

const sizes = process.argv.slice(2).map(Number);
if (sizes.length === 0) sizes.push(1000, 10_000, 65_536, 250_000, BOUND_SOURCES);
if (WHY_NOT !== undefined) throw new Error(WHY_NOT);

interface Cost {
  readonly seconds: number;
  readonly residentMb: number;
  readonly bpftoolMb: number;
  readonly sources: number;
}

console.log('sources    reader    printed    seconds  sources/s  resident MB  bpftool MB');
let held = true;
for (const size of sizes) {
  for (const reader of READERS) await measure(size, reader);
}
if (!held) process.exitCode = 1;

/** In a lab of its own, so that no table weighs on the next. */
async function measure(size: number, reader: Reader): Promise<void> {
  const lab = await Lab.create();
  try {
    const options = { interface: lab.device, netns: lab.netns, bpffs: lab.bpffs };
    // An LRU table evicts before it is quite full: CPUs keep free elements of their own.
    const maxSources = size + 65_536;
    const attachment = await attach({ ...options, reader, maxSources, session: lab.context });
    await fillTable(lab, attachment.pins.sourcesMap, size);
    await attachment.keep();
    for (const [printed, args] of Object.entries(PRINTED)) {
      report(size, reader, printed, await runDump(lab, args));
    }
    await lab.run(['detach', lab.device]);
  } finally {
    await lab.close();
  }
}

function report(size: number, reader: Reader, printed: string, cost: Cost): void {
  if (cost.sources !== size) throw new Error(`${cost.sources} sources read, not ${size}`);
  const bounded = size === BOUND_SOURCES && (reader === 'iterator' || printed !== 'all');
  const holds = !bounded || cost.residentMb <= BOUND_MB[reader];
  held &&= holds;
  const cells = [
    String(size).padEnd(9),
    reader.padEnd(8),
    printed.padEnd(8),
    cost.seconds.toFixed(2).padStart(8),
    String(Math.round(size / cost.seconds)).padStart(9),
    cost.residentMb.toFixed(0).padStart(11),
    cost.bpftoolMb.toFixed(0).padStart(10),
    bounded ? `bound ${BOUND_MB[reader]}: ${holds ? 'holds' : 'does NOT hold'}` : '',
  ];
  console.log(cells.join('  ').trimEnd());
}

async function runDump(lab: Lab, more: readonly string[]): Promise<Cost> {
  const own = ['--netns', lab.netns, '--bpffs', lab.bpffs];
  const args = ['dump', lab.device, '-o', 'ndjson', ...more, ...own];
  const startMs = performance.now();
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let residentMb = 0;
  let bpftoolMb = 0;
  const sample = setInterval(() => {
    residentMb = Math.max(residentMb, peakMb(child.pid));
    for (const pid of childrenOf(child.pid)) bpftoolMb = Math.max(bpftoolMb, peakMb(pid));
  }, SAMPLE_MS);
  let end = '';
  child.stdout.on('data', (chunk: Buffer) => {
    end = (end + chunk.toString('latin1')).slice(-1000);
  });
  const [exitCode] = await once(child, 'close');
  clearInterval(sample);
  if (exitCode !== 0) throw new Error(`xdpwho dump ended with ${exitCode}`);
  const seconds = (performance.now() - startMs) / 1000;
  // The last line is the totals.
  const totals: unknown = JSON.parse(end.trimEnd().split('\n').at(-1) ?? '');
  return { seconds, residentMb, bpftoolMb, sources: Number(propertyOf(totals, 'sources')) };
}

/** proc(5): VmHWM is the largest resident set so far. 0 for a process that has gone. */
function peakMb(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function childrenOf(pid: number | undefined): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8')
        .split(' ')
        .filter((each) => each !== '')
        .map(Number),
    );
  } catch {
    return [];
  }
}
