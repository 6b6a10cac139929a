/**
 * npm run test:vm: the guests of configurations.ts, of which `npm test` makes both ends, and then
 * docs/compatibility.md from what they have found out, when nothing has failed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bootedSection } from './booted-suite.js';
import { CONFIGURATIONS } from './configurations.js';
import { parseFinding } from './findings.js';
import { PROJECT } from './image.js';
import { type GuestReport, renderGuests, replaceSection } from './report.js';

/** The files of test/vm-more that boot a Debian. */
const BOOTED = ['trixie', 'bookworm'];

const findings = mkdtempSync(join(tmpdir(), 'xdpwho-vm-findings-'));
try {
  const runner = spawn(process.execPath, [join(PROJECT, 'test/run.mjs'), 'vm', 'vm-more'], {
    stdio: 'inherit',
    env: { ...process.env, XDPWHO_VM_FINDINGS: findings },
  });
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => runner.kill(signal));
  }
  const [exitCode] = await once(runner, 'close');
  const reports = readReports();
  if (exitCode === 0 && reports.length === Object.keys(CONFIGURATIONS).length) {
    const file = join(PROJECT, 'docs/compatibility.md');
    const text = readFileSync(file, 'utf8');
    // Without root none of them is made.
    const isBooted = BOOTED.every((release) => existsSync(join(findings, `booted-${release}`)));
    const booted = isBooted
      ? replaceSection(text, 'booted', bootedSection(findings, BOOTED))
      : text;
    writeFileSync(file, replaceSection(booted, 'test:vm', renderGuests(reports)));
    console.error('wrote docs/compatibility.md');
  }
  process.exitCode = exitCode ?? 1;
} finally {
  rmSync(findings, { recursive: true });
}

/** In the order of the configurations. */
function readReports(): GuestReport[] {
  const made = readdirSync(findings);
  return Object.keys(CONFIGURATIONS)
    .filter((name) => made.includes(name))
    .map((name) => {
      const lines = readFileSync(join(findings, name), 'utf8').split('\n');
      return lines.flatMap((line) => parseFinding(line) ?? []);
    });
}
