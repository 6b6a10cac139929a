/**
 * What the program costs per packet, in both of its forms.
 *
 * Usage: npm run bench:program [-- ROUNDS]
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_MAX_SOURCES } from '../../src/attachment/defaults.js';
import { Bench, DEFAULT_ROUNDS } from '../../src/bench/bench.js';
import { renderCosts } from '../../src/bench/table.js';
import { configuredHz, cpuNumbers } from '../../src/host/kernel.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { frontConstants, frontLines, frontSize } from '../../src/objects/front.js';
import { benchContext } from './baseline.js';

const BOUND_NS = 15;
const CASES = ['ipv4', 'ipv6', 'ipv4-vlan', 'ipv4-two-vlans', 'arp', 'malformed'];
const rounds = Number(process.argv[2] ?? DEFAULT_ROUNDS);

const context = await benchContext();
const objects = new ObjectFiles(context.objectsDirectory);
const front = frontSize(frontLines(cpuNumbers(), DEFAULT_MAX_SOURCES), cpuNumbers());
const constants = frontConstants(front, configuredHz() ?? 250);
const maxEntries = front === undefined ? {} : { front: front.entries };
const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-program-'));
let worst = 0;
for (const name of ['xdpwho.frags', 'xdpwho'] as const) {
  const object = objects.writePatched(name, { constants, maxEntries }, scratch);
  const bench = await Bench.open(context, { object });
  try {
    const costs = await bench.measure(rounds, { cases: CASES });
    console.log([`${name}, ${rounds} rounds`, ...renderCosts(costs, false), ''].join('\n'));
    worst = Math.max(worst, ...costs.map((cost) => cost.added_ns.median));
  } finally {
    await bench.close();
  }
}
const verdict = worst <= BOUND_NS ? 'holds' : 'does NOT hold';
console.log(`at most ${BOUND_NS} ns over an empty program: ${verdict} (worst ${worst} ns)`);
rmSync(scratch, { recursive: true });
