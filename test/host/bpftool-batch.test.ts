import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { Bpftool } from '../../src/host/bpftool.js';
import { batchLine, bpftoolArguments } from '../../src/host/bpftool-arguments.js';
import { BpftoolError } from '../../src/host/bpftool-error.js';
import { batchOutputIn } from '../../src/host/bpftool-output.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { suite } from '../suite.js';
import { fake, refusal, scratch } from './fake-bpftool.js';

// Real output of bpftool 7.1, with shorter paths.
const CREATED = '{"command":["map","create","/m"],"output":null}';
const PINNED = '{"command":["iter","pin","/o","/i","map","pinned","/m"],"output":}';
const SHOWN = '{"command":["prog","show","pinned","/p"],"output":{"id":7,"name":"xdpwho"}}';
const REFUSED =
  '{"command":["prog","show","pinned","/m"],"output":{"error":"incorrect object type: map"}}';
const FALSE_END = '{"error":"reading batch file failed: File exists"}';

const parsing = suite('batchOutputIn');

parsing('reads each output, and null for iter pin, which prints none', () => {
  assert.equal(batchOutputIn(`[${CREATED},${PINNED},${SHOWN}]`), {
    outputs: [null, null, { id: 7, name: 'xdpwho' }],
    isEndDoubtful: false,
  });
});

parsing('takes the complaint at the end for no output', () => {
  assert.equal(batchOutputIn(`[${CREATED},${PINNED},${FALSE_END}]`), {
    outputs: [null, null],
    isEndDoubtful: true,
  });
});

parsing('takes an error of a command for its output', () => {
  assert.equal(batchOutputIn(`[${CREATED},${REFUSED}]`), {
    outputs: [null, { error: 'incorrect object type: map' }],
    isEndDoubtful: false,
  });
});

parsing('refuses what is no array', () => {
  for (const text of [
    '',
    'null',
    '{}',
    '{"error":"x"}',
    '[',
    `[${CREATED}`,
    'Segmentation fault',
  ]) {
    assert.is(batchOutputIn(text), undefined, text);
  }
});

parsing.run();

const lines = suite('batchLine');

lines('leaves the options out, and quotes a word with blanks', () => {
  assert.is(batchLine(bpftoolArguments.showNet()), 'net show');
  assert.is(batchLine(bpftoolArguments.showMap('/a b/m')), "map show pinned '/a b/m'");
});

lines('refuses a word that bpftool would read in another way', () => {
  for (const name of ['', "a'b", 'a"b', 'a#b', 'a\\b', 'a\nb']) {
    assert.is(
      batchLine(bpftoolArguments.showMap(`/${name}`)),
      name === '' ? 'map show pinned /' : undefined,
    );
    assert.is(batchLine(['-j', 'map', name]), undefined);
  }
});

lines.run();

const COMMANDS = [
  ['-j', '-n', 'map', 'create', '/m'],
  bpftoolArguments.pinIterator('/o', '/i', '/m'),
  bpftoolArguments.showProgram('/p'),
];

const batch = suite('Bpftool.batch');

batch('runs one process, and succeeds where only the end is a false alarm', async () => {
  const { bpftool, asked } = fake({
    stdout: `[${CREATED},${PINNED},${SHOWN},${FALSE_END}]`,
    status: 255,
  });
  const { outputs, failure } = await bpftool.batch(COMMANDS);
  assert.is(failure, undefined);
  assert.equal(outputs, [null, null, { id: 7, name: 'xdpwho' }]);
  assert.equal(asked(), bpftoolArguments.batch());
});

batch('hands over the commands as lines', async () => {
  const { bpftool } = fake({ stdout: '[]', after: `cat >${scratch}/lines` });
  await bpftool.batch(COMMANDS);
  const written = readFileSync(`${scratch}/lines`, 'utf8');
  assert.is(written, 'map create /m\niter pin /o /i map pinned /m\nprog show pinned /p\n');
});

