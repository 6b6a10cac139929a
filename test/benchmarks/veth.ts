/**
 * What watching a veth costs TCP, or a bridge over one, or the loopback: the throughput of one connection, in turn with nothing
 * attached, with `watch` at TCX, which `auto` takes there, at TCX in both directions, in generic and
 * in native mode; and how many packets the sending end drops meanwhile (veth_xmit counts them where the other end's ring is full).
 *
 * Usage: npm run bench:veth [-- ROUNDS [veth|bridge|lo]]   (as root)
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { execa } from 'execa';
import { AtOurEnd } from '../../src/host/at-our-end.js';
import { requireTool } from '../../src/host/tools.js';
import { propertyOf } from '../../src/model/json-values.js';
import { CLI, Started, WHY_NOT } from '../kernel/lab.js';

const ROUNDS = Number(process.argv[2] ?? 5);
const KIND = process.argv[3] ?? 'veth';
const DEVICE = { veth: 'v0', bridge: 'br0', lo: 'lo' }[KIND] ?? KIND;
const SECONDS = 3;
/** With the options that it takes. */
const WAYS = {
  nothing: undefined,
  tcx: ['--beside'],
  both: ['--beside', '--both'],
  generic: ['--mode', 'generic'],
  native: ['--mode', 'native'],
} as const;
type Way = keyof typeof WAYS;
const NAMED: readonly Way[] = [
  ...(['nothing', 'tcx', 'both', 'generic'] as const),
  // Neither a bridge nor the loopback has a native mode.
  ...(KIND === 'veth' ? (['native'] as const) : []),
];

if (WHY_NOT !== undefined) throw new Error(WHY_NOT);

const NAMES = { a: `xwv${process.pid}-a`, b: `xwv${process.pid}-b` } as const;
const SERVER = `require('net').createServer((socket) => {
  let bytes = 0; const began = process.hrtime.bigint();
  socket.on('data', (chunk) => { bytes += chunk.length; });
  socket.on('close', () => console.log(bytes * 8 / Number(process.hrtime.bigint() - began)));
}).listen(9, '192.0.2.1', () => console.log('ready'));`;
const CLIENT = `const socket = require('net').connect(9, '192.0.2.1');
const chunk = Buffer.alloc(256 * 1024); let open = true;
const push = () => { while (open && socket.write(chunk)); };
socket.on('drain', push).on('connect', push);
setTimeout(() => { open = false; socket.destroy(); }, ${SECONDS * 1000});`;

const remover = await AtOurEnd.start({
  name: 'xdpwho-bench-veth',
  atEnd: '"$1" netns del "$2"\n"$1" netns del "$3"\n',
  args: [requireTool('ip'), NAMES.a, NAMES.b],
});
try {
  for (const name of Object.values(NAMES)) await execa('ip', ['netns', 'add', name]);
  await execa('ip', [
    '-n',
    NAMES.a,
    ...'link add v0 type veth peer name v0 netns'.split(' '),
    NAMES.b,
  ]);
  for (const [name, address] of [
    [NAMES.a, '192.0.2.2/24'],
    [NAMES.b, '192.0.2.1/24'],
  ] as const) {
    await execa('ip', ['-n', name, 'addr', 'add', address, 'dev', 'v0']);
    await execa('ip', ['-n', name, 'link', 'set', 'dev', 'v0', 'up']);
    await execa('ip', ['-n', name, 'link', 'set', 'dev', 'lo', 'up']);
  }
  if (KIND === 'bridge') {
    const inB = (...words: string[]) => execa('ip', ['-n', NAMES.b, ...words]);
    await inB('addr', 'del', '192.0.2.1/24', 'dev', 'v0');
    await inB('link', 'add', 'br0', 'type', 'bridge');
    await inB('link', 'set', 'dev', 'v0', 'master', 'br0');
    await inB('link', 'set', 'dev', 'br0', 'up');
    await inB('addr', 'add', '192.0.2.1/24', 'dev', 'br0');
  }
  const server = start(NAMES.b, ['-e', SERVER]);
  await once(server.child.stdout ?? server.child, 'data');
  const rates: Record<Way, number[]> = { nothing: [], tcx: [], both: [], generic: [], native: [] };
  const drops: Record<Way, number> = { nothing: 0, tcx: 0, both: 0, generic: 0, native: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    for (const way of NAMED) {
      const before = await dropped();
      rates[way].push(await measure(way, server));
      drops[way] += (await dropped()) - before;
    }
  }
  server.child.kill();
  const middle = (list: readonly number[]) =>
    [...list].sort((a, b) => a - b)[list.length >> 1] ?? 0;
  const base = middle(rates.nothing);
  for (const way of NAMED) {
    const rate = middle(rates[way]);
    const share = Math.round((rate / base) * 100);
    console.log(`${way.padEnd(8)} ${rate.toFixed(1)} Gbit/s  ${share} %  ${drops[way]} dropped`);
  }
} finally {
  await remover.finish();
}

function start(netns: string, args: readonly string[]): Started {
  return new Started(spawn('nsenter', [`--net=/run/netns/${netns}`, process.execPath, ...args]));
}

/** Gbit/s of one connection, by the server's own clock. */
async function measure(way: Way, server: Started): Promise<number> {
  const options = WAYS[way];
  const run =
    options === undefined
      ? undefined
      : start(NAMES.b, [CLI, 'watch', DEVICE, ...options, '--netns', NAMES.b]);
  if (run !== undefined) await run.says(/attached (?:in|at)/);
  if (way === 'both') await run?.says(/\(sent\): attached at/);
  const before = server.stdout.length;
  await start(KIND === 'lo' ? NAMES.b : NAMES.a, ['-e', CLIENT]).ended();
  while (server.stdout.length === before) await new Promise((done) => setTimeout(done, 20));
  run?.child.kill('SIGINT');
  await run?.ended();
  return Number(server.stdout.slice(before).trim());
}

/** Packets that the sending end has dropped. */
async function dropped(): Promise<number> {
  const { stdout } = await execa('ip', ['-n', NAMES.a, '-s', '-j', 'link', 'show', 'dev', 'v0']);
  const links: unknown = JSON.parse(stdout);
  const link: unknown = Array.isArray(links) ? links[0] : undefined;
  return Number(propertyOf(propertyOf(propertyOf(link, 'stats64'), 'tx'), 'dropped'));
}
