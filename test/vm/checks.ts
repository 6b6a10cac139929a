/**
 * What has to hold on every kernel with every bpftool: the real command, attached for real. Where a
 * kernel or a bpftool lacks something, the check says what takes its place, and that it is told.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { DEFAULT_MAX_SOURCES } from '../../src/attachment/defaults.js';
import { frontPinName, linkFront, unlinkFront } from '../../src/attachment/front-pin.js';
import { frontShape } from '../../src/attachment/load.js';
import { bpftoolArguments } from '../../src/host/bpftool-arguments.js';
import { isOlder } from '../../src/host/find-bpftool.js';
import { countListMembers, countPossibleCpus } from '../../src/host/kernel.js';
import { type FrameOptions, udpFrame } from '../../src/model/frames.js';
import { propertyOf } from '../../src/model/json-values.js';
import { ObjectFiles } from '../../src/objects/files.js';
import {
  FRONT_PIN_NAME,
  frontConstants,
  frontLines,
  frontSize,
  MOST_CPUS,
} from '../../src/objects/front.js';
import {
  CLI,
  Lab,
  type LabOptions,
  lastReading,
  OBJECTS_DIRECTORY,
  recordsIn,
} from '../kernel/lab.js';
import type { Configuration } from './configurations.js';
import type { Expectations, FactName } from './findings.js';
import { RELEASES } from './releases.js';

export class Guest {
  readonly expected: Expectations;
  /** Tells the host something for the table. */
  readonly tell: (name: FactName, value: string) => void;

  constructor(expected: Expectations, tell: (name: FactName, value: string) => void) {
    this.expected = expected;
    this.tell = tell;
  }

  /** bpftool 5.10's libbpf cannot read the BTF of later kernels, which iterators are loaded by. */
  get pinsIterators(): boolean {
    return this.expected.bpftool !== '5.10' || this.expected.kernel === '5.10';
  }

  /** The kernel has them from 5.18 on; to bpftool 5.10, `xdp.frags` is plain `xdp`. */
  get takesJumboFrames(): boolean {
    return this.expected.kernel !== '5.10' && this.expected.bpftool !== '5.10';
  }

  /** A program may make links from 5.18 on, and bpftool 5.10's libbpf does not know its type. */
  get holder(): 'link' | 'guard' {
    return this.takesJumboFrames ? 'link' : 'guard';
  }
}

/** What a guest is made of. */
type Made = Pick<Configuration, 'kernel' | 'bpftool'>;

export interface Check {
  readonly name: string;
  /** Where it means something; default: everywhere. */
  readonly where?: (made: Made) => boolean;
  readonly run: (guest: Guest) => Promise<void>;
}

export function checksFor(made: Made): readonly Check[] {
  return CHECKS.filter(({ where }) => where?.(made) ?? true);
}

const CONFIGURATION = `/boot/config-${release()}`;
const BTF = '/sys/kernel/btf/vmlinux';

/** Each from another class of frames, in numbers that differ. */
const FLOWS: readonly (FrameOptions & { frames: number })[] = [
  { source: '192.0.2.1', frames: 11 },
  { source: '198.51.100.7', frames: 7, vlans: [100], length: 1000 },
  { source: '2001:db8::1', frames: 5 },
  { source: '2001:db8:0:1::53', frames: 3, vlans: [200, 100] },
];
const FRAMES = FLOWS.reduce((sum, { frames }) => sum + frames, 0);