batch('tells what ran before the command that failed, and why that did', async () => {
  const { bpftool } = fake({ stdout: `[${CREATED},${REFUSED}]`, status: 255 });
  const { outputs, failure } = await bpftool.batch([
    COMMANDS[0] ?? [],
    bpftoolArguments.showProgram('/m'),
    bpftoolArguments.showNet(),
  ]);
  assert.equal(outputs, [null]);
  assert.ok(failure instanceof BpftoolError && failure.isOtherKind);
  assert.is(failure.message, 'bpftool prog show: incorrect object type: map');
});

batch('does not trust the false alarm where a command is missing', async () => {
  const { bpftool } = fake({ stdout: `[${CREATED},${FALSE_END}]`, status: 255 });
  const { failure } = await bpftool.batch(COMMANDS);
  assert.ok(hasErrorCode(failure, 'tool-failed'), String(failure));
});

batch('rejects where bpftool itself fails', async () => {
  await refusal(fake({ stdout: 'oops', status: 1 }).bpftool.batch(COMMANDS), 'tool-failed');
  await refusal(fake({ after: 'kill -SEGV $$' }).bpftool.batch(COMMANDS), 'tool-failed');
  await refusal(fake({ after: 'exec sleep 60' }, 100).bpftool.batch(COMMANDS), 'timeout');
  await refusal(new Bpftool({ path: `${scratch}/absent` }).batch(COMMANDS), 'tool-missing');
});

batch(
  'runs one after the other what cannot stand in a batch, up to the first that fails',
  async () => {
    const path = `${scratch}/single`;
    const script = `#!/bin/sh
printf '%s\\n' "$*" >>'${path}.asked'
case $* in *absent*) echo '{"error":"no such pin"}'; exit 255 ;; esac
echo '{"id":7}'
`;
    writeFileSync(path, script, { mode: 0o755 });
    const { outputs, failure } = await new Bpftool({ path }).batch([
      bpftoolArguments.showProgram("/a'b"),
      bpftoolArguments.showProgram('/absent'),
      bpftoolArguments.showNet(),
    ]);
    assert.equal(outputs, [{ id: 7 }]);
    assert.is(failure?.message, 'bpftool prog show: no such pin');
    assert.equal(readFileSync(`${path}.asked`, 'utf8').split('\n'), [
      "-j -n prog show pinned /a'b",
      '-j -n prog show pinned /absent',
      '',
    ]);
  },
);

batch.run();

/** Answers a batch as bpftool does: it ends at the first line with the word `absent`. */
function batchTool(name: string): { bpftool: Bpftool; starts: () => number } {
  const path = `${scratch}/${name}`;
  const script = `#!/bin/sh
echo x >>'${path}.starts'
between=
printf '['
while read -r line; do
  printf '%s{"command":["x"],"output":' "$between"
  case $line in *absent*) printf '{"error":"no such pin"}}]'; exit 255 ;; esac
  printf '{"line":"%s"}}' "$line"
  between=,
done
printf ']'
`;
  writeFileSync(path, script, { mode: 0o755 });
  const starts = () =>
    existsSync(`${path}.starts`) ? readFileSync(`${path}.starts`, 'utf8').length / 2 : 0;
  return { bpftool: new Bpftool({ path }), starts };
}

const asking = suite('Bpftool.ask');

asking('gives each output or failure, with one process more for each that fails', async () => {
  const { bpftool, starts } = batchTool('asked');
  const pins = ['/a', '/absent1', '/absent2', '/b', '/c', '/absent3'];
  const answers = await bpftool.ask(pins.map(bpftoolArguments.showMap));
  assert.equal(
    answers.map(({ output, failure }) => failure?.message ?? output),
    [
      { line: 'map show pinned /a' },
      'bpftool map show: no such pin',
      'bpftool map show: no such pin',
      { line: 'map show pinned /b' },
      { line: 'map show pinned /c' },
      'bpftool map show: no such pin',
    ],
  );
  assert.is(starts(), 3);
});

asking('starts nothing for no commands', async () => {
  const { bpftool, starts } = batchTool('unasked');
  assert.equal(await bpftool.ask([]), []);
  assert.is(starts(), 0);
});

asking.run();
