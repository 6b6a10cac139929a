/**
 * What counting at TCX costs for each packet that an interface sends, in turn with nothing there: by
 * `xdpwho watch --sent`, beside an empty program at TCX, a set of nftables with counters at the egress
 * hook, and tcpdump. The packets are sent in the kernel by `bpftool prog run`, through a veth whose
 * other end drops them, to one address, and to 1,000 in turn.
 *
 * Usage: npm run bench:tcx [-- ROUNDS]   (as root)
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { execa } from 'execa';
import { holdLink, makeTestFrame } from '../../src/attachment/link.js';
import { estimate } from '../../src/bench/median.js';
import { resolveNetns } from '../../src/host/netns.js';
import { findTool } from '../../src/host/tools.js';
import { udpFrame } from '../../src/model/frames.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { compileProgram } from '../kernel/compiler.js';
import { Lab, OBJECTS_DIRECTORY, WHY_NOT } from '../kernel/lab.js';

const ROUNDS = Number(process.argv[2] ?? 9);
const PACKETS = 300_000;

if (WHY_NOT !== undefined) throw new Error(WHY_NOT);

const RULES = `
table netdev xdpwho_bench {
  set seen { type ipv4_addr; flags dynamic; size 65536; counter; }
  chain sent { type filter hook egress device "eth0" priority 0; add @seen { ip daddr }; }
}`;

const lab = await Lab.create();
const inside = (file: string, ...args: string[]) =>
  ['nsenter', `--net=${resolveNetns(lab.netns).path}`, '--', file, ...args] as const;

/** Each way attaches, and returns what takes it off again. */
const WAYS: Readonly<Record<string, () => Promise<() => Promise<unknown>>>> = {
  nothing: async () => async () => {},
  'an empty program at TCX': async () => {
    const pin = `${lab.bpffs}/empty`;
    const object = await compileProgram(lab, '../benchmarks/empty-tc');
    await lab.bpftool.loadProgram(object, pin, 'classifier');
    const link = await holdLink(lab.bpftool, new ObjectFiles(OBJECTS_DIRECTORY), {
      ...{ programPin: pin, programId: (await lab.bpftool.showProgram(pin)).id },
      ...{ testFrame: makeTestFrame(), mode: 'tcx', direction: 'sent' },
      ifindex: await lab.ifindexIn(lab.netns, 'eth0'),
      netnsPath: resolveNetns(lab.netns).path,
      pin: `${pin}-maker`,
      scratch: lab.scratch,
    });
    return async () => {
      await link.close();
      await execa('rm', [pin]);
    };
  },
  'xdpwho --sent': () => started(/attached at TCX/, ['watch', 'eth0', '--sent']),
  'xdpwho log --sent': () =>
    started(/attached at TCX/, ['log', 'eth0', '--sent', '--sample', '1000']),
  nftables: async () => {
    const [file, ...args] = inside('nft', '-f', '-');
    await execa(file, args, { input: RULES });
    const [remove, ...words] = inside('nft', 'delete', 'table', 'netdev', 'xdpwho_bench');
    return () => execa(remove, words);
  },
  tcpdump: async () => {
    const [file, ...args] = inside(
      findTool('tcpdump') ?? 'tcpdump',
      '-i',
      'eth0',
      '-w',
      '/dev/null',
    );
    const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    await new Promise((done) => child.stderr.once('data', done));
    return async () => {
      child.kill('SIGINT');
      await new Promise((done) => child.once('exit', done));
    };
  },
};

async function started(pattern: RegExp, args: readonly string[]) {
  const run = lab.start([...args, '-o', 'ndjson', '--interval', '10s'].filter(isTaken(args)));
  await run.says(pattern);
  return async () => {
    run.child.kill('SIGINT');
    await run.ended();
  };
}

/** `log` has no interval. */
function isTaken([verb]: readonly string[]) {
  return (word: string) => verb === 'watch' || (word !== '--interval' && word !== '10s');
}

try {
  for (const [traffic, destinations] of [
    ['one address', 1],
    ['1,000 addresses in turn', 1000],
  ] as const) {
    const times: Record<string, number[]> = {};
    for (let round = 0; round < ROUNDS; round++) {
      for (const [way, attach] of Object.entries(WAYS)) {
        const detach = await attach();
        try {
          times[way] = [...(times[way] ?? []), await nsPerPacket(destinations)];
        } finally {
          await detach();
        }
      }
    }
    console.log(`${traffic}:`);
    const base = times['nothing'] ?? [];
    for (const [way, list] of Object.entries(times)) {
      const added = estimate(list.map((ns, round) => ns - (base[round] ?? 0)));
      const [median, lower, upper] = [added.median, added.lower, added.upper].map(Math.round);
      console.log(`  ${way.padEnd(24)} ${median} ns more (${lower} to ${upper})`);
    }
    const [ours, nft] = ['xdpwho --sent', 'nftables'].map((way) =>
      estimate((times[way] ?? []).map((ns, round) => ns - (base[round] ?? 0))),
    );
    if (ours && nft) console.log(`  nftables / xdpwho: ${(nft.median / ours.median).toFixed(1)}`);
  }
} finally {
  await lab.close();
}

/** The kernel's own mean over many packets. */
async function nsPerPacket(destinations: number): Promise<number> {
  const pin = await lab.loadSender({ back: true, sources: destinations });
  const file = `${lab.scratch}/bench-frame`;
  writeFileSync(file, udpFrame({ source: '192.0.2.1', destination: '198.18.0.0' }));
  const run = await lab.bpftool.runProgram(pin, file, PACKETS, resolveNetns(lab.netns).path);
  return run.durationNs;
}