const CHECKS: readonly Check[] = [
  {
    name: 'the guest is the one that was asked for',
    run: async ({ expected, tell }) => {
      assert.is(release(), expected.kernelRelease);
      assert.is(countPossibleCpus(), expected.possibleCpus);
      const online = readFileSync('/sys/devices/system/cpu/online', 'utf8');
      assert.is(countListMembers(online), expected.onlineCpus);
      const { stdout } = await execa('bpftool', ['-j', 'version']);
      const version = String(propertyOf(JSON.parse(stdout), 'version'));
      if (expected.bpftool !== 'newest')
        assert.ok(version.startsWith(`${expected.bpftool}.`), version);
      tell('kernel', release());
      tell('bpftool', version);
      tell('cpus', `${expected.possibleCpus} possible, ${expected.onlineCpus} online`);
    },
  },
  {
    name: 'doctor finds nothing missing, and says what bpftool cannot do here',
    run: async (guest) => {
      const doctor = await execa(process.execPath, [CLI, 'doctor', '-o', 'json']);
      const checks = checksOf(doctor.stdout);
      const failed = checks.filter(({ status }) => status === 'fail');
      assert.equal(failed, []);
      const bpftool = checks.find(({ name }) => name === 'bpftool');
      assert.is(bpftool?.status, guest.pinsIterators ? 'pass' : 'warn');
      if (!guest.pinsIterators)
        assert.match(bpftool?.detail ?? '', /too old for kernel .* to pin iterators/);
      const reading = checks.find(({ name }) => name === 'reading');
      assert.is(reading?.status, guest.pinsIterators ? 'pass' : 'warn');
      assert.match(
        reading?.detail ?? '',
        guest.pinsIterators ? /^by an iterator: / : /^by map dump, slower: /,
      );
    },
  },
  {
    name: 'a run is held by a link where one can be had, else by its guard; doctor says which, and why',
    run: (guest) =>
      withLab({}, async (lab) => {
        const { exitCode, stdout, stderr } = await lab.run([
          ...['watch', 'eth0', '-v', '-o', 'ndjson', '--count', '1', '--interval', '100ms'],
        ]);
        assert.is(exitCode, 0, stderr);
        assert.is(recordsIn(stdout)[0]?.held_by, guest.holder);
        const why = /no link can be had: .*; using net attach$/m.exec(stderr)?.[0];
        assert.is(why === undefined, guest.holder === 'link', stderr);
        if (why !== undefined) guest.tell('restriction', why);
        const doctor = await lab.run(['doctor', '-o', 'json'], { bare: true });
        const link = checksOf(doctor.stdout).find(({ name }) => name === 'link');
        assert.match(
          link?.detail ?? '',
          guest.holder === 'link' ? /^by a link: / : /^by net attach, .*no link can be had: /,
        );
        guest.tell('held by', guest.holder);
        await untilNothingLeft(lab);
      }),
  },
  {
    name: 'attaches in native mode, twice as well as once, and counts exactly on each CPU',
    run: (guest) =>
      withLab({}, async (lab) => {
        const attached = await attach(lab);
        assert.is(attached.mode, 'native');
        assert.is(attached.reader, guest.pinsIterators ? 'iterator' : 'dump');
        guest.tell('mode', 'native');
        guest.tell('reader', String(attached.reader));
        const note = attached.file_note;
        if (guest.pinsIterators) assert.is(note, null);
        else assert.match(String(note), /no iterator can be pinned.*`map dump`, slower/);
        if (typeof note === 'string') guest.tell('restriction', note);

        const { onlineCpus, possibleCpus } = guest.expected;
        for (let cpu = 0; cpu < onlineCpus; cpu++) {
          await runOnCpu(cpu);
          await sendFlows(lab);
        }
        await runOnCpu(`0-${onlineCpus - 1}`);
        const again = await lab.run(['attach', 'eth0', '-o', 'json']);
        assert.is(propertyOf(JSON.parse(again.stdout), 'changed'), false);
        await expectCounts(lab, onlineCpus);
        await expectValuesOnCpus(lab, onlineCpus, possibleCpus);
        if (guest.pinsIterators) await expectFile(String(attached.file), onlineCpus);
        const front = `${lab.bpffs}/xdpwho/${lab.pins()[0]}/maps/front`;
        assert.is(existsSync(front), guest.pinsIterators);

        const status = await lab.run(['status', 'eth0', '-o', 'json']);
        assert.is(status.exitCode, 0);
        assert.match(status.stdout, /"ours"/);
        for (const changed of [true, false]) {
          const detach = await lab.run(['detach', 'eth0', '-o', 'json']);
          assert.is(detach.exitCode, 0, detach.stderr);
          assert.is(propertyOf(JSON.parse(detach.stdout), 'changed'), changed);
        }
        await untilNothingLeft(lab);
      }),
  },
  {
    name: 'the iterator for 512 CPUs is not too complex for the verifier',
    run: async (guest) => {
      if (guest.pinsIterators) await withLab({}, loadForManyCpus);
    },
  },
  {
    name: 'counts exactly in generic mode, read by map dump',
    run: () =>
      withLab({ bridged: true }, async (lab) => {
        const attached = await attach(lab, '--mode', 'generic', '--reader', 'dump');
        assert.is(attached.mode, 'generic');
        assert.is(attached.reader, 'dump');
        assert.is(attached.file_note, 'attached with --reader dump');
        // A bridge takes a frame's tag out.
        const flows = FLOWS.filter(({ vlans }) => vlans === undefined);
        await sendFlows(lab, flows);
        await expectCounts(lab, 1, flows);
      }),
  },
  {
    name: 'log prints a line for each packet, by map dump where there is no iterator',
    run: (guest) =>
      withLab({}, async (lab) => {
        const readers = guest.pinsIterators ? (['iterator', 'dump'] as const) : (['auto'] as const);
        for (const reader of readers) await expectLines(lab, reader, guest);
      }),
  },
  {
    name: 'of a full table nothing is lost without a word',
    where: atBothEnds,
    run: () =>
      withLab({}, async (lab) => {
        await attach(lab, '--max-sources', '64');
        await lab.send(udpFrame({ source: '198.18.0.0' }), 512, { sources: 256 });
        const { totals, packets } = await reading(lab);
        const kept = Object.values(packets).reduce<number>((sum, each) => sum + Number(each), 0);
        assert.is(totals?.ipv4, 512);
        assert.is(kept + Number(totals?.untracked), 512);
        const sources = Object.keys(packets).length;
        assert.ok(sources > 0 && sources <= 64, `${sources} sources in a table of 64`);
      }),
  },
  {
    name: 'watch detaches at its end, and after SIGKILL',
    where: withItsOwnBpftool,
    run: () =>
      withLab({}, async (lab) => {
        const watch = lab.start(['watch', 'eth0', '-o', 'ndjson']);
        await lab.until(() => /attached/.test(watch.stderr), 'attached', LIMIT_MS);
        assert.is((await lab.attached()).length, 1);
        watch.child.kill('SIGKILL');
        await watch.ended();
        await untilNothingLeft(lab);
        const counted = await lab.run(['watch', 'eth0', '-o', 'ndjson', '--count', '1']);
        assert.is(counted.exitCode, 0, counted.stderr);
        const types = recordsIn(counted.stdout).map(({ type }) => type);
        assert.is(types.at(0), 'attached');
        assert.is(types.at(-1), 'detached');
        await untilNothingLeft(lab);
      }),
  },
  {
    name: 'what is sent, and what comes behind a stranger, is counted at TCX, or refused in one line',
    run: () =>
      withLab({}, async (lab) => {
        const hasTcx = !isOlder(release(), [6, 6]);
        const doctor = await lab.run(['doctor', '-o', 'json'], { bare: true });
        const tcx = checksOf(doctor.stdout).find(({ name }) => name === 'tcx');
        assert.is(tcx?.status, hasTcx ? 'pass' : 'warn', tcx?.detail);
        const auto = await lab.run([
          ...['watch', 'eth0', '--mode', 'auto', '-o', 'ndjson', '--count', '1'],
          ...['--interval', '100ms'],
        ]);
        assert.is(recordsIn(auto.stdout)[0]?.['mode'], hasTcx ? 'tcx' : 'generic', auto.stderr);
        if (!hasTcx) {
          for (const option of ['--sent', '--beside']) {
            const refused = await lab.run(['watch', 'eth0', option, '--count', '1']);
            assert.is(refused.exitCode, 5, refused.stderr);
            assert.match(refused.stderr, /takes kernel 6\.6 or newer/);
          }
          await untilNothingLeft(lab);
          return;
        }
        await lab.attachStranger('eth0');
        for (const [option, back] of [
          ['--sent', true],
          ['--beside', false],
        ] as const) {
          const run = lab.start(['watch', 'eth0', option, '-o', 'ndjson']);
          await lab.until(() => /attached at TCX/.test(run.stderr), 'attached', LIMIT_MS);
          const frame = { source: '192.0.2.1', destination: '192.0.2.1', vlans: [5], length: 100 };
          await lab.send(udpFrame(frame), 30, { back });
          await lab.send(udpFrame({ source: '2001:db8::1' }), 20, { back });
          run.child.kill('SIGINT');
          await run.ended();
          const totals = recordsIn(run.stdout)
            .filter(({ type }) => type === 'totals')
            .at(-1);
          assert.equal([totals?.['ipv4'], totals?.['ipv6'], totals?.['bytes']], [30, 20, 4280]);
        }
        const killed = lab.start(['watch', 'eth0', '--both', '--beside']);
        await lab.until(() => /\(sent\): attached/.test(killed.stderr), 'attached', LIMIT_MS);
        killed.child.kill('SIGKILL');
        await killed.ended();
        await lab.until(() => lab.pins().length === 0, 'no pins', LIMIT_MS);
        await lab.detachStranger('eth0');
        await untilNothingLeft(lab);
      }),
  },
  {
    name: "a stranger's program stays",
    where: atBothEnds,
    run: () =>
      withLab({}, async (lab) => {
        const id = await lab.attachStranger('eth0');
        const attach = await lab.run(['attach', 'eth0']);
        assert.is(attach.exitCode, 4, attach.stderr);
        assert.match(attach.stderr, new RegExp(`held by another program: id ${id}`));
        assert.is((await lab.run(['detach', 'eth0'])).exitCode, 4);
        assert.equal(
          (await lab.attached()).map(({ programId }) => programId),
          [id],
        );
      }),
  },
  {
    name: 'jumbo frames: in native mode where the kernel can, else in generic mode, and says so',
    run: (guest) =>
      withLab({ mtu: 9000, bridged: !guest.takesJumboFrames }, async (lab) => {
        if (!guest.takesJumboFrames) {
          const native = await lab.run(['attach', 'eth0', '--mode', 'native']);
          assert.is(native.exitCode, 1, native.stderr);
          assert.match(native.stderr, /MTU is too large for native mode/);
          guest.tell('restriction', restrictionIn(native.stderr));
        }
        const wanted = guest.takesJumboFrames ? 'native' : 'auto';
        const attach = await lab.run(['attach', 'eth0', '--mode', wanted, '-o', 'json']);
        assert.is(attach.exitCode, 0, attach.stderr);
        const { mode } = firstInterface(attach.stdout);
        assert.is(mode, guest.takesJumboFrames ? 'native' : 'generic');
        await lab.send(udpFrame({ source: '192.0.2.1' }), 20, { length: 8000 });
        const { packets, bytes } = await reading(lab);
        assert.equal(
          { packets, bytes },
          { packets: { '192.0.2.1': 20 }, bytes: { '192.0.2.1': 160000 } },
        );
        guest.tell('jumbo frames', guest.takesJumboFrames ? 'native' : 'generic');
      }),
  },
  {
    name: 'a device without native mode gets generic mode, and says so',
    where: atBothEnds,
    run: () =>
      withLab({}, async (lab) => {
        await lab.ip(lab.netns, ['link', 'add', 'name', 'br0', 'type', 'bridge']);
        const attach = await lab.run(['attach', 'lo', 'br0', '--mode', 'auto', '-o', 'json']);
        assert.is(attach.exitCode, 0, attach.stderr);
        assert.match(
          String(firstInterface(attach.stdout).mode_note),
          /^native mode is not to be had .*; using generic mode$/,
        );
        const driver = await doctorOn(lab, 'br0', 'driver');
        assert.is(driver.status, 'warn');
        assert.match(driver.detail, /generic mode only, slower/);
        assert.equal(
          (await lab.attached()).map(({ device, mode }) => [device, mode]),
          [
            ['lo', 'generic'],
            ['br0', 'generic'],
          ],
        );
        assert.is(
          attach.stderr.match(/native mode is not to be had .*using generic mode/g)?.length,
          2,
        );
        const native = await lab.run(['attach', 'lo', '--replace', '--mode', 'native']);
        assert.is(native.exitCode, 5, native.stderr);
        assert.is((await lab.run(['detach', 'lo', 'br0'])).exitCode, 0);
        await untilNothingLeft(lab);
      }),
  },
  {
    name: 'without BTF of the kernel: reads by map dump, says so, and counts exactly',
    where: atBothEnds,
    run: (guest) =>
      withLab({}, async (lab) => {
        await withoutFile(BTF, async () => {
          const attached = await attach(lab);
          assert.is(attached.reader, 'dump');
          assert.match(String(attached.file_note), /no iterator can be pinned/);
          guest.tell('without BTF', 'dump');
          await sendFlows(lab);
          await expectCounts(lab, 1);
          const iterator = await lab.run(['attach', 'eth0', '--replace', '--reader', 'iterator']);
          assert.is(iterator.exitCode, 5, iterator.stderr);
          const doctor = await lab.run(['doctor', '-o', 'json'], { bare: true });
          const checks = checksOf(doctor.stdout);
          assert.is(checks.find(({ name }) => name === 'btf')?.status, 'warn');
          const reading = checks.find(({ name }) => name === 'reading');
          assert.is(reading?.status, 'warn');
          assert.match(reading?.detail ?? '', /^by map dump, slower: /);
        });
      }),
  },
  {
    name: 'without the configuration of the kernel: measures its clock, and idle times hold',
    where: on61,
    run: () =>
      withLab({}, async (lab) => {
        renameSync(CONFIGURATION, `${CONFIGURATION}~`);
        try {
          for (const reader of ['auto', 'dump']) {
            await attach(lab, '--replace', '--reader', reader);
            const before = Date.now();
            await lab.send(udpFrame({ source: '192.0.2.1' }), 1);
            const after = Date.now();
            await sleep(2000);
            const asked = Date.now();
            const { idle } = await reading(lab);
            const told = Date.now();
            // A clock taken for one of another rate would be wrong by a factor.
            const found = Number(idle['192.0.2.1']);
            assert.ok(
              found >= (asked - after) * 0.9 - 20,
              `${found} ms idle, sent ${asked - after} ago`,
            );
            assert.ok(
              found <= (told - before) * 1.1 + 20,
              `${found} ms idle, sent ${told - before} ago`,
            );
          }
        } finally {
          renameSync(`${CONFIGURATION}~`, CONFIGURATION);
        }
      }),
  },
  {
    name: 'with RLIMIT_MEMLOCK of 64 KiB: raises it, or attaches without, or says what to raise',
    where: atBothEnds,
    run: (guest) =>
      withLab({}, async (lab) => {
        const limit = ['prlimit', '--memlock=65536:65536', '--'];
        const under = [...limit, 'setpriv', '--bounding-set', '-sys_resource', '--'];
        const attach = await lab.run(['attach', 'eth0'], { under });
        if (guest.expected.kernel !== '5.10') {
          assert.is(attach.exitCode, 0, attach.stderr);
          return;
        }
        const raising = await lab.run(['attach', 'eth0', '--reader', 'iterator'], { under: limit });
        assert.is(raising.exitCode, 0, raising.stderr);
        assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
        assert.is(attach.exitCode, 77, attach.stderr);
        assert.match(attach.stderr, /ulimit -l unlimited/);
        assert.equal(await lab.attached(), []);
        const doctor = await lab.run(['doctor', '-o', 'json'], { bare: true, under });
        const memory = checksOf(doctor.stdout).find(({ name }) => name === 'locked-memory');
        assert.is(memory?.status, 'warn');
        guest.tell(
          'restriction',
          'without CAP_SYS_RESOURCE, the limit on locked memory is to be raised beforehand: `ulimit -l unlimited`',
        );
      }),
  },
  {
    name: 'the demo is exact',
    where: withItsOwnBpftool,
    run: async (guest) => {
      const { exitCode, stdout, stderr } = await execa(
        process.execPath,
        [CLI, 'demo', '-o', 'json'],
        { reject: false },
      );
      assert.is(exitCode, 0, `${stdout}\n${stderr}`);
      assert.is(propertyOf(JSON.parse(stdout), 'exact'), true);
      guest.tell('demo', 'exact');
    },
  },
];

