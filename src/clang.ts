/** Compiles the BPF objects: the only speaker of clang. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { XdpwhoError } from './errors.js';
import { findTool, type RunResult, run } from './exec.js';

/** el: little endian, eb: big endian, as in clang's targets and readelf's words. */
export type ByteOrder = 'el' | 'eb';

export const BYTE_ORDERS = ['el', 'eb'] as const satisfies readonly ByteOrder[];

/** One object and what it is compiled from. */
export interface ObjectSource {
  readonly name: string;
  readonly source: string;
  readonly frags: boolean;
  readonly log?: boolean;
}

/** Which source becomes which object: OUT/el/NAME.o and OUT/eb/NAME.o. */
export const OBJECTS: readonly ObjectSource[] = [
  { name: 'xdpwho.frags', source: 'xdpwho.bpf.c', frags: true },
  { name: 'xdpwho', source: 'xdpwho.bpf.c', frags: false },
  { name: 'xdpwho.log.frags', source: 'xdpwho.bpf.c', frags: true, log: true },
  { name: 'xdpwho.log', source: 'xdpwho.bpf.c', frags: false, log: true },
  { name: 'sources', source: 'sources.bpf.c', frags: false },
  { name: 'totals', source: 'totals.bpf.c', frags: false },
  { name: 'packets', source: 'packets.bpf.c', frags: false },
  { name: 'clock', source: 'clock.bpf.c', frags: false },
  { name: 'link', source: 'link.bpf.c', frags: false },
  { name: 'sender', source: 'sender.bpf.c', frags: false },
  { name: 'pass.frags', source: 'pass.bpf.c', frags: true },
  { name: 'pass', source: 'pass.bpf.c', frags: false },
  { name: 'spread.frags', source: 'spread.bpf.c', frags: true },
  { name: 'spread', source: 'spread.bpf.c', frags: false },
];

export interface CompileArguments {
  readonly source: string;
  readonly output: string;
  readonly byteOrder: ByteOrder;
  /** Also packets that span several buffers (kernel 5.18 and newer). */
  readonly frags?: boolean | undefined;
  /** Also a record of each packet. */
  readonly log?: boolean | undefined;
  /** Searched after clang's own. */
  readonly includeDirectories: readonly string[];
}

export interface CompileOptions {
  /** Default: the one in the fixed directories of src/exec.ts. */
  readonly clang?: string | undefined;
  /** Default: bpf/ of this package. */
  readonly sourceDirectory?: string | undefined;
  /** Gets `el/` and `eb/`. Made if it is not there. */
  readonly outputDirectory: string;
}

const HINT = 'install clang and the headers of libbpf (Debian: apt install clang llvm libbpf-dev)';

/** clang's argument vector for one object. */
export function compileArguments(options: CompileArguments): readonly string[] {
  const { source, output, byteOrder, includeDirectories } = options;
  const { frags = false, log = false } = options;
  return [
    // By name: plain `bpf` is the byte order of the machine that compiles.
    ...['-target', byteOrder === 'el' ? 'bpfel' : 'bpfeb'],
    // 32-bit registers and jumps, which every kernel since 5.1 has. The default is newer by clang 20.
    '-mcpu=v3',
    // The verifier and the inlining that it depends on want optimised code.
    '-O2',
    // BTF comes with debug information only, and libbpf reads the maps from BTF.
    '-g',
    ...['-Wall', '-Wextra', '-Werror'],
    // A BPF program takes a context, whether it reads it or not.
    '-Wno-unused-parameter',
    // The object must not depend on who compiled it, or where.
    '-fno-ident',
    '-fdebug-compilation-dir',
    '.',
    `-fdebug-prefix-map=${dirname(source)}=.`,
    ...(frags ? ['-DXDPWHO_FRAGS'] : []),
    ...(log ? ['-DXDPWHO_LOG'] : []),
    // After: they are to supply only what the other directories lack.
    ...includeDirectories.flatMap((directory) => ['-idirafter', directory]),
    ...['-c', source, '-o', output],
  ];
}

/**
 * Compiles every object for both byte orders.
 * @returns the objects' paths.
 * @throws XdpwhoError `tool-missing` without clang, `tool-failed` with clang's message.
 */
export async function compileObjects(options: CompileOptions): Promise<readonly string[]> {
  const { outputDirectory } = options;
  const clang = options.clang ?? findTool('clang');
  if (clang === undefined)
    throw new XdpwhoError('tool-missing', 'clang: not found', { hint: HINT });
  // Commands run in `/`.
  const sourceDirectory = resolve(options.sourceDirectory ?? packagedSources());
  const includeDirectories = findHeaderDirectories('/usr/include');
  // Debug information is most of the object. libbpf needs none of it, but does without llvm-strip.
  const strip = findTool('llvm-strip');
  const outputs: string[] = [];
  for (const byteOrder of BYTE_ORDERS) {
    const directory = resolve(outputDirectory, byteOrder);
    mkdirSync(directory, { recursive: true });
    for (const { name, source: file, frags, log } of OBJECTS) {
      const source = join(sourceDirectory, file);
      const output = join(directory, `${name}.o`);
      const variant = { source, output, byteOrder, frags, log };
      const args = compileArguments({ ...variant, includeDirectories });
      check('clang', file, await run(clang, args));
      if (strip !== undefined) {
        check('llvm-strip', output, await run(strip, ['--strip-debug', output]));
      }
      outputs.push(output);
    }
  }
  return outputs;
}

/**
 * Debian keeps asm/types.h in a directory of the machine's name, where clang looks only when it
 * compiles for that machine. The types are the same in all of them.
 */
export function findHeaderDirectories(root: string): readonly string[] {
  if (existsSync(join(root, 'asm/types.h')) || !existsSync(root)) return [];
  return readdirSync(root)
    .sort()
    .map((name) => join(root, name))
    .filter((directory) => existsSync(join(directory, 'asm/types.h')))
    .slice(0, 1);
}

function check(tool: string, file: string, result: RunResult): void {
  if (result.missing) throw new XdpwhoError('tool-missing', `${tool}: not found`, { hint: HINT });
  if (!result.failed) return;
  const how = result.timedOut ? 'took too long' : `failed, status ${result.exitCode ?? '?'}`;
  throw new XdpwhoError('tool-failed', `${tool}: ${file}: ${how}`, { detail: result.stderr });
}

/** Beside src/ and beside dist/. */
function packagedSources(): string {
  return fileURLToPath(new URL('../bpf', import.meta.url));
}
