import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { suite } from './suite.js';

const runner = fileURLToPath(new URL('run.mjs', import.meta.url));
const fixtures = fileURLToPath(new URL('fixtures/runner/', import.meta.url));

/** The runner on fixtures, each argument a stage; a fixture that lives there, or any other text. */
function run(stages: string[], environment: NodeJS.ProcessEnv = {}) {
  const { CI, FORCE_COLOR, NODE_CHANNEL_FD, NODE_CHANNEL_SERIALIZATION_MODE, ...inherited } =
    process.env;
  const paths = stages.map((stage) => {
    return existsSync(`${fixtures}${stage}`) ? `${fixtures}${stage}` : stage;
  });
  const { status, stdout, stderr } = spawnSync(process.execPath, [runner, ...paths], {
    encoding: 'utf8',
    env: { ...inherited, ...environment },
  });
  return { status, stdout, stderr, closing: stdout.trimEnd().split('\n').at(-1) };
}

const test = suite('test/run.mjs');

test('passes when every test passes, without forcing colours', () => {
  const result = run(['passes.test.ts']);
  assert.is(result.closing, '2 passed, 0 failed, 0 skipped', result.stdout);
  assert.is(result.status, 0);
  assert.match(result.stdout, /^test\/fixtures\/runner\/passes\.test\.ts {2}\d/m);
  assert.match(result.stdout, /^ passes +• •/m);
});

test('shows the name and the difference of a failing test, and exits 1', () => {
  const result = run(['fails.test.ts']);
  assert.is(result.closing, '1 passed, 1 failed, 0 skipped');
  assert.is(result.status, 1);
  assert.match(result.stdout, /"does not hold"/);
  assert.match(result.stdout, /--·*"packets":·"?1/);
  assert.match(result.stdout, /\+\+·*"packets":·"?2/);
});

for (const hook of ['before', 'before-each', 'after-each', 'after']) {
  test(`fails when uvu hides that ${hook} throws`, () => {
    const result = run([`${hook}-throws-uvu.test.ts`]);
    assert.is(result.status, 1, result.stdout);
    assert.match(result.stdout, /FAIL: .*hook threw|no such namespace/);
    assert.match(result.closing ?? '', /^\d+ passed, [1-9]\d* failed, 0 skipped$/);
  });

  test(`says what ${hook} has thrown`, () => {
    const result = run([`${hook}-throws-ours.test.ts`]);
    assert.is(result.status, 1);
    const name = hook.replace('-', '.');
    assert.match(
      result.stdout,
      new RegExp(`FAIL: .*: hooks: ${name} threw: Error: no such namespace`),
    );
  });
}

test('fails when a test throws null', () => {
  assert.is(run(['throws-null.test.ts']).status, 1);
});

test('fails when a file forgets .run()', () => {
  const result = run(['never-run.test.ts']);
  assert.is(result.status, 1);
  assert.match(result.stdout, /FAIL: .*\.run\(\) is missing/);
});

test('fails when one suite of several forgets .run(), and names it', () => {
  const result = run(['one-never-run.test.ts']);
  assert.is(result.status, 1);
  assert.match(result.stdout, /FAIL: .*: second: \.run\(\) is missing/);
});

test('fails on a leftover .only, even on the only test', () => {
  const result = run(['only.test.ts']);
  assert.is(result.status, 1);
  assert.match(result.stdout, /FAIL: .*a leftover \.only/);
});

test('fails when nothing matches', () => {
  for (const stage of ['no such test', 'kernel/no-such']) {
    const result = run([stage]);
    assert.is(result.status, 1);
    assert.match(result.stdout, /FAIL: no test file matches/);
    assert.is(result.closing, '0 passed, 1 failed, 0 skipped');
  }
});

test('fails when a file throws while it is imported, or imports what is not there', () => {
  const throwing = run(['import-throws.test.ts']);
  assert.is(throwing.status, 1);
  assert.match(throwing.stdout, /Error: at import/);
  const missing = run(['import-missing.test.ts']);
  assert.is(missing.status, 1);
  assert.match(missing.stdout, /no-such-module/);
});

test('ends a file at its time limit, as a failure', () => {
  const result = run(['hangs.test.ts'], { TEST_LIMIT_S: '2' });
  assert.is(result.status, 1);
  assert.match(result.stdout, /FAIL: .*hangs\.test\.ts: more than 2 s/);
});

test('fails when a test never settles and nothing is left to wait for', () => {
  const result = run(['never-settles.test.ts']);
  assert.is(result.status, 1);
  assert.match(result.stdout, /FAIL: .*before its tests did/);
});

test('fails when a test ends the process with exit code 0', () => {
  const result = run(['exits.test.ts']);
  assert.is(result.status, 1);
  assert.match(result.stdout, /FAIL: .*\(exit 0\) before its tests did/);
});

test('ends what a file leaves running', () => {
  const result = run(['leftovers.test.ts']);
  assert.is(result.status, 0, result.stdout);
  const pid = Number(/left (\d+)/.exec(result.stdout)?.[1]);
  assert.ok(pid > 0);
  // A zombie is as good as gone: a container's first process may not collect it.
  if (existsSync(`/proc/${pid}`)) assert.match(readFileSync(`/proc/${pid}/stat`, 'utf8'), /\) Z /);
});

test('blames a crash on its file, keeps what had passed, and runs the rest', () => {
  const result = run(['crash']);
  assert.is(result.status, 1);
  assert.match(result.stdout, /Error: from a timer/);
  assert.match(result.stdout, /FAIL: .*crash\/exception\.test\.ts: the process ended/);
  assert.match(result.stdout, /Error: nobody waits/);
  assert.match(result.stdout, /FAIL: .*crash\/rejection\.test\.ts: the process ended/);
  assert.is(result.closing, '2 passed, 2 failed, 0 skipped');
});

test('stops at the first stage that fails', () => {
  const result = run(['fails.test.ts', 'passes.test.ts']);
  assert.is(result.closing, '1 passed, 1 failed, 0 skipped');
  assert.not.match(result.stdout, 'passes.test.ts');
  assert.is(
    run(['passes.test.ts', 'kernel/skips.test.ts']).closing,
    '2 passed, 0 failed, 1 skipped',
  );
});

test('names each skipped test and says why, with its hooks left out', () => {
  const result = run(['skips.test.ts']);
  assert.is(result.closing, '1 passed, 0 failed, 2 skipped', result.stdout);
  assert.is(result.status, 0);
  const skipped = result.stdout.split('\n').filter((line) => line.startsWith('skipped: '));
  assert.equal(skipped, [
    'skipped: some: two: no second interface',
    'skipped: all: three: not root',
  ]);
});

test('fails when a test is skipped without a name and a reason', () => {
  const result = run(['skips-unnamed.test.ts']);
  assert.is(result.status, 1);
  assert.match(result.stdout, /FAIL: .*1 skipped without a name and a reason/);
});

test('lets a kernel test be skipped, but not for root in CI', () => {
  assert.is(run(['kernel/skips.test.ts']).status, 0);
  const inCi = run(['kernel/skips.test.ts'], { CI: 'true' });
  assert.is(inCi.status, process.getuid?.() === 0 ? 1 : 0);
  assert.is(run(['skips.test.ts'], { CI: 'true' }).status, 0);
});

test('leaves the fixtures out of the normal run', () => {
  const result = run(['passes']);
  assert.match(result.stdout, /no test file matches "passes"/);
});

test.run();
