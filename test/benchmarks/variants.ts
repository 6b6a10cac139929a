/**
 * What other tables of sources would cost: one known source, and 60,000 in turn.
 *
 * Usage: npm run bench:variants [-- ROUNDS]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bench, DEFAULT_ROUNDS } from '../../src/bench/bench.js';
import { benchContext, compileProgram } from './baseline.js';

/** The programs of variants.bpf.c, and what is different in each. */
const VARIANTS = {
  v_lru_percpu: 'LRU, values per CPU (as the program has it)',
  v_lru_own: 'LRU, values and lists per CPU (BPF_F_NO_COMMON_LRU)',
  v_percpu: 'no LRU, values per CPU',
  v_lru_shared: 'LRU, shared values, atomic additions',
  v_lru_racing: 'LRU, shared values, additions that may get lost',
  v_hash_shared: 'no LRU, shared values, atomic additions',
  v_lru_cpu_key: 'LRU, the CPU in the key',
  v_lru_ipv4: 'LRU, values per CPU, keys of 4 bytes: IPv4 only',
} as const;

const CASES = ['ipv4', 'ipv4-60000-sources', 'ipv4-new-sources'];
const ROUNDS_AT_ONCE = 3;

const rounds = Number(process.argv[2] ?? DEFAULT_ROUNDS);
const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-variants-'));
const medians = new Map<string, number[]>();
try {
  const context = await benchContext();
  const object = await compileProgram('variants.bpf.c', scratch);
  // In turn, since what the caches of a shared machine have to offer changes by the minute.
  for (let round = 0; round < rounds; round += ROUNDS_AT_ONCE) {
    for (const program of Object.keys(VARIANTS)) {
      const bench = await Bench.open(context, { object, program });
      try {
        for (const cost of await bench.measure(ROUNDS_AT_ONCE, { cases: CASES })) {
          const key = `${program} ${cost.case}`;
          medians.set(key, [...(medians.get(key) ?? []), cost.added_ns.median]);
        }
      } finally {
        await bench.close();
      }
    }
  }
} finally {
  rmSync(scratch, { recursive: true });
}

console.log('| nanoseconds over an empty program | one source | 60,000 | new ones |');
console.log('| --- | --- | --- | --- |');
for (const [program, text] of Object.entries(VARIANTS)) {
  const cells = CASES.map((name) => median(medians.get(`${program} ${name}`) ?? []).toFixed(0));
  console.log(`| ${text} | ${cells.join(' | ')} |`);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, two) => one - two);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
