/** Runs in a guest, from one file: makes the checks in turn, and tells the host of each. */
import { stringIn } from '../../src/model/json-values.js';
import { checksFor, Guest } from './checks.js';
import { type Finding, parseExpectations } from './findings.js';

const tell = (finding: Finding) => process.stdout.write(`${JSON.stringify(finding)}\n`);

const [expectations = ''] = process.argv.slice(2);
const guest = new Guest(parseExpectations(expectations), (name, value) =>
  tell({ type: 'fact', name, value }),
);
for (const { name, run } of checksFor(guest.expected)) {
  const startedAt = Date.now();
  let why: string | null = null;
  try {
    await run(guest);
  } catch (error) {
    // What uvu's assertions differ in is not in the message.
    const details = stringIn(error, 'details') ?? '';
    why = `${details}${error instanceof Error ? (error.stack ?? error.message) : error}`;
  }
  tell({ type: 'check', name, why, seconds: Math.round((Date.now() - startedAt) / 100) / 10 });
}
