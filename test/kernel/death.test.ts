/** Every way of dying, at every moment: what was attached is gone afterwards, or is told and collected. */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { endianness } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { pinsAt } from '../../src/attachment/pin-paths.js';
import { readState, writeState } from '../../src/attachment/record.js';
import { cgroupPlaces } from '../../src/host/kernel.js';
import { udpFrame } from '../../src/model/frames.js';
import { decodeTotals, parseTotalsLine } from '../../src/table/decode.js';
import { someOf, timesOf, tried } from '../reliability.js';
import { suite } from '../suite.js';
import { USUAL_READER } from './iterators.js';
import {
  CLI,
  documentIn,
  holderPid,
  Lab,
  lastReading,
  listIn,
  recordsIn,
  type Started,
  WHY_NO_TCX,
  WHY_NOT,
} from './lab.js';

const LITTLE_ENDIAN = endianness() === 'LE';
const PROMISE = 'What it attached is gone when its run is gone, however that ended';

const LABS = 3;
const RANDOM_MOMENTS = timesOf(200, 48);
const AFTER_ATTACHED_MS = 300;

const labs: Lab[] = [];
/** How many bpftools of ours there are: each has a name of its own. */
let wrappers = 0;

/** The first of them, for what needs only one. */
function first(): Lab {
  const [lab] = labs;
  if (lab === undefined) throw new Error('no lab');
  return lab;
}

const death = suite(PROMISE, WHY_NOT);

death.before(async () => {
  for (let count = 0; count < LABS; count++) labs.push(await Lab.create({ bridged: true }));
});
death.after(async () => {
  await Promise.all(labs.map((lab) => lab.close()));
});

/** Work for every lab at once, each taking the next item when it is done with one. */
async function share<T>(items: readonly T[], work: (lab: Lab, item: T) => Promise<void>) {
  const left = [...items];
  const lane = async (lab: Lab) => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(lab, item);
  };
  await Promise.all(labs.map(lane));
}

/** Starts `watch` and waits until it is attached. */
async function watching(lab: Lab, ...args: string[]): Promise<Started> {
  const run = lab.start(['watch', 'eth0', '--interval', '200ms', ...args]);
  await run.says(/attached (in native mode|at TCX)/);
  return run;
}

/** For a command that a test starts by itself. */
function ownArguments(lab: Lab, args: readonly string[] = []): string[] {
  const mode = args.includes('--sent') ? [] : ['--mode', 'generic'];
  return ['--netns', lab.netns, '--bpffs', lab.bpffs, ...mode];
}

/** The two hooks of a run: XDP, and TCX, which is held in the same way. */
const HOOKS: readonly (readonly string[])[] = WHY_NO_TCX === undefined ? [[], ['--sent']] : [[]];

/** For the table: `watch`, or `watch --sent`. */
function hookWords(hook: readonly string[]): string {
  return hook.length === 0 ? '' : ` (\`watch ${hook.join(' ')}\`, at TCX)`;
}

/** What holds a run's program: a link, or, with a bpftool of which none can be had, the guard. */
const HOLDS = ['link', 'guard'] as const;
type Hold = (typeof HOLDS)[number];

/** The arguments that make a run be held in this way; `body` is sh that its bpftool runs first. */
function holdArguments(lab: Lab, hold: Hold, body = ''): string[] {
  const name = `holding${++wrappers}`;
  return ['--bpftool', lab.bpftoolThat(name, body, { keepsOpen: hold === 'link' })];
}

/** Starts `watch`, and waits until it is attached in this way. */
async function watchingBy(lab: Lab, hold: Hold): Promise<Started> {
  const run = await watching(lab, ...holdArguments(lab, hold));
  await lab.until(async () => (await statusOf(lab)).held_by === hold, `held by the ${hold}`);
  return run;
}

/** For the table: what is tried, and where no link can be had. */
const HOLD_WORDS: Readonly<Record<Hold, string>> = {
  link: '',
  guard: ', where no link can be had',
};

/** What is left of a run after its guard could do nothing: attached only where it had no link. */
async function remains(lab: Lab, hold: Hold): Promise<void> {
  if (hold === 'guard') await goesOn(lab);
  else await lab.until(async () => (await lab.attached()).length === 0, 'detached');
  assert.is(lab.pins().length, 1);
  assert.is((await statusOf(lab)).ownership, 'stale');
}

/** For the table: what `remains` has seen, and what collected it. */
function remainsWords(hold: Hold, collected: string): string {
  const state =
    hold === 'link' ? 'nothing attached; the pins stay, and' : 'stays attached and passes packets;';
  return `${state} \`status\` says stale; ${collected} collected it`;
}

/** The process that guards the only attachment in a lab. */
async function guardPid(lab: Lab): Promise<number> {
  const [line, ...more] = await lab.guards();
  assert.is(more.length, 0, 'one guard for one attachment');
  return Number.parseInt(line?.trim() ?? '', 10);
}

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** What a program that nobody detached goes on doing, and no more: every packet is counted, and gets to the stack. */
async function goesOn(lab: Lab): Promise<void> {
  assert.is((await lab.attached()).length, 1);
  const [name] = lab.pins();
  const pins = `${lab.bpffs}/xdpwho/${name}`;
  const packets = async () => {
    if (existsSync(`${pins}/totals`)) {
      return Number(parseTotalsLine(readFileSync(`${pins}/totals`, 'latin1')).ipv4);
    }
    const entries = await lab.bpftool.dumpMap(`${pins}/maps/totals`);
    return Number(decodeTotals(entries, LITTLE_ENDIAN).ipv4);
  };
  const before = { counted: await packets(), delivered: await lab.countDelivered() };
  await lab.send(udpFrame({ source: '192.0.2.1' }), 10);
  assert.is((await packets()) - before.counted, 10);
  await lab.until(async () => (await lab.countDelivered()) - before.delivered === 10, 'delivered');
}

