/** What the command says of a host as it is: whose program it is, what is missing, and what mends it. */
import { mkdirSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { resolveNetns } from '../../src/host/netns.js';
import { udpFrame } from '../../src/model/frames.js';
import { suite } from '../suite.js';
import { detachXdp } from './bpftool.js';
import { documentIn, Lab, listIn, recordsIn, WHY_NOT } from './lab.js';

let lab: Lab;

function inLab(name: string) {
  const test = suite(name, WHY_NOT);
  test.before.each(async () => {
    lab = await Lab.create();
  });
  test.after.each(() => lab.close());
  return test;
}

async function attachedCheck(...args: string[]): Promise<string> {
  const { stdout } = await lab.run(['doctor', ...args, '--json']);
  const check = listIn(documentIn(stdout), 'checks').find(({ name }) => name === 'attached');
  return `${check?.['status']} ${check?.['detail']}`;
}

const whose = inLab('whose a program is');

whose('doctor knows ours by another name, and in another bpffs', async () => {
  await lab.run(['attach', 'eth0']);
  for (const words of [['down'], ['name', 'new0'], ['up']]) {
    const name = words[0] === 'up' ? 'new0' : 'eth0';
    await lab.ip(lab.netns, ['link', 'set', name, ...words]);
  }
  assert.match(await attachedCheck('new0'), /^pass ours is attached: .*; it was attached as eth0$/);
  await lab.run(['detach', 'new0']);
  const elsewhere = `${lab.scratch}/bpffs`;
  const place = ['--netns', lab.netns, '--bpffs', elsewhere];
  try {
    await lab.run(['attach', 'new0', ...place], { bare: true });
    assert.match(await attachedCheck('new0'), /^pass ours is attached: program \d+/);
    await lab.run(['detach', 'new0', ...place], { bare: true });
  } finally {
    await execa('umount', [elsewhere]);
  }
  assert.is(await attachedCheck('new0'), 'pass none attached');
  await lab.attachStranger('new0');
  assert.match(await attachedCheck('new0'), /^fail held by another program: \d+ in native mode$/);
});

whose('a dump names a stranger in our place, and how to look at it', async () => {
  await lab.run(['attach', 'eth0']);
  await detachXdp(lab.bpftool, 'native', 'eth0', resolveNetns(lab.netns).path);
  const id = await lab.attachStranger('eth0');
  const { exitCode, stderr } = await lab.run(['dump', 'eth0']);
  assert.is(exitCode, 4, stderr);
  assert.match(stderr, `eth0: its program ${id} is not ours\n  hint: bpftool prog show id ${id}`);
});

whose('a watch beside attach --replace says that it was attached anew', async () => {
  await lab.run(['attach', 'eth0']);
  const run = lab.start(['watch', 'eth0', '-o', 'ndjson']);
  await run.says(/reading what is attached/);
  const replaced = await lab.run(['attach', 'eth0', '--replace', '--max-sources', '77']);
  assert.is(replaced.exitCode, 0, replaced.stderr);
  const { exitCode } = await run.ended();
  assert.is(exitCode, 3, run.stderr);
  assert.match(
    run.stderr,
    /eth0: attached anew by xdpwho, program \d+: its counts have begun again/,
  );
  assert.not.match(run.stderr, /another program/);
  assert.is((await lab.attached()).length, 1);
});

whose('after a rename and a replacement that failed, every line has one name', async () => {
  await lab.run(['attach', 'eth0']);
  await lab.ip(lab.netns, ['link', 'set', 'eth0', 'down']);
  await lab.ip(lab.netns, ['link', 'set', 'eth0', 'name', 'new0']);
  await lab.ip(lab.netns, ['link', 'set', 'new0', 'up']);
  const failing = lab.bpftoolThat(
    'failing',
    `case "$*" in *'net attach xdpgeneric'*) echo '{"error":"no"}'; exit 255 ;; esac`,
  );
  const options = ['--replace', '--mode', 'generic', '--bpftool', failing];
  assert.is((await lab.run(['attach', 'new0', ...options])).exitCode, 1);
  await lab.send(udpFrame({ source: '192.0.2.7' }), 3);
  const { stdout } = await lab.run(['dump', 'new0', '-o', 'ndjson']);
  assert.equal(
    recordsIn(stdout).map((record) => record['interface']),
    ['new0', 'new0'],
  );
});

whose('a port that is refused for the sake of its bridge names the bridge', async () => {
  await lab.ip(lab.netns, ['tuntap', 'add', 'dev', 'port0', 'mode', 'tap']);
  await lab.ip(lab.netns, ['link', 'add', 'name', 'br0', 'type', 'bridge']);
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'port0', 'master', 'br0']);
  assert.is((await lab.run(['attach', 'br0', '--mode', 'generic'])).exitCode, 0);
  const [above] = await lab.attached();
  const { exitCode, stderr } = await lab.run(['attach', 'port0', '--mode', 'native']);
  assert.is(exitCode, 4, stderr);
  assert.match(stderr, `br0 has program ${above?.programId}, and the two exclude each other`);
  assert.match(stderr, `hint: xdpwho status br0 --netns ${lab.netns}`);
});

