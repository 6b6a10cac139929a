import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { RunTimeStatistics } from '../../src/bench/kernel-statistics.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { suite } from '../suite.js';

interface Files {
  directory: string;
  switch: string;
  users: string;
}

const statistics = suite<Files>('RunTimeStatistics');

statistics.before.each((files) => {
  files.directory = mkdtempSync(join(tmpdir(), 'xdpwho-switch-'));
  files.switch = join(files.directory, 'switch');
  files.users = join(files.directory, 'users');
  writeFileSync(files.switch, '0\n');
});

statistics.after.each((files) => rmSync(files.directory, { recursive: true, force: true }));

const isOn = (files: Files) => readFileSync(files.switch, 'utf8').trim() === '1';

statistics('are on while they are used, and off again afterwards', async (files) => {
  const use = await RunTimeStatistics.open(files);
  assert.is(use.switchedOn, true);
  assert.is(isOn(files), true);
  use.check();
  await use.close();
  assert.is(isOn(files), false);
});

statistics('stay on where they were on', async (files) => {
  writeFileSync(files.switch, '1\n');
  const use = await RunTimeStatistics.open(files);
  assert.is(use.switchedOn, false);
  await use.close();
  assert.is(isOn(files), true);
});

statistics('stay on until the last of several users has gone, in any order', async (files) => {
  const uses = [];
  for (let user = 0; user < 3; user++) uses.push(await RunTimeStatistics.open(files));
  for (const use of [uses[1], uses[0], uses[2]]) {
    assert.is(isOn(files), true);
    await use?.close();
  }
  assert.is(isOn(files), false);
});

statistics('go off and on as users come and go at once', async (files) => {
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const use = await RunTimeStatistics.open(files);
      use.check();
      await use.close();
    }),
  );
  assert.is(isOn(files), false);
});

statistics('go off when the shell that should see to it was killed', async (files) => {
  const use = await RunTimeStatistics.open(files);
  process.kill(use.pid, 'SIGKILL');
  await use.close();
  assert.is(isOn(files), false);
});

statistics(
  'are put back by the next user after one whose shell was killed with it',
  async (files) => {
    const dead = await RunTimeStatistics.open(files);
    process.kill(dead.pid, 'SIGKILL');
    assert.is(isOn(files), true);
    const next = await RunTimeStatistics.open(files);
    await next.close();
    assert.is(isOn(files), false);
  },
);

statistics('say so when somebody else switches them off', async (files) => {
  const use = await RunTimeStatistics.open(files);
  writeFileSync(files.switch, '0\n');
  assert.throws(() => use.check(), /switched off meanwhile/);
  await use.close();
  assert.is(isOn(files), false);
});

statistics(
  'are refused where there is no switch, or it cannot be noted who uses it',
  async (files) => {
    const failure = async (changed: Partial<Files>) => {
      try {
        const use = await RunTimeStatistics.open({ ...files, ...changed });
        await use.close();
      } catch (error) {
        return error instanceof XdpwhoError ? error.code : error;
      }
      return 'opened';
    };
    assert.is(await failure({ switch: join(files.directory, 'none') }), 'kernel-too-old');
    assert.is(await failure({ users: join(files.directory, 'none/users') }), 'not-permitted');
    assert.is(isOn(files), false);
  },
);

statistics.run();
