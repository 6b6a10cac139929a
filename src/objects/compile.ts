/** Compiles the BPF objects. Only this module runs clang. */

import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type RunResult, run } from '../host/exec.js';
import { packageFile } from '../host/package-files.js';
import { findTool } from '../host/tools.js';
import { XdpwhoError } from '../model/errors.js';
import { FRONT_PIN_NAME } from './front.js';

/** `el`: little endian, `eb`: big endian, as in the names of clang's targets. */
type ByteOrder = 'el' | 'eb';

export const BYTE_ORDERS = ['el', 'eb'] as const satisfies readonly ByteOrder[];

/** One object: its name, its source file and its variant. */
interface ObjectSource {
  readonly name: string;
  readonly source: string;
  readonly frags: boolean;
  readonly log?: boolean;
  readonly front?: boolean;
  readonly tcx?: boolean;
}

/** All objects. Each is compiled to OUT/el/NAME.o and OUT/eb/NAME.o. */
export const OBJECTS: readonly ObjectSource[] = [
  { name: 'xdpwho.frags', source: 'xdpwho.bpf.c', frags: true },
  { name: 'xdpwho', source: 'xdpwho.bpf.c', frags: false },
  { name: 'xdpwho.log.frags', source: 'xdpwho.bpf.c', frags: true, log: true },
  { name: 'xdpwho.log', source: 'xdpwho.bpf.c', frags: false, log: true },
  { name: 'xdpwho.tcx', source: 'xdpwho.bpf.c', frags: false, tcx: true },
  { name: 'xdpwho.log.tcx', source: 'xdpwho.bpf.c', frags: false, log: true, tcx: true },
  { name: 'sources', source: 'sources.bpf.c', frags: false },
  { name: 'sources.front', source: 'sources.bpf.c', frags: false, front: true },
  { name: 'totals', source: 'totals.bpf.c', frags: false },
  { name: 'totals.front', source: 'totals.bpf.c', frags: false, front: true },
  { name: 'packets', source: 'packets.bpf.c', frags: false },
  { name: 'clock', source: 'clock.bpf.c', frags: false },
  { name: 'link', source: 'link.bpf.c', frags: false },
  { name: 'sender', source: 'sender.bpf.c', frags: false },
  { name: 'pass.frags', source: 'pass.bpf.c', frags: true },
  { name: 'pass', source: 'pass.bpf.c', frags: false },
  { name: 'spread.frags', source: 'spread.bpf.c', frags: true },
  { name: 'spread', source: 'spread.bpf.c', frags: false },
];

interface CompileArguments {
  readonly source: string;
  readonly output: string;
  readonly byteOrder: ByteOrder;
  /** Accept packets in several buffers (kernel 5.18 and newer). */
  readonly frags?: boolean | undefined;
  /** Log each packet. */
  readonly log?: boolean | undefined;
  /** Read the front table. */
  readonly front?: boolean | undefined;
  /** Run at TCX, and not at XDP. */
  readonly tcx?: boolean | undefined;
  /** Searched after clang's own directories. */
  readonly includeDirectories: readonly string[];
}

interface CompileOptions {
  /** The path of clang. Default: that in the fixed directories of src/host/tools.ts. */
  readonly clang?: string | undefined;
  /** Default: bpf/ of this package. */
  readonly sourceDirectory?: string | undefined;
  /** `el/` and `eb/` are made in it. It is made if it does not exist. */
  readonly outputDirectory: string;
}

const HINT = 'install clang and the headers of libbpf (Debian: apt install clang llvm libbpf-dev)';

/** The arguments of clang for one object. */
export function compileArguments(options: CompileArguments): readonly string[] {
  const { source, output, byteOrder, includeDirectories } = options;
  const { frags = false, log = false, front = false, tcx = false } = options;
  return [
    // Plain `bpf` would be the byte order of the machine that compiles.
    ...['-target', byteOrder === 'el' ? 'bpfel' : 'bpfeb'],
    // v3 has 32-bit registers and jumps, which all kernels since 5.1 accept. Since clang 20 the default is v4.
    '-mcpu=v3',
    // The verifier accepts only optimised code, with all functions inlined that are to be.
    '-O2',
    // Without debug information clang writes no BTF, and libbpf reads the maps from BTF.
    '-g',
    ...['-Wall', '-Wextra', '-Werror'],
    // A BPF program has a context parameter even if it does not use it.
    '-Wno-unused-parameter',
    // The object must not depend on the machine and the folder where it is compiled.
    '-fno-ident',
    '-fdebug-compilation-dir',
    '.',
    `-fdebug-prefix-map=${dirname(source)}=.`,
    ...(frags ? ['-DXDPWHO_FRAGS'] : []),
    ...(tcx ? ['-DXDPWHO_TCX'] : []),
    ...(log ? ['-DXDPWHO_LOG'] : []),
    ...(front ? [`-DXDPWHO_FRONT_PIN=${FRONT_PIN_NAME}`] : []),
    // -idirafter: these directories supply only headers that the others do not have.
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
  // Commands run in `/`, so the paths must be absolute.
  const sourceDirectory = resolve(options.sourceDirectory ?? packagedSources());
  const includeDirectories = findHeaderDirectories('/usr/include');
  // Most of the object is debug information, which libbpf does not need. Without llvm-strip it stays.
  const strip = findTool('llvm-strip');
  const outputs: string[] = [];
  for (const byteOrder of BYTE_ORDERS) {
    const directory = resolve(outputDirectory, byteOrder);
    mkdirSync(directory, { recursive: true });
    for (const { name, source: file, frags, log, front, tcx } of OBJECTS) {
      const source = join(sourceDirectory, file);
      const output = join(directory, `${name}.o`);
      const variant = { source, output, byteOrder, frags, log, front, tcx };
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
 * Finds the directory below `root` with asm/types.h. Debian has it in a directory with the name of
 * the machine, which clang searches only when it compiles for that machine. The types are the same
 * on all machines.
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

function packagedSources(): string {
  return packageFile('bpf');
}
