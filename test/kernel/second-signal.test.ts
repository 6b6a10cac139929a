/** A run that hangs on its way out, and a user who does not wait for it. */
import { existsSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { suite } from '../suite.js';
import { Lab, WHY_NOT } from './lab.js';

const test = suite<{ lab: Lab }>('a second Ctrl-C', WHY_NOT);

test.before(async (context) => {
  context.lab = await Lab.create();
});
test.after(async ({ lab }) => {
  await lab?.close();
});

for (const verb of ['watch', 'log']) {
  test(`ends ${verb} at once, and the guard detaches`, async ({ lab }) => {
    const hanging = `${lab.scratch}/${verb}-hanging`;
    const go = `${lab.scratch}/${verb}-go`;
    // Only the first detach hangs, and it fails: somebody has to do it again.
    const bpftool = lab.bpftoolThat(
      `${verb}-that-hangs`,
      `case $* in
        *'net detach'*)
          if mkdir ${hanging} 2>/dev/null; then
            until [ -e ${go} ]; do sleep 0.05; done
            exit 1
          fi ;;
      esac`,
    );
    const run = lab.start([verb, 'eth0', '--bpftool', bpftool]);
    await run.says(/attached in/);
    run.child.kill('SIGINT');
    await lab.until(() => existsSync(hanging), 'the detach hangs');
    assert.is((await lab.attached()).length, 1);
    // Signals that follow the first within half a second are still the first one.
    const again = setInterval(() => run.child.kill('SIGINT'), 100);
    const end = await run.ended().finally(() => clearInterval(again));
    assert.equal(end, { exitCode: 130, signal: null }, run.stderr);
    assert.not.match(run.stderr, /: detached/);
    assert.not.ok(existsSync(go), 'it has ended although the detach had not');
    writeFileSync(go, '');
    await lab.untilNothingLeft();
  });
}

test('is one with the first where both come together', async ({ lab }) => {
  const run = lab.start(['watch', 'eth0', '-o', 'ndjson']);
  await run.says(/attached in/);
  // Two equal signals would be one to the kernel already, unless the first has been taken.
  run.child.kill('SIGTERM');
  run.child.kill('SIGINT');
  const { exitCode } = await run.ended();
  assert.ok(exitCode === 143 || exitCode === 130, String(exitCode));
  assert.match(run.stdout, /"type":"detached"/);
  await lab.untilNothingLeft();
});

test.run();