/** Emulated CPUs are slow, and more so where others are at work. */
const LIMIT_MS = 120_000;

async function untilNothingLeft(lab: Lab): Promise<void> {
  await lab.until(async () => (await lab.attached()).length === 0, 'detached', LIMIT_MS);
  await lab.until(() => lab.pins().length === 0, 'unpinned', LIMIT_MS);
  await lab.until(async () => (await lab.guards()).length === 0, 'no guard left', LIMIT_MS);
}

/** For what a bpftool of another release does not do otherwise. */
function withItsOwnBpftool({ kernel, bpftool }: Made): boolean {
  return RELEASES.some((each) => each.kernel === kernel && each.bpftool === bpftool);
}

/** For what a kernel in between would do as either the oldest or the newest does. */
function atBothEnds(made: Made): boolean {
  return withItsOwnBpftool(made) && (made.kernel === '5.10' || made.kernel === 'newest');
}

/** For what does not depend on the kernel's version. */
function on61({ kernel }: Made): boolean {
  return kernel === '6.1';
}

async function withLab(options: LabOptions, use: (lab: Lab) => Promise<void>): Promise<void> {
  const lab = await Lab.create(options);
  try {
    await use(lab);
  } finally {
    await lab.close();
  }
}

/** `attach eth0 -o json`: what it says of the interface. */
async function attach(lab: Lab, ...options: string[]): Promise<Record<string, unknown>> {
  const result = await lab.run(['attach', 'eth0', '-o', 'json', ...options]);
  assert.is(result.exitCode, 0, `${result.stdout}\n${result.stderr}`);
  return firstInterface(result.stdout);
}

