import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { AtOurEnd } from '../../src/host/at-our-end.js';
import { resolveNetns } from '../../src/host/netns.js';
import { requireTool } from '../../src/host/tools.js';
import { arpFrame, udpFrame } from '../../src/model/frames.js';
import { numberIn, propertyOf, stringIn } from '../../src/model/json-values.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { bencherFault } from '../bench/bencher-metrics.js';
import { compileProgram } from '../benchmarks/baseline.js';
import { suite } from '../suite.js';
import { detachXdp } from './bpftool.js';
import { documentIn, Lab, listIn, OBJECTS_DIRECTORY, WHY_NOT } from './lab.js';

const SWITCH = '/proc/sys/kernel/bpf_stats_enabled';
const FRAME = udpFrame({ source: '192.0.2.1' });

let lab: Lab;
let several = '';

async function bench(...args: string[]) {
  return lab.run(['bench', ...args], { bare: true });
}

/** Runs `bench` with -o json, which must succeed, and returns the document. */
async function measure(...args: string[]) {
  const { exitCode, stdout, stderr } = await bench('--rounds', '5', '-o', 'json', ...args);
  assert.is(exitCode, 0, stderr);
  return documentIn(stdout);
}

/** Options to measure one kind of packet only, which is faster. */
function onePacket(): string[] {
  const directory = `${lab.scratch}/one`;
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}/ipv4`, FRAME);
  return ['--packets', directory];
}

/** The ids of the loaded programs with these names. */
async function programIds(...names: string[]): Promise<number[]> {
  const { stdout } = await execa('bpftool', ['-j', 'prog', 'show'], { maxBuffer: 1e8 });
  const programs: unknown = JSON.parse(stdout);
  assert.ok(Array.isArray(programs));
  return programs
    .filter((each) => names.includes(stringIn(each, 'name') ?? ''))
    .map((each) => numberIn(each, 'id') ?? 0);
}

/** Starts a long measurement, and returns the ids of its programs once they are loaded. */
async function startLong() {
  const before = new Set(await programIds('drop_all'));
  const started = lab.start(
    ['bench', '--object', several, '--program', 'drop_all', '--rounds', '10000'],
    { bare: true },
  );
  await started.says(/in turn/);
  let ids: number[] = [];
  await lab.until(async () => {
    ids = (await programIds('drop_all')).filter((id) => !before.has(id));
    return ids.length > 0;
  }, 'loaded');
  return { started, ids };
}

async function untilUnloaded(ids: readonly number[]): Promise<void> {
  await lab.until(async () => {
    const left = await programIds('drop_all', 'send_back');
    return !ids.some((id) => left.includes(id));
  }, 'unloaded');
}

/** The shells that hold a private bpffs for `pid`. */
async function holders(pid: number): Promise<number[]> {
  const { stdout } = await execa('ps', ['-eo', 'pid,ppid,args'], { maxBuffer: 1e8 });
  return stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, ...words]) => Number(parent) === pid && words.includes('xdpwho-bpffs'))
    .map(([own]) => Number(own));
}

const programs = suite('bench', WHY_NOT);

programs.before(async () => {
  lab = await Lab.create();
  several = await compileProgram('several.bpf.c', lab.scratch);
});
programs.after(() => lab.close());

programs(
  'measures our own program on each kind of packet, and it passes all of them on',
  async () => {
    const document = await measure();
    assert.is(document['program'], 'xdpwho');
    assert.equal(document['skipped'], []);
    const cases = listIn(document, 'cases');
    assert.equal(
      cases.map((each) => each['case']),
      [
        ...['ipv4', 'ipv6', 'ipv4-vlan', 'ipv4-two-vlans', 'arp', 'malformed'],
        ...['ipv4-60000-sources', 'ipv4-zipf-1.0-60000', 'ipv4-zipf-1.2-60000'],
        ...['ipv4-zipf-1.0-1000000', 'ipv4-zipf-1.2-1000000', 'ipv4-new-sources'],
      ],
    );
    for (const each of cases) {
      assert.is(each['returned'], 'XDP_PASS');
      for (const name of ['program_ns', 'empty_ns', 'added_ns', 'ratio']) {
        const { median = 0, lower = 0, upper = 0 } = boundsIn(each, name);
        assert.ok(lower <= median && median <= upper, `${name} of ${each['case']}`);
      }
      assert.ok((boundsIn(each, 'empty_ns').lower ?? 0) > 0);
    }
  },
);

programs('prints the Bencher Metric Format', async () => {
  const { exitCode, stdout } = await bench('--rounds', '5', '-o', 'bmf', '-q', ...onePacket());
  assert.is(exitCode, 0);
  const document: unknown = JSON.parse(stdout);
  assert.is(bencherFault(document), undefined);
  const latency = propertyOf(propertyOf(document, 'xdpwho/ipv4'), 'latency');
  assert.ok((numberIn(latency, 'value') ?? 0) > 0);
});

programs('measures any object, and asks which program where there are several', async () => {
  const unclear = await bench('--object', several);
  assert.is(unclear.exitCode, 2);
  assert.match(
    unclear.stderr,
    /2 programs: which one\?\n {2}hint: --program drop_all or send_back/,
  );
  const absent = await bench('--object', several, '--program', 'nope');
  assert.is(absent.exitCode, 2);
  assert.match(absent.stderr, /no program nope/);
  for (const [program, action] of [
    ['drop_all', 'XDP_DROP'],
    ['send_back', 'XDP_TX'],
  ] as const) {
    const document = await measure('--object', several, '--program', program, ...onePacket());
    assert.is(document['program'], program);
    for (const each of listIn(document, 'cases')) assert.is(each['returned'], action);
  }
});

programs('takes its packets from a directory, by the names of the files', async () => {
  const directory = `${lab.scratch}/packets`;
  mkdirSync(directory);
  writeFileSync(`${directory}/a frame, 'quoted'.bin`, FRAME);
  writeFileSync(`${directory}/arp`, arpFrame());
  const cases = listIn(await measure('--packets', directory), 'cases');
  assert.equal(
    cases.map((each) => each['case']),
    ["a frame, 'quoted'.bin", 'arp'],
  );
});

for (const [what, bytes, pattern] of [
  ['is too short', new Uint8Array(13), /13 bytes: a frame has 14/],
  ['is a capture file', Buffer.from(`d4c3b2a1${'00'.repeat(60)}`, 'hex'), /a capture file/],
] as const) {
  programs(`refuses a packet that ${what}`, async () => {
    const directory = `${lab.scratch}/${what.replaceAll(' ', '-')}`;
    mkdirSync(directory);
    writeFileSync(`${directory}/file`, bytes);
    const { exitCode, stderr } = await bench('--packets', directory);
    assert.is(exitCode, 2);
    assert.match(stderr, pattern);
  });
}

programs('says what is wrong with an object', async () => {
  const absent = await bench('--object', `${lab.scratch}/absent.o`);
  assert.is(absent.exitCode, 2);
  assert.match(absent.stderr, /absent\.o: not there/);
  writeFileSync(`${lab.scratch}/text.o`, 'no object');
  const { exitCode, stderr } = await bench('--object', `${lab.scratch}/text.o`);
  assert.is(exitCode, 1);
  assert.match(stderr, /failed to open object file/);
});

programs('refuses options that do not go together', async () => {
  for (const args of [
    ['--live', 'eth0', '--rounds', '5'],
    ['--duration', '1s'],
    ['--threshold', '10%'],
    ['--rounds', '4'],
    ['--compare', '/nowhere'],
  ]) {
    assert.is((await bench(...args)).exitCode, 2, args.join(' '));
  }
});

programs(
  'compares with what it has saved, and fails when something has become slower',
  async () => {
    const file = `${lab.scratch}/saved.json`;
    const saved = await measure(...onePacket());
    const cases = listIn(saved, 'cases');
    // A third of the ratio differs from it by more than any noise.
    const third = cases.map((each) => {
      const { median = 0, lower = 0, upper = 0 } = boundsIn(each, 'ratio');
      return { ...each, ratio: { median: median / 3, lower: lower / 3, upper: upper / 3 } };
    });
    writeFileSync(file, JSON.stringify({ cases: third }));
    const { exitCode, stdout, stderr } = await bench('--rounds', '5', '--compare', file);
    assert.is(exitCode, 1);
    assert.match(stdout, /^ipv4 .* slower$/m);
    assert.is(stdout.split('\n').length, 2, 'only what was saved is measured');
    assert.match(stderr, /measuring again: ipv4\n/);
    assert.match(stderr, /slower by more than 15 %: ipv4$/);
  },
);

programs('leaves no map that asks to be pinned by name, nor touches one that is', async () => {
  await measure('--object', several, '--program', 'drop_all', ...onePacket());
  assert.not(existsSync('/sys/fs/bpf/pinned_by_name'));
});

programs('leaves nothing when it is interrupted', async () => {
  const { started, ids } = await startLong();
  const shells = await holders(started.pid);
  assert.is(shells.length, 1);
  started.child.kill('SIGINT');
  assert.is((await started.ended()).exitCode, 130);
  await untilUnloaded(ids);
  assert.not(existsSync(`/proc/${shells[0]}`));
});

programs('leaves nothing when it is killed', async () => {
  const { started, ids } = await startLong();
  const [shell] = await holders(started.pid);
  started.child.kill('SIGKILL');
  await started.ended();
  await untilUnloaded(ids);
  await lab.until(() => !existsSync(`/proc/${shell}`), 'the shell has ended');
});

programs('leaves nothing when the shell that holds its place is killed', async () => {
  const { started, ids } = await startLong();
  const [shell = 0] = await holders(started.pid);
  process.kill(shell, 'SIGKILL');
  assert.is((await started.ended()).exitCode, 1);
  assert.match(started.stderr, /^xdpwho: .*bpftool/m);
  await untilUnloaded(ids);
});

programs.run();

const live = suite('bench --live', WHY_NOT);
/** A lock that is held while a test depends on the switch, because other runs of this file use it too. */
let turn: AtOurEnd;

live.before(async () => {
  lab = await Lab.create();
  const under = [requireTool('flock'), '/run/xdpwho-test-statistics'];
  turn = await AtOurEnd.start({ name: 'xdpwho-test', under });
});
live.after(async () => {
  await turn.finish();
  await lab.close();
});

const isOn = () => readFileSync(SWITCH, 'utf8').trim() !== '0';
const liveArguments = (duration: string) => [
  ...['bench', '--live', 'eth0', '--netns', lab.netns, '--duration', duration, '-o', 'json'],
];

/** Measures while `sent` frames come, and returns what the command printed. */
async function measureLive(sent: number) {
  const started = lab.start(liveArguments('4s'), { bare: true });
  await started.says(/bpf_stats_enabled/);
  assert.ok(isOn());
  await lab.send(FRAME, sent);
  const { exitCode } = await started.ended();
  assert.is(exitCode, 0, started.stderr);
  return documentIn(started.stdout);
}

live('counts exactly the packets that came, on a program of ours', async () => {
  const wasOn = isOn();
  const attached = await lab.run(['attach', 'eth0']);
  assert.is(attached.exitCode, 0, attached.stderr);
  const [before] = await lab.attached();
  const result = await measureLive(700);
  assert.is(result['packets'], 700);
  assert.is(result['program'], 'xdpwho');
  assert.is(result['program_id'], before?.programId);
  assert.ok((boundsIn(result, 'program_ns').median ?? 0) > 0);
  assert.equal(await lab.attached(), [before], 'it is still attached');
  assert.is(isOn(), wasOn);
  assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
});

live("measures a stranger's program, and leaves it alone", async () => {
  const pin = `${lab.bpffs}/stranger`;
  await lab.bpftool.loadProgram(new ObjectFiles(OBJECTS_DIRECTORY).path('pass'), pin);
  const { path } = resolveNetns(lab.netns);
  await lab.bpftool.attach('generic', pin, 'eth0', path);
  const before = await lab.attached();
  const result = await measureLive(0);
  assert.is(result['program'], 'pass');
  assert.is(result['mode'], 'generic');
  assert.is(result['program_ns'], null);
  assert.equal(await lab.attached(), before);
});

live('puts the switch back when it is killed', async () => {
  const wasOn = isOn();
  const started = lab.start(liveArguments('1h'), { bare: true });
  await started.says(/bpf_stats_enabled/);
  assert.ok(isOn());
  started.child.kill('SIGKILL');
  await started.ended();
  await lab.until(() => isOn() === wasOn, 'as it was');
});

live('ends on SIGTERM, and when the program goes away', async () => {
  const started = lab.start(liveArguments('1h'), { bare: true });
  await started.says(/bpf_stats_enabled/);
  started.child.kill('SIGTERM');
  assert.is((await started.ended()).exitCode, 143);

  const short = lab.start(liveArguments('4s'), { bare: true });
  await short.says(/bpf_stats_enabled/);
  rmSync(`${lab.bpffs}/stranger`);
  await detachXdp(lab.bpftool, 'generic', 'eth0', resolveNetns(lab.netns).path);
  assert.is((await short.ended()).exitCode, 3);
  assert.match(short.stderr, /eth0: program \d+ went away/);
});

live('says so where no program is attached', async () => {
  const { exitCode, stderr } = await bench('--live', 'eth0', '--netns', lab.netns);
  assert.is(exitCode, 3);
  assert.match(stderr, /eth0: no XDP program\n {2}hint: xdpwho attach eth0/);
});

live.run();

function boundsIn(value: unknown, name: string) {
  const estimate = propertyOf(value, name);
  return {
    median: numberIn(estimate, 'median'),
    lower: numberIn(estimate, 'lower'),
    upper: numberIn(estimate, 'upper'),
  };
}
