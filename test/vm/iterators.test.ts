/** What the iterators print, in a guest: the tests of program.test.ts that a host leaves out whose kernel refuses iterators. */
import { suite } from '../suite.js';
import type { Configuration } from './configurations.js';
import type { Finding } from './findings.js';
import { runInGuest, whyNoGuest } from './in-guest.js';

const CONFIGURATION: Configuration = { kernel: '6.12', bpftool: '7.5', cpus: '2' };
/** The other files start the command, which takes minutes in an emulated guest; checks.ts reads the file there. */
const FILES = ['program.test.ts'];

/** In place of test/run.mjs, whose files run in processes of their own: all suites in one. */
const ENTRY = `
${FILES.map((name) => `import '../kernel/${name}';`).join('\n')}
for (const run of globalThis.UVU_QUEUE[0]) {
  const startedAt = Date.now();
  const [errors, passed, skipped, total] = await run();
  const { hooks } = globalThis.TEST_NOTES;
  const why = errors !== true ? errors : skipped > 0 ? skipped + ' skipped' : passed < total ? 'a hook threw' : null;
  const said = hooks.splice(0).map(({ suite, hook, error }) => suite + ': ' + hook + ': ' + error).join('\\n');
  const seconds = (Date.now() - startedAt) / 1000;
  const finding = { type: 'check', name: String(total), why: said === '' ? why : said, seconds };
  if (total > 0) console.log(JSON.stringify(finding));
}
process.exit();
`;

/** uvu reads its globals when it is loaded. */
const BANNER = `globalThis.UVU_DEFER = 1;
globalThis.UVU_INDEX = 0;
globalThis.UVU_QUEUE = [[]];
globalThis.TEST_NOTES = { skipped: [], hooks: [], waiting: new Set(), onlyInGuest: true };`;

const iterators = suite('iterators, in a guest', await whyNoGuest(CONFIGURATION));

iterators('every test of what only an iterator does passes', async () => {
  const findings = await runInGuest({
    configuration: CONFIGURATION,
    entry: { contents: ENTRY, loader: 'js' },
    banner: BANNER,
  });
  const checks = findings.flatMap((each: Finding) => (each.type === 'check' ? [each] : []));
  const failed = checks.flatMap(({ why }) => (why === null ? [] : [why]));
  if (failed.length > 0) throw new Error(failed.join('\n'));
  if (checks.length < FILES.length) throw new Error(`${checks.length} of ${FILES.length} files`);
});

iterators.run();
