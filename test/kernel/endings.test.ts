import { existsSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { resolveNetns } from '../../src/host/netns.js';
import { udpFrame } from '../../src/model/frames.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { renderCommand } from '../../src/text/shell-words.js';
import { suite } from '../suite.js';
import { USUAL_READER } from './iterators.js';
import {
  BATCH,
  CLI,
  Lab,
  lastReading,
  NO_OPEN_BATCH,
  OBJECTS_DIRECTORY,
  recordsIn,
  WHY_NOT,
} from './lab.js';

const PASS_OBJECT = new ObjectFiles(OBJECTS_DIRECTORY).path('xdpwho').replace('xdpwho.o', 'pass.o');
const WATCH = ['watch', 'eth0', '-o', 'ndjson', '--interval', '100ms'];

/** Attaches a program that is not ours, in the place of one that is there. */
async function attachTheirs(lab: Lab, device: string, type = 'xdpdrv'): Promise<void> {
  const pin = `${lab.bpffs}/theirs`;
  if (!existsSync(pin)) await lab.bpftool.loadProgram(PASS_OBJECT, pin);
  const words = ['-n', 'net', 'attach', type, 'pinned', pin, 'dev', device, 'overwrite'];
  await execa('nsenter', [`--net=/run/netns/${lab.netns}`, '--', lab.bpftool.path, ...words]);
}

const detachTheirs = (lab: Lab, device: string, type = 'xdpdrv') =>
  lab.ip(lab.netns, ['link', 'set', 'dev', device, type, 'off']);

interface Context {
  lab: Lab;
  /** With a stranger's program on another interface, which every run leaves there. */
  before: readonly string[];
}

function inLab(name: string) {
  const test = suite<Context>(name, WHY_NOT);
  test.before(async (context) => {
    const lab = await Lab.create();
    context.lab = lab;
    await lab.addVeth('theirs', 'theirs0');
    await attachTheirs(lab, 'theirs0');
    context.before = await lab.traces();
    assert.is(context.before.length, 1);
  });
  test.after(async ({ lab }) => {
    await lab?.close();
  });
  return test;
}

async function startWatch(lab: Lab, args: readonly string[] = WATCH, ownGroup = false) {
  const run = lab.start(args, { ownGroup });
  await run.says(/attached in/);
  assert.ok((await lab.traces()).length >= 4, 'program, pins, the run and its guard');
  return run;
}

/** A watch for which no link can be had: `net attach` leaves the interface open to others. */
function withoutLink(lab: Lab): string[] {
  return [...WATCH, '--bpftool', lab.bpftoolThat('without-link', '')];
}

/** One line, and perhaps a hint: no trace of a stack, no words of Node or of a shell. */
/** What is said of a run that goes well: also that this kernel gives no iterator, and why auto takes generic mode. */
const TALK =
  /^xdpwho: \S+: (attached in|detached|native mode is not|generic mode, because|no iterator can be pinned \()/;

function saysOneError(stderr: string, message: RegExp): void {
  const lines = stderr
    .trim()
    .split('\n')
    .filter((line) => !TALK.test(line));
  assert.match(lines[0] ?? '', message, stderr);
  assert.match(lines[0] ?? '', /^xdpwho: /);
  if (lines.length > 1) assert.match(lines[1] ?? '', /^ {2}hint: /);
  assert.ok(lines.length <= 2, stderr);
}

const signals = inLab('watch detaches and unpins');

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  signals(`at ${signal}, with a last reading after it has detached`, async ({ lab, before }) => {
    const run = await startWatch(lab, [...WATCH.slice(0, -1), '1h']);
    await lab.send(udpFrame({ source: '192.0.2.1' }), 7);
    run.child.kill(signal);
    const end = await run.ended();
    assert.equal(end, { exitCode: code, signal: null }, run.stderr);
    const records = recordsIn(run.stdout);
    assert.equal(lastReading(records).packets, { '192.0.2.1': 7 });
    assert.equal(
      records.map((record) => record.type),
      ['attached', 'source', 'totals', 'detached'],
    );
    assert.match(run.stderr, /detached\n$/);
    await lab.untilTraces(before);
  });
}

signals('at Ctrl-C pressed again and again', async ({ lab, before }) => {
  const run = await startWatch(lab);
  for (let times = 0; times < 20; times++) {
    run.child.kill(times % 3 === 0 ? 'SIGTERM' : 'SIGINT');
    await new Promise((done) => setTimeout(done, 5));
  }
  // Once all is undone it listens no longer, and a signal just ends it.
  const { exitCode, signal } = await run.ended();
  assert.ok(exitCode === 143 || signal !== null, String(exitCode));
  assert.match(run.stderr, /detached\n$/);
  await lab.untilTraces(before);
});

signals('at a signal that comes at any moment of its beginning', async ({ lab, before }) => {
  for (let delayMs = 100; delayMs < 600; delayMs += 60) {
    const run = lab.start(WATCH);
    await new Promise((done) => setTimeout(done, delayMs));
    run.child.kill('SIGINT');
    const { exitCode, signal } = await run.ended();
    // Before it listens, the signal itself ends it.
    assert.ok(exitCode === 130 || signal === 'SIGINT', `${exitCode} ${signal} ${run.stderr}`);
    assert.not.match(run.stderr, /error/);
    await lab.untilTraces(before);
  }
});

signals('when it is killed', async ({ lab, before }) => {
  const run = await startWatch(lab);
  run.child.kill('SIGKILL');
  await run.ended();
  await lab.untilTraces(before);
});

signals('when its process group is killed', async ({ lab, before }) => {
  const run = await startWatch(lab, WATCH, true);
  process.kill(-run.pid, 'SIGKILL');
  await run.ended();
  await lab.untilTraces(before);
});

signals('when it is stopped and then killed', async ({ lab, before }) => {
  const run = await startWatch(lab);
  run.child.kill('SIGSTOP');
  await new Promise((done) => setTimeout(done, 200));
  assert.is((await lab.attached()).length, 2, 'a stopped run stays attached');
  run.child.kill('SIGKILL');
  await run.ended();
  await lab.untilTraces(before);
});

/** Calls of bpftool that change something, in their order, as a pattern of sh. */
/** Where no iterator can be had, none is pinned with the usual reader. */
const CHANGES = [
  ...['prog load', 'prog show'],
  ...(USUAL_READER === 'iterator' ? ['iter pin*sources', 'iter pin*totals'] : []),
  'net attach',
];

/** A bpftool of the lab's own, with something before or after one of its calls. */
function wrapper(lab: Lab, pattern: string, act: string): string {
  const path = `${lab.scratch}/bpftool-${Math.random().toString(36).slice(2)}`;
  const real = lab.bpftool.path;
  const matches = `*'${pattern.split('*').join("'*'")}'*`;
  const text = `#!/bin/sh\n${NO_OPEN_BATCH}\n${BATCH}\nreal() { '${real}' "$@"; }\ncase "$*" in ${matches})\n${act}\n;; esac\nexec '${real}' "$@"\n`;
  writeFileSync(path, text, { mode: 0o755 });
  return path;
}

signals('when it is killed in the middle of attaching, at any step', async ({ lab, before }) => {
  for (const step of CHANGES) {
    for (const act of [
      'kill -KILL $parent; sleep 0.3; real "$@"; exit',
      'real "$@"; kill -KILL $parent; exit',
    ]) {
      const run = lab.start([...WATCH, '--bpftool', wrapper(lab, step, act)]);
      assert.is((await run.ended()).signal, 'SIGKILL', step);
      await lab.untilTraces(before);
    }
  }
});

signals(
  'when it is interrupted in the middle of attaching, at any step',
  async ({ lab, before }) => {
    for (const step of CHANGES) {
      const act = 'kill -INT $parent; real "$@"; exit';
      const run = lab.start([...WATCH, '--bpftool', wrapper(lab, step, act)]);
      assert.is((await run.ended()).exitCode, 130, `${step}: ${run.stderr}`);
      assert.not.match(run.stderr, /rror/);
      await lab.untilTraces(before);
    }
  },
);

signals('when its terminal is closed', async ({ lab, before }) => {
  for (const args of [['watch', 'eth0', '--interval', '100ms'], WATCH]) {
    const words = [CLI, ...args, '--mode', 'native', '--netns', lab.netns, '--bpffs', lab.bpffs];
    const command = renderCommand(process.execPath, words);
    const terminal = lab.startProgram('script', ['-qfc', `exec ${command}`, '/dev/null']);
    await lab.until(async () => (await lab.attached()).length === 2, 'attached');
    await lab.until(() => /IDLE|packets|totals/.test(terminal.stdout), 'a reading');
    terminal.child.kill('SIGKILL');
    await terminal.ended();
    await lab.untilTraces(before);
  }
});

signals('quietly, with 0, when nobody reads its output any longer', async ({ lab, before }) => {
  for (const format of ['ndjson', 'table']) {
    const words = [CLI, 'watch', 'eth0', '-o', format, '--interval', '100ms', '--mode', 'native'];
    const run = lab.startProgram('sh', [
      ...['-c', '{ "$@"; echo "ended with $?" >&2; } | head -n 1', 'sh', process.execPath],
      ...[...words, '--netns', lab.netns, '--bpffs', lab.bpffs],
    ]);
    await run.ended();
    assert.is(run.stdout.split('\n').length, 2);
    assert.match(run.stderr, /ended with 0\n$/);
    assert.not.match(run.stderr, /EPIPE|rror/);
    await lab.untilTraces(before);
  }
});

signals('with an error when its output cannot be written', async ({ lab, before }) => {
  const words = [CLI, ...WATCH, '--mode', 'native', '--netns', lab.netns, '--bpffs', lab.bpffs];
  const run = lab.startProgram('sh', [
    ...['-c', 'exec "$@" >/dev/full', 'sh', process.execPath, ...words],
  ]);
  assert.is((await run.ended()).exitCode, 1);
  saysOneError(run.stderr, /standard output: .*no space left/i);
  await lab.untilTraces(before);
});

signals('when something throws where nobody awaits it', async ({ lab, before }) => {
  const thrower = `${lab.scratch}/thrower.mjs`;
  writeFileSync(thrower, "process.on('SIGUSR2', () => { throw new Error('a bug\\nof ours'); });\n");
  const run = lab.start(WATCH, { env: { NODE_OPTIONS: `--import ${thrower}` } });
  await run.says(/attached in/);
  run.child.kill('SIGUSR2');
  assert.is((await run.ended()).exitCode, 1);
  saysOneError(run.stderr, /internal error: Error: a bug of ours, please report/);
  await lab.untilTraces(before);
});

signals.run();

const broken = inLab('watch takes back what it did');

/** What bpftool can do at a step, and whether it has done its work by then. */
const FAULTS = {
  'fails before it did anything': `echo '{"error":"it broke"}'; exit 255`,
  'did its work and fails': `real "$@" >/dev/null; echo '{"error":"it broke"}'; exit 255`,
  'did its work and crashes': 'real "$@" >/dev/null; kill -SEGV $$',
  'did its work and prints nonsense': 'real "$@" >/dev/null; echo nonsense; exit 0',
  'did its work and prints an error with status 0': `real "$@" >/dev/null; echo '{"error":"it broke"}'; exit 0`,
} as const;

for (const [fault, act] of Object.entries(FAULTS)) {
  broken(`when bpftool ${fault}, at any step`, async ({ lab, before }) => {
    for (const step of CHANGES) {
      const args = [...WATCH, '--mode', 'native', '--reader', USUAL_READER, '--count', '2'];
      const run = lab.start([...args, '--bpftool', wrapper(lab, step, act)]);
      const { exitCode } = await run.ended();
      assert.ok([1, 5].includes(exitCode ?? 0), `${step}: ${exitCode}: ${run.stderr}`);
      saysOneError(run.stderr, /bpftool|iterator/);
      await lab.untilTraces(before);
    }
  });
}

broken('when bpftool fails in the middle of watching', async ({ lab, before }) => {
  for (const [reader, step] of [
    [USUAL_READER, 'net show'],
    ['dump', 'map dump'],
  ] as const) {
    const act = `if [ -e '${lab.scratch}/broken' ]; then rm '${lab.scratch}/broken'; echo x; exit 9; fi`;
    const args = [...WATCH, '--reader', reader, '--bpftool', wrapper(lab, step, act)];
    const run = await startWatch(lab, args);
    await lab.until(() => run.stdout.includes('totals'), 'a reading');
    writeFileSync(`${lab.scratch}/broken`, '');
    assert.is((await run.ended()).exitCode, 1, run.stderr);
    saysOneError(run.stderr, /bpftool/);
    await lab.untilTraces(before);
  }
});

broken('and says so when it cannot detach', async ({ lab, before }) => {
  const path = wrapper(lab, 'net detach', 'echo null; exit 0');
  const run = await startWatch(lab, [...WATCH, '--bpftool', path]);
  run.child.kill('SIGINT');
  assert.is((await run.ended()).exitCode, 1);
  saysOneError(run.stderr, /eth0: program \d+ is still attached/);
  // Its pins say whose it is; the next run, with a bpftool that works, ends it.
  assert.is((await lab.run(['watch', 'eth0', '--count', '1', '--interval', '100ms'])).exitCode, 0);
  await lab.untilTraces(before);
});

broken.run();

const interfaces = inLab('watch sees what becomes of its interface');

/** An interface of its own, to be deleted, renamed or moved. */
async function watchOther(lab: Lab, name: string, netns = lab.netns, more: readonly string[] = []) {
  await lab.addVeth(`to-${name}`, name);
  if (netns !== lab.netns) await lab.ip(lab.netns, ['link', 'set', 'dev', name, 'netns', netns]);
  const args = ['watch', name, '-o', 'ndjson', '--interval', '100ms'];
  const run = lab.start([...args, ...more, '--netns', netns, '--bpffs', lab.bpffs], { bare: true });
  await run.says(/attached in/);
  return run;
}

interfaces('deleted: says so, and ends with 1', async ({ lab, before }) => {
  const run = await watchOther(lab, 'gone0');
  await lab.ip(lab.netns, ['link', 'del', 'dev', 'gone0']);
  assert.is((await run.ended()).exitCode, 1);
  saysOneError(run.stderr, /gone0: the interface has gone/);
  const last = recordsIn(run.stdout).at(-1);
  assert.is(last?.code, 'interface-gone');
  await lab.untilTraces(before);
});

interfaces('deleted and made again: is not taken for the old one', async ({ lab, before }) => {
  const run = await watchOther(lab, 'again0');
  await lab.until(() => run.stdout.includes('totals'), 'a look');
  run.child.kill('SIGSTOP');
  await lab.ip(lab.netns, ['link', 'del', 'dev', 'again0']);
  await lab.addVeth('to-again0', 'again0');
  run.child.kill('SIGCONT');
  assert.is((await run.ended()).exitCode, 1);
  saysOneError(run.stderr, /again0: the interface has gone, and another has its name/);
  await lab.untilTraces(before);
  await lab.ip(lab.netns, ['link', 'del', 'dev', 'again0']);
});

interfaces('in a namespace that is deleted: says so, and ends with 1', async ({ lab, before }) => {
  const netns = `${lab.netns}-away`;
  await execa('ip', ['netns', 'add', netns]);
  const run = await watchOther(lab, 'away0', netns);
  await execa('ip', ['netns', 'del', netns]);
  assert.is((await run.ended()).exitCode, 1);
  saysOneError(run.stderr, /away0: the interface has gone/);
  await lab.untilTraces(before);
  // The guard was the last that held the namespace.
  await lab.until(
    async () => !(await lab.ip(lab.sender, ['-o', 'link'])).includes('to-away0'),
    'the namespace has gone',
  );
});

interfaces('renamed: says so, goes on counting, and detaches', async ({ lab, before }) => {
  const run = await watchOther(lab, 'old0');
  const ifindex = await lab.ifindex('to-old0');
  await lab.send(udpFrame({ source: '192.0.2.1' }), 3, { ifindex });
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'old0', 'down']);
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'old0', 'name', 'new0']);
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'new0', 'up']);
  await run.says(/the interface is called new0 now/);
  await lab.send(udpFrame({ source: '192.0.2.1' }), 4, { ifindex });
  run.child.kill('SIGINT');
  assert.is((await run.ended()).exitCode, 130, run.stderr);
  assert.equal(lastReading(recordsIn(run.stdout)).packets, { '192.0.2.1': 7 });
  assert.is(run.stderr.match(/is called/g)?.length, 1, 'it says so once');
  await lab.untilTraces(before);
  await lab.ip(lab.netns, ['link', 'del', 'dev', 'new0']);
});

