/** Ends that are looked at, and not believed: where the program is hard to find, or hard to take off. */
import { existsSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { propertyOf } from '../../src/model/json-values.js';
import { tried } from '../reliability.js';
import { suite } from '../suite.js';
import { detachXdp } from './bpftool.js';
import { documentIn, Lab, listIn, WHY_NOT } from './lab.js';

const PROMISE = 'What cannot be looked into is never said to be gone';
const unseen = suite(PROMISE, WHY_NOT);

let lab: Lab;
/** A namespace that neither /run/netns nor a process names: a bind mount elsewhere, as Docker keeps its own. */
let hidden: string;

unseen.before.each(async () => {
  lab = await Lab.create();
  hidden = `${lab.scratch}/sandbox`;
  writeFileSync(hidden, '');
  await execa('unshare', [`--net=${hidden}`, 'true']);
  await inside(['ip', 'link', 'add', 'name', 'pod0', 'type', 'veth', 'peer', 'name', 'pod1']);
});
unseen.after.each(async () => {
  await execa('umount', [hidden]);
  await lab.close();
});

/** Runs a program in the hidden namespace. */
function inside(words: readonly string[]) {
  return execa('nsenter', [`--net=${hidden}`, '--', ...words], { reject: false });
}

async function attachedInside(): Promise<number[]> {
  const shown = await lab.bpftool.showNet(hidden);
  return shown.map(({ programId }) => programId);
}

/** Moves an interface of the lab's into the hidden namespace. */
async function hide(device: string): Promise<void> {
  const process = execa('nsenter', [`--net=${hidden}`, '--', 'sleep', '60'], { reject: false });
  await lab.until(async () => {
    const [own, there] = await Promise.all(
      [`/proc/${process.pid}/ns/net`, hidden].map((path) => execa('stat', ['-Lc', '%i', path])),
    );
    return own?.stdout === there?.stdout;
  }, 'a process in the namespace');
  await lab.ip(lab.netns, ['link', 'set', 'dev', device, 'netns', String(process.pid)]);
  process.kill();
  await process;
}

const own = () => ['--netns', hidden, '--bpffs', lab.bpffs];
const run = (...words: string[]) => lab.run([...words, ...own()], { bare: true });

unseen('a namespace that was named by a path is looked into by that path', async () => {
  const fallback = lab.bpftoolThat('guard-only', '');
  for (const bpftool of [lab.bpftool.path, fallback]) {
    const watch = await run(
      'watch',
      'pod0',
      '--count',
      '2',
      '--interval',
      '100ms',
      '--bpftool',
      bpftool,
    );
    assert.is(watch.exitCode, 0, watch.stderr);
    assert.equal(await attachedInside(), []);
  }
  assert.is((await run('attach', 'pod0')).exitCode, 0);
  assert.is((await attachedInside()).length, 1);
  const status = await lab.run(['status', '-o', 'json', '--bpffs', lab.bpffs], { bare: true });
  assert.equal(
    listIn(documentIn(status.stdout), 'interfaces').map((each) => each['ownership']),
    ['ours'],
  );
  const detach = await run('detach', 'pod0');
  assert.is(detach.exitCode, 0, detach.stderr);
  assert.equal(await attachedInside(), []);
  assert.equal(lab.pins(), []);
  tried(PROMISE, {
    what: 'a network namespace that only a bind mount elsewhere leads to: `watch` by link and by guard, `attach`, `status`, `detach`',
    times: 4,
    result: 'detached, nothing left',
  });
});

unseen('killed in such a namespace, the run leaves nothing', async () => {
  for (const bpftool of [lab.bpftool.path, lab.bpftoolThat('guard-only', '')]) {
    const started = lab.start(['watch', 'pod0', '--bpftool', bpftool, ...own()], { bare: true });
    await started.says(/attached in/);
    started.child.kill('SIGKILL');
    await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
    assert.equal(await attachedInside(), []);
    assert.equal(lab.pins(), []);
  }
  tried(PROMISE, {
    what: 'SIGKILL of a `watch` in such a namespace, by link and by guard',
    times: 2,
    result: 'detached, nothing left',
  });
});

unseen('what was moved out of sight keeps its pins, and that is told', async () => {
  await lab.addVeth('to-lost0', 'lost0');
  assert.is((await lab.run(['attach', 'lost0'])).exitCode, 0);
  await hide('lost0');
  const [id] = await attachedInside();
  assert.ok(id !== undefined);
  for (const verb of [['clean'], ['detach', '--all']]) {
    const { exitCode, stdout, stderr } = await lab.run(verb);
    assert.is(exitCode, 1, `${verb}: ${stdout}${stderr}`);
    assert.match(`${stdout}${stderr}`, `program ${id} is still attached, in a network namespace`);
    assert.is(lab.pins().length, 1);
    assert.equal(await attachedInside(), [id]);
  }
  await detachXdp(lab.bpftool, 'native', 'lost0', hidden);
  assert.is((await lab.run(['clean'])).exitCode, 0);
  assert.equal(lab.pins(), []);
  tried(PROMISE, {
    what: 'an attached interface moved into a namespace that nothing leads to, then `clean` and `detach --all`',
    times: 2,
    result: 'exit code 1, the pins stay, and the program is named',
  });
});

unseen('moved out of sight under a run: a link ends it, without one it is told', async () => {
  await lab.addVeth('to-lost0', 'lost0');
  await lab.addVeth('to-lost1', 'lost1');
  const linked = lab.start(['watch', 'lost0', '--interval', '10s']);
  await linked.says(/attached in/);
  const bpftool = lab.bpftoolThat('guard-only', '');
  const guarded = lab.start(['watch', 'lost1', '--interval', '10s', '--bpftool', bpftool]);
  await guarded.says(/attached in/);
  for (const device of ['lost0', 'lost1']) await hide(device);
  for (const started of [linked, guarded]) started.child.kill('SIGINT');
  await linked.ended();
  assert.is((await guarded.ended()).exitCode, 1, guarded.stderr);
  assert.match(guarded.stderr, /is still attached, in a network namespace that cannot be seen/);
  assert.is((await attachedInside()).length, 1);
  assert.is(lab.pins().length, 1);
  tried(PROMISE, {
    what: 'an interface moved into a namespace that nothing leads to while `watch` runs, then Ctrl-C',
    times: 2,
    result: 'a link: detached; without one: exit code 1, told, the pins stay',
  });
});

unseen('a list of interfaces that ends early is not believed', async () => {
  await lab.addVeth('to-wide0', 'wide0');
  for (let index = 0; index < 53; index++) {
    const name = `${String(index).padStart(3, '0')}${'x'.repeat(114)}`;
    await lab.ip(lab.netns, ['link', 'property', 'add', 'dev', 'wide0', 'altname', name]);
  }
  assert.equal((await lab.run(['attach', 'wide0'])).exitCode, 0);
  const status = await lab.run(['status', 'wide0', '-o', 'json']);
  assert.is(listIn(documentIn(status.stdout), 'interfaces')[0]?.['ownership'], 'ours');
  assert.is((await lab.run(['detach', 'wide0'])).exitCode, 0);
  const left = await lab.ip(lab.netns, ['-d', '-o', 'link', 'show', 'dev', 'wide0']);
  assert.not.match(left, 'prog/xdp');
  const fallback = lab.bpftoolThat('guard-only', '');
  const started = lab.start(['watch', 'wide0', '--bpftool', fallback]);
  await started.says(/attached in/);
  started.child.kill('SIGKILL');
  await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
  const after = await lab.ip(lab.netns, ['-d', '-o', 'link', 'show', 'dev', 'wide0']);
  assert.not.match(after, 'prog/xdp');
  tried(PROMISE, {
    what: 'an interface with 53 long alternative names, at which the list of bpftool ends: `attach`, `status`, `detach`, SIGKILL',
    times: 4,
    result: 'found, detached, nothing left',
  });
});

unseen('a port and the bridge above it are ended whatever their order', async () => {
  // A tap has native mode, and auto takes it there.
  await lab.ip(lab.netns, ['tuntap', 'add', 'dev', 'port0', 'mode', 'tap']);
  await lab.ip(lab.netns, ['link', 'add', 'name', 'br0', 'type', 'bridge']);
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'port0', 'master', 'br0']);
  const both = ['port0', 'br0'];
  for (const bpftool of [lab.bpftool.path, lab.bpftoolThat('guard-only', '')]) {
    const words = [...both, '--bpftool', bpftool];
    const auto = ['--mode', 'auto'];
    const watch = await lab.run([
      'watch',
      ...words,
      ...auto,
      '--count',
      '1',
      '--interval',
      '100ms',
    ]);
    assert.is(watch.exitCode, 0, watch.stderr);
    assert.equal(await lab.attached(), []);
    assert.is((await lab.run(['attach', ...words, ...auto])).exitCode, 0);
    const detach = await lab.run(['detach', ...words]);
    assert.is(detach.exitCode, 0, detach.stderr);
    assert.equal(await lab.attached(), []);
  }
  assert.equal(lab.pins(), []);
  tried(PROMISE, {
    what: 'a port and the bridge above it, in the order that the kernel refuses to end: `watch`, `attach` and `detach`, by link and by `net attach`',
    times: 4,
    result: 'all detached, nothing left',
  });
});

