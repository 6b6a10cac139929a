/**
 * Makes docs/live.svg from a real run: `npm run pictures`, as root. Two network namespaces with
 * traffic of a lab's own, `xdpwho eth0` in a terminal (tmux) for a minute and a bit, and its screen.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { udpFrame } from '../src/model/frames.js';
import { CLI, Lab } from '../test/kernel/lab.js';
import { Tmux } from '../test/kernel/tmux.js';
import { type Value, writeMmdb } from '../test/owners/mmdb.js';
import { renderTerminalPicture } from './terminal-picture.js';

const COLUMNS = 132;
const ROWS = 20;
/** Long enough for a whole sparkline. */
const RUN_MS = 66_000;
const PAUSE_MS = 120;

/** Frames in each round: a mean, and how it swells and ebbs over the rounds. */
const FLOWS = [
  { source: '198.51.100.23', length: 1400, mean: 60, swell: 0.9, rounds: 170 },
  { source: '2001:db8:40::7', length: 1200, mean: 40, swell: 0.6, rounds: 90 },
  { source: '192.0.2.80', length: 600, mean: 30, swell: 1, rounds: 240 },
  { source: '203.0.113.9', length: 90, mean: 25, swell: 0.3, rounds: 45 },
  { source: '2001:db8::53', length: 180, mean: 10, swell: 1, rounds: 60 },
  { source: '192.0.2.14', length: 64, mean: 5, swell: 0.8, rounds: 130 },
] as const;
const SCANNERS = 64;

/** Numbers for documentation (RFC 5398), and names of nobody. */
const OWNERS: readonly (readonly [string, Value])[] = [
  ['198.51.100.0/24', { asn: 'AS64496', as_name: 'Example Video', country_code: 'DE' }],
  ['203.0.113.0/24', { asn: 'AS64501', as_name: 'Sample Telecom', country_code: 'JP' }],
  ['2001:db8:40::/48', { asn: 'AS64499', as_name: 'Mirror Networks', country_code: 'SE' }],
];
const NETWORKS = '192.0.2.0/24 office\n2001:db8::/48 resolvers\n';

const lab = await Lab.create();
const tmux = await Tmux.start({
  columns: COLUMNS,
  rows: ROWS,
  environment: { TERM: 'screen-256color' },
});
try {
  writeFileSync(`${lab.scratch}/asn.mmdb`, writeMmdb(OWNERS));
  writeFileSync(`${lab.scratch}/networks`, NETWORKS);
  const files = `--geo ${lab.scratch}/asn.mmdb --networks ${lab.scratch}/networks`;
  await tmux.type(
    `clear; ${process.execPath} ${CLI} eth0 --netns ${lab.netns} --bpffs ${lab.bpffs} --mode native ${files}`,
  );
  await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  const endMs = Date.now() + RUN_MS;
  for (let round = 0; Date.now() < endMs; round++) {
    for (const { source, length, mean, swell, rounds } of FLOWS) {
      const frames = Math.round(mean * (1 + swell * Math.sin((2 * Math.PI * round) / rounds)));
      if (frames > 0) await lab.send(udpFrame({ source, length }), frames);
    }
    await lab.send(udpFrame({ source: '198.51.100.128' }), SCANNERS, { sources: SCANNERS });
    await sleep(PAUSE_MS);
  }
  const screen = await tmux.screen({ colors: true });
  const picture = renderTerminalPicture(
    screen,
    COLUMNS,
    'sudo xdpwho eth0 --geo asn.mmdb --networks networks.txt',
  );
  writeFileSync(fileURLToPath(new URL('../docs/live.svg', import.meta.url)), picture);
} finally {
  await tmux.press('q');
  await tmux.close();
  await lab.close();
}