interfaces('renamed, and then it is killed: the guard finds it', async ({ lab, before }) => {
  const run = await watchOther(lab, 'older0');
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'older0', 'down']);
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'older0', 'name', 'newer0']);
  run.child.kill('SIGKILL');
  await run.ended();
  await lab.untilTraces(before);
  await lab.ip(lab.netns, ['link', 'del', 'dev', 'newer0']);
});

interfaces('moved to another namespace: detaches it there', async ({ lab, before }) => {
  const run = await watchOther(lab, 'moved0');
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'moved0', 'netns', lab.sender]);
  assert.is((await run.ended()).exitCode, 1);
  saysOneError(run.stderr, /moved0: the interface has gone/);
  await lab.untilTraces(before);
  await lab.ip(lab.sender, ['link', 'del', 'dev', 'moved0']);
});

interfaces('moved, and then it is killed: the guard finds it', async ({ lab, before }) => {
  const run = await watchOther(lab, 'moves0');
  run.child.kill('SIGSTOP');
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'moves0', 'netns', lab.sender]);
  run.child.kill('SIGKILL');
  await run.ended();
  await lab.untilTraces(before);
  await lab.ip(lab.sender, ['link', 'del', 'dev', 'moves0']);
});

interfaces('moved, and the first way into that namespace fails', async ({ lab, before }) => {
  const { inode, path } = resolveNetns(lab.sender);
  const other = lab.startProgram('nsenter', [`--net=${path}`, '--', 'sleep', '120']);
  const failing = `${lab.scratch}/fails-once`;
  const there = `[ "$(stat -L -c %i /proc/self/ns/net)" = ${inode} ]`;
  const act = `if ${there} && rm ${failing} 2>/dev/null; then exit 1; fi`;
  const run = await watchOther(lab, 'lost0', lab.netns, [
    '--bpftool',
    wrapper(lab, 'net show', act),
  ]);
  run.child.kill('SIGSTOP');
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'lost0', 'netns', lab.sender]);
  writeFileSync(failing, '');
  run.child.kill('SIGKILL');
  await run.ended();
  await lab.untilTraces(before);
  assert.not.ok(existsSync(failing), 'it has failed');
  other.child.kill('SIGKILL');
  await other.ended();
  await lab.ip(lab.sender, ['link', 'del', 'dev', 'lost0']);
});