/** Logs every flow, and nothing else. */
async function expectLines(lab: Lab, reader: 'auto' | 'iterator' | 'dump', guest: Guest) {
  // The smallest ring: a dump prints the whole of it.
  const buffer = `${12 * guest.expected.possibleCpus}K`;
  const options = ['-o', 'ndjson', '--reader', reader, '--buffer', buffer];
  const log = lab.start(['log', 'eth0', ...options]);
  const records = () => recordsIn(log.stdout.slice(0, log.stdout.lastIndexOf('\n') + 1));
  const packets = () => records().filter(({ type }) => type === 'packet');
  await lab.until(() => records().length > 0, 'attached', LIMIT_MS);
  await sendFlows(lab);
  await lab.until(() => packets().length >= FRAMES, 'a line for each packet', LIMIT_MS);
  log.child.kill('SIGINT');
  const { exitCode } = await log.ended();
  assert.is(exitCode, 130, log.stderr);
  assert.equal(
    packets().map(({ source, length }) => [source, length]),
    FLOWS.flatMap((flow) =>
      Array.from({ length: flow.frames }, () => [flow.source, udpFrame(flow).length]),
    ),
  );
  const totals = records().find(({ type }) => type === 'totals');
  assert.equal([totals?.seen, totals?.printed, totals?.lost], [FRAMES, FRAMES, 0]);
  const [attached] = records();
  assert.is(attached?.reader, reader === 'auto' ? 'dump' : reader);
  if (reader === 'auto') assert.match(log.stderr, /no iterator can be pinned.*`map dump`, slower/);
  if (reader !== 'dump') guest.tell('log', String(attached?.reader));
  await untilNothingLeft(lab);
}

