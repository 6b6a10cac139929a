/**
 * Measures what docs/benchmarks.md shows, and writes it there, with the plots beside it. Needs root,
 * clang, nftables, tcpdump, and some minutes.
 *
 * Usage: npm run bench [-- ROUNDS]
 */
import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { ExecaError, execa } from 'execa';
import { Bench, type Cost, DEFAULT_ROUNDS } from '../../src/bench/bench.js';
import { type Estimate, estimate } from '../../src/bench/median.js';
import { CLI, Lab } from '../kernel/lab.js';
import { fillTable } from '../kernel/table.js';
import { benchContext } from './baseline.js';
import { Field, type Flood, type Traffic } from './flood-field.js';
import { replacePart } from './page.js';
import { barChart, type Line, lineChart } from './svg.js';

const DOCS = fileURLToPath(new URL('../../docs/', import.meta.url));

const TRAFFIC: readonly Traffic[] = [
  { sources: 1000 },
  { sources: 60_000 },
  { sources: 60_000, zipf: 1.2 },
];
/** Packets before a measurement: enough that all sources, or all of a CPU's that are frequent, are known. */
const WARMING = 300_000;
const TABLE_SIZES = [1000, 10_000, 100_000, 1_000_000];
/** Room for the last of them: an LRU lets go a little before it is full. */
const LARGEST_TABLE = 1_200_000;
/** New sources in one flood: as many as 198.18.0.0/15 has room for, and a table by default. */
const NEW_SOURCES = 60_000;
const DEFAULT_FLOOD_ROUNDS = 7;
/** One batch of the sender's: what takes the time is its start. */
const LEAST_FLOOD = 64;
const READ_ROUNDS = 3;
/** Larger tables are read once: it takes long, and differs little. */
const LARGE = 1_000_000;
const READ_LIMIT_MS = 60_000;
const TIME_ROUNDS = 15;

const rounds = Number(process.argv[2] ?? DEFAULT_FLOOD_ROUNDS);

interface Contest {
  readonly label: string;
  /** Over the empty program of the same round; of the empty program itself, all. Nanoseconds per packet. */
  readonly costNs: Estimate;
  /** Of the packets sent; undefined for the empty program, which accounts for none. */
  readonly share: number | undefined;
}

const lab = await Lab.create();
try {
  const field = await Field.open(lab);
  const costs = await runPrograms();
  const contests = new Map<string, Contest[]>();
  for (const traffic of TRAFFIC) contests.set(nameOf(traffic), await contest(field, traffic));
  const taken = await takeUp(field);
  const reading = await readTables(field);
  const times = await measureTimes();
  const text = [
    await describeHost(),
    ...describeCosts(costs),
    ...describeContests(contests),
    ...describeTakeUp(taken),
    ...describeReading(reading),
    ...describeTimes(times),
  ];
  replacePart('figures', text);
} finally {
  await lab.close();
}

function nameOf({ sources, zipf }: Traffic): string {
  const law = zipf === undefined ? '' : ` by Zipf's law, exponent ${zipf}`;
  return `${sources.toLocaleString('en')} sources${law}`;
}

function say(text: string): void {
  console.error(`bench: ${text}`);
}

async function runPrograms(): Promise<Cost[]> {
  say('prog run, without traffic');
  const bench = await Bench.open(await benchContext());
  try {
    return await bench.measure(DEFAULT_ROUNDS);
  } finally {
    await bench.close();
  }
}

/** Everyone in turn, round by round. */
async function contest(field: Field, traffic: Traffic): Promise<Contest[]> {
  const contestants = field.contestants();
  const floods = contestants.map((): Flood[] => []);
  const shares = contestants.map((): number[] => []);
  const startsNs: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    say(`${nameOf(traffic)}, round ${round} of ${rounds}`);
    for (const [index, contestant] of contestants.entries()) {
      await contestant.setUp();
      try {
        const warm = await field.flood(traffic, WARMING);
        const start = await field.flood(traffic, LEAST_FLOOD);
        const flood = await field.flood(traffic, contestant.packets);
        startsNs.push(start.durationNs);
        floods[index]?.push(flood);
        const share = (await contestant.account()) / (warm.sent + start.sent + flood.sent);
        shares[index]?.push(share);
        say(`  ${contestant.label}: ${(flood.durationNs / 1e6).toFixed(0)} ms, ${percent(share)}`);
      } finally {
        await contestant.tearDown();
      }
    }
  }
  // What it takes to start the sender is no packet's cost.
  const startNs = Math.min(...startsNs);
  const perPacketNs = floods.map((own) =>
    own.map(({ sent, durationNs }) => (durationNs - startNs) / sent),
  );
  const emptyNs = perPacketNs[0] ?? [];
  return contestants.map(({ label }, index) => {
    const own = perPacketNs[index] ?? [];
    const costs = index === 0 ? own : own.map((ns, round) => ns - (emptyNs[round] ?? Number.NaN));
    return {
      label,
      costNs: estimate(costs),
      share: index === 0 ? undefined : estimate(shares[index] ?? []).median,
    };
  });
}