interfaces(
  "taken over by a stranger's program: ends with 4, and leaves it",
  async ({ lab, before }) => {
    const run = await startWatch(lab, withoutLink(lab));
    await attachTheirs(lab, 'eth0');
    assert.is((await run.ended()).exitCode, 4);
    const [theirs] = (await lab.attached()).filter((each) => each.device === 'eth0');
    saysOneError(
      run.stderr,
      new RegExp(`eth0: another program .* id ${theirs?.programId}; left alone`),
    );
    assert.is(recordsIn(run.stdout).at(-1)?.code, 'not-ours');
    await detachTheirs(lab, 'eth0');
    await lab.untilTraces(before);
  },
);

interfaces(
  'taken over, and then it is killed: the guard leaves it alone',
  async ({ lab, before }) => {
    const run = await startWatch(lab, withoutLink(lab));
    run.child.kill('SIGSTOP');
    await attachTheirs(lab, 'eth0');
    run.child.kill('SIGKILL');
    await run.ended();
    await lab.until(async () => (await lab.guards()).length === 0, 'the guard has done its work');
    assert.is((await lab.attached()).filter((each) => each.device === 'eth0').length, 1);
    await detachTheirs(lab, 'eth0');
    await lab.untilTraces(before);
  },
);

interfaces('detached by somebody else: says so', async ({ lab, before }) => {
  const run = await startWatch(lab, withoutLink(lab));
  await detachTheirs(lab, 'eth0');
  assert.is((await run.ended()).exitCode, 3);
  saysOneError(run.stderr, /eth0: somebody else detached our program/);
  await lab.untilTraces(before);
});

