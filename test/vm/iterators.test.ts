/**
 * What the iterators print, in a guest: the tests on the kernel that a host leaves out whose kernel refuses
 * iterators (`withIterator` of test/kernel/iterators.ts).
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { suite } from '../suite.js';
import { compiledLayer } from './compiled.js';
import type { Configuration } from './configurations.js';
import type { CheckResult } from './findings.js';
import { PROJECT } from './image.js';
import { runInGuest, whyNoGuest } from './in-guest.js';

const CONFIGURATION: Configuration = { kernel: '6.12', bpftool: '7.5', cpus: '2' };

/** The files that have such tests. `whole`: with its other tests, which compare both readers. */
const FILES: Readonly<Record<string, 'whole' | 'only those'>> = {
  'program.test.ts': 'only those',
  'readers.test.ts': 'whole',
  'file.test.ts': 'only those',
  'dump.test.ts': 'only those',
  'watch.test.ts': 'only those',
  'guards.test.ts': 'only those',
  'runs.test.ts': 'only those',
  'serve.test.ts': 'only those',
};

/** What the tests compile, by the names of the sources in test/kernel. */
const SOURCES = ['fill.bpf.c', 'count-runs.c'];

/** In place of test/run.mjs, whose files run in processes of their own: one file after the other. */
const ENTRY = `
async function run(file, load, onlyInGuest) {
  const startedAt = Date.now();
  globalThis.UVU_QUEUE[0] = [];
  TEST_NOTES.onlyInGuest = onlyInGuest;
  await load();
  let ran = 0;
  const problems = [];
  for (const suite of globalThis.UVU_QUEUE[0]) {
    const [errors, passed, skipped, total] = await suite();
    if (errors !== true) problems.push(errors);
    ran += passed;
  }
  for (const { suite, name, why } of TEST_NOTES.skipped.splice(0)) problems.push('skipped: ' + suite + ': ' + name + ': ' + why);
  for (const { suite, hook, error } of TEST_NOTES.hooks.splice(0)) problems.push(suite + ': ' + hook + ': ' + error);
  if (ran === 0) problems.push('no test has run');
  const seconds = Math.round((Date.now() - startedAt) / 100) / 10;
  const finding = { type: 'check', name: file, why: problems.length === 0 ? null : problems.join('\\n'), seconds };
  process.stdout.write(JSON.stringify(finding) + '\\n');
}
${Object.entries(FILES)
  .map(
    ([name, which]) =>
      `await run('${name}', () => import('../kernel/${name}'), ${which !== 'whole'});`,
  )
  .join('\n')}
process.exit();
`;

/** uvu reads its globals when it is loaded. */
const BANNER = `globalThis.UVU_DEFER ??= 1;
globalThis.UVU_INDEX ??= 0;
globalThis.UVU_QUEUE ??= [[]];
globalThis.TEST_NOTES ??= { skipped: [], hooks: [], waiting: new Set() };`;

const iterators = suite('iterators, in a guest', await whyNoGuest(CONFIGURATION));
const results = new Map<string, CheckResult>();

iterators.before(async () => {
  const findings = await runInGuest({
    configuration: CONFIGURATION,
    entry: { contents: ENTRY, loader: 'js' },
    banner: BANNER,
    layer: await compiledLayer(SOURCES),
  });
  for (const each of findings) if (each.type === 'check') results.set(each.name, each);
});

for (const name of Object.keys(FILES)) {
  iterators(`test/kernel/${name}`, () => {
    const result = results.get(name);
    if (result === undefined) throw new Error('the guest has not run it');
    if (result.why !== null) throw new Error(result.why);
  });
}

iterators('every file that a host leaves tests out of is among them', () => {
  const folder = join(PROJECT, 'test/kernel');
  const leaving = readdirSync(folder).filter(
    (name) =>
      name.endsWith('.test.ts') &&
      /\bwithIterator\(/.test(readFileSync(join(folder, name), 'utf8')),
  );
  assert.equal(leaving, Object.keys(FILES).sort());
});

iterators.run();