function firstInterface(stdout: string): Record<string, unknown> {
  const interfaces = propertyOf(JSON.parse(stdout), 'interfaces');
  const [first]: unknown[] = Array.isArray(interfaces) ? interfaces : [];
  if (typeof first !== 'object' || first === null) throw new Error(`no interface: ${stdout}`);
  return { ...first };
}

async function sendFlows(lab: Lab, flows = FLOWS): Promise<void> {
  for (const { frames, ...frame } of flows) await lab.send(udpFrame(frame), frames);
}

async function reading(lab: Lab) {
  const dump = await lab.run(['dump', 'eth0', '-o', 'ndjson']);
  assert.is(dump.exitCode, 0, dump.stderr);
  const records = recordsIn(dump.stdout);
  const idle = Object.fromEntries(records.map((record) => [String(record.source), record.idle_ms]));
  return { ...lastReading(records), idle };
}

/** That every flow was counted `times` times. */
async function expectCounts(lab: Lab, times: number, flows = FLOWS): Promise<void> {
  const { packets, bytes, totals } = await reading(lab);
  const counted = flows.map((each) => ({ ...each, packets: each.frames * times }));
  assert.equal(packets, Object.fromEntries(counted.map((each) => [each.source, each.packets])));
  assert.equal(
    bytes,
    Object.fromEntries(counted.map((each) => [each.source, each.packets * udpFrame(each).length])),
  );
  const ofFamily = (mark: string) =>
    counted.reduce((sum, each) => sum + (each.source.includes(mark) ? each.packets : 0), 0);
  assert.is(totals?.ipv4, ofFamily('.'));
  assert.is(totals?.ipv6, ofFamily(':'));
  assert.is(totals?.untracked, 0);
}

