import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { run } from '../../src/host/exec.js';
import { requireTool } from '../../src/host/tools.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { propertyOf } from '../../src/model/json-values.js';
import { compileArguments, findHeaderDirectories } from '../../src/objects/compile.js';
import { FRONT_PIN_NAME } from '../../src/objects/front.js';
import { INTERFACE_JSON_SIZE } from '../../src/objects/layout.js';
import { type ObjectPatch, patchObject } from '../../src/objects/patch.js';
import { suite } from '../suite.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-object-'));
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }));

const read = (byteOrder: string, name: string) =>
  readFileSync(join(root, 'dist/bpf', byteOrder, `${name}.o`));

const patch = suite('patchObject');

for (const byteOrder of ['el', 'eb']) {
  const inOrder = (bytes: number[]) => (byteOrder === 'el' ? bytes.reverse() : bytes);

  patch(`writes an integer into ${byteOrder}/sources.o and nothing else`, () => {
    const image = read(byteOrder, 'sources');
    const before = Buffer.from(image);
    const patched = patchObject(image, { constants: { possible_cpus: 0x12345678 } });
    assert.ok(image.equals(before), 'the image itself is left as it was');
    const [first, last] = changedRange(image, patched);
    assert.is(last - first, 4);
    assert.equal([...image.subarray(first, last)], inOrder([0, 0, 0, 1]), 'the compiled default');
    assert.equal([...patched.subarray(first, last)], inOrder([0x12, 0x34, 0x56, 0x78]));
  });

  patch(`writes text into ${byteOrder}/totals.o, and NULs after it`, () => {
    const image = read(byteOrder, 'totals');
    const long = patchObject(image, { constants: { interface_json: 'x'.repeat(95) } });
    const short = patchObject(long, { constants: { interface_json: 'eth0' } });
    const [first, last] = changedRange(image, long);
    assert.is(last - first, 95);
    const text = Buffer.from(short).subarray(first, first + INTERFACE_JSON_SIZE);
    assert.is(text.toString('latin1'), 'eth0'.padEnd(INTERFACE_JSON_SIZE, '\0'));
    assert.equal(changedRange(image, short), [first, first + 4]);
  });

  patch(
    `writes the size of one map in ${byteOrder}/xdpwho.frags.o, as bpftool reads it`,
    async () => {
      const image = read(byteOrder, 'xdpwho.frags');
      const patched = patchObject(image, { maxEntries: { sources: 4321 } });
      const [first, last] = changedRange(image, patched);
      assert.ok(last - first <= 4);
      const file = join(scratch, `${byteOrder}.o`);
      writeFileSync(file, patched);
      const sizes = await arraySizes(file);
      assert.equal(
        sizes.filter((size) => size === 4321 || size === 65536),
        [4321],
      );
    },
  );

  patch(`refuses ${byteOrder}/xdpwho.o cut short anywhere`, () => {
    const image = read(byteOrder, 'xdpwho');
    for (let length = 0; length < image.length; length += 1) {
      refuses(image.subarray(0, length), { maxEntries: { sources: 7 } });
    }
  });

  patch(`takes or refuses ${byteOrder}/sources.o with damage, and never fails otherwise`, () => {
    const image = read(byteOrder, 'sources');
    const all: ObjectPatch = {
      constants: { possible_cpus: 2, jiffies_per_second: 250, interface_json: 'eth0' },
    };
    const random = sequence(7);
    for (let round = 0; round < 400; round++) {
      const damaged = Buffer.from(image);
      // Headers and tables are at both ends; what is between is mostly code.
      const at = random(2) === 0 ? random(64) : image.length - 1 - random(3000);
      damaged[at] = random(256);
      try {
        assert.is(patchObject(damaged, all).length, image.length);
      } catch (error) {
        assert.ok(error instanceof XdpwhoError && error.code === 'bad-object', String(error));
      }
    }
  });
}

patch('writes integers of 8 bytes and text of its own length', async () => {
  const object = await compile('constants', [
    'const volatile unsigned long long wide = 1;',
    'const volatile unsigned char narrow = 1;',
    'const volatile char text[4] = "abc";',
    'int other = 1;',
    'unsigned long long use(void) { return wide + narrow + text[1] + other; }',
  ]);
  const patched = patchObject(object, {
    constants: { wide: 0xfedc_ba98_7654_3210n, narrow: 255, text: '' },
  });
  assert.ok(Buffer.from(patched).includes(Buffer.from('1032547698badcfe', 'hex')));
  const bytes = patchObject(object, { constants: { text: Uint8Array.of(1, 2, 254, 255) } });
  assert.ok(Buffer.from(bytes).includes(Buffer.of(1, 2, 254, 255)));
  refuses(object, { constants: { text: Uint8Array.of(1) } }, /4 bytes long, not 1/);
  refuses(object, { constants: { wide: 2n ** 64n } }, /no room/);
  refuses(object, { constants: { wide: -1 } }, /no room/);
  refuses(object, { constants: { narrow: 256 } }, /no room/);
  refuses(object, { constants: { narrow: 1.5 } }, /narrow is an integer, and 1.5 is none/);
  refuses(object, { constants: { text: 'abcd' } }, /holds 3 bytes of text, not 4/);
  refuses(object, { constants: { text: 'äb€' } }, /holds 3 bytes of text, not 6/);
  refuses(object, { constants: { other: 1 } }, /other is no constant/);
  refuses(object, { constants: { use: 1 } }, /no constant use/);
});