/** Whose the only attachment of a lab is, and why. */
async function statusOf(lab: Lab): Promise<Readonly<Record<string, unknown>>> {
  const status = documentIn((await lab.run(['status', '--json'])).stdout);
  return listIn(status, 'interfaces')[0] ?? {};
}

/** What to do to the run at one of its commands. */
const FAULTS = {
  'before it': 'kill -9 $run; exit 1',
  'and the command goes on without it': 'kill -9 $run; sleep 0.2',
  'and the command with it': '"$bpftool" "$@" & kill -9 $run $!; exit 1',
  'after it': '"$bpftool" "$@"; kill -9 $run; exit 0',
} as const;

/** Text of sh that finds the run that a command belongs to: it, or its guard, has started the command. */
const FIND_RUN = `run=$$
until grep -q bin/xdpwho.js /proc/$run/cmdline; do
  run=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$run/status)
  [ "$run" -gt 1 ] || exit 1
done`;

type Fault = keyof typeof FAULTS;

/** A bpftool that does that at the nth command that has this verb, once: the guard uses it too. */
function faultyBpftool(
  lab: Lab,
  verb: string,
  nth: number,
  fault: Fault,
  { keepsOpen = false } = {},
): string {
  const name = `faulty${++wrappers}`;
  const fired = `${lab.scratch}/${name}-fired`;
  const seen = `${lab.scratch}/${name}-seen`;
  return lab.bpftoolThat(
    name,
    `case " $* " in *" ${verb} "*)
  echo x >>${seen}
  if [ "$(wc -l <${seen})" -eq ${nth} ] && mkdir ${fired} 2>/dev/null; then
    ${FIND_RUN}
    ${FAULTS[fault]}
  fi
esac`,
    { keepsOpen },
  );
}

function hasFired(lab: Lab, bpftool: string): boolean {
  return readdirSync(lab.scratch).some((entry) => `${lab.scratch}/${entry}` === `${bpftool}-fired`);
}

interface Stage {
  readonly args: readonly string[];
  readonly verb: string;
  readonly nth: number;
}

/** The commands of each verb of ours, in their order. */
const MAKING = [
  { verb: 'net show', nth: 1 },
  { verb: 'prog load', nth: 1 },
  { verb: 'prog show', nth: 1 },
  { verb: 'iter pin', nth: 1 },
  ...(USUAL_READER === 'iterator' ? [{ verb: 'iter pin', nth: 2 }] : []),
  { verb: 'net attach', nth: 1 },
];
/** The iterator over the ring. */
const OF_LOG = USUAL_READER === 'iterator' ? [{ verb: 'iter pin', nth: 3 }] : [];
const STAGES: readonly Stage[] = [
  ...[...MAKING, { verb: 'net show', nth: 3 }, { verb: 'net detach', nth: 1 }].map((stage) => ({
    args: ['watch', 'eth0', '--interval', '100ms', '--count', '2'],
    ...stage,
  })),
  ...[...MAKING, ...OF_LOG, { verb: 'net detach', nth: 1 }].map((stage) => ({
    args: ['log', 'eth0', '--duration', '300ms'],
    ...stage,
  })),
  ...MAKING.map((stage) => ({ args: ['attach', 'eth0'], ...stage })),
];

/** At TCX there is always a link; `batch file` is what holds it. */
const STAGES_AT_TCX: readonly Stage[] = [
  ...MAKING.filter(({ verb }) => verb !== 'net attach'),
  { verb: 'batch file', nth: 1 },
].map((stage) => ({
  args: ['watch', 'eth0', '--sent', '--interval', '100ms', '--count', '2'],
  ...stage,
}));

death('SIGKILL at each of the commands of watch, log and attach leaves nothing', async () => {
  const faults = Object.keys(FAULTS) as readonly string[];
  const at = (stages: readonly Stage[]) =>
    someOf(stages.flatMap((stage) => faults.map((fault) => ({ stage, fault }))));
  const cases = [...at(STAGES), ...(HOOKS.length > 1 ? at(STAGES_AT_TCX) : [])];
  let fired = 0;
  await share(cases, async (lab, { stage, fault }) => {
    const name = `${stage.args[0]}, ${stage.nth}. ${stage.verb}, ${fault}`;
    const keepsOpen = stage.args.includes('--sent');
    const how = faultNamed(fault);
    const bpftool = faultyBpftool(lab, stage.verb, stage.nth, how, { keepsOpen });
    const run = lab.start([...stage.args, '--bpftool', bpftool]);
    const { signal } = await run.ended();
    assert.is(signal, 'SIGKILL', `${name}: ${run.stderr}`);
    assert.ok(hasFired(lab, bpftool), name);
    fired++;
    await lab.untilNothingLeft();
  });
  assert.is(fired, cases.length);
  tried(PROMISE, {
    what: `SIGKILL of \`watch\`, \`watch --sent\`, \`log\` and \`attach\` at each bpftool command: before it, in it, after it, and with it going on alone`,
    times: fired,
    result: 'nothing attached, pinned or running afterwards',
  });
});

