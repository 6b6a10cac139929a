/** The units of the package on a Debian that systemd has booted, over a reboot, with cards that go and come. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { findTool } from '../../src/host/tools.js';
import { WHY_NOT } from '../kernel/lab.js';
import { suite } from '../suite.js';
import { runBooted } from './booted.js';
import { renderBooted } from './report.js';

const TOOLS = ['mmdebstrap', 'mke2fs', 'qemu-system-x86_64', 'apt-get'];
const missing = TOOLS.find((tool) => findTool(tool) === undefined);
const why = WHY_NOT ?? (missing === undefined ? undefined : `needs ${missing}`);

/** What the script tells, and what it must be. */
const EXPECTED: readonly (readonly [name: string, value: string | RegExp, means: string])[] = [
  ['enabled', '0', 'systemctl enable --now of the unit and its timer'],
  ['first boot', 'active 1', 'attached'],
  ['status', 'ours', 'as status says, too'],
  ['first boot counts', '20', 'every packet of a peer'],
  ['node_exporter has', '1', 'the metrics, by its textfile collector'],
  ['security', /^[01]\.\d$|^2\.0$/, 'systemd-analyze security, as docs/fleet.md says'],
  ['stopped', 'inactive 0 0', 'detached, and no pins'],
  ['started again', 'active 1', 'attached'],
  ['restarted', 'active 1', 'attached'],
  ['killed', 'active 1', 'there is no process that could be killed'],
  ['systemd-run', '1', 'a run in the foreground'],
  ['systemd-run stopped', '0 0', 'nothing left when its manager ends it'],
  ['systemd-run killed', '0 0', 'nor when it kills it'],
  ['third card', 'active 1', 'attached'],
  ['taken out', 'inactive 0', 'the unit has ended with its card, and left no pins'],
  ['put back', 'active 1', 'and has come back with it'],
  ['renamed', 'inactive', 'the unit of the old name has ended'],
  ['second boot', 'active 1', 'attached again after a reboot'],
  ['third card, second boot', 'active 1', 'likewise'],
  ['second boot counts', '20', 'from 0 on'],
  ['slept', /^([6-9]|\d\d+)$/, 'seconds of a suspend to memory'],
  [
    'packets before and after',
    '3 1 0',
    'in the log have times from before it and from after it, and no others',
  ],
  ['after suspend', 'active 1', 'still attached'],
  ['metrics are new', '0', 'written since the reboot'],
  ['failed units', /^ *$/, 'none'],
];

/** Makes the tests of a release, which boot it first. */
export function bootedSuite(release: string): void {
  const test = suite(`Debian ${release}, booted by systemd`, why);
  let told = new Map<string, string>();

  test.before(async () => {
    told = await runBooted(release, (line) => console.log(`  ${line}`));
  });

  for (const [name, value, means] of EXPECTED) {
    test(`${name}: ${means}`, () => {
      const found = told.get(name);
      assert.ok(found !== undefined, `it has told: ${[...told.keys()].join(', ')}`);
      if (typeof value === 'string') assert.is(found, value);
      else assert.match(found, value);
    });
  }

  test.after(() => {
    const directory = process.env.XDPWHO_VM_FINDINGS;
    if (directory === undefined) return;
    writeFileSync(join(directory, `booted-${release}`), JSON.stringify(Object.fromEntries(told)));
  });

  test.run();
}

/** The section of docs/compatibility.md, from what the suites have written into a directory. */
export function bootedSection(directory: string, releases: readonly string[]): string {
  const told = releases.map((release) => {
    const findings: unknown = JSON.parse(
      readFileSync(join(directory, `booted-${release}`), 'utf8'),
    );
    return [release, findings] as const;
  });
  return renderBooted(
    EXPECTED.map(([name, , means]) => [name, means] as const),
    new Map(told),
  );
}
