/**
 * What the program costs per packet: it and an empty program are run in turn by `bpftool prog run`,
 * many short rounds each, so that whatever else the machine does meets both.
 *
 * Usage: npm run bench:program [-- ROUNDS [REPEAT]]
 */
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Bpftool } from '../../src/bpftool.js';
import { requireTool, run } from '../../src/exec.js';
import { ObjectFiles } from '../../src/object-files.js';

const BOUND_NS = 50;
const rounds = Number(process.argv[2] ?? 25);
const repeat = Number(process.argv[3] ?? 200_000);

const ethernet = '020000000001020000000002';
const ipv4 = '08004500002e0000000040110000c0000207c0000201';
const ipv6 = '86dd60000000000a114020010db800000000000000000000000720010db8000000000000000000000001';
const FRAMES = {
  IPv4: ethernet + ipv4,
  IPv6: ethernet + ipv6,
  'IPv4, two VLAN tags': `${ethernet}88a8000681000005${ipv4}`,
  'not IP (ARP)': `${ethernet}0806`,
} as const;

/** Pin and object. */
const PROGRAMS = { pass: 'pass', frags: 'xdpwho.frags', plain: 'xdpwho' } as const;

const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-bench-'));
const bpffs = mkdtempSync(join(tmpdir(), 'xdpwho-bpffs-'));
const mounted = await run(requireTool('mount'), ['-t', 'bpf', 'bpf', bpffs]);
if (mounted.failed) throw new Error(`mount: ${mounted.stderr}`);
try {
  await measure();
} finally {
  await run(requireTool('umount'), [bpffs]);
  rmdirSync(bpffs);
  rmSync(scratch, { recursive: true });
}

async function measure(): Promise<void> {
  const bpftool = new Bpftool({ path: requireTool('bpftool') });
  const directory = fileURLToPath(new URL('../../dist/bpf', import.meta.url));
  const objects = dirname(new ObjectFiles(directory).path('xdpwho'));
  const results = Object.entries(FRAMES).map(([what, hex], index) => {
    const file = join(scratch, `frame${index}`);
    writeFileSync(file, Buffer.alloc(64).fill(hex, 0, hex.length / 2, 'hex'));
    const times: Record<keyof typeof PROGRAMS, number[]> = { pass: [], frags: [], plain: [] };
    return { what, file, times };
  });

  for (let round = 0; round < rounds; round++) {
    // Loaded anew: where code and tables happen to lie in memory makes a difference of some ns.
    for (const [pin, name] of Object.entries(PROGRAMS)) {
      rmSync(`${bpffs}/${pin}`, { force: true });
      await bpftool.loadProgram(join(objects, `${name}.o`), `${bpffs}/${pin}`);
    }
    for (const { file, times } of results) {
      for (const [pin, list] of Object.entries(times)) {
        // First a few packets, since a new source and cold caches are not what is asked.
        await bpftool.runProgram(`${bpffs}/${pin}`, file, 1000);
        list.push((await bpftool.runProgram(`${bpffs}/${pin}`, file, repeat)).durationNs);
      }
    }
  }

  console.log(`${rounds} rounds of ${repeat} packets; ns per packet: median (min-max)`);
  let worst = 0;
  for (const { what, times } of results) {
    const empty = median(times.pass);
    console.log(`\n${what}`);
    for (const [pin, list] of Object.entries(times)) {
      const middle = median(list);
      const range = `${middle} (${Math.min(...list)}-${Math.max(...list)})`;
      const over = `+${middle - empty} ns, x${(middle / empty).toFixed(2)}`;
      console.log(`  ${pin.padEnd(6)} ${range.padEnd(16)} ${pin === 'pass' ? '' : over}`.trimEnd());
      worst = Math.max(worst, middle - empty);
    }
  }
  const verdict = worst <= BOUND_NS ? 'holds' : 'does NOT hold';
  console.log(`\nat most ${BOUND_NS} ns over an empty program: ${verdict} (worst ${worst} ns)`);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, two) => one - two);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