function faultNamed(name: string): Fault {
  for (const fault of Object.keys(FAULTS)) {
    if (fault === name && isFault(fault)) return fault;
  }
  throw new Error(name);
}

function isFault(name: string): name is Fault {
  return Object.hasOwn(FAULTS, name);
}

death('SIGKILL in the middle of detach leaves what the next detach ends', async () => {
  const verbs = ['net show', 'prog show', 'net detach'];
  const cases = someOf(
    verbs.flatMap((verb) => Object.keys(FAULTS).map((fault) => ({ verb, fault }))),
  );
  await share(cases, async (lab, { verb, fault }) => {
    const name = `${verb}, ${fault}`;
    assert.is((await lab.run(['attach', 'eth0'])).exitCode, 0, name);
    const bpftool = faultyBpftool(lab, verb, 1, faultNamed(fault));
    const run = lab.start(['detach', 'eth0', '--bpftool', bpftool]);
    assert.is((await run.ended()).signal, 'SIGKILL', name);
    // A command that went on alone ends within that time.
    await sleep(300);
    const { exitCode, stderr } = await lab.run(['detach', 'eth0']);
    assert.is(exitCode, 0, `${name}: ${stderr}`);
    await lab.untilNothingLeft();
  });
  tried(PROMISE, {
    what: 'SIGKILL of `detach` at each bpftool command, in the same four ways',
    times: cases.length,
    result: 'the next `detach` ended what was left',
  });
});

const RANDOM_RUNS = [
  ['watch', 'eth0', '--interval', '100ms'],
  ['log', 'eth0'],
  ['watch', 'eth0', '--interval', '100ms', '--reader', 'dump'],
  ['attach', 'eth0'],
];

death('SIGKILL at a random moment leaves nothing, or a whole attachment of attach', async () => {
  const spanMs = await wholeRunMs();
  const runs = Array.from({ length: RANDOM_MOMENTS }, (_, index) => ({
    args: RANDOM_RUNS[index % RANDOM_RUNS.length] ?? [],
    // Half of them from the start on, half from the moment on that the program is there.
    fromAttached: index % (2 * RANDOM_RUNS.length) >= RANDOM_RUNS.length,
  }));
  const found = { attached: 0, kept: 0, tooLate: 0 };
  await share(runs, async (lab, { args, fromAttached }) => {
    const run = lab.start(args);
    if (fromAttached) {
      await lab.until(async () => (await lab.attached()).length > 0, 'attached');
      await sleep(randomInt(AFTER_ATTACHED_MS));
    } else {
      await sleep(randomInt(spanMs));
    }
    if ((await lab.attached()).length > 0) found.attached++;
    run.child.kill('SIGKILL');
    if ((await run.ended()).signal !== 'SIGKILL') found.tooLate++;
    await lab.until(async () => (await lab.guards()).length === 0, 'no guard left');
    if (args[0] !== 'attach') {
      await lab.untilNothingLeft();
      return;
    }
    const there = (await lab.attached()).length;
    assert.is(lab.pins().length, there, 'pins without an attachment, or the reverse');
    if (there === 0) return;
    found.kept++;
    assert.is((await statusOf(lab)).ownership, 'ours');
    assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
    await lab.untilNothingLeft();
  });
  assert.ok(found.attached > 0, 'some moments lay after attaching');
  assert.ok(found.attached < RANDOM_MOMENTS, 'some moments lay before attaching');
  tried(PROMISE, {
    what: `SIGKILL of \`watch\` (twice in four), \`log\` and \`attach\` at a random moment: half within ${spanMs} ms of the start, half within ${AFTER_ATTACHED_MS} ms of being attached`,
    times: RANDOM_MOMENTS,
    result: `${found.attached} were attached at that moment; nothing left of any \`watch\` or \`log\`; ${found.kept} of the \`attach\` runs had done their work, and it was whole`,
  });
});

/** What a run takes here, with others beside it, from its start until it is attached, and half of that. */
async function wholeRunMs(): Promise<number> {
  const startMs = performance.now();
  await share(labs, async (lab) => {
    const run = await watching(lab);
    run.child.kill('SIGKILL');
    await lab.untilNothingLeft();
  });
  return Math.ceil((performance.now() - startMs) * 1.2);
}

death('a guard that is killed is replaced, as often as it is killed', async () => {
  const lab = first();
  const run = await watching(lab);
  const rounds = 8;
  let pid = await guardPid(lab);
  for (let round = 0; round < rounds; round++) {
    const killed = pid;
    process.kill(killed, 'SIGKILL');
    await lab.until(async () => {
      const [line = ''] = await lab.guards();
      pid = Number.parseInt(line.trim(), 10);
      return pid > 0 && pid !== killed && isRunning(pid);
    }, 'another guard');
  }
  // The new one has been told which program to detach.
  await sleep(100);
  run.child.kill('SIGKILL');
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'SIGKILL of the guard, again and again, then of its run',
    times: rounds,
    result: 'replaced each time; nothing left',
  });
});

