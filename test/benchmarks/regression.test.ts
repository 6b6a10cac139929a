import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { endianness, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { propertyOf } from '../../src/model/json-values.js';
import { CLI, OBJECTS_DIRECTORY, WHY_NOT } from '../kernel/lab.js';
import { suite } from '../suite.js';
import { compileProgram, keptObjects } from './baseline.js';

/** Enough for intervals of a few percent, on two shared cores. */
const ROUNDS = 5;
/** With many sources the cache decides, and other machines' use of it. */
const CASES = ['ipv4', 'ipv6', 'ipv4-vlan', 'ipv4-two-vlans', 'arp', 'malformed'];

const cost = suite('what the program costs', WHY_NOT);
let scratch = '';
let kept = '';

cost.before(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'xdpwho-regression-'));
  const objects = keptObjects(scratch);
  const { stdout } = await bench(['-o', 'json', '--objects', objects, '--rounds', '15']);
  const cases: unknown = propertyOf(JSON.parse(stdout), 'cases');
  assert.ok(Array.isArray(cases), stdout);
  const few = cases.filter((each) => CASES.includes(String(propertyOf(each, 'case'))));
  assert.is(few.length, CASES.length);
  kept = join(scratch, 'kept.json');
  writeFileSync(kept, JSON.stringify({ cases: few }));
});

cost.after(() => rmSync(scratch, { recursive: true, force: true }));

cost('is no more than what the program costs that the repository keeps', async () => {
  const { exitCode, stdout, stderr } = await bench(['--compare', kept, '--rounds', '15']);
  assert.is(exitCode, 0, `${stdout}\n${stderr}`);
});

cost('raises no alarm in ten runs of the unchanged program', async () => {
  const saved = join(scratch, 'saved.json');
  const first = await bench(['-o', 'json', '--compare', kept, '--rounds', '15']);
  writeFileSync(saved, first.stdout);
  for (let run = 1; run <= 10; run++) {
    const { exitCode, stdout, stderr } = await bench(['--compare', saved]);
    assert.is(exitCode, 0, `run ${run}:\n${stdout}\n${stderr}`);
  }
});

cost('raises the alarm when the program has become slower', async () => {
  const object = await compileProgram('slower.bpf.c', scratch);
  const { exitCode, stdout } = await bench(['--compare', kept, '--object', object, '-o', 'json']);
  assert.is(exitCode, 1, stdout);
  // What it takes the time for; the others are passed on before.
  assert.equal(slowerCases(stdout), ['ipv4', 'ipv6', 'ipv4-vlan', 'ipv4-two-vlans']);
});

cost('raises the alarm when the program has no front table', async () => {
  // As it is compiled: that it has one is written into a copy of it.
  const object = `${OBJECTS_DIRECTORY}/${endianness() === 'LE' ? 'el' : 'eb'}/xdpwho.frags.o`;
  const { exitCode, stdout } = await bench(['--compare', kept, '--object', object, '-o', 'json']);
  assert.is(exitCode, 1, stdout);
  assert.equal(slowerCases(stdout), ['ipv4', 'ipv6', 'ipv4-vlan', 'ipv4-two-vlans']);
});

cost.run();

/** The cases that a comparison has found slower. */
function slowerCases(stdout: string): unknown[] {
  const comparisons: unknown = propertyOf(JSON.parse(stdout), 'comparisons');
  assert.ok(Array.isArray(comparisons));
  return comparisons
    .filter((each) => propertyOf(each, 'verdict') === 'slower')
    .map((each) => propertyOf(each, 'case'));
}

async function bench(args: readonly string[]) {
  const rounds = args.includes('--rounds') ? [] : ['--rounds', String(ROUNDS)];
  return execa(process.execPath, [CLI, 'bench', ...args, ...rounds], {
    reject: false,
    timeout: 120_000,
  });
}