interfaces('one of two deleted: goes on with the other', async ({ lab, before }) => {
  await lab.addVeth('to-first0', 'first0');
  const args = ['watch', 'first0', 'eth0', '-o', 'ndjson', '--interval', '100ms'];
  const run = lab.start(args);
  await run.says(/eth0: attached in/);
  await lab.ip(lab.netns, ['link', 'del', 'dev', 'first0']);
  await run.says(/first0: .*the interface has gone/);
  await lab.send(udpFrame({ source: '192.0.2.1' }), 9);
  run.child.kill('SIGINT');
  await run.ended();
  const records = recordsIn(run.stdout).filter((each) => each.interface === 'eth0');
  assert.equal(lastReading(records).packets, { '192.0.2.1': 9 });
  await lab.untilTraces(before);
});

interfaces.run();

const guard = inLab('the guard');

const pidsOf = (lines: readonly string[]) =>
  lines.map((line) => Number(line.trim().split(/\s/)[0])).filter((pid) => pid > 0);

guard('that is killed is replaced by another, which does its work', async ({ lab, before }) => {
  const run = await startWatch(lab);
  const [first] = pidsOf(await lab.guards());
  assert.ok(first !== undefined);
  process.kill(first, 'SIGKILL');
  await lab.until(async () => {
    const [pid] = pidsOf(await lab.guards());
    return pid !== undefined && pid !== first;
  }, 'another guard');
  await lab.until(() => run.stdout.includes('totals'), 'it goes on');
  run.child.kill('SIGKILL');
  await run.ended();
  await lab.untilTraces(before);
});