for (const hold of HOLDS) {
  death(
    `a guard killed at once with its run, held by the ${hold}, leaves what is told as stale, until the next run`,
    async () => {
      const lab = first();
      for (const collect of [
        ['watch', 'eth0', '--interval', '100ms', '--count', '1'],
        ['clean'],
        ['detach', 'eth0'],
      ]) {
        const run = await watchingBy(lab, hold);
        const guard = await guardPid(lab);
        const group = cgroupOf(guard);
        // Stopped, it cannot start another guard.
        process.kill(run.pid, 'SIGSTOP');
        process.kill(guard, 'SIGKILL');
        process.kill(run.pid, 'SIGKILL');
        await run.ended();
        await lab.until(() => !isRunning(guard), 'the guard is dead');
        await remains(lab, hold);
        giveItsProcessId(lab);
        assert.is((await statusOf(lab)).ownership, 'stale', 'its process id is used again');
        const { exitCode, stderr } = await lab.run(collect);
        assert.is(exitCode, 0, stderr);
        await lab.untilNothingLeft();
        assert.ok(group === undefined || !existsSync(group), 'its cgroup went too');
      }
      tried(PROMISE, {
        what: `SIGKILL of the guard and its run at once${HOLD_WORDS[hold]}`,
        times: 3,
        result: remainsWords(hold, 'the next run, `clean` or `detach`'),
      });
    },
  );
}

death(
  'a guard that comes late, when the next run has the interface, leaves that alone',
  async () => {
    const lab = first();
    for (const verb of [
      ['watch', 'eth0', '--interval', '200ms'],
      ['attach', 'eth0'],
    ]) {
      const run = await watching(lab);
      const guard = await guardPid(lab);
      process.kill(guard, 'SIGSTOP');
      run.child.kill('SIGKILL');
      await run.ended();
      const next = lab.start(verb);
      await next.says(/attached in native mode/);
      if (verb[0] === 'attach') await next.ended();
      const [there] = await lab.attached();
      const pins = listing(lab);
      process.kill(guard, 'SIGCONT');
      await lab.until(() => !isRunning(guard), 'the late guard has ended');
      assert.equal(await lab.attached(), [there]);
      assert.equal(listing(lab), pins);
      await goesOn(lab);
      next.child.kill('SIGTERM');
      await next.ended();
      if (verb[0] === 'attach') assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
      await lab.untilNothingLeft();
    }
    tried(PROMISE, {
      what: 'the guard of a killed run stopped until the next run is attached, by `watch` or `attach`, then set going',
      times: 2,
      result:
        'the next run collects what the first has left; its own program, pins and record stay',
    });
  },
);

/** As if this process had got the process id of the run that held the only attachment of a lab. */
function giveItsProcessId(lab: Lab): void {
  const pins = pinsAt(lab.bpffs, lab.pins()[0] ?? '');
  const state = readState(pins);
  if (state === undefined || state.holder === null) throw new Error('nobody held it');
  writeState(pins, { ...state, holder: { ...state.holder, pid: process.pid } });
}

/** All pins of a lab. */
function listing(lab: Lab): string[] {
  return readdirSync(`${lab.bpffs}/xdpwho`, { recursive: true, encoding: 'utf8' }).sort();
}

/** The cgroup that a guard has for itself, if it has one. */
function cgroupOf(guard: number): string | undefined {
  const own = /^0::(.*)$/m.exec(readFileSync(`/proc/${guard}/cgroup`, 'utf8'))?.[1];
  const root = cgroupPlaces()?.root;
  return root !== undefined && own?.includes('/xdpwho-') ? `${root}${own}` : undefined;
}

death('SIGKILL of the whole process group leaves nothing', async () => {
  const lab = first();
  const run = lab.start(['watch', 'eth0', '--interval', '200ms'], { ownGroup: true });
  await run.says(/attached (in native mode|at TCX)/);
  process.kill(-run.pid, 'SIGKILL');
  await lab.untilNothingLeft();
  tried(PROMISE, { what: 'SIGKILL of the process group', times: 1, result: 'nothing left' });
});

death('SIGSTOP keeps it attached, and SIGKILL after that leaves nothing', async () => {
  const lab = first();
  const run = await watching(lab);
  process.kill(run.pid, 'SIGSTOP');
  await sleep(500);
  assert.is((await lab.attached()).length, 1);
  process.kill(run.pid, 'SIGKILL');
  await lab.untilNothingLeft();
  tried(PROMISE, { what: 'SIGSTOP, then SIGKILL', times: 1, result: 'nothing left' });
});

death('a terminal that is closed leaves nothing', async () => {
  const lab = first();
  const own = ownArguments(lab);
  const command = [process.execPath, CLI, 'watch', 'eth0', ...own].join(' ');
  // It holds the other side of the terminal.
  const terminal = spawn('script', ['-qc', `exec ${command}`, '/dev/null'], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const ended = once(terminal, 'exit');
  try {
    await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  } finally {
    terminal.kill('SIGKILL');
  }
  await ended;
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'the terminal closed under it (a real one, of `script`)',
    times: 1,
    result: 'nothing left',
  });
});

for (const hook of HOOKS) {
  death(
    `a cgroup that is killed with all that is in it leaves nothing where the guard can have its own${hookWords(hook)}`,
    async () => {
      const lab = first();
      const group = makeCgroup();
      if (group === undefined) {
        // Without a place of its own, the guard dies with its run: like the two killed at once.
        const run = await watching(lab, ...hook);
        assert.is((await lab.guards()).length, 1);
        run.child.kill('SIGKILL');
        await lab.untilNothingLeft();
        tried(PROMISE, {
          what: `a killed cgroup${hookWords(hook)}`,
          times: 0,
          result: 'no cgroup can be made on this host: see "killed at once"',
        });
        return;
      }
      try {
        const own = [...hook, ...ownArguments(lab, hook)];
        const script = `echo $$ >"$1/cgroup.procs"; shift; exec "$@"`;
        const args = ['-c', script, 'sh', group, process.execPath, CLI, 'watch', 'eth0', ...own];
        const run = execa('sh', args, { reject: false });
        const isHeld = async () => (await statusOf(lab)).held_by === 'link';
        await lab.until(isHeld, 'attached');
        await lab.until(() => lab.pins().length === 1, 'pinned');
        const guardGroup = cgroupOf(await guardPid(lab));
        assert.ok(guardGroup !== undefined && guardGroup !== group);
        writeFileSync(`${group}/cgroup.kill`, '1');
        assert.is((await run).signal, 'SIGKILL');
        await lab.untilNothingLeft();
        assert.not(existsSync(guardGroup), 'the cgroup of the guard went too');
      } finally {
        await endCgroup(group);
      }
      tried(PROMISE, {
        what: `its cgroup killed (\`cgroup.kill\`, what a service manager does)${hookWords(hook)}`,
        times: 1,
        result: 'nothing left, the cgroup of the guard neither',
      });
    },
  );
}

