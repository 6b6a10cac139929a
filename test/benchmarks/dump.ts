/**
 * Measures whole processes, with the start of Node: `dump -o ndjson` against `nft -j list set` and
 * `bpftool map dump -j` on the same number of entries, in turns and in the same namespace; how `dump` grows;
 * `watch` on a large table; `attach` and `detach`, and the processes that they start.
 *
 * Usage: npm run bench:dump [-- LARGEST]. Needs root, and nft and strace for parts of it. On a busy host run it
 * under `chrt -r 1`, so that it does not wait for other processes.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import { findTool } from '../../src/host/exec.js';
import { udpFrame } from '../../src/model/frames.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { loadWithMaps } from '../kernel/bpftool.js';
import { CLI, Lab, OBJECTS_DIRECTORY } from '../kernel/lab.js';
import { ipv4At } from '../kernel/table.js';

const ROUNDS = 7;
const NFT_ENTRIES = 65_536;
const LARGEST = Number(process.argv[2] ?? 1_000_000);
/** `map dump` takes minutes on more. */
const BPFTOOL_LARGEST = 100_000;
/** An LRU table lets go of the first ones before it is full. */
const ROOM = 1.4;

interface Cost {
  readonly ms: number;
  readonly megabytes: number;
  readonly lines: number;
}

const lab = await Lab.create();
const place = ['--netns', lab.netns, '--bpffs', lab.bpffs];
let fills = 0;
try {
  await measureGrowth();
  await measureAgainstNft();
  await measureWatch();
  await measureAttaching();
} finally {
  await xdpwho('detach', '--all', '-q');
  await lab.close();
}

async function measureGrowth(): Promise<void> {
  console.log('\ndump -o ndjson: median of rounds, resident at most');
  for (const sources of [1000, 10_000, 100_000, 1_000_000].filter((each) => each <= LARGEST)) {
    await fill(sources);
    const dump = await several(sources < LARGEST ? ROUNDS : 3, dumpCommand());
    const raw = sources > BPFTOOL_LARGEST ? undefined : await several(3, mapDumpCommand());
    const other = raw === undefined ? '' : `; bpftool map dump -j ${text(raw)}`;
    console.log(`  ${String(dump.lines - 1).padStart(7)} sources ${text(dump)}${other}`);
    if (sources === 1_000_000) verdict('1,000,000 sources in 4 s', dump.ms <= 4000);
    if (sources === 1_000_000) verdict('and 120 MB', dump.megabytes <= 120);
  }
}

async function measureAgainstNft(): Promise<void> {
  const nft = findTool('nft');
  if (nft === undefined) {
    console.log('\nno nft: not compared');
    return;
  }
  await fill(NFT_ENTRIES);
  const elements = Array.from({ length: NFT_ENTRIES }, (_, index) => {
    return `${ipv4At(index)} counter packets ${index} bytes 64`;
  });
  const rules = `${lab.scratch}/set.nft`;
  const set = 'add set inet bench sources { type ipv4_addr; counter; }';
  const add = `add element inet bench sources { ${elements.join(', ')} }`;
  writeFileSync(rules, `add table inet bench\n${set}\n${add}\n`);
  const inside = ['nsenter', `--net=/run/netns/${lab.netns}`, '--', nft];
  await execa(inside[0] ?? '', [...inside.slice(1), '-f', rules]);
  const list = [...inside, '-j', 'list', 'set', 'inet', 'bench', 'sources'];
  const dumpInside = [process.execPath, CLI, 'dump', 'eth0', '-o', 'ndjson', '--bpffs', lab.bpffs];
  const ours: Cost[] = [];
  const theirs: Cost[] = [];
  const raw: Cost[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await run([...inside.slice(0, 3), ...dumpInside]));
    theirs.push(await run(list));
    if (round < 3) raw.push(await run(mapDumpCommand()));
  }
  const [dump, nftList] = [middle(ours), middle(theirs)];
  console.log(`\n${NFT_ENTRIES} entries, in turns`);
  console.log(`  xdpwho dump -o ndjson    ${text(dump)}, ${dump.lines - 1} sources`);
  console.log(`  nft -j list set          ${text(nftList)}`);
  console.log(`  bpftool map dump -j      ${text(middle(raw))}`);
  const factor = nftList.ms / dump.ms;
  verdict(`3 times as fast as nft (${factor.toFixed(1)} times)`, factor >= 3);
}

