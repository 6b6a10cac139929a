import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { defaultMaxSources } from '../../src/attachment/defaults.js';
import { countListMembers } from '../../src/host/kernel.js';
import { EXIT_CODES } from '../../src/model/errors.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { nearestHz } from '../../src/objects/jiffies.js';
import { patchObject } from '../../src/objects/patch.js';
import { renderScript, SCRIPT_VERBS, type ScriptOptions } from '../../src/script/script.js';
import { suite } from '../suite.js';

const OBJECTS_DIRECTORY = fileURLToPath(new URL('../../dist/bpf', import.meta.url));
const PARTS_DIRECTORY = fileURLToPath(new URL('../../src/script', import.meta.url));
const SHELLS = [['dash'], ['busybox', 'sh']] as const;

const test = suite('the text of a script');

function script(options: Partial<ScriptOptions> = {}): string {
  return renderScript(
    { verb: 'attach', interface: 'eth0', ...options },
    { version: '1.2.3', objectsDirectory: OBJECTS_DIRECTORY },
  );
}

/** Runs lines with the script's functions at hand, in place of its last line. */
async function withFunctions([shell = '', ...args]: readonly string[], lines: string) {
  const input = script().replace(/\nmain <\/dev\/null\n$/, `\n${lines}\n`);
  const { stdout } = await execa(shell, args, { input });
  return stdout.split('\n');
}

for (const shell of SHELLS) {
  const [name] = shell;

  test(`is accepted by ${name}, whatever is in its options`, async () => {
    const [file = '', ...args] = shell;
    for (const verb of SCRIPT_VERBS) {
      for (const device of ['eth0', "a'b", '$(touch x)', '`x`', "'\\''", '-n']) {
        const input = script({
          verb,
          interface: device,
          netns: `/run/${device}`,
          bpffs: `/${device}`,
        });
        await execa(file, [...args, '-n'], { input });
      }
    }
  });

  test(`has the table's size by the number of CPUs as the command has it (${name})`, async () => {
    const counts = [1, 2, 3, 16, 17, 37, 38, 39, 40, 100, 128, 500, 1024, 8192];
    const lines = counts.map((cpus) => `default_max_sources ${cpus}`).join('\n');
    assert.equal((await withFunctions(shell, lines)).map(Number), counts.map(defaultMaxSources));
  });

  test(`rounds the ticks of the clock as the command does (${name})`, async () => {
    const measured = [1, 99, 101, 158, 159, 240, 252, 273, 274, 299, 547, 548, 990, 1100, 9000];
    const lines = measured.map((hz) => `nearest_hz ${hz}`).join('\n');
    assert.equal((await withFunctions(shell, lines)).map(Number), measured.map(nearestHz));
  });

  test(`counts CPUs as the command does (${name})`, async () => {
    const lists = ['0', '0-3', '0,2-7', '0-8191', '3,5,7-9'];
    const lines = lists.map((list) => `count_members ${list}`).join('\n');
    assert.equal((await withFunctions(shell, lines)).map(Number), lists.map(countListMembers));
  });

  test(`knows every exit code (${name})`, async () => {
    const codes = Object.entries(EXIT_CODES);
    const lines = codes.map(([code]) => `code_of ${code}`).join('\n');
    assert.equal(
      (await withFunctions(shell, lines)).map(Number),
      codes.map(([, exit]) => exit),
    );
  });

  for (const order of ['el', 'eb'] as const) {
    test(`writes the same objects as the command, ${order} (${name})`, async () => {
      const scratch = mkdtempSync(`${tmpdir()}/xdpwho-test-`);
      try {
        const lines = [
          `scratch='${scratch}' byte_order=${order}`,
          'for each in xdpwho.frags xdpwho sources totals clock; do unpack $each; done',
          'for each in sources totals; do write_integer $each possible_cpus 8192; done',
          `for each in sources totals; do write_text $each interface_json 'a\\"%s\\\\b'; done`,
          'write_integer sources jiffies_per_second 1000',
        ];
        await withFunctions(shell, lines.join('\n'));
        const files = new ObjectFiles(OBJECTS_DIRECTORY);
        const shared = { possible_cpus: 8192, interface_json: 'a\\"%s\\\\b' };
        const expected = {
          'xdpwho.frags': {},
          xdpwho: {},
          sources: { constants: { ...shared, jiffies_per_second: 1000 } },
          totals: { constants: shared },
          clock: {},
        } as const;
        for (const object of ['xdpwho.frags', 'xdpwho', 'sources', 'totals', 'clock'] as const) {
          const written = readFileSync(`${scratch}/${object}.o`);
          const patched = patchObject(files.read(object, order), expected[object]);
          assert.ok(written.equals(patched), object);
        }
      } finally {
        rmSync(scratch, { recursive: true });
      }
    });
  }
}

test('has every fixed part in one verb at least', () => {
  const all = SCRIPT_VERBS.map((verb) => script({ verb })).join('');
  for (const name of readdirSync(PARTS_DIRECTORY).filter((name) => name.endsWith('.sh'))) {
    assert.ok(all.includes(readFileSync(`${PARTS_DIRECTORY}/${name}`, 'utf8').trim()), name);
  }
});

test('is the same each time, and carries the objects only where they are needed', () => {
  assert.is(script(), script());
  assert.ok(script().includes('H4sI'));
  for (const verb of ['detach', 'status'] as const)
    assert.ok(!script({ verb }).includes('H4sI'), verb);
});

test('says how it was made in one line of comment', () => {
  const [, line] = script({ interface: 'a\nb', maxSources: 5, netns: 'x y' }).split('\n');
  assert.is(
    line,
    "# xdpwho 1.2.3: xdpwho script attach --netns 'x y' --max-sources 5 -- 'a\\x0ab'",
  );
});

test.run();