/** That the table has a value for each possible CPU, and packets on each that is online. */
async function expectValuesOnCpus(lab: Lab, online: number, possible: number): Promise<void> {
  const [pins] = lab.pins();
  const entries = await lab.bpftool.dumpMap(`${lab.bpffs}/xdpwho/${pins}/maps/sources`);
  assert.is(entries.length, FLOWS.length);
  for (const entry of entries) {
    const values = propertyOf(entry, 'values');
    if (!Array.isArray(values)) throw new Error(`no values: ${JSON.stringify(entry)}`);
    assert.is(values.length, possible);
    const used = values.filter((each) =>
      /0x(?!00)/.test(JSON.stringify(propertyOf(each, 'value'))),
    );
    assert.is(used.length, online);
  }
}

/** Loads the iterator as for the most CPUs that get a front table. To be pinned, it needs a table with as many values. */
async function loadForManyCpus(lab: Lab): Promise<void> {
  const all = { possible: MOST_CPUS, limit: MOST_CPUS, present: MOST_CPUS };
  const size = frontSize(frontLines(all, DEFAULT_MAX_SOURCES), all);
  if (size === undefined) throw new Error('no lines');
  const front = `${lab.bpffs}/front`;
  const token = randomUUID();
  const patch = {
    constants: { possible_cpus: MOST_CPUS, ...frontConstants(size, 250) },
    maxEntries: { [FRONT_PIN_NAME]: size.entries },
    mapNames: { [FRONT_PIN_NAME]: frontPinName(token) },
  };
  const objects = new ObjectFiles(OBJECTS_DIRECTORY);
  const object = objects.writePatched('sources.front', patch, lab.scratch);
  assert.is(linkFront(token, front), undefined);
  try {
    const create = bpftoolArguments.createMap(front, frontShape(size.entries));
    const { failure } = await lab.bpftool.batch([create], { withoutMemoryLimit: true });
    assert.is(failure, undefined);
    await execa(lab.bpftool.path, ['prog', 'load', object, `${lab.bpffs}/iterator`]);
  } finally {
    unlinkFront(token);
  }
}