unseen('one that cannot be detached does not keep the others attached', async () => {
  for (const name of ['one0', 'two0', 'six0']) await lab.addVeth(`to-${name}`, name);
  assert.is((await lab.run(['attach', 'one0', 'two0', 'six0'])).exitCode, 0);
  const bpftool = lab.bpftoolThat(
    'keeps-two',
    `case "$*" in *"net detach"*"dev two0") exit 0 ;; esac`,
  );
  const { exitCode, stdout, stderr } = await lab.run([
    ...['detach', '--all', '-o', 'json', '--bpftool', bpftool],
  ]);
  assert.is(exitCode, 1, stderr);
  assert.match(stderr, /two0: program \d+ is still attached/);
  const document = documentIn(stdout);
  assert.equal(
    listIn(document, 'interfaces')
      .map((each) => each['interface'])
      .sort(),
    ['one0', 'six0'],
  );
  assert.equal(
    listIn(document, 'failed').map((each) => propertyOf(each, 'interface')),
    ['two0'],
  );
  assert.equal(
    (await lab.attached()).map(({ device }) => device),
    ['two0'],
  );
  assert.is((await lab.run(['detach', 'two0'])).exitCode, 0);
  tried(PROMISE, {
    what: '`detach --all` of three, of which one cannot be detached',
    times: 1,
    result: 'the other two detached, the third named, exit code 1',
  });
});

