/** The five busiest sources of an interface in ten seconds: sudo npx tsx examples/top-talkers.ts eth0 */
import { watch, XdpwhoError } from 'xdpwho';

const [device = 'eth0', seconds = '10', netns, bpffs] = process.argv.slice(2);
try {
  for await (const event of watch({
    interfaces: [device],
    netns,
    bpffs,
    durationMs: 1000 * Number(seconds),
    top: 5,
  })) {
    if (event.kind !== 'readings' || !event.final) continue;
    for (const { sources } of event.readings) {
      for (const { source, packets } of sources) console.log(`${source}\t${packets}`);
    }
  }
} catch (error) {
  if (!(error instanceof XdpwhoError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = error.exitCode;
}