/** That the file says what `dump` does, to whoever reads it. */
async function expectFile(file: string, times: number): Promise<void> {
  const { stdout } = await execa('cat', [file]);
  const packets = recordsIn(stdout).map((record) => [record.source, record.packets]);
  assert.equal(
    Object.fromEntries(packets),
    Object.fromEntries(FLOWS.map((each) => [each.source, each.frames * times])),
  );
}

/** Children take over on which CPUs they may run, and a veth's frames arrive on the sender's CPU. */
async function runOnCpu(cpus: number | string): Promise<void> {
  await execa('taskset', ['-p', '-c', String(cpus), String(process.pid)]);
}

/** Puts an empty file in a file's place for a while. */
async function withoutFile(path: string, use: () => Promise<void>): Promise<void> {
  writeFileSync('/run/empty', '');
  await execa('mount', ['--bind', '/run/empty', path]);
  try {
    await use();
  } finally {
    await execa('umount', [path]);
  }
}

async function doctorOn(lab: Lab, device: string, name: string) {
  const doctor = await lab.run(['doctor', device, '-o', 'json']);
  const check = checksOf(doctor.stdout).find((each) => each.name === name);
  if (check === undefined) throw new Error(`no check ${name}: ${doctor.stdout}${doctor.stderr}`);
  return check;
}

function checksOf(stdout: string) {
  const checks = propertyOf(JSON.parse(stdout), 'checks');
  if (!Array.isArray(checks)) throw new Error(`no checks: ${stdout}`);
  return checks.map((each) => ({
    name: String(propertyOf(each, 'name')),
    status: String(propertyOf(each, 'status')),
    detail: String(propertyOf(each, 'detail')),
  }));
}

/** The line that says what was given up. */
function restrictionIn(stderr: string): string {
  const line =
    stderr
      .split('\n')
      .find((each) => /(using generic mode|too large for native mode)/.test(each)) ?? '';
  return line.replace(/^xdpwho: \S+: /, '');
}
