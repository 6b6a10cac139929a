/**
 * The kept figures: what our program costs, and what a yardstick costs, as ratios to an empty
 * program. On another machine both are other ratios; what the yardstick costs there says what to
 * expect of the program.
 *
 * Usage: npm run bench:baseline: measures them, and writes baseline.json.
 */
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { endianness, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SessionContext } from '../../src/attachment/context.js';
import { Bench } from '../../src/bench/bench.js';
import { type CaseRatio, parseSaved } from '../../src/bench/compare.js';
import type { Estimate } from '../../src/bench/median.js';
import { run } from '../../src/host/exec.js';
import { findBpftool } from '../../src/host/find-bpftool.js';
import { requireTool } from '../../src/host/tools.js';
import { compileArguments, findHeaderDirectories } from '../../src/objects/compile.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const KEPT = join(HERE, 'baseline.json');
const OBJECTS_DIRECTORY = join(HERE, '../../dist/bpf');

/** The case of the yardstick, which does the same whatever the packet is. */
const YARDSTICK_CASE = 'ipv4';
/** With many sources the cache decides, and other machines' use of it: nothing to keep. */
const KEPT_CASES = ['ipv4', 'ipv6', 'ipv4-vlan', 'ipv4-two-vlans', 'arp', 'malformed'];
const KEPT_ROUNDS = 60;

interface Baseline {
  readonly yardstick: Estimate;
  readonly cases: readonly CaseRatio[];
}

export async function benchContext(): Promise<SessionContext> {
  return { bpftool: await findBpftool({}), objectsDirectory: OBJECTS_DIRECTORY };
}

/** Compiles a BPF program for this machine. `source` is relative to this directory. */
export async function compileProgram(source: string, directory: string): Promise<string> {
  const output = join(directory, source.replace(/^.*\//, '').replace(/\.bpf\.c$/, '.o'));
  const args = compileArguments({
    source: join(HERE, source),
    output,
    byteOrder: endianness() === 'LE' ? 'el' : 'eb',
    includeDirectories: findHeaderDirectories('/usr/include'),
  });
  const result = await run(requireTool('clang'), args);
  if (result.failed) throw new Error(`clang: ${result.stderr}`);
  return output;
}

/** The yardstick's ratio to an empty program, here and now. */
export async function measureYardstick(
  context: SessionContext,
  directory: string,
  rounds: number,
): Promise<Estimate> {
  const object = await compileProgram('yardstick.bpf.c', directory);
  const [cost] = await measure(context, { object, cases: [YARDSTICK_CASE], rounds });
  if (cost === undefined) throw new Error('the yardstick was not measured');
  return cost.ratio;
}

export function readBaseline(): Baseline {
  const text = readFileSync(KEPT, 'utf8');
  const [yardstick] = parseSaved(JSON.stringify({ cases: [JSON.parse(text).yardstick] }), KEPT);
  if (yardstick === undefined) throw new Error(`${KEPT}: no yardstick`);
  return { yardstick: yardstick.ratio, cases: parseSaved(text, KEPT) };
}

/** Pure: what to expect of the program where the yardstick has another ratio. */
export function scaleBaseline(baseline: Baseline, yardstick: Estimate): CaseRatio[] {
  const factor = (yardstick.median - 1) / (baseline.yardstick.median - 1);
  const scale = (ratio: number) => 1 + (ratio - 1) * factor;
  return baseline.cases.map(({ case: name, ratio: { median, lower, upper } }) => ({
    case: name,
    ratio: { median: scale(median), lower: scale(lower), upper: scale(upper) },
  }));
}

async function measure(
  context: SessionContext,
  options: { object?: string; cases: readonly string[]; rounds: number },
) {
  const { object, cases, rounds } = options;
  const bench = await Bench.open(context, { object });
  try {
    return await bench.measure(rounds, { cases });
  } finally {
    await bench.close();
  }
}

async function main(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-baseline-'));
  try {
    const context = await benchContext();
    const yardstick = await measureYardstick(context, scratch, KEPT_ROUNDS);
    const costs = await measure(context, { cases: KEPT_CASES, rounds: KEPT_ROUNDS });
    const kept = {
      about: 'ratios to an empty program; made by `npm run bench:baseline`',
      yardstick: { case: YARDSTICK_CASE, ratio: rounded(yardstick) },
      cases: costs.map((cost) => ({ case: cost.case, ratio: rounded(cost.ratio) })),
    };
    writeFileSync(KEPT, `${JSON.stringify(kept, undefined, 2)}\n`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function rounded({ median, lower, upper }: Estimate): Estimate {
  const [first = 0, second = 0, third = 0] = [median, lower, upper].map((each) =>
    Number(each.toFixed(3)),
  );
  return { median: first, lower: second, upper: third };
}

if (realpathSync(process.argv[1] ?? '') === fileURLToPath(import.meta.url)) await main();
