/** Measures a command as a whole process, with the start of Node, its output counted and thrown away. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { udpFrame } from '../../src/model/frames.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { loadWithMaps } from '../kernel/bpftool.js';
import { type Lab, OBJECTS_DIRECTORY } from '../kernel/lab.js';

export interface ProcessCost {
  readonly ms: number;
  /** Resident at most. */
  readonly megabytes: number;
  readonly lines: number;
}

export async function runWhole(
  [file = '', ...args]: readonly string[],
  onText: (text: string) => void = () => {},
): Promise<ProcessCost> {
  const startMs = performance.now();
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let lines = 0;
  let megabytes = 0;
  const sampling = setInterval(() => {
    megabytes = Math.max(megabytes, peakMegabytes(child.pid));
  }, 20);
  child.stdout.on('data', (chunk: Buffer) => {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
    onText(chunk.toString('latin1'));
  });
  const [exitCode] = await once(child, 'close');
  clearInterval(sampling);
  if (exitCode !== 0) throw new Error(`${file} ${args.join(' ')}: exit ${exitCode}`);
  return { ms: performance.now() - startMs, megabytes, lines };
}

/** proc(5): VmHWM, the most that was resident. */
export function peakMegabytes(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** The medians of the times, and the highest of the others. */
export function middle(costs: readonly ProcessCost[]): ProcessCost {
  return {
    ms: median(costs.map((each) => each.ms)),
    megabytes: Math.max(...costs.map((each) => each.megabytes)),
    lines: costs[0]?.lines ?? 0,
  };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** An LRU table lets go of the first ones before it is full. */
const ROOM = 1.4;
let fills = 0;

/** Attaches anew with a table that so many sources fit in, and makes the program count one packet of each. */
export async function attachFilled(lab: Lab, sources: number): Promise<void> {
  const size = ['--max-sources', String(Math.ceil(sources * ROOM) + 1000)];
  const { exitCode, stderr } = await lab.run(['attach', 'eth0', '--replace', ...size]);
  if (exitCode !== 0) throw new Error(stderr);
  const name = `${lab.bpffs}/fill${++fills}`;
  mkdirSync(`${name}-maps`);
  const frame = `${lab.scratch}/spread`;
  writeFileSync(frame, udpFrame({ source: '198.18.0.1' }));
  const directory = `${lab.bpffs}/xdpwho/${lab.pins()[0]}`;
  const files = new ObjectFiles(OBJECTS_DIRECTORY);
  const object = files.writePatched(
    'spread.frags',
    { constants: { source_count: 0 } },
    lab.scratch,
  );
  await loadWithMaps(lab.bpftool, object, name, `${name}-maps`);
  await lab.bpftool.setProgramArray(`${name}-maps/measured`, `${directory}/program`);
  await lab.bpftool.runProgram(name, frame, sources);
}
