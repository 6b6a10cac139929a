/**
 * Measures what owners cost: sums by owner beside sums by prefix, and the live view with owners beside one without,
 * in turn. The database has a system of its own for each /16. Writes the table into
 * docs/benchmarks.md.
 *
 * Usage: npm run bench:owners [-- ROUNDS]. Needs root.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLI, Lab } from '../kernel/lab.js';
import { type Value, writeMmdb } from '../owners/mmdb.js';
import { replaceTable } from './page.js';
import {
  attachFilled,
  middle,
  type ProcessCost,
  peakMegabytes,
  runWhole,
} from './whole-process.js';

const TABLES = [65_536, 1_000_000];
const ROUNDS = Number(process.argv[2] ?? 5);
const LIVE_MS = 20_000;
/** USER_HZ: see proc(5), /proc/PID/stat. */
const TICK_MS = 10;
const NETWORKS = 65_536;

const lab = await Lab.create();
const place = ['--netns', lab.netns, '--bpffs', lab.bpffs, '-q'];
const database = `${lab.scratch}/owners.mmdb`;
const owners = ['--geo', database];
const rows: (string | number)[][] = [];

try {
  const networks = Array.from({ length: NETWORKS }, (_, index): [string, Value] => [
    `${index >> 8}.${index & 0xff}.0.0/16`,
    { asn: `AS${index + 1}`, as_name: `Example ${index}`, country_code: 'DE' },
  ]);
  writeFileSync(database, writeMmdb(networks));
  for (const sources of TABLES) {
    await attachFilled(lab, sources);
    const faces = [
      ['dump', '--group', '24', '-o', 'ndjson'],
      ['dump', '--group', 'owner', '-o', 'ndjson', ...owners],
      ['dump', '--group', 'country', '-o', 'ndjson', ...owners],
      ['dump', '-o', 'ndjson', '--sort', 'packets'],
      ['dump', '-o', 'ndjson', '--sort', 'packets', ...owners],
    ];
    const costs = new Map<string, ProcessCost[]>();
    for (let round = 0; round < ROUNDS; round++) {
      for (const [verb = '', ...options] of faces) {
        const words = [process.execPath, CLI, verb, 'eth0', ...options, ...place];
        const face = [verb, ...options].join(' ').replace(database, 'FILE');
        costs.set(face, [...(costs.get(face) ?? []), await runWhole(words)]);
      }
    }
    for (const [face, all] of costs) {
      const { ms, megabytes, lines } = middle(all);
      add(sources, `\`${face}\``, ms.toFixed(0), megabytes.toFixed(0), String(lines));
    }
    for (const options of [[], owners, [], owners]) {
      const { cpuMs, megabytes } = await live(options);
      const face = options.length === 0 ? 'the live view' : 'the live view with owners';
      add(sources, face, `${((100 * cpuMs) / LIVE_MS).toFixed(0)} % of a CPU`, megabytes, '');
    }
  }
  replaceTable('owners', ['sources', 'face', 'ms', 'MB at most', 'lines'], rows);
} finally {
  await lab.close();
}

function add(...cells: (string | number)[]): void {
  rows.push(cells);
  console.error(cells.join('  '));
}

/** What the view uses of a CPU after its first reading, and its memory. */
async function live(options: readonly string[]): Promise<{ cpuMs: number; megabytes: string }> {
  const command = [process.execPath, CLI, 'watch', 'eth0', ...place, ...options].join(' ');
  const shell = `stty rows 40 cols 140; exec ${command}`;
  const run = lab.startProgram('script', ['-qfc', shell, '/dev/null']);
  await sleep(5000);
  const children = readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, 'utf8');
  const pid = Number(children.trim().split(' ')[0]);
  const before = cpuTicks(pid);
  await sleep(LIVE_MS);
  const cpuMs = (cpuTicks(pid) - before) * TICK_MS;
  const megabytes = peakMegabytes(pid).toFixed(0);
  process.kill(pid, 'SIGINT');
  await run.ended();
  return { cpuMs, megabytes };
}

function cpuTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}