unseen(
  'a program of ours whose pins are gone is said to look like one, with what takes it off',
  async () => {
    assert.is((await lab.run(['attach', 'eth0'])).exitCode, 0);
    rmSync(`${lab.bpffs}/xdpwho`, { recursive: true });
    const { stdout } = await lab.run(['status', 'eth0', '-o', 'json']);
    const [row] = listIn(documentIn(stdout), 'interfaces');
    assert.is(row?.['ownership'], 'foreign');
    const why = String(row?.['why']);
    assert.match(why, /it looks like one of xdpwho/);
    const [, ...words] = (/bpftool (net detach \S+ dev \S+)$/.exec(why)?.[1] ?? '').split(' ');
    await execa('nsenter', [
      `--net=/run/netns/${lab.netns}`,
      '--',
      lab.bpftool.path,
      'net',
      ...words,
    ]);
    assert.equal(await lab.attached(), []);
    tried(PROMISE, {
      what: 'the pins of an attachment removed by hand',
      times: 1,
      result: '`status` says that it looks like ours, and the command that it prints takes it off',
    });
  },
);

/** Renames an interface to `b\\374ro`: in latin-1, and no UTF-8. */
async function renameToBytes(device: string): Promise<void> {
  for (const words of [`${device} down`, `${device} name "$(printf 'b\\374ro')"`]) {
    await execa('sh', ['-c', `ip -n ${lab.netns} link set dev ${words}`]);
  }
}

unseen('an interface whose name is no UTF-8 is detached all the same', async () => {
  for (const bpftool of [lab.bpftool.path, lab.bpftoolThat('guard-only', '')]) {
    for (const signal of ['SIGINT', 'SIGKILL'] as const) {
      await lab.addVeth('to-byte0', 'byte0');
      const run = lab.start(['watch', 'byte0', '--interval', '10s', '--bpftool', bpftool]);
      await run.says(/attached in/);
      await renameToBytes('byte0');
      run.child.kill(signal);
      await run.ended();
      await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
      const left = await lab.ip(lab.netns, ['-d', '-o', 'link', 'show']);
      assert.not.match(left, 'prog/xdp', run.stderr);
      assert.equal(lab.pins(), [], run.stderr);
      await lab.ip(lab.sender, ['link', 'del', 'dev', 'to-byte0']);
    }
  }
  tried(PROMISE, {
    what: 'an interface renamed under `watch` to a name that is no UTF-8, then Ctrl-C or SIGKILL, by link and by guard',
    times: 4,
    result: 'detached, nothing left',
  });
});