for (const hold of HOLDS) {
  death(
    `a cgroup that is killed where the guard can have none of its own, held by the ${hold}, leaves what is told and collected`,
    async () => {
      const lab = first();
      const root = cgroupPlaces()?.root;
      const group = makeCgroup();
      if (root === undefined || group === undefined) {
        tried(PROMISE, {
          what: `a killed cgroup, the hierarchy read-only${HOLD_WORDS[hold]}`,
          times: 0,
          result: 'no cgroup can be made on this host: see "killed at once"',
        });
        return;
      }
      try {
        const own = [...ownArguments(lab), ...holdArguments(lab, hold)];
        const script = `echo $$ >"$1/cgroup.procs"; mount -o remount,bind,ro "$2"; shift 2; exec "$@"`;
        const command = [process.execPath, CLI, 'watch', 'eth0', '--interval', '200ms', ...own];
        const args = ['sh', '-c', script, 'sh', group, root, ...command];
        const run = lab.startProgram('unshare', ['-m', '--propagation', 'private', ...args]);
        await run.says(/attached in generic mode/);
        assert.is((await statusOf(lab)).held_by, hold);
        assert.is(cgroupOf(await guardPid(lab)), group, 'it has none of its own');
        writeFileSync(`${group}/cgroup.kill`, '1');
        assert.is((await run.ended()).signal, 'SIGKILL');
        await lab.until(async () => (await lab.guards()).length === 0, 'the guard is dead');
        await remains(lab, hold);
        const { exitCode, stderr } = await lab.run(['clean']);
        assert.is(exitCode, 0, stderr);
        await lab.untilNothingLeft();
      } finally {
        await endCgroup(group);
      }
      tried(PROMISE, {
        what: `its cgroup killed, where the hierarchy is read-only and the guard has no cgroup of its own${HOLD_WORDS[hold]}`,
        times: 1,
        result: remainsWords(hold, '`clean`'),
      });
    },
  );
}

for (const hold of HOLDS) {
  death(
    `the end of its pid namespace, guard and all, held by the ${hold}, leaves what is told and collected from outside`,
    async () => {
      const lab = first();
      for (const collect of [['clean'], ONE_READING, ['detach', 'eth0']]) {
        const own = [...ownArguments(lab), ...holdArguments(lab, hold)];
        const command = [process.execPath, CLI, 'watch', 'eth0', '--interval', '200ms', ...own];
        const run = lab.startProgram('unshare', ['--pid', '--fork', '--mount-proc', ...command]);
        await run.says(/attached in generic mode/);
        assert.is((await statusOf(lab)).held_by, hold);
        const held = await lab.run(['detach', 'eth0']);
        assert.is(held.exitCode, 1, held.stderr);
        assert.match(held.stderr, /held by xdpwho watch, process 1 in another pid namespace/);
        assert.match(held.stderr, /hint: end it there: kill 1$/);
        const children = readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, 'utf8');
        process.kill(Number(children.trim()), 'SIGKILL');
        await run.ended();
        await lab.until(async () => (await lab.guards()).length === 0, 'the guard is dead');
        await remains(lab, hold);
        const { exitCode, stderr } = await lab.run(collect);
        assert.is(exitCode, 0, stderr);
        await lab.untilNothingLeft();
      }
      tried(PROMISE, {
        what: `its pid namespace ended by SIGKILL of process 1, as when a container is killed; the interface stays${HOLD_WORDS[hold]}`,
        times: 3,
        result: remainsWords(hold, 'outside, the next run, `clean` or `detach`'),
      });
    },
  );
}

function makeCgroup(): string | undefined {
  const root = cgroupPlaces()?.root;
  if (root === undefined) return undefined;
  const group = `${root}/xdpwho-test-${process.pid}`;
  try {
    mkdirSync(group);
    return group;
  } catch {
    return undefined;
  }
}

/** Also where a test has failed, and left something running in it. */
async function endCgroup(group: string): Promise<void> {
  writeFileSync(`${group}/cgroup.kill`, '1');
  await first().until(() => readFileSync(`${group}/cgroup.procs`, 'utf8') === '', 'empty');
  // The kernel lets go of the last process a moment after it has left the list.
  await first().until(() => {
    try {
      rmdirSync(group);
      return true;
    } catch {
      return false;
    }
  }, 'removed');
}

/** Runs the command from a shell that does something first. */
function runFrom(lab: Lab, prepare: string, args: readonly string[], env = {}) {
  const own = ownArguments(lab, args);
  const words = [process.execPath, CLI, ...args, ...own];
  return execa('sh', ['-c', `${prepare}\nexec "$@"`, 'sh', ...words], {
    reject: false,
    timeout: 60_000,
    env,
  });
}

