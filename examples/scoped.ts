/** Attached for the length of a block, whatever happens in it: sudo npx tsx examples/scoped.ts eth0 */
import { attach, dump } from 'xdpwho';

const [device = 'eth0', netns, bpffs] = process.argv.slice(2);
await using attachment = await attach({ interface: device, netns, bpffs });
console.log(`attached in ${attachment.mode} mode`);
await new Promise((done) => setTimeout(done, 1000));
const { sources, totals } = await dump({ interface: device, netns, bpffs, group: '24,64', top: 3 });
for (const { source, packets } of sources) console.log(`${source}\t${packets}`);
console.log(`${totals.packets} packets in all`);