patch('says which place an object lacks', () => {
  const image = read('el', 'sources');
  refuses(image, { constants: { absent: 1 } }, /no constant absent/);
  refuses(image, { constants: { interface_json: 1 } }, /interface_json is 96 bytes long/);
  refuses(image, { constants: { possible_cpus: 2 ** 32 } }, /no room for 4294967296/);
  refuses(image, { maxEntries: { sources: 1 } }, /no map sources/);
  const program = read('el', 'xdpwho');
  refuses(program, { maxEntries: { absent: 1 } }, /no map absent/);
  refuses(program, { maxEntries: { LICENSE: 1 } }, /no map LICENSE/);
  for (const entries of [0, -1, 1.5, 2 ** 32, Number.NaN]) {
    refuses(program, { maxEntries: { sources: entries } }, /cannot have/);
  }
});

patch('gives a map another name of the same length, wherever the object has it', () => {
  const other = `xdpwho_front_${'f'.repeat(32)}`;
  for (const byteOrder of ['el', 'eb']) {
    for (const name of ['sources.front', 'totals.front']) {
      const image = read(byteOrder, name);
      const patched = patchObject(image, { mapNames: { [FRONT_PIN_NAME]: other } });
      const count = (bytes: Uint8Array, text: string) =>
        Buffer.from(bytes).toString('latin1').split(text).length - 1;
      assert.ok(count(image, FRONT_PIN_NAME) >= 2, 'in the symbols and in BTF');
      assert.is(count(patched, FRONT_PIN_NAME), 0);
      assert.is(count(patched, other), count(image, FRONT_PIN_NAME));
      assert.is(patched.length, image.length);
      refuses(image, { mapNames: { [FRONT_PIN_NAME]: 'short' } }, /of another length/);
    }
  }
  refuses(read('el', 'sources'), { mapNames: { [FRONT_PIN_NAME]: other } }, /no map xdpwho_front/);
});

patch('refuses to size a map that shares its BTF type', async () => {
  const map = (name: string, valueSize: number, entries: number) =>
    `struct { int (*value_size)[${valueSize}]; int (*max_entries)[${entries}]; } ${name}
     __attribute__((section(".maps"), used));`;
  const shared = await compile('shared', [map('one', 8, 64), map('two', 16, 64)]);
  refuses(shared, { maxEntries: { one: 5 } }, /shares its BTF type/);
  const sameNumber = await compile('same-number', [map('one', 64, 64)]);
  refuses(sameNumber, { maxEntries: { one: 5 } }, /shares its BTF type/);
  const apart = await compile('apart', [map('one', 8, 64), map('two', 16, 65)]);
  patchObject(apart, { maxEntries: { one: 5, two: 6 } });
});

patch('refuses what is no BPF object', () => {
  const image = read('el', 'xdpwho');
  const changed = (at: number, value: number) => {
    const copy = Buffer.from(image);
    copy[at] = value;
    return copy;
  };
  refuses(Buffer.from('#!/bin/sh\n'.repeat(20)), {}, /no ELF file/);
  refuses(changed(4, 1), {}, /no 64-bit ELF file/);
  refuses(changed(5, 3), {}, /byte order 3 is unknown/);
  refuses(changed(5, 2), {}, /for machine 63232 and not for BPF/);
  refuses(changed(18, 62), {}, /for machine 62 and not for BPF/);
  refuses(readFileSync(process.execPath).subarray(0, 4096), {}, /not for BPF/);
});

patch.run();

function refuses(image: Uint8Array, what: ObjectPatch, message = /^BPF object: ./): void {
  try {
    patchObject(image, what);
  } catch (error) {
    assert.instance(error, XdpwhoError, String(error));
    assert.ok(error instanceof XdpwhoError);
    assert.is(error.code, 'bad-object');
    assert.match(error.message, message);
    return;
  }
  assert.unreachable(`it took ${JSON.stringify(what)} for ${image.length} bytes`);
}

/** From the first byte that differs to behind the last one. */
function changedRange(one: Uint8Array, two: Uint8Array): [number, number] {
  assert.is(one.length, two.length);
  const changed = [...one.keys()].filter((index) => one[index] !== two[index]);
  return [changed.at(0) ?? 0, (changed.at(-1) ?? -1) + 1];
}

async function arraySizes(object: string): Promise<unknown[]> {
  const result = await run(requireTool('bpftool'), ['-j', 'btf', 'dump', 'file', object]);
  assert.not(result.failed, result.stdout + result.stderr);
  const types = propertyOf(JSON.parse(result.stdout), 'types');
  assert.ok(Array.isArray(types));
  return types
    .filter((type) => propertyOf(type, 'kind') === 'ARRAY')
    .map((type) => propertyOf(type, 'nr_elems'));
}

async function compile(name: string, lines: readonly string[]): Promise<Buffer> {
  const source = join(scratch, `${name}.bpf.c`);
  const output = join(scratch, `${name}.o`);
  writeFileSync(source, `${lines.join('\n')}\n`);
  const includeDirectories = findHeaderDirectories('/usr/include');
  const vector = compileArguments({ source, output, byteOrder: 'el', includeDirectories });
  const result = await run(requireTool('clang'), vector);
  assert.not(result.failed, result.stderr);
  return readFileSync(output);
}

/** The same numbers in every run. */
function sequence(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
}