const ONE_READING = ['watch', 'eth0', '--interval', '100ms', '--count', '1'];

for (const hook of HOOKS) {
  death(
    `too few file descriptors end it with an error or not at all, and leave nothing${hookWords(hook)}`,
    async () => {
      const limits = [8, 12, 16, 20, 22, 24, 26, 28, 30, 32, 36, 40, 48, 64];
      let worked = 0;
      await share(limits, async (lab, limit) => {
        const args = [...ONE_READING, ...hook];
        const { exitCode, stderr } = await runFrom(lab, `ulimit -n ${limit}`, args);
        if (exitCode === 0) worked++;
        assert.not.match(stderr, /internal error/, `${limit} descriptors`);
        await lab.untilNothingLeft();
      });
      assert.ok(worked > 0 && worked < limits.length, `${worked} of ${limits.length} worked`);
      tried(PROMISE, {
        what: `too few file descriptors (\`ulimit -n\` from 8 to 64)${hookWords(hook)}`,
        times: limits.length,
        result: `${worked} runs had enough; nothing left of the others`,
      });
    },
  );
}

death(
  'a full or closed /run and /tmp end it with an error that says so, and leave nothing',
  async () => {
    const lab = first();
    // The namespaces' own mounts in /run are in the way of nothing: they are entered before.
    const places = {
      'full /run': 'mount -t tmpfs -o size=4k tmpfs /run; head -c 4096 /dev/zero >/run/filler',
      'read-only /run and TMPDIR':
        'mount -t tmpfs -o ro tmpfs /run; mkdir -p "$T"; mount -t tmpfs -o ro tmpfs "$T"; export TMPDIR="$T"',
      'read-only /run alone': 'mount -t tmpfs -o ro tmpfs /run',
    };
    for (const [name, prepare] of Object.entries(places)) {
      const directory = `${lab.scratch}/closed`;
      const words = [
        process.execPath,
        CLI,
        ...ONE_READING,
        '--bpffs',
        lab.bpffs,
        '--mode',
        'generic',
      ];
      const enter = [`--net=/run/netns/${lab.netns}`, 'unshare', '-m', '--propagation', 'private'];
      const script = `T=$1; shift; ${prepare}; exec "$@"`;
      const { exitCode, stderr } = await execa(
        'nsenter',
        [...enter, 'sh', '-c', script, 'sh', directory, ...words],
        { reject: false },
      );
      if (name.endsWith('alone')) {
        assert.is(exitCode, 0, `${name}: ${stderr}`);
      } else {
        assert.is(exitCode, 1, `${name}: ${stderr}`);
        assert.match(stderr, /^xdpwho: .*(ENOSPC|EROFS|no temporary folder)/m, name);
        assert.match(stderr, /^ {2}hint: /m, name);
        assert.not.match(stderr, /internal error/, name);
      }
      await lab.untilNothingLeft();
    }
    tried(PROMISE, {
      what: 'a full /run; /run and TMPDIR read-only',
      times: Object.keys(places).length,
      result:
        'ended with an error that names the cause, or worked with the other one; nothing left',
    });
  },
);

death(
  'no HOME, no standard streams, an ignored SIGPIPE: it works, and leaves nothing',
  async () => {
    const lab = first();
    const cases: [prepare: string, args: readonly string[]][] = [
      ['unset HOME USER LOGNAME PATH', ONE_READING],
      ['exec <&-', ONE_READING],
      ['exec 2>&-', ONE_READING],
      ['exec <&- 2>&-', ONE_READING],
      ["trap '' PIPE", ONE_READING],
    ];
    for (const [prepare, args] of cases) {
      const { exitCode, stderr } = await runFrom(lab, prepare, args);
      assert.is(exitCode, 0, `${prepare}: ${stderr}`);
      await lab.untilNothingLeft();
    }
    // Where there is no output, its end is that of the run, and no more.
    for (const prepare of ['exec >&-', 'exec <&- >&- 2>&-']) {
      await runFrom(lab, prepare, ONE_READING);
      await lab.untilNothingLeft();
    }
    const words = `${process.execPath} ${CLI} watch eth0 -o ndjson --interval 100ms --mode generic`;
    const piped = `trap '' PIPE; ${words} --netns ${lab.netns} --bpffs ${lab.bpffs} | head -n 1`;
    const { stdout } = await execa('sh', ['-c', piped], { timeout: 60_000 });
    assert.match(stdout, /^\{"type":"attached"/);
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: 'HOME and PATH unset, standard streams closed at the start, SIGPIPE ignored',
      times: cases.length + 3,
      result: 'nothing left',
    });
  },
);

death(
  'a bpftool that fails the guard leaves pins to collect by, and one that fails for a while is tried again',
  async () => {
    const lab = first();
    const broken = `${lab.scratch}/broken`;
    const bpftool = lab.bpftoolThat('breakable', `[ ! -e ${broken} ] || exit 1`);
    const run = await watching(lab, '--bpftool', bpftool);
    writeFileSync(broken, '');
    run.child.kill('SIGKILL');
    await run.ended();
    await sleep(1500);
    assert.is((await lab.attached()).length, 1);
    assert.is(lab.pins().length, 1, 'what is still attached keeps its pins');
    rmSync(broken);
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: 'a bpftool that fails while the guard needs it, then works again',
      times: 1,
      result: 'tried again until it worked; the pins stayed until then',
    });
  },
);

