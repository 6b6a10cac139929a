/** For a guest, which has no compiler: what the tests compile, compiled here. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { endianness, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { compileArguments, findHeaderDirectories } from '../../src/objects/compile.js';
import { type CpioEntry, cpioArchive } from './cpio.js';
import { GUEST_PROJECT, PROJECT } from './image.js';

const COMPILED = `${GUEST_PROJECT}/compiled`;

/** Copies what the source, known by its name, has been compiled into. */
const CLANG = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
  -o) shift; output=$1 ;;
  *.c) source=\${1##*/} ;;
  esac
  shift
done
exec cp "/${COMPILED}/$source" "$output"
`;

/** `sources`: names in test/kernel of BPF programs, and of tools that need no library. */
export async function compiledLayer(sources: readonly string[]): Promise<Buffer> {
  const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-compiled-'));
  try {
    const entries: CpioEntry[] = [];
    for (const source of sources) {
      const output = join(scratch, 'object');
      await execa('clang', argumentsFor(join(PROJECT, 'test/kernel', source), output));
      const content = readFileSync(output);
      entries.push({ kind: 'file', path: `${COMPILED}/${source}`, mode: 0o755, content });
    }
    const content = Buffer.from(CLANG);
    entries.push({ kind: 'file', path: 'usr/local/bin/clang', mode: 0o755, content });
    return cpioArchive(entries);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function argumentsFor(source: string, output: string): string[] {
  if (!source.endsWith('.bpf.c')) return ['-O2', '-static', '-o', output, source];
  const byteOrder = endianness() === 'LE' ? 'el' : 'eb';
  const includeDirectories = [join(PROJECT, 'bpf'), ...findHeaderDirectories('/usr/include')];
  return [...compileArguments({ source, output, byteOrder, includeDirectories })];
}
