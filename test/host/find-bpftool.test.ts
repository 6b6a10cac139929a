import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { Bpftool } from '../../src/host/bpftool.js';
import { observeCommands } from '../../src/host/command-log.js';
import { explainFailure, findBpftool, isOlder } from '../../src/host/find-bpftool.js';
import { type ErrorCode, hasErrorCode, XdpwhoError } from '../../src/model/errors.js';
import { suite } from '../suite.js';
import { RELEASES } from './releases.js';

interface Scratch {
  directory: string;
}

function makeScratch(context: Scratch): void {
  context.directory = mkdtempSync(join(tmpdir(), 'xdpwho-find-'));
}

function removeScratch(context: Scratch): void {
  rmSync(context.directory, { recursive: true, force: true });
}

function writeScript(path: string, body: string): string {
  writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  return path;
}

const versions = suite('isOlder');

versions('compares numbers, not text', () => {
  assert.is(isOlder('5.9.16', [5, 10]), true);
  assert.is(isOlder('5.10', [5, 10]), false);
  assert.is(isOlder('5.10.0-46-amd64', [5, 10]), false);
  assert.is(isOlder('4.19', [5, 10]), true);
  assert.is(isOlder('10.0', [5, 10]), false);
  assert.is(isOlder('5', [5, 10]), true);
});

versions('does not call older what it cannot read', () => {
  assert.is(isOlder('unknown', [5, 10]), false);
  assert.is(isOlder('5.x', [5, 10]), false);
});

versions.run();

const tools = suite<Scratch>('findBpftool');

tools.before.each(makeScratch);
tools.after.each(removeScratch);

const GOOD = `echo '{"version":"7.1.0","libbpf_version":"1.1"}'`;

async function refused(path: string, code: ErrorCode, message: RegExp): Promise<XdpwhoError> {
  try {
    await findBpftool({ path });
  } catch (error) {
    assert.ok(error instanceof XdpwhoError, String(error));
    assert.is(error.code, code);
    assert.match(error.message, message);
    return error;
  }
  throw new Error(`${path}: taken`);
}

tools('takes the one that is named when it works', async ({ directory }) => {
  const path = writeScript(join(directory, 'tool'), GOOD);
  const commands: string[] = [];
  const stop = observeCommands((file, args) => commands.push([file, ...args].join(' ')));
  assert.is((await findBpftool({ path })).path, path);
  stop();
  assert.equal(commands, [`${path} -j version`]);
});

tools('refuses one that is absent, too old, failing or speaks nonsense', async ({ directory }) => {
  const tool = (body: string) => writeScript(join(directory, 'tool'), body);
  await refused(join(directory, 'none'), 'tool-missing', /none: not there or not executable$/);
  await refused(tool(`echo '{"version":"4.19.0"}'`), 'tool-missing', /4\.19\.0, 5\.10 is needed$/);
  const failed = await refused(
    tool('echo oops >&2; exit 3'),
    'tool-failed',
    /not a bpftool that works: .*oops/,
  );
  assert.ok(failed.hint !== undefined);
  await refused(tool('echo nonsense'), 'bad-output', /not JSON/);
  await refused(tool('echo "{}"'), 'bad-output', /unexpected output/);
  await refused(tool(`echo '{"error":"no luck"}'`), 'tool-failed', /no luck/);
});

tools('gives up on one that hangs', async ({ directory }) => {
  await refused(writeScript(join(directory, 'tool'), 'exec sleep 60'), 'timeout', /no answer/);
});

tools("replaces a wrapper that fails by the newest kernel's", async ({ directory }) => {
  const wrapper = writeScript(
    join(directory, 'wrapper'),
    'echo "bpftool not found for kernel" >&2; exit 2',
  );
  const kernelToolsDirectory = join(directory, 'linux-tools');
  const searched = { path: wrapper, kernelToolsDirectory };
  try {
    await findBpftool({}, searched);
    assert.unreachable('taken');
  } catch (error) {
    assert.ok(error instanceof XdpwhoError, String(error));
    assert.is(error.code, 'tool-missing');
    assert.match(error.message, /is a wrapper, and there is no bpftool for kernel/);
  }
  for (const kernel of ['6.8.0-9-generic', '6.8.0-31-generic', '6.10.0-2-empty']) {
    mkdirSync(join(kernelToolsDirectory, kernel), { recursive: true });
    if (kernel.endsWith('generic'))
      writeScript(join(kernelToolsDirectory, kernel, 'bpftool'), GOOD);
  }
  const newest = join(kernelToolsDirectory, '6.8.0-31-generic', 'bpftool');
  assert.is((await findBpftool({}, searched)).path, newest);
  // Named by the user, it is not replaced behind their back.
  await refused(wrapper, 'tool-failed', /wrapper: not a bpftool that works/);
});

tools("takes a kernel's where there is no other", async ({ directory }) => {
  mkdirSync(join(directory, '6.8'));
  const path = writeScript(join(directory, '6.8', 'bpftool'), GOOD);
  assert.is(
    (await findBpftool({}, { path: undefined, kernelToolsDirectory: directory })).path,
    path,
  );
});

tools('takes every release that was tried', async ({ directory }) => {
  for (const { version } of Object.values(RELEASES)) {
    const path = writeScript(join(directory, 'tool'), `echo '${version}'`);
    assert.is((await findBpftool({ path })).path, path);
  }
});

tools('refuses one that is too old, with both versions and a hint', async ({ directory }) => {
  for (const version of ['5.9.16', '4.19.0', '5.4.0-rc1']) {
    const path = writeScript(join(directory, 'tool'), `echo '{"version":"${version}"}'`);
    const error = await refused(path, 'tool-missing', /tool: version/);
    assert.is(error.message, `${path}: version ${version}, 5.10 is needed`);
    assert.ok(error.hint);
  }
});

tools.run();

const failures = suite<Scratch>('explainFailure');

failures.before.each(makeScratch);
failures.after.each(removeScratch);

/** The failure of a command of this bpftool, as main.ts reports it. */
async function explained(path: string): Promise<unknown> {
  const bpftool = new Bpftool({ path });
  try {
    await bpftool.showNet(undefined);
  } catch (error) {
    return explainFailure(bpftool, error);
  }
  throw new Error('it succeeded');
}

failures(
  'blames a bpftool that is too old, or that cannot tell its version',
  async ({ directory }) => {
    const old = writeScript(
      join(directory, 'tool'),
      `case "$*" in *version) echo '{"version":"4.19.0"}' ;; *) exit 255 ;; esac`,
    );
    const error = await explained(old);
    assert.ok(hasErrorCode(error, 'tool-missing'), String(error));
    assert.match(error.message, /version 4\.19\.0, 5\.10 is needed$/);
    const broken = await explained(writeScript(old, 'echo no >&2; exit 1'));
    assert.ok(hasErrorCode(broken, 'tool-failed'), String(broken));
    assert.match(broken.message, /bpftool version: no$/);
  },
);

failures('leaves the failure of one that works as it is', async ({ directory }) => {
  const path = writeScript(
    join(directory, 'tool'),
    `case "$*" in *version) echo '{"version":"7.1.0"}' ;; *) echo '{"error":"no luck"}'; exit 255 ;; esac`,
  );
  const error = await explained(path);
  assert.ok(hasErrorCode(error, 'tool-failed'), String(error));
  assert.is(error.message, 'bpftool net show: no luck');
});

failures.run();