async function measureWatch(): Promise<void> {
  await xdpwho('detach', '--all', '-q');
  const sources = Math.min(200_000, LARGEST);
  await fill(sources);
  const readings = 8;
  const args = ['watch', 'eth0', '--top', '20', '--interval', '1s', '--count', String(readings)];
  const command = [process.execPath, CLI, ...args, '-o', 'ndjson', '-q', ...place];
  const times: number[] = [];
  const cost = await run(command, (chunk) => {
    if (chunk.includes('"type":"totals"')) times.push(performance.now());
  });
  const gaps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  const worst = Math.max(...gaps.slice(0, -1).map((gap) => Math.abs(gap - 1000)));
  console.log(`\nwatch --top 20 of ${sources} sources, once a second: ${text(cost)}`);
  console.log(`  between readings ${gaps.map((gap) => gap.toFixed(0)).join(', ')} ms`);
  verdict('at most 250 MB', cost.megabytes <= 250);
  verdict('keeps its interval (to 300 ms)', worst < 300);
}

async function measureAttaching(): Promise<void> {
  await xdpwho('detach', '--all', '-q');
  const strace = findTool('strace');
  console.log('\nattach and detach, whole processes');
  const own = `nsenter --net=/run/netns/${lab.netns} --`.split(' ');
  for (const [what, under, more] of [
    ['in our own namespace', own, ['--bpffs', lab.bpffs]],
    ['with --netns', [], place],
  ] as const) {
    const verb = (name: string) => [...under, process.execPath, CLI, name, 'eth0', '-q', ...more];
    const times: Record<string, number[]> = { attach: [], detach: [] };
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of ['attach', 'detach']) times[name]?.push((await run(verb(name))).ms);
    }
    for (const name of ['attach', 'detach']) {
      const started = strace === undefined ? '' : `, ${await countProcesses(strace, verb(name))}`;
      console.log(`  ${name} ${what}: ${median(times[name] ?? []).toFixed(0)} ms${started}`);
    }
  }
}

/** The programs that a command starts, itself left out. */
async function countProcesses(strace: string, command: readonly string[]): Promise<string> {
  const log = `${lab.scratch}/strace`;
  await execa(strace, ['-f', '-qq', '-e', 'trace=execve', '-o', log, ...command]);
  const started = readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line.includes('execve(') && line.endsWith(' = 0'))
    .map((line) => /execve\("(?:[^"]*\/)?([^"/]+)"/.exec(line)?.[1] ?? '')
    .slice(command[0] === 'nsenter' ? 2 : 1);
  const counts = new Map<string, number>();
  for (const name of started) counts.set(name, (counts.get(name) ?? 0) + 1);
  return `starts ${[...counts].map(([name, count]) => `${count} ${name}`).join(', ')}`;
}

/** Attaches anew with a table that so many sources fit in, and makes the program count them. */
async function fill(sources: number): Promise<void> {
  const size = ['--max-sources', String(Math.ceil(sources * ROOM) + 1000)];
  await xdpwho('attach', 'eth0', '--replace', ...size);
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

function dumpCommand(): string[] {
  return [process.execPath, CLI, 'dump', 'eth0', '-o', 'ndjson', ...place];
}

function mapDumpCommand(): string[] {
  const map = `${lab.bpffs}/xdpwho/${lab.pins()[0]}/maps/sources`;
  return [lab.bpftool.path, '-j', '-n', 'map', 'dump', 'pinned', map];
}

async function xdpwho(...args: string[]): Promise<void> {
  const { exitCode, stderr } = await lab.run(args);
  if (exitCode !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
}

async function several(rounds: number, command: readonly string[]): Promise<Cost> {
  const costs: Cost[] = [];
  for (let round = 0; round < rounds; round++) costs.push(await run(command));
  return middle(costs);
}

/** Runs a command to its end, its output counted and thrown away. */
async function run(
  [file = '', ...args]: readonly string[],
  onText: (text: string) => void = () => {},
): Promise<Cost> {
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
function peakMegabytes(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function middle(costs: readonly Cost[]): Cost {
  return {
    ms: median(costs.map((each) => each.ms)),
    megabytes: Math.max(...costs.map((each) => each.megabytes)),
    lines: costs[0]?.lines ?? 0,
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function text({ ms, megabytes }: Cost): string {
  return `${ms.toFixed(0).padStart(6)} ms, ${megabytes.toFixed(0).padStart(4)} MB`;
}

function verdict(what: string, holds: boolean): void {
  console.log(`  ${what}: ${holds ? 'holds' : 'does NOT hold'}`);
}