whose.run();

const missing = inLab('what is missing');

missing(
  'a table that does not fit into the memory of its cgroup is told with its size',
  async () => {
    const group = `/sys/fs/cgroup/memory/xdpwho-test-${process.pid}`;
    const isVersion1 = statSync('/sys/fs/cgroup/memory', { throwIfNoEntry: false }) !== undefined;
    if (isVersion1) mkdirSync(group);
    try {
      if (isVersion1) writeFileSync(`${group}/memory.limit_in_bytes`, '150M');
      // Without that hierarchy, a bpftool that says what the kernel says.
      const failing = lab.bpftoolThat(
        'full',
        `case "$*" in *'map create'*) echo '{"error":"map create failed: Cannot allocate memory"}'; exit 255 ;; esac`,
      );
      const under = ['sh', '-c', `echo $$ >${group}/cgroup.procs; exec "$@"`, 'sh'];
      const words = ['attach', 'eth0', '--max-sources', '4000000'];
      const ran = isVersion1
        ? await lab.run(words, { under })
        : await lab.run([...words, '--bpftool', failing]);
      assert.is(ran.exitCode, 1);
      assert.match(
        ran.stderr,
        /^xdpwho: eth0: not enough memory: \d+\.\dMB for 4000000 sources; .*Cannot allocate memory\n {2}hint: xdpwho attach --max-sources 500000 eth0 /,
      );
      await lab.untilNothingLeft();
    } finally {
      if (isVersion1) rmdirSync(group);
    }
  },
);

missing(
  'pins that stay on a read-only bpffs are told, with the command for that bpffs',
  async () => {
    const run = lab.start(['watch', 'eth0']);
    await run.says(/attached in/);
    await execa('mount', ['-o', 'remount,ro', lab.bpffs]);
    run.child.kill('SIGINT');
    const { exitCode } = await run.ended();
    assert.is(exitCode, 130);
    const remount = `mount -o remount,rw ${lab.bpffs}`;
    assert.match(run.stderr, /eth0: detached/);
    assert.match(run.stderr, /eth0: its pins stay in /);
    assert.ok(run.stderr.includes(remount), run.stderr);
    assert.equal(await lab.attached(), []);
    for (const verb of ['attach', 'detach']) {
      const { stderr } = await lab.run([verb, 'eth0']);
      assert.ok(stderr.includes(`hint: ${remount}`), stderr);
    }
    await execa('sh', ['-c', remount]);
    await lab.run(['clean']);
    await lab.untilNothingLeft();
  },
);

for (const [tool, packaged] of [
  ['nsenter', 'util-linux'],
  ['ip', 'iproute2'],
] as const) {
  missing(`doctor fails without ${tool}, as attach does`, async () => {
    const hidden = `mount --bind /dev/null "$(command -v ${tool})"; exec "$@"`;
    const under = ['unshare', '-m', 'sh', '-c', hidden, 'sh'];
    const doctor = await lab.run(['doctor'], { under });
    assert.is(doctor.exitCode, 1);
    assert.match(doctor.stdout, new RegExp(`FAIL +other tools +${tool}: not found in`));
    assert.match(doctor.stdout, new RegExp(`fix: .*${packaged}.*ln -s PATH`));
    const attach = await lab.run(['attach', 'eth0'], { under });
    assert.is(attach.exitCode, 5);
    assert.match(attach.stderr, new RegExp(`${tool}: not found[^\n]*\n {2}hint: .*${packaged}`));
  });
}

missing('doctor names a user namespace, where root may load nothing', async () => {
  const { exitCode, stdout } = await lab.run(['doctor'], { under: ['unshare', '-Urm'] });
  assert.is(exitCode, 1);
  assert.match(stdout, /FAIL +privileges +root of a user namespace/);
});

missing.run();
