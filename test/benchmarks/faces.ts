/**
 * Measures every face of the command on large tables: 65,536 sources and 1,000,000, of one packet each, so that
 * every order is decided by the addresses. Writes the table into docs/benchmarks.md. The live view draws on a terminal
 * of script(1) for half a minute.
 *
 * Usage: npm run bench:faces [-- ROUNDS]. Needs root.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLI, Lab } from '../kernel/lab.js';
import { replaceTable } from './page.js';
import {
  attachFilled,
  middle,
  type ProcessCost,
  peakMegabytes,
  runWhole,
} from './whole-process.js';

const TABLES = [65_536, 1_000_000];
const ROUNDS = Number(process.argv[2] ?? 3);
const LIVE_MS = 30_000;
const LISTEN = '127.0.0.1:9929';

/** The first one is what the others are compared with. */
const FACES: readonly (readonly string[])[] = [
  ['dump', '-o', 'ndjson'],
  ['dump', '-o', 'ndjson', '--sort', 'packets'],
  ['dump', '-o', 'ndjson', '--sort', 'source'],
  ['dump', '-o', 'table'],
  ['dump', '-o', 'json'],
  ['dump', '-o', 'prometheus'],
  ['dump', '--top', '20'],
  ['dump', '--group', '24,64', '-o', 'ndjson'],
  ['watch', '-o', 'table', '--count', '1', '--interval', '100ms'],
  ['watch', '-o', 'ndjson', '--count', '1', '--interval', '100ms'],
  ['watch', '-o', 'json', '--count', '1', '--interval', '100ms'],
];

const lab = await Lab.create();
const place = ['--netns', lab.netns, '--bpffs', lab.bpffs];
const rows: string[][] = [];

try {
  for (const sources of TABLES) {
    await attachFilled(lab, sources);
    const costs = new Map<string, ProcessCost[]>();
    for (let round = 0; round < ROUNDS; round++) {
      for (const face of FACES) {
        const [verb = '', ...options] = face;
        const cost = await runWhole([
          process.execPath,
          CLI,
          verb,
          'eth0',
          ...options,
          ...place,
          '-q',
        ]);
        costs.set(face.join(' '), [...(costs.get(face.join(' ')) ?? []), cost]);
      }
    }
    const base = middle(costs.get(FACES[0]?.join(' ') ?? '') ?? []).ms;
    for (const [face, all] of costs) add(sources, face, middle(all), base);
    add(sources, 'one scrape of `serve`', await scrape(), base);
    add(sources, 'report of two readings', await report(), base);
    rows.push([String(sources), ...(await live())]);
  }
  replaceTable('faces', ['sources', 'face', 'ms', 'times `dump -o ndjson`', 'MB at most'], rows);
} finally {
  await lab.close();
}

function add(sources: number, face: string, { ms, megabytes }: ProcessCost, base: number): void {
  const shown = face.startsWith('dump') || face.startsWith('watch') ? `\`${face}\`` : face;
  rows.push([String(sources), shown, ms.toFixed(0), (ms / base).toFixed(1), megabytes.toFixed(0)]);
  console.error(rows.at(-1)?.join('  '));
}

/** The time of one answer, and the memory of the server. */
async function scrape(): Promise<ProcessCost> {
  const inside = [`--net=/run/netns/${lab.netns}`, '--'];
  const words = [process.execPath, CLI, 'serve', 'eth0', '--bpffs', lab.bpffs, '--listen', LISTEN];
  await lab.ip(lab.netns, ['link', 'set', 'lo', 'up']);
  const server = lab.startProgram('nsenter', [...inside, ...words]);
  await server.says(/http:/);
  const client = `fetch('http://${LISTEN}/metrics').then((r) => r.text()).then(console.log)`;
  const empty = await runWhole(['nsenter', ...inside, process.execPath, '-e', 'fetch']);
  const cost = await runWhole(['nsenter', ...inside, process.execPath, '-e', client]);
  const megabytes = peakMegabytes(server.pid);
  server.child.kill('SIGINT');
  await server.ended();
  return { ...cost, ms: cost.ms - empty.ms, megabytes };
}

async function report(): Promise<ProcessCost> {
  const recording = `${lab.scratch}/recording.ndjson`;
  const watch = [process.execPath, CLI, 'watch', 'eth0', ...place, '-q', '-o', 'ndjson'];
  const options = ['--count', '2', '--interval', '3s'];
  const shell = ['sh', '-c', 'file=$0; exec "$@" >"$file"', recording, ...watch, ...options];
  await runWhole(shell);
  return runWhole([process.execPath, CLI, 'report', recording]);
}

/** Frames of the live view, once a second at most, and its memory. */
async function live(): Promise<string[]> {
  const typescript = `${lab.scratch}/typescript`;
  const command = [process.execPath, CLI, 'watch', 'eth0', ...place].join(' ');
  const shell = `stty rows 40 cols 120; exec ${command}`;
  const run = lab.startProgram('script', ['-qfc', shell, typescript]);
  await sleep(LIVE_MS);
  const children = readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, 'utf8');
  const pid = Number(children.trim().split(' ')[0]);
  const megabytes = peakMegabytes(pid);
  process.kill(pid, 'SIGINT');
  await run.ended();
  const frames = readFileSync(typescript, 'latin1').split('\x1b[?2026h').length - 1;
  const each = (LIVE_MS / 1000 / frames).toFixed(1);
  console.error(`live: ${frames} frames, ${megabytes.toFixed(0)} MB`);
  return ['the live view', `a frame every ${each} s`, '', megabytes.toFixed(0)];
}
