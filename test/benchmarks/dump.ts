/**
 * Measures whole processes, with the start of Node: `dump -o ndjson` against `nft -j list set` and
 * `bpftool map dump -j` on the same number of entries, in turns and in the same namespace; how `dump` grows;
 * `watch` on a large table; `attach` and `detach`, and the processes that they start.
 *
 * Usage: npm run bench:dump [-- LARGEST]. Needs root, and nft and strace for parts of it. On a busy host run it
 * under `chrt -r 1`, so that it does not wait for other processes.
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import { findTool } from '../../src/host/tools.js';
import { CLI, Lab } from '../kernel/lab.js';
import { ipv4At } from '../kernel/table.js';
import { attachFilled, median, middle, type ProcessCost, runWhole } from './whole-process.js';

const ROUNDS = 7;
const NFT_ENTRIES = 65_536;
const LARGEST = Number(process.argv[2] ?? 1_000_000);
/** `map dump` takes minutes on more. */
const BPFTOOL_LARGEST = 100_000;

const lab = await Lab.create();
const place = ['--netns', lab.netns, '--bpffs', lab.bpffs];
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
    await attachFilled(lab, sources);
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
  await attachFilled(lab, NFT_ENTRIES);
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
  const ours: ProcessCost[] = [];
  const theirs: ProcessCost[] = [];
  const raw: ProcessCost[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await runWhole([...inside.slice(0, 3), ...dumpInside]));
    theirs.push(await runWhole(list));
    if (round < 3) raw.push(await runWhole(mapDumpCommand()));
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
  await attachFilled(lab, sources);
  const readings = 8;
  const args = ['watch', 'eth0', '--top', '20', '--interval', '1s', '--count', String(readings)];
  const command = [process.execPath, CLI, ...args, '-o', 'ndjson', '-q', ...place];
  const times: number[] = [];
  const cost = await runWhole(command, (chunk) => {
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
      for (const name of ['attach', 'detach']) times[name]?.push((await runWhole(verb(name))).ms);
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

async function several(rounds: number, command: readonly string[]): Promise<ProcessCost> {
  const costs: ProcessCost[] = [];
  for (let round = 0; round < rounds; round++) costs.push(await runWhole(command));
  return middle(costs);
}

function text({ ms, megabytes }: ProcessCost): string {
  return `${ms.toFixed(0).padStart(6)} ms, ${megabytes.toFixed(0).padStart(4)} MB`;
}

function verdict(what: string, holds: boolean): void {
  console.log(`  ${what}: ${holds ? 'holds' : 'does NOT hold'}`);
}
