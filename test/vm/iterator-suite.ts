/**
 * What the iterators print, in a guest: the tests on the kernel that a host leaves out whose kernel refuses
 * iterators (`withIterator` of test/kernel/iterators.ts).
 */
import { suite } from '../suite.js';
import { compiledLayer } from './compiled.js';
import type { Configuration } from './configurations.js';
import type { CheckResult } from './findings.js';
import { runInGuest, whyNoGuest } from './in-guest.js';

const CONFIGURATION: Configuration = { kernel: '6.12', bpftool: '7.5', cpus: '2' };

type Tests = 'whole' | 'only those';

/** The files that have such tests, by the stage that runs them: `vm-more` has what takes minutes. */
export const ITERATOR_FILES = {
  vm: { 'program.test.ts': 'only those', 'readers.test.ts': 'whole' },
  'vm-more': {
    'dump.test.ts': 'only those',
    'file.test.ts': 'only those',
    'front.test.ts': 'only those',
    'guards.test.ts': 'only those',
    'runs.test.ts': 'only those',
    'serve.test.ts': 'only those',
    'watch.test.ts': 'only those',
  },
} satisfies Record<string, Record<string, Tests>>;

/** What the tests compile, by the names of the sources in test/kernel. */
const SOURCES = ['fill.bpf.c', 'count-runs.c'];

/** In place of test/run.mjs, whose files run in processes of their own: one file after the other. */
const entryFor = (files: Readonly<Record<string, Tests>>) => `
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
${Object.entries(files)
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

/**
 * Runs these files in one guest, and each as a test of this suite. `whole` runs a file with its other tests,
 * which compare both readers.
 */
export async function checkIterators(files: Readonly<Record<string, Tests>>): Promise<void> {
  const iterators = suite('iterators, in a guest', await whyNoGuest(CONFIGURATION));
  const results = new Map<string, CheckResult>();

  iterators.before(async () => {
    const findings = await runInGuest({
      configuration: CONFIGURATION,
      entry: { contents: entryFor(files), loader: 'js' },
      banner: BANNER,
      layer: await compiledLayer(SOURCES),
    });
    for (const each of findings) if (each.type === 'check') results.set(each.name, each);
  });

  for (const name of Object.keys(files)) {
    iterators(`test/kernel/${name}`, () => {
      const result = results.get(name);
      if (result === undefined) throw new Error('the guest has not run it');
      if (result.why !== null) throw new Error(result.why);
    });
  }

  iterators.run();
}