/** What a bpftool does from the moment on that `net attach` has attached and failed. */
const UNABLE: Readonly<Record<string, string>> = {
  'fails to detach': `*" net detach "*) echo '{"error":"it broke"}'; exit 255 ;;`,
  'says that it detached, and has not': '*" net detach "*) echo null; exit 0 ;;',
  'fails to show': `*" net show "*) echo '{"error":"it broke"}'; exit 255 ;;`,
  'fails at everything': '*) exit 1 ;;',
};

death(
  'an attempt that failed and cannot be taken back says so, and leaves pins to collect by',
  async () => {
    const cases = Object.entries(UNABLE).flatMap(([how, acts]) =>
      [
        { verb: ['watch', 'eth0'], collect: ['clean'] },
        { verb: ['log', 'eth0'], collect: ['detach', 'eth0'] },
        { verb: ['attach', 'eth0'], collect: [...ONE_READING] },
      ].map((each) => ({ how, acts, ...each })),
    );
    await share(cases, async (lab, { how, acts, verb, collect }) => {
      const name = `${verb[0]}, ${how}`;
      const bpftool = unableBpftool(lab, acts);
      const { exitCode, stderr } = await lab.run([...verb, '--bpftool', bpftool]);
      assert.is(exitCode, 1, `${name}: ${stderr}`);
      const lines = stderr.split('\n').filter((line) => !/^xdpwho: eth0: [a-z ]+$/.test(line));
      assert.is(lines.length, 2, `${name}: ${stderr}`);
      assert.match(
        lines[0] ?? '',
        /^xdpwho: .*it broke.*; and it could not be taken back: /,
        `${name}: ${stderr}`,
      );
      assert.match(lines[1] ?? '', /^ {2}hint: xdpwho clean/, name);
      assert.equal(await lab.guards(), [], name);
      assert.is((await lab.attached()).length, 1, name);
      assert.is((await statusOf(lab)).ownership, 'stale', name);
      const collected = await lab.run(collect);
      assert.is(collected.exitCode, 0, `${name}: ${collected.stderr}`);
      await lab.untilNothingLeft();
    });
    tried(PROMISE, {
      what: 'attaching fails after it has attached, and so does taking back (`net detach`, `net show`, everything)',
      times: cases.length,
      result:
        'says so; the pins stay, `status` says stale; the next run, `clean` or `detach` collected it',
    });
  },
);

/** A bpftool that attaches and says that it failed, and from then on does what the patterns of sh say. */
function unableBpftool(lab: Lab, acts: string): string {
  const name = `unable${++wrappers}`;
  const attached = `${lab.scratch}/${name}-attached`;
  const attach = `"$bpftool" "$@" >/dev/null; : >${attached}; echo '{"error":"it broke"}'; exit 255`;
  return lab.bpftoolThat(
    name,
    `[ ! -e ${attached} ] || case " $* " in ${acts} esac
case " $* " in *" net attach "*) ${attach} ;; esac`,
  );
}

death(
  'a guard whose bpftool never works again gives up, and leaves pins to collect by',
  async () => {
    const lab = first();
    const broken = `${lab.scratch}/for-good`;
    const log = `${lab.scratch}/tries`;
    const act = `[ ! -e ${broken} ] || { echo "$*" >>${log}; exit 1; }`;
    const run = await watching(lab, '--bpftool', lab.bpftoolThat('never-working', act));
    // Stopped, it does not use it itself.
    process.kill(run.pid, 'SIGSTOP');
    writeFileSync(broken, '');
    run.child.kill('SIGKILL');
    await lab.until(async () => (await lab.guards()).length === 0, 'the guard has given up');
    assert.equal(readFileSync(log, 'utf8'), '-n net show\n'.repeat(15));
    await goesOn(lab);
    assert.is((await statusOf(lab)).ownership, 'stale');
    assert.is((await lab.run(['clean'])).exitCode, 0);
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: 'a bpftool that fails while the guard needs it, for good, where no link can be had',
      times: 1,
      result:
        'fifteen tries; stays attached and passes packets; `status` says stale; `clean` collected it',
    });
  },
);

death('a bpftool that never works again is not needed where a link held the program', async () => {
  const lab = first();
  const broken = `${lab.scratch}/no-more`;
  const act = `[ ! -e ${broken} ] || exit 1`;
  const run = await watching(lab, ...holdArguments(lab, 'link', act));
  assert.is((await statusOf(lab)).held_by, 'link');
  // Stopped, it does not use it itself.
  process.kill(run.pid, 'SIGSTOP');
  writeFileSync(broken, '');
  run.child.kill('SIGKILL');
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'a bpftool that fails from then on, for good',
    times: 1,
    result: 'nothing attached, pinned or running afterwards',
  });
});

/** What is done to the run in the middle of making the link: at a line of the batch, before it or after it. */
const AT_LINES = [1, 2, 3].flatMap((line) =>
  (['before', 'after'] as const).map((when) => ({ line, when })),
);

