/**
 * What other tables of sources would cost, and front tables of other sizes: for a known source, many, and new ones.
 *
 * Usage: npm run bench:variants [-- ROUNDS]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bench, DEFAULT_ROUNDS } from '../../src/bench/bench.js';
import { configuredHz, cpuNumbers } from '../../src/host/kernel.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { frontConstants, frontSize } from '../../src/objects/front.js';
import { benchContext, compileProgram } from './baseline.js';

/** The programs of variants.bpf.c, and what is different in each. */
const TABLES = {
  v_lru_percpu: 'LRU, values per CPU (as behind the front table)',
  v_lru_own: 'LRU, values and lists per CPU (BPF_F_NO_COMMON_LRU)',
  v_percpu: 'no LRU, values per CPU',
  v_lru_shared: 'LRU, shared values, atomic additions',
  v_lru_racing: 'LRU, shared values, additions that may get lost',
  v_hash_shared: 'no LRU, shared values, atomic additions',
  v_lru_cpu_key: 'LRU, the CPU in the key',
  v_lru_ipv4: 'LRU, values per CPU, keys of 4 bytes: IPv4 only',
} as const;

/** The lines of each CPU in front of the table. */
const FRONT_LINES = [0, 1024, 4096, 16_384, 65_536];

const CASES = {
  ipv4: 'one source',
  'ipv4-60000-sources': '60,000',
  'ipv4-zipf-1.0-60000': '60,000, Zipf 1.0',
  'ipv4-zipf-1.2-60000': '60,000, Zipf 1.2',
  'ipv4-zipf-1.2-1000000': '1,000,000, Zipf 1.2',
  'ipv4-new-sources': 'new ones',
} as const;
const ROUNDS_AT_ONCE = 3;

interface Variant {
  readonly text: string;
  readonly object: string;
  readonly program?: string;
}

const rounds = Number(process.argv[2] ?? DEFAULT_ROUNDS);
const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-variants-'));
try {
  const context = await benchContext();
  const object = await compileProgram('variants.bpf.c', scratch);
  const tables = Object.entries(TABLES).map(([program, text]) => ({ text, object, program }));
  const objects = new ObjectFiles(context.objectsDirectory);
  const fronts = FRONT_LINES.map((lines) => {
    const front = frontSize(lines, cpuNumbers());
    const constants = frontConstants(front, configuredHz() ?? 250);
    const maxEntries = front === undefined ? {} : { front: front.entries };
    const directory = mkdtempSync(join(scratch, 'front-'));
    const patched = objects.writePatched('xdpwho.frags', { constants, maxEntries }, directory);
    return { text: `${lines.toLocaleString('en')} lines for each CPU`, object: patched };
  });
  for (const variants of [tables, fronts]) await print(variants);
} finally {
  rmSync(scratch, { recursive: true });
}

/** Measures variants in turn, since what the caches of a shared machine have to offer changes by the minute. */
async function print(variants: readonly Variant[]): Promise<void> {
  const context = await benchContext();
  const medians = new Map<string, number[]>();
  for (let round = 0; round < rounds; round += ROUNDS_AT_ONCE) {
    for (const { text, ...choice } of variants) {
      const bench = await Bench.open(context, choice);
      try {
        for (const cost of await bench.measure(ROUNDS_AT_ONCE, { cases: Object.keys(CASES) })) {
          const key = `${text} ${cost.case}`;
          medians.set(key, [...(medians.get(key) ?? []), cost.added_ns.median]);
        }
      } finally {
        await bench.close();
      }
    }
  }
  console.log(`| nanoseconds over an empty program | ${Object.values(CASES).join(' | ')} |`);
  console.log(`| --- |${' --- |'.repeat(Object.keys(CASES).length)}`);
  for (const { text } of variants) {
    const cells = Object.keys(CASES).map((name) => median(medians.get(`${text} ${name}`) ?? []));
    console.log(`| ${text} | ${cells.map((each) => each.toFixed(0)).join(' | ')} |`);
  }
  console.log('');
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, two) => one - two);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
