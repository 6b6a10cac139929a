/** Tables of any size for tests and benchmarks: filled by a BPF program, test/kernel/fill.bpf.c. */
import { endianness } from 'node:os';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { compileArguments, findHeaderDirectories } from '../../src/objects/compile.js';
import type { Lab } from './lab.js';

/** IPv4 address number `index` from 198.18.0.0 on. */
export function ipv4At(index: number): string {
  const number = 0xc6120000 + index;
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join('.');
}

/** Source number `index` as the program makes it. */
export function sourceAt(index: number): { source: string; packets: bigint; bytes: bigint } {
  const high = (index >>> 16).toString(16);
  const low = (index & 0xffff).toString(16);
  const ipv6 = high === '0' ? `2001:db8::${low}` : `2001:db8::${high}:${low}`;
  return {
    source: index % 2 === 0 ? ipv4At(index) : ipv6,
    packets: BigInt(index) + 1n,
    bytes: BigInt(index) * 1_000_000_007n,
  };
}

/** Adds the sources 0 to `count` - 1 to the table that is pinned at `map`. */
export async function fillTable(lab: Lab, map: string, count: number): Promise<void> {
  const include = fileURLToPath(new URL('../../bpf', import.meta.url));
  const output = `${lab.scratch}/fill.o`;
  const vector = compileArguments({
    source: fileURLToPath(new URL('fill.bpf.c', import.meta.url)),
    output,
    byteOrder: endianness() === 'LE' ? 'el' : 'eb',
    includeDirectories: [include, ...findHeaderDirectories('/usr/include')],
  });
  await execa('clang', vector);
  const pin = `${lab.bpffs}/fill`;
  const bpftool = (...args: string[]) => execa(lab.bpftool.path, ['-n', ...args]);
  await bpftool('prog', 'load', output, pin, 'map', 'name', 'sources', 'pinned', map);
  const frame = `${lab.scratch}/empty-frame`;
  await execa('truncate', ['-s', '64', frame]);
  await bpftool('prog', 'run', 'pinned', pin, 'data_in', frame, 'repeat', String(count));
  await execa('rm', [pin]);
}