death('SIGKILL of the run at each line by which it makes its link leaves nothing', async () => {
  const verbs = [
    ['watch', 'eth0', '--interval', '100ms'],
    ['log', 'eth0'],
  ];
  const cases = verbs.flatMap((verb) => AT_LINES.map((at) => ({ verb, ...at })));
  await share(cases, async (lab, { verb, line, when }) => {
    const name = `${verb[0]}, ${when} line ${line}`;
    const kill = `[ $n -ne ${line} ] || { sleep 0.1; kill -9 $PPID; }`;
    const say = `printf '%s\\n' "$line"`;
    const body = `case " $* " in *" batch file - "*)
  mkfifo "$0-in"; exec 3<&0
  (n=0; while read -r line <&3; do n=$((n + 1)); ${when === 'before' ? `${kill}; ${say}` : `${say}; ${kill}`}; done) >"$0-in" &
  exec "$bpftool" "$@" <"$0-in" 3<&- ;;
esac`;
    const run = lab.start([...verb, ...holdArguments(lab, 'link', body)]);
    assert.is((await run.ended()).signal, 'SIGKILL', `${name}: ${run.stderr}`);
    await lab.untilNothingLeft();
  });
  tried(PROMISE, {
    what: 'SIGKILL of `watch` and `log` at each line by which bpftool is told to make the link, before it and after it',
    times: cases.length,
    result: 'nothing attached, pinned or running afterwards',
  });
});

death('a process that holds the link and is stopped is ended after its run', async () => {
  const lab = first();
  const run = await watchingBy(lab, 'link');
  const holder = await holderPid(lab, run);
  process.kill(holder, 'SIGSTOP');
  run.child.kill('SIGKILL');
  await run.ended();
  await lab.until(() => !isRunning(holder), 'the holder is dead');
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'SIGSTOP of the process that holds the link, then SIGKILL of its run',
    times: 1,
    result: 'the guard ended it; nothing left',
  });
});

death(
  'a process that holds the link and is killed is told, and the run attaches again',
  async () => {
    const lab = first();
    const run = lab.start(['watch', 'eth0', '--interval', '100ms', '-o', 'ndjson']);
    await run.says(/attached (in native mode|at TCX)/);
    const rounds = 5;
    const told = /the process that held the program was ended; attached again/g;
    for (let round = 1; round <= rounds; round++) {
      await lab.send(udpFrame({ source: '192.0.2.1' }), 10);
      process.kill(await holderPid(lab, run), 'SIGKILL');
      await lab.until(() => run.stderr.match(told)?.length === round, 'told');
      assert.is((await lab.attached()).length, 1);
      assert.is((await statusOf(lab)).held_by, 'link');
    }
    await lab.send(udpFrame({ source: '192.0.2.1' }), 10);
    run.child.kill('SIGTERM');
    assert.is((await run.ended()).exitCode, 143, run.stderr);
    const { packets } = lastReading(recordsIn(run.stdout));
    assert.equal(packets, { '192.0.2.1': 10 * (rounds + 1) }, 'what had been counted stays');
    assert.not.match(run.stderr, /Error|batch/);
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: 'SIGKILL of the process that holds the link, while its run goes on',
      times: rounds,
      result: 'told, and attached again with all that had been counted; nothing left at the end',
    });
  },
);

death(
  "a process that holds the link and is killed, and a stranger's program that comes then: the run says so, and ends",
  async () => {
    const lab = first();
    // Between two readings an hour apart, what is noticed is the end of the process.
    const run = await watching(lab, '--interval', '1h');
    const holder = await holderPid(lab, run);
    process.kill(run.pid, 'SIGSTOP');
    process.kill(holder, 'SIGKILL');
    await lab.until(async () => (await lab.attached()).length === 0, 'detached');
    const stranger = await lab.attachStranger('eth0');
    process.kill(run.pid, 'SIGCONT');
    assert.is((await run.ended()).exitCode, 3, run.stderr);
    assert.match(
      run.stderr,
      new RegExp(
        `eth0: the process that held the program was ended, and it cannot be attached again: .*id ${stranger}`,
      ),
    );
    assert.equal(
      (await lab.attached()).map((each) => each.programId),
      [stranger],
    );
    await lab.detachStranger('eth0');
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: "SIGKILL of the process that holds the link, and a stranger's program there before the run can attach again",
      times: 1,
      result: 'exit code 3, its id named; it stayed',
    });
  },
);

death('a link that somebody detaches by its id is told, and the run ends', async () => {
  const lab = first();
  const run = await watchingBy(lab, 'link');
  const { link_id: id } = await statusOf(lab);
  await execa(lab.bpftool.path, ['link', 'detach', 'id', String(id)]);
  assert.equal(await lab.attached(), []);
  assert.is((await run.ended()).exitCode, 3, run.stderr);
  assert.match(run.stderr, /eth0: somebody else detached our program/);
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: '`bpftool link detach id N` under `watch`',
    times: 1,
    result: 'detached; `watch` said so and ended with exit code 3; nothing left',
  });
});

death('a guard whose shell is busybox does the same', async () => {
  const lab = first();
  const own = ownArguments(lab);
  const words = [process.execPath, CLI, 'watch', 'eth0', '--interval', '200ms', ...own];
  const { stdout: busybox } = await execa('sh', ['-c', 'command -v busybox']);
  const mounted = [busybox, realpathSync('/bin/sh')];
  const script = 'mount --bind "$1" "$2"; shift 2; exec "$@"';
  const args = ['-m', '--propagation', 'private', 'sh', '-c', script, 'sh', ...mounted, ...words];
  const run = execa('unshare', args, { reject: false });
  await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  const program = readlinkSync(`/proc/${await guardPid(lab)}/exe`);
  // A mount over a file goes by that file's name.
  assert.ok(program.endsWith('busybox') || program === mounted[1], program);
  run.kill('SIGKILL');
  await run;
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'SIGKILL of a `watch` whose guard runs in the shell of busybox',
    times: 1,
    result: 'nothing left',
  });
});

death.run();
