/**
 * The program as it was when `npm run bench:baseline` last kept it, compiled: what our program may
 * cost is what the kept one costs here and now. A kept time or ratio would say nothing on a machine
 * where a call or a return costs another number of cycles.
 *
 * Usage: npm run bench:baseline: keeps the program of dist/bpf.
 */
import { copyFileSync, cpSync, mkdirSync, realpathSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SessionContext } from '../../src/attachment/context.js';
import { run } from '../../src/host/exec.js';
import { findBpftool } from '../../src/host/find-bpftool.js';
import { requireTool } from '../../src/host/tools.js';
import { compileArguments, findHeaderDirectories } from '../../src/objects/compile.js';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const KEPT = join(HERE, 'kept');
const OBJECTS_DIRECTORY = join(HERE, '../../dist/bpf');
/** The variant that `bench` measures on any kernel that can attach by a link. */
const PROGRAMS = ['el/xdpwho.frags.o', 'eb/xdpwho.frags.o'];

export async function benchContext(): Promise<SessionContext> {
  return { bpftool: await findBpftool({}), objectsDirectory: OBJECTS_DIRECTORY };
}

/** Compiles a BPF program for this machine. `source` is relative to this directory. */
export async function compileProgram(source: string, directory: string): Promise<string> {
  const output = join(directory, source.replace(/^.*\//, '').replace(/\.bpf\.c$/, '.o'));
  const args = compileArguments({
    source: join(HERE, source),
    output,
    byteOrder: endianness() === 'LE' ? 'el' : 'eb',
    includeDirectories: findHeaderDirectories('/usr/include'),
  });
  const result = await run(requireTool('clang'), args);
  if (result.failed) throw new Error(`clang: ${result.stderr}`);
  return output;
}

/** Makes a folder of objects, for `--objects`, in which the program is the kept one. Returns its path. */
export function keptObjects(scratch: string): string {
  const directory = join(scratch, 'bpf');
  cpSync(OBJECTS_DIRECTORY, directory, { recursive: true });
  for (const program of PROGRAMS) copyFileSync(join(KEPT, program), join(directory, program));
  return directory;
}

if (realpathSync(process.argv[1] ?? '') === fileURLToPath(import.meta.url)) {
  for (const program of PROGRAMS) {
    mkdirSync(join(KEPT, program, '..'), { recursive: true });
    copyFileSync(join(OBJECTS_DIRECTORY, program), join(KEPT, program));
  }
}
