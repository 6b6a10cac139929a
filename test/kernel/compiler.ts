/** Test programs in C: what the kernel offers and neither bpftool nor Node can ask it for. */
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { findHeaderDirectories } from '../../src/objects/compile.js';
import type { Lab } from './lab.js';

/** Compiles `test/kernel/NAME.c`, with libbpf, into a program of the lab's. Returns its path. */
export async function compileTool(lab: Lab, name: string): Promise<string> {
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  const path = `${lab.scratch}/${name.replaceAll('/', '-')}`;
  await execa('clang', ['-O2', '-Wall', '-Werror', '-o', path, source, '-lbpf', '-lelf', '-lz']);
  return path;
}

/** Compiles `test/kernel/NAME.bpf.c` into an object for this machine. Returns its path. */
export async function compileProgram(lab: Lab, name: string): Promise<string> {
  const source = fileURLToPath(new URL(`${name}.bpf.c`, import.meta.url));
  const path = `${lab.scratch}/${name.replaceAll('/', '-')}.o`;
  const headers = findHeaderDirectories('/usr/include').flatMap((each) => ['-idirafter', each]);
  await execa('clang', ['-O2', '-g', '-target', 'bpf', ...headers, '-c', source, '-o', path]);
  return path;
}
