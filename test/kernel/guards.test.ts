/** Guards that are killed, stopped or hindered, where no link can be had. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { tried } from '../reliability.js';
import { suite } from '../suite.js';
import { USUAL_READER, withIterator } from './iterators.js';
import { Lab, WHY_NOT } from './lab.js';

const PROMISE = 'A guard that is killed, stopped or hindered is noticed';
const guards = suite(PROMISE, WHY_NOT);

let lab: Lab;
guards.before.each(async () => {
  lab = await Lab.create();
});
guards.after.each(() => lab.close());

async function guardPid(): Promise<number> {
  let pid = 0;
  await lab.until(async () => {
    pid = Number.parseInt((await lab.guards())[0] ?? '', 10);
    return pid > 0;
  }, 'a guard');
  return pid;
}

guards(
  'detaching that fails for a while is tried on by the guard, and the error says so',
  async () => {
    const calls = `${lab.scratch}/calls`;
    const bpftool = lab.bpftoolThat(
      'late',
      `case "$*" in *"net detach"*) echo x >>${calls}; [ $(wc -l <${calls}) -gt 3 ] || exit 0 ;; esac`,
    );
    const run = lab.start(['watch', 'eth0', '--bpftool', bpftool]);
    await run.says(/attached in/);
    run.child.kill('SIGINT');
    assert.is((await run.ended()).exitCode, 1, run.stderr);
    assert.match(run.stderr, /eth0: program \d+ is still attached.*; the guard goes on trying/);
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: '`net detach` that does nothing three times, under Ctrl-C',
      times: 1,
      result: 'told; the guard detached at the fourth time',
    });
  },
);

guards('killed again and again: the run tells that nothing would detach', async () => {
  const bpftool = lab.bpftoolThat('guard-only', '');
  const run = lab.start(['watch', 'eth0', '--interval', '200ms', '--bpftool', bpftool]);
  await run.says(/attached in/);
  for (let kill = 0; kill < 11; kill++) {
    process.kill(await guardPid(), 'SIGKILL');
    await sleep(100);
  }
  await run.says(/its guard was ended again and again/);
  run.child.kill('SIGINT');
  assert.is((await run.ended()).exitCode, 130, run.stderr);
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'SIGKILL of eleven guards one after the other',
    times: 1,
    result: 'the run tells that nothing would detach; Ctrl-C detached',
  });
});

guards('stopped: Ctrl-C ends all the same', async () => {
  const bpftool = lab.bpftoolThat('guard-only', '');
  const run = lab.start(['watch', 'eth0', '--bpftool', bpftool]);
  await run.says(/attached in/);
  process.kill(await guardPid(), 'SIGSTOP');
  run.child.kill('SIGINT');
  assert.is((await run.ended()).exitCode, 130, run.stderr);
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'SIGSTOP of the guard, then Ctrl-C',
    times: 1,
    result: 'ended within its limit, detached, nothing left',
  });
});

for (const step of ['prog load', 'iter pin', 'net attach']) {
  const add = step === 'iter pin' ? withIterator(guards) : guards;
  add(`killed at \`${step}\`: another one takes its place`, async () => {
    const bpftool = lab.bpftoolThat(
      'kills',
      `case "$*" in *"${step}"*) for pid in $(ps -eo pid,args | awk '/xdpwho-guard / && index($0, "${lab.bpffs}/xdpwho/") && !/awk/ { print $1 }'); do kill -s KILL $pid; done ;; esac`,
    );
    const run = lab.start(['watch', 'eth0', '--reader', USUAL_READER, '--bpftool', bpftool]);
    await run.says(new RegExp(`attached in .* read by ${USUAL_READER}`));
    await guardPid();
    run.child.kill('SIGKILL');
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: `SIGKILL of the guard at \`${step}\`, then SIGKILL of the run`,
      times: 1,
      result: 'another guard took its place; nothing left',
    });
  });
}

guards.run();
