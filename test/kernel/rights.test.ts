import { chmodSync, chownSync, cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { udpFrame } from '../../src/model/frames.js';
import { suite } from '../suite.js';
import { READERS } from './iterators.js';
import { documentIn, Lab, lastReading, listIn, recordsIn, WHY_NOT } from './lab.js';

const NOBODY = 65534;
const THREE = ['bpf', 'net_admin', 'perfmon'];
const FRAME = udpFrame({ source: '192.0.2.1' });

let lab: Lab;
/** A copy of the command in a place that everybody can read. */
let copy: string;

/** Runs the command in the lab's namespace as nobody, with these capabilities and no others. */
function runWith(capabilities: readonly string[], args: readonly string[]) {
  const list = ['-all', ...capabilities.map((each) => `+${each}`)].join(',');
  const under = [
    ...['nsenter', `--net=/run/netns/${lab.netns}`, '--'],
    ...['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'],
    ...[`--inh-caps=${list}`, `--ambient-caps=${list}`, `--bounding-set=${list}`, '--'],
  ];
  const place = ['--bpffs', lab.bpffs];
  return lab.run([...args, ...place], { bare: true, under, cli: `${copy}/bin/xdpwho.js` });
}

const working = suite('with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON only', WHY_NOT);
working.before(async () => {
  lab = await Lab.create();
  copy = mkdtempSync('/tmp/xdpwho-copy-');
  chmodSync(copy, 0o755);
  for (const part of ['bin', 'dist', 'package.json']) {
    cpSync(fileURLToPath(new URL(`../../${part}`, import.meta.url)), `${copy}/${part}`, {
      recursive: true,
    });
  }
});
working.before.each(() => {
  // The one thing that takes more: making the directory in bpffs.
  chmodSync(lab.bpffs, 0o755);
  mkdirSync(`${lab.bpffs}/xdpwho`, { mode: 0o700 });
  chownSync(`${lab.bpffs}/xdpwho`, NOBODY, NOBODY);
});
working.after.each(() => {
  rmSync(`${lab.bpffs}/xdpwho`, { recursive: true, force: true });
});
working.after(async () => {
  rmSync(copy, { recursive: true, force: true });
  await lab.close();
});

for (const reader of READERS) {
  working(`attach, status, dump, detach and clean work, read by ${reader}`, async () => {
    const attach = await runWith(THREE, ['attach', 'eth0', '--reader', reader, '--json']);
    assert.is(attach.exitCode, 0, attach.stderr);
    assert.is(documentIn(attach.stdout)['changed'], true);
    const again = await runWith(THREE, ['attach', 'eth0', '--reader', reader, '--json']);
    assert.is(documentIn(again.stdout)['changed'], false, again.stderr);
    await lab.send(FRAME, 6);

    const status = await runWith(THREE, ['status', 'eth0', '--json']);
    const [row] = listIn(documentIn(status.stdout), 'interfaces');
    assert.equal(
      [row?.['ownership'], row?.['reader'], row?.['packets'], row?.['sources']],
      ['ours', reader, 6, 1],
    );
    const dump = await runWith(THREE, ['dump', 'eth0', '-o', 'ndjson']);
    assert.is(dump.exitCode, 0, dump.stderr);
    assert.equal(lastReading(recordsIn(dump.stdout)).packets, { '192.0.2.1': 6 });
    assert.is((await runWith(THREE, ['clean'])).exitCode, 0);

    const detach = await runWith(THREE, ['detach', 'eth0', '--json']);
    assert.is(detach.exitCode, 0, detach.stderr);
    assert.is(documentIn(detach.stdout)['changed'], true);
    assert.equal(await lab.attached(), []);
    assert.equal(lab.pins(), []);
  });
}

working('`watch` works, and its guard detaches when it is killed', async () => {
  const short = await runWith(THREE, ['watch', 'eth0', '--duration', '300ms', '-o', 'ndjson']);
  assert.is(short.exitCode, 0, short.stderr);
  assert.is(recordsIn(short.stdout).at(-1)?.type, 'detached');
  const watch = runWith(THREE, ['watch', 'eth0', '--duration', '1m']);
  await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  const guards = await lab.guards();
  assert.is(guards.length, 1);
  watch.kill('SIGKILL');
  await watch;
  await lab.until(async () => (await lab.attached()).length === 0, 'detached');
  await lab.until(() => lab.pins().length === 0, 'unpinned');
});

working("a stranger's program is told from ours, without looking it up by its id", async () => {
  const id = await lab.attachStranger('eth0');
  const attach = await runWith(THREE, ['attach', 'eth0']);
  assert.is(attach.exitCode, 4, attach.stderr);
  assert.match(attach.stderr, `held by another program: id ${id}, native mode`);
  assert.is((await runWith(THREE, ['detach', 'eth0'])).exitCode, 4);
  await lab.detachStranger('eth0');
});

working('each of the three that is missing is named: exit 77', async () => {
  for (const missing of THREE) {
    const have = THREE.filter((each) => each !== missing);
    const { exitCode, stderr } = await runWith(have, ['attach', 'eth0']);
    assert.is(exitCode, 77, stderr);
    assert.match(stderr, `CAP_${missing.toUpperCase()}`);
  }
  assert.equal(await lab.attached(), []);
  assert.equal(lab.pins(), []);
});

working('a bpffs in which the directory cannot be made is an error that says so', async () => {
  rmSync(`${lab.bpffs}/xdpwho`, { recursive: true });
  const { exitCode, stderr } = await runWith(THREE, ['attach', 'eth0']);
  assert.is(exitCode, 77, stderr);
  assert.match(stderr, `${lab.bpffs}/xdpwho: permission denied`);
});

working.run();