guard('takes no signal but the last', async ({ lab, before }) => {
  const run = await startWatch(lab);
  const [pid] = pidsOf(await lab.guards());
  assert.ok(pid !== undefined);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGTSTP'] as const) {
    process.kill(pid, signal);
  }
  await lab.until(() => run.stdout.includes('totals'), 'it goes on');
  assert.equal(pidsOf(await lab.guards()), [pid]);
  run.child.kill('SIGKILL');
  await run.ended();
  await lab.untilTraces(before);
});

guard(
  'killed together with its run leaves an attachment that the next run ends',
  async ({ lab, before }) => {
    const run = await startWatch(lab, withoutLink(lab));
    const [pid] = pidsOf(await lab.guards());
    assert.ok(pid !== undefined);
    // Stopped, so that it does not replace its guard.
    run.child.kill('SIGSTOP');
    process.kill(pid, 'SIGKILL');
    run.child.kill('SIGKILL');
    await run.ended();
    assert.is((await lab.attached()).length, 2, 'there is nobody left who would detach');
    const next = await lab.run(['watch', 'eth0', '--count', '1', '--interval', '100ms']);
    assert.is(next.exitCode, 0, next.stderr);
    await lab.untilTraces(before);
  },
);

guard.run();

const second = inLab('an interface that is taken');

