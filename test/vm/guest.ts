/** Runs in a guest, from one file: makes the checks in turn, and tells the host of each. */
import { CHECKS, Guest } from './checks.js';
import { type Finding, parseExpectations } from './findings.js';

const tell = (finding: Finding) => process.stdout.write(`${JSON.stringify(finding)}\n`);

const [expectations = '', pattern = ''] = process.argv.slice(2);
const guest = new Guest(parseExpectations(expectations), (name, value) =>
  tell({ type: 'fact', name, value }),
);
let failed = 0;
for (const { name, unless, run } of CHECKS) {
  if (!new RegExp(pattern).test(name)) continue;
  const why = unless?.(guest.expected);
  if (why !== undefined) {
    tell({ type: 'check', name, outcome: 'skipped', why, seconds: 0 });
    continue;
  }
  const startedAt = Date.now();
  const seconds = () => Math.round((Date.now() - startedAt) / 100) / 10;
  try {
    await run(guest);
    tell({ type: 'check', name, outcome: 'passed', why: null, seconds: seconds() });
  } catch (error) {
    failed++;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    tell({ type: 'check', name, outcome: 'failed', why: text, seconds: seconds() });
  }
}
process.exitCode = failed > 0 ? 1 : 0;
