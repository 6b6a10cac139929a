import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { observeCommands } from '../../src/host/command-log.js';
import { XdpwhoError } from '../../src/model/errors.js';
import {
  BYTE_ORDERS,
  compileArguments,
  compileObjects,
  findHeaderDirectories,
  OBJECTS,
} from '../../src/objects/compile.js';
import { suite } from '../suite.js';

const sources = fileURLToPath(new URL('../../bpf', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-clang-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

const args = suite('compileArguments');

args('name the byte order, the source and the output', () => {
  const common = { source: '/s/x.bpf.c', output: '/o/x.o', includeDirectories: [] };
  const el = compileArguments({ ...common, byteOrder: 'el' });
  const eb = compileArguments({ ...common, byteOrder: 'eb' });
  assert.equal(el.slice(0, 2), ['-target', 'bpfel']);
  assert.equal(eb.slice(0, 2), ['-target', 'bpfeb']);
  assert.equal(el.slice(2), eb.slice(2));
  assert.equal(el.slice(-4), ['-c', '/s/x.bpf.c', '-o', '/o/x.o']);
});

args('define XDPWHO_FRAGS only for the program of several buffers', () => {
  const common = { source: 's', output: 'o', byteOrder: 'el', includeDirectories: [] } as const;
  assert.not(compileArguments(common).includes('-DXDPWHO_FRAGS'));
  assert.not(compileArguments({ ...common, frags: false }).includes('-DXDPWHO_FRAGS'));
  assert.ok(compileArguments({ ...common, frags: true }).includes('-DXDPWHO_FRAGS'));
});

args('define XDPWHO_LOG only for the programs that log packets', () => {
  const common = { source: 's', output: 'o', byteOrder: 'el', includeDirectories: [] } as const;
  assert.not(compileArguments(common).includes('-DXDPWHO_LOG'));
  assert.ok(compileArguments({ ...common, log: true }).includes('-DXDPWHO_LOG'));
});

args('search further directories after all others', () => {
  const vector = compileArguments({
    source: 's',
    output: 'o',
    byteOrder: 'el',
    includeDirectories: ['/a b', '/c'],
  });
  const start = vector.indexOf('-idirafter');
  assert.equal(vector.slice(start, start + 4), ['-idirafter', '/a b', '-idirafter', '/c']);
});

args.run();

const headers = suite('findHeaderDirectories');

headers('finds the directory of whatever machine it is', () => {
  const root = join(scratch, 'multiarch');
  mkdirSync(join(root, 'riscv64-linux-gnu/asm'), { recursive: true });
  mkdirSync(join(root, 'linux'), { recursive: true });
  writeFileSync(join(root, 'riscv64-linux-gnu/asm/types.h'), '');
  assert.equal(findHeaderDirectories(root), [join(root, 'riscv64-linux-gnu')]);
});

headers('needs none where asm/ is in its usual place, or nothing is', () => {
  const root = join(scratch, 'plain');
  mkdirSync(join(root, 'asm'), { recursive: true });
  mkdirSync(join(root, 'other/asm'), { recursive: true });
  writeFileSync(join(root, 'asm/types.h'), '');
  writeFileSync(join(root, 'other/asm/types.h'), '');
  assert.equal(findHeaderDirectories(root), []);
  assert.equal(findHeaderDirectories(join(root, 'absent')), []);
});

headers.run();

const compile = suite('compileObjects');

compile('the objects depend neither on the directory nor on the run', async () => {
  const trees = ['one', 'a longer place/two'].map((name) => {
    const sourceDirectory = join(scratch, name, 'bpf');
    cpSync(sources, sourceDirectory, { recursive: true });
    return { sourceDirectory, outputDirectory: join(scratch, name, 'objects') };
  });
  for (const tree of trees) {
    const outputs = await compileObjects(tree);
    const names = BYTE_ORDERS.flatMap((order) => OBJECTS.map(({ name }) => `${order}/${name}.o`));
    assert.equal(
      outputs,
      names.map((name) => join(tree.outputDirectory, name)),
    );
  }
  for (const byteOrder of BYTE_ORDERS) {
    for (const { name, frags } of OBJECTS) {
      const [one, two] = trees.map((tree) =>
        readFileSync(join(tree.outputDirectory, byteOrder, `${name}.o`)),
      );
      assert.ok(one !== undefined && two !== undefined);
      assert.ok(one.equals(two), `${byteOrder}/${name}.o`);
      // e_ident: 64-bit, byte order; e_machine: BPF.
      assert.equal([...one.subarray(4, 6)], [2, byteOrder === 'el' ? 1 : 2]);
      assert.is(byteOrder === 'el' ? one.readUInt16LE(18) : one.readUInt16BE(18), 247);
      assert.is(one.includes('\0xdp.frags\0'), frags, `${byteOrder}/${name}.o`);
      assert.not(one.includes(scratch));
    }
  }
});

compile("an error in a source is told in clang's words", async () => {
  const sourceDirectory = join(scratch, 'broken');
  cpSync(sources, sourceDirectory, { recursive: true });
  writeFileSync(join(sourceDirectory, 'xdpwho.bpf.c'), 'int xdpwho(void) { return absent; }\n');
  const error = await failure({ sourceDirectory, outputDirectory: join(scratch, 'none') });
  assert.is(error.code, 'tool-failed');
  assert.match(error.message, /^clang: xdpwho\.bpf\.c: failed/);
  assert.match(error.detail ?? '', /use of undeclared identifier 'absent'/);
});

compile('without clang, the error says how to get it', async () => {
  const error = await failure({
    clang: join(scratch, 'no-clang'),
    outputDirectory: join(scratch, 'none'),
  });
  assert.is(error.code, 'tool-missing');
  assert.match(error.hint ?? '', /install clang/);
});

compile('each command is told before it runs', async () => {
  const told: string[] = [];
  const outputDirectory = join(scratch, 'told');
  const stop = observeCommands((file, vector) => told.push(`${file} ${vector.at(-1)}`));
  await compileObjects({ outputDirectory });
  stop();
  for (const byteOrder of BYTE_ORDERS) {
    for (const { name } of OBJECTS) {
      const output = join(outputDirectory, byteOrder, `${name}.o`);
      assert.ok(
        told.some((line) => /\/clang /.test(line) && line.endsWith(output)),
        output,
      );
    }
  }
});

compile.run();

async function failure(options: Parameters<typeof compileObjects>[0]): Promise<XdpwhoError> {
  try {
    await compileObjects(options);
  } catch (error) {
    if (error instanceof XdpwhoError) return error;
    throw error;
  }
  throw new Error('it compiled');
}
