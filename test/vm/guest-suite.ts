/** The checks of checks.ts in one guest, as a suite of test/run.mjs: a boot, then a test for each check. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from '../suite.js';
import { checksFor } from './checks.js';
import { CONFIGURATIONS, type ConfigurationName } from './configurations.js';
import type { Finding } from './findings.js';
import { runInGuest, whyNoGuest } from './in-guest.js';

/** Where npm run test:vm wants what was found out. */
const FINDINGS = process.env.XDPWHO_VM_FINDINGS;

export async function checkGuest(name: ConfigurationName): Promise<void> {
  const configuration = CONFIGURATIONS[name];
  const { kernel, bpftool } = configuration;
  const checks = suite(`kernel ${kernel}, bpftool ${bpftool}`, await whyNoGuest(configuration));
  const findings: Finding[] = [];

  checks.before(async () => {
    findings.push(...(await runInGuest({ configuration, entry: 'guest.ts' })));
  });
  for (const check of checksFor({ kernel, bpftool })) {
    checks(check.name, () => {
      const made = findings.find((each) => each.type === 'check' && each.name === check.name);
      if (made?.type !== 'check') throw new Error('the guest has not made this check');
      if (made.why !== null) throw new Error(made.why);
    });
  }
  checks.after(() => {
    if (FINDINGS === undefined) return;
    const lines = findings.map((each) => `${JSON.stringify(each)}\n`);
    writeFileSync(join(FINDINGS, name), lines.join(''));
  });
  checks.run();
}
