/**
 * What the program costs per packet, in both of its forms.
 *
 * Usage: npm run bench:program [-- ROUNDS]
 */
import { dirname } from 'node:path';
import { Bench, DEFAULT_ROUNDS } from '../../src/bench/bench.js';
import { renderCosts } from '../../src/bench/table.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { benchContext } from './baseline.js';

const BOUND_NS = 50;
const CASES = ['ipv4', 'ipv6', 'ipv4-vlan', 'ipv4-two-vlans', 'arp', 'malformed'];
const rounds = Number(process.argv[2] ?? DEFAULT_ROUNDS);

const context = await benchContext();
const objects = dirname(new ObjectFiles(context.objectsDirectory).path('xdpwho'));
let worst = 0;
for (const name of ['xdpwho.frags', 'xdpwho']) {
  const bench = await Bench.open(context, { object: `${objects}/${name}.o` });
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