second('by another watch is refused, and the first goes on', async ({ lab, before }) => {
  const first = await startWatch(lab);
  const { exitCode, stderr } = await lab.run(WATCH);
  assert.is(exitCode, 1);
  saysOneError(stderr, new RegExp(`eth0: held by xdpwho watch, process ${first.pid}`));
  assert.match(stderr, new RegExp(`hint: end it: kill ${first.pid}`));
  await lab.send(udpFrame({ source: '192.0.2.1' }), 5);
  first.child.kill('SIGINT');
  assert.is((await first.ended()).exitCode, 130);
  assert.equal(lastReading(recordsIn(first.stdout)).packets, { '192.0.2.1': 5 });
  await lab.untilTraces(before);
});

second('by two at once goes to one of them', async ({ lab, before }) => {
  const args = ['watch', 'eth0', '--interval', '100ms', '--duration', '2s'];
  const runs = await Promise.all([1, 2, 3].map(() => lab.run(args)));
  assert.equal(runs.map((run) => run.exitCode).sort(), [0, 1, 1]);
  for (const run of runs.filter(({ exitCode }) => exitCode === 1)) {
    saysOneError(run.stderr, /eth0: .*(held by xdpwho watch|another xdpwho)/);
  }
  await lab.untilTraces(before);
});

for (const [mode, type] of [
  ['native', 'xdpdrv'],
  ['generic', 'xdpgeneric'],
] as const) {
  second(`by a stranger's program in ${mode} mode is left alone`, async ({ lab, before }) => {
    await attachTheirs(lab, 'eth0', type);
    const held = await lab.traces();
    const theirs = (await lab.attached()).find((each) => each.device === 'eth0');
    assert.is(theirs?.mode, mode);
    for (const asked of ['auto', 'native', 'generic']) {
      const { exitCode, stderr, stdout } = await lab.run([...WATCH, '--mode', asked]);
      assert.is(exitCode, 4, stderr);
      const what = `eth0: held by another program: id ${theirs?.programId}, name pass, ${mode} mode`;
      saysOneError(stderr, new RegExp(what));
      assert.is(recordsIn(stdout).at(-1)?.code, 'interface-busy');
      await lab.untilTraces(held);
    }
    await detachTheirs(lab, 'eth0', type);
    await lab.untilTraces(before);
  });
}

second(
  'by a stranger on the second interface: the first is given back',
  async ({ lab, before }) => {
    const { exitCode, stderr } = await lab.run(['watch', 'eth0', 'theirs0', '--interval', '100ms']);
    assert.is(exitCode, 4);
    saysOneError(stderr, /theirs0: held by another program/);
    await lab.untilTraces(before);
  },
);

second.run();
