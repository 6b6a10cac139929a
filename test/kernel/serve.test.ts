/** `serve` as a user without any right, who may read the file: that the counters are served needs the iterator. */
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { requireTool } from '../../src/host/tools.js';
import { udpFrame } from '../../src/model/frames.js';
import { suite } from '../suite.js';
import { withIterator } from './iterators.js';
import { Lab, type Started, WHY_NOT } from './lab.js';

const HOME = fileURLToPath(new URL('../..', import.meta.url));

let lab: Lab;
/** A copy of the command that every user can read. */
let installed: string;

const serving = suite('serve, as a user without any right', WHY_NOT);
serving.before(async () => {
  lab = await Lab.create();
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'lo', 'up']);
  installed = mkdtempSync('/tmp/xdpwho-served-');
  chmodSync(installed, 0o755);
  for (const part of ['bin', 'dist', 'package.json']) {
    cpSync(`${HOME}${part}`, `${installed}/${part}`, { recursive: true });
  }
});
serving.after(async () => {
  await lab.close();
  rmSync(installed, { recursive: true });
});

/** On a host without bpftool. */
const AS_NOBODY = `mount --bind /dev/null "$bpftool" &&
  exec nsenter --net="$netns" -- setpriv --reuid=65534 --regid=65534 --clear-groups \\
    --bounding-set=-all --no-new-privs "$@"`;

function serve(): Started {
  const command = [process.execPath, `${installed}/bin/xdpwho.js`, 'serve', 'eth0'];
  const words = [...command, '--bpffs', lab.bpffs];
  const alone = ['--mount', '--propagation', 'private', 'sh', '-c', AS_NOBODY, 'nobody', ...words];
  const env = { bpftool: requireTool('bpftool'), netns: `/run/netns/${lab.netns}` };
  return lab.startProgram('unshare', alone, { env });
}

/** The answer to a request in the lab's namespace: its code, then its text. Without `fetch`, which needs WebAssembly. */
async function get(accept = '*/*'): Promise<string> {
  const code = `require('node:http').get('http://127.0.0.1:9927/metrics', { headers: { accept: process.argv[1] } }, (got) => {
    let text = '';
    got.on('data', (chunk) => { text += chunk; });
    got.on('end', () => console.log(got.statusCode + '\\n' + text.trimEnd()));
  })`;
  const command = [`--net=/run/netns/${lab.netns}`, '--', process.execPath, '-e', code, accept];
  return (await execa('nsenter', command)).stdout;
}

withIterator(serving)(
  'says what dump says, and why where there is nothing to be read',
  async () => {
    const attach = ['attach', 'eth0', '--file-mode', '0444'];
    assert.is((await lab.run(attach)).exitCode, 0);
    await lab.send(udpFrame({ source: '192.0.2.1' }), 250, { sources: 125 });
    const endpoint = serve();
    await endpoint.says(/http:\/\/127\.0\.0\.1:9927\/metrics/);
    for (const [accept, format] of [
      ['*/*', 'prometheus'],
      ['application/openmetrics-text', 'openmetrics'],
    ] as const) {
      // By the name that the server has for its namespace: its own one.
      const under = ['nsenter', `--net=/run/netns/${lab.netns}`, '--'];
      const dump = ['dump', 'eth0', '--bpffs', lab.bpffs, '-o', format];
      const { stdout } = await lab.run(dump, { bare: true, under });
      assert.is(await get(accept), `200\n${stdout}`);
    }

    assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
    assert.match(await get(), /^503\neth0: not attached: nothing that this user can find/);
    assert.is((await lab.run(['attach', 'eth0'])).exitCode, 0);
    assert.match(await get(), /^503\n.*: permission denied$/);
    assert.is((await lab.run([...attach, '--replace'])).exitCode, 0);
    assert.match(await get(), /^200\n/);
    await lab.ip(lab.netns, ['link', 'del', 'eth0']);
    assert.is(await get(), '503\neth0: not attached: the interface has gone');

    endpoint.child.kill('SIGTERM');
    assert.equal(await endpoint.ended(), { exitCode: 143, signal: null });
    assert.is(endpoint.stdout, '');
    const late = serve();
    assert.is((await late.ended()).exitCode, 3);
  },
);

serving.run();