/** How many of sources that send one packet each are in the set, and in our table. */
async function takeUp(field: Field): Promise<{ readonly nft: number; readonly own: number }> {
  say(`${NEW_SOURCES} new sources`);
  const { exitCode, stderr } = await lab.run(['attach', lab.device]);
  if (exitCode !== 0) throw new Error(stderr);
  await field.addSet(131_072);
  await field.flood({ sources: NEW_SOURCES }, NEW_SOURCES);
  const nft = await field.countSet();
  const { stdout } = await lab.run(['dump', lab.device, '-o', 'json', '--top', '1']);
  const own = Number(/"sources": (\d+)/.exec(stdout)?.[1]);
  await field.removeSet();
  await lab.run(['detach', lab.device]);
  return { nft, own };
}

interface Reading {
  readonly label: string;
  /** Milliseconds by size of the table; undefined: more than READ_LIMIT_MS. */
  readonly points: (readonly [number, number | undefined])[];
}

async function readTables(field: Field): Promise<Reading[]> {
  const attach = ['attach', lab.device, '--max-sources', String(LARGEST_TABLE)];
  const ways: Reading[] = [
    { label: 'cat FILE', points: [] },
    { label: 'xdpwho dump', points: [] },
    { label: 'bpftool map dump', points: [] },
    { label: 'nft -j list set', points: [] },
  ];
  for (const size of TABLE_SIZES) {
    say(`reading ${size} sources`);
    const { exitCode, stderr } = await lab.run(attach);
    if (exitCode !== 0) throw new Error(stderr);
    const pins = `${lab.bpffs}/xdpwho/${lab.pins()[0]}`;
    await fillTable(lab, `${pins}/maps/sources`, size);
    await field.addSet(LARGEST_TABLE, size);
    const own = ['--netns', lab.netns, '--bpffs', lab.bpffs];
    const commands: readonly (readonly [string, readonly string[]])[] = [
      ['cat', [`${pins}/sources`]],
      [process.execPath, [CLI, 'dump', lab.device, '-o', 'ndjson', ...own]],
      ['bpftool', ['-j', '-n', 'map', 'dump', 'pinned', `${pins}/maps/sources`]],
      field.setListing(),
    ];
    for (const [index, [file, args]] of commands.entries()) {
      const times = size < LARGE ? READ_ROUNDS : 1;
      const ms = await timeCommand(file, args, times).catch(ifTooLong);
      ways[index]?.points.push([size, ms]);
    }
    await field.removeSet();
    await lab.run(['detach', lab.device]);
  }
  return ways;
}

function ifTooLong(error: unknown): undefined {
  if (!(error instanceof ExecaError) || !error.timedOut) throw error;
}

async function measureTimes(): Promise<readonly (readonly [string, number])[]> {
  say('attach, detach, start');
  const own = ['--netns', lab.netns, '--bpffs', lab.bpffs];
  const run = (...args: string[]) => timeCommand(process.execPath, args, 1);
  const attaching: number[] = [];
  const detaching: number[] = [];
  for (let round = 0; round < TIME_ROUNDS; round++) {
    attaching.push(await run(CLI, 'attach', lab.device, ...own));
    detaching.push(await run(CLI, 'detach', lab.device, ...own));
  }
  return [
    ['`xdpwho attach`', estimate(attaching).median],
    ['`xdpwho detach`', estimate(detaching).median],
    ['`xdpwho --version`', await timeCommand(process.execPath, [CLI, '--version'], TIME_ROUNDS)],
    ['`node -e 0`, for comparison', await timeCommand(process.execPath, ['-e', '0'], TIME_ROUNDS)],
  ];
}

/** The median of some runs, in milliseconds. Its output goes nowhere. */
async function timeCommand(file: string, args: readonly string[], times: number): Promise<number> {
  const durations: number[] = [];
  for (let index = 0; index < times; index++) {
    const startNs = process.hrtime.bigint();
    await execa(file, args, { stdout: 'ignore', timeout: READ_LIMIT_MS, killSignal: 'SIGKILL' });
    durations.push(Number(process.hrtime.bigint() - startNs) / 1e6);
  }
  return estimate(durations).median;
}