unseen('several first runs at once mount one bpffs', async () => {
  const bpffs = `${lab.scratch}/bpffs`;
  const names = ['a0', 'a1', 'a2', 'a3'];
  for (const name of names) await lab.addVeth(`to-${name}`, name);
  for (let round = 0; round < 5; round++) {
    const results = await Promise.all(
      names.map((name) =>
        lab.run(['attach', name, '--netns', lab.netns, '--bpffs', bpffs], { bare: true }),
      ),
    );
    for (const { exitCode, stderr } of results) assert.is(exitCode, 0, stderr);
    const { stdout } = await execa('cat', ['/proc/self/mounts']);
    assert.is(stdout.split('\n').filter((line) => line.includes(` ${bpffs} `)).length, 1);
    const end = ['detach', ...names, '--netns', lab.netns, '--bpffs', bpffs];
    assert.is((await lab.run(end, { bare: true })).exitCode, 0);
    await execa('umount', [bpffs]);
    assert.ok(existsSync(bpffs));
  }
  tried(PROMISE, {
    what: 'four first `attach` at once where no bpffs is mounted',
    times: 5,
    result: 'one mount each time, all four attached, none of their pins hidden',
  });
});

unseen(
  'a directory that others can write to is not believed, nor objects that they can',
  async () => {
    const root = `${lab.bpffs}/xdpwho`;
    mkdirSync(root);
    await execa('chmod', ['0777', root]);
    const refused = await lab.run(['attach', 'eth0', '-o', 'json']);
    assert.is(documentIn(refused.stdout)['code'], 'bad-object', refused.stderr);
    assert.match(refused.stderr, /others can write to it/);
    rmSync(root, { recursive: true });
    const objects = `${lab.scratch}/objects`;
    await execa('cp', ['-r', 'dist/bpf', objects]);
    await execa('chmod', ['0777', `${objects}/el`]);
    const exposed = await lab.run(['attach', 'eth0', '--objects', objects]);
    assert.is(exposed.exitCode, 2, exposed.stderr);
    assert.match(exposed.stderr, /--objects .*: others can write to /);
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: 'a directory of pins that everybody can write to; `--objects` of such a directory',
      times: 2,
      result: 'refused, nothing loaded',
    });
  },
);

unseen('a record of another user is not believed about processes that are not his', async () => {
  const root = `${lab.bpffs}/xdpwho`;
  assert.is((await lab.run(['attach', 'eth0'])).exitCode, 0);
  const [name = ''] = lab.pins();
  const record: unknown = JSON.parse(readlinkSync(`${root}/${name}/state`));
  assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
  mkdirSync(root, { recursive: true });
  await execa('chgrp', ['nogroup', root]);
  await execa('chmod', ['0771', root]);
  const startTicks = readFileSync('/proc/1/stat', 'utf8').split(') ').at(-1)?.split(' ').at(19);
  const holder = {
    pid: 1,
    startTicks,
    pidNamespace: readlinkSync('/proc/self/ns/pid'),
    command: 'watch',
  };
  const forged = JSON.stringify({
    ...Object(record),
    programId: null,
    mode: null,
    reader: null,
    holder,
  });
  const make = `mkdir "$1" && ln -s "$2" "$1/state"`;
  await execa('setpriv', [
    ...['--reuid=nobody', '--regid=nogroup', '--clear-groups', 'sh', '-c', make, 'sh'],
    ...[`${root}/${name}`, forged],
  ]);
  const attach = await lab.run(['attach', 'eth0']);
  assert.is(attach.exitCode, 0, attach.stderr);
  assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
  assert.equal(lab.pins(), []);
  tried(PROMISE, {
    what: 'a record written by another user, which names process 1 as its holder',
    times: 1,
    result: 'not believed: attached, detached, nothing left',
  });
});

unseen('a run in a time namespace of its own is alive for those outside', async () => {
  const under = ['unshare', '-T', '--boottime', '1000000', '--fork', '--kill-child'];
  const watch = ['watch', 'eth0', '--mode', 'generic', '--netns', lab.netns, '--bpffs', lab.bpffs];
  const started = lab.startProgram('unshare', [
    ...under.slice(1),
    process.execPath,
    'bin/xdpwho.js',
    ...watch,
  ]);
  await started.says(/attached in/);
  const { stdout } = await lab.run(['status', 'eth0', '-o', 'json']);
  assert.is(listIn(documentIn(stdout), 'interfaces')[0]?.['ownership'], 'foreground');
  assert.is((await lab.run(['clean'])).exitCode, 0);
  assert.is((await lab.attached()).length, 1);
  started.child.kill('SIGKILL');
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'a `watch` in a time namespace of its own: `status` and `clean` outside of it, then SIGKILL',
    times: 1,
    result: 'alive to both and left alone; nothing left at the end',
  });
});

unseen.run();