async function describeHost(): Promise<string> {
  const version = async (...command: string[]) => {
    const [file = '', ...args] = command;
    const { stdout, stderr } = await execa(file, args, { reject: false });
    return (`${stdout}${stderr}`.split('\n')[0] ?? '').trim();
  };
  const models = cpus();
  const tools = await Promise.all([
    version('bpftool', 'version'),
    version('nft', '--version'),
    version('tcpdump', '--version'),
  ]);
  const date = new Date().toISOString().slice(0, 10);
  return `Measured on ${date}: ${models.length} CPUs (${models[0]?.model}), Linux ${release()}, Node ${process.version}, ${tools.join(', ')}.`;
}

function describeCosts(costs: readonly Cost[]): string[] {
  return [
    '',
    '### Without traffic',
    '',
    '`xdpwho bench`: nanoseconds per packet, in turn with an empty program.',
    '',
    ...table(
      ['packet', 'program', 'empty', 'added', '95 %', 'ratio'],
      costs.map((cost) => [
        cost.case,
        cost.program_ns.median.toFixed(0),
        cost.empty_ns.median.toFixed(0),
        cost.added_ns.median.toFixed(0),
        `${cost.added_ns.lower.toFixed(0)} to ${cost.added_ns.upper.toFixed(0)}`,
        cost.ratio.median.toFixed(2),
      ]),
    ),
  ];
}

function describeContests(contests: ReadonlyMap<string, readonly Contest[]>): string[] {
  const groups = [...contests].map(([traffic, results]) => {
    const bars = results.slice(1).map(({ label, costNs, share = 0 }) => ({
      label,
      value: costNs.median,
      note: `${costNs.median.toFixed(0)} ns, ${percent(share)} seen`,
      emphasis: label.startsWith('xdpwho'),
    }));
    return [traffic, bars] as const;
  });
  const title = 'What each packet of a flood costs over an empty program';
  writeFileSync(`${DOCS}cost-per-packet.svg`, barChart(title, groups));
  return [
    '',
    '### In a flood',
    '',
    '![cost per packet](cost-per-packet.svg)',
    ...[...contests].flatMap(([traffic, results]) => {
      const own = results.find(({ label }) => label.startsWith('xdpwho'))?.costNs;
      return [
        '',
        `${traffic}, ${rounds} rounds:`,
        '',
        ...table(
          ['', 'ns per packet added', '95 %', 'times ours', 'packets accounted for'],
          results
            .slice(1)
            .map(({ label, costNs, share = 0 }) => [
              label,
              costNs.median.toFixed(0),
              `${costNs.lower.toFixed(0)} to ${costNs.upper.toFixed(0)}`,
              timesOurs(costNs, own),
              percent(share),
            ]),
        ),
        '',
        `The empty program, the veth and the stack behind it take ${results[0]?.costNs.median.toFixed(0)} ns.`,
      ];
    }),
  ];
}

/** Where what ours adds cannot be told from nothing, at least how many times. */
function timesOurs(costNs: Estimate, own: Estimate | undefined): string {
  if (own === undefined || own === costNs) return '1.0';
  if (own.lower > 0) return (costNs.median / own.median).toFixed(1);
  return `at least ${(costNs.lower / own.upper).toFixed(1)}`;
}

function describeTakeUp({ nft, own }: { readonly nft: number; readonly own: number }): string[] {
  const count = (value: number) => value.toLocaleString('en');
  return [
    '',
    `Of ${count(NEW_SOURCES)} new sources that send one packet each at that rate, the nftables set took`,
    `up ${count(nft)}, and xdpwho ${count(own)}.`,
  ];
}

function describeReading(ways: readonly Reading[]): string[] {
  const lines: Line[] = ways.map(({ label, points }) => ({
    label,
    points: points.flatMap(([size, ms]) => (ms === undefined ? [] : [[size, ms] as const])),
    emphasis: label.startsWith('xdpwho'),
  }));
  const units = { x: 'sources in the table', y: 'ms' };
  writeFileSync(`${DOCS}reading.svg`, lineChart('Reading the table', units, lines));
  return [
    '',
    '### Reading the table',
    '',
    '![reading](reading.svg)',
    '',
    ...table(
      ['milliseconds', ...TABLE_SIZES.map((size) => size.toLocaleString('en'))],
      ways.map(({ label, points }) => [
        `\`${label}\``,
        ...points.map(([, ms]) => ms?.toFixed(0) ?? `more than ${READ_LIMIT_MS}`),
      ]),
    ),
  ];
}

function describeTimes(times: readonly (readonly [string, number])[]): string[] {
  return [
    '',
    '### Starting, attaching, detaching',
    '',
    ...table(
      ['', 'milliseconds'],
      times.map(([label, ms]) => [label, ms.toFixed(0)]),
    ),
  ];
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)];
}

/** Rounded down, so that 100 % are all. */
function percent(share: number): string {
  return `${Math.floor(share * 1000) / 10} %`;
}
