/** A bpf_link that an open bpftool batch holds: made, held, and gone with its process in every way. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { endianness } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import {
  holdLink,
  type Link,
  LinkRefused,
  type LinkRequest,
  LinkUnavailable,
  makeTestFrame,
} from '../../src/attachment/link.js';
import { Bpftool } from '../../src/host/bpftool.js';
import { BpftoolError } from '../../src/host/bpftool-error.js';
import { observeCommands } from '../../src/host/command-log.js';
import { showLinks } from '../../src/host/interfaces.js';
import { resolveNetns } from '../../src/host/netns.js';
import { udpFrame } from '../../src/model/frames.js';
import { propertyOf } from '../../src/model/json-values.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { decodeTotals } from '../../src/table/decode.js';
import { suite } from '../suite.js';
import { detachXdp, loadWithMaps } from './bpftool.js';
import { Lab, OBJECTS_DIRECTORY, WHY_NOT } from './lab.js';
import type { HolderAnswer } from './link-holder.js';

const NOBODY = 65534;
const CYCLES = 500;
const FRAME = udpFrame({ source: '192.0.2.1' });
const TEST_FRAME = makeTestFrame();
const objects = new ObjectFiles(OBJECTS_DIRECTORY);

let lab: Lab;
/** The program of link-holder.ts in one file, which every user can read. */
let holderProgram: string;
/** What of ours is in the lab: loaded, pinned, and attached nowhere. */
let programId: number;
/** Ends what a test that fails has left. */
const endings: (() => Promise<void>)[] = [];

const links = suite('a link that an open batch holds', WHY_NOT);

links.before(async () => {
  lab = await Lab.create({ bridged: true });
  chmodSync(lab.scratch, 0o755);
  holderProgram = `${lab.scratch}/link-holder.mjs`;
  await build({
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'node18' },
    entryPoints: [new URL('link-holder.ts', import.meta.url).pathname],
    outfile: holderProgram,
    // execa has parts that call require.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire('/');",
    },
  });
});
links.before.each(async () => {
  mkdirSync(`${lab.bpffs}/maps`);
  await loadWithMaps(
    lab.bpftool,
    objects.writePatched('xdpwho.frags', { constants: { test_frame: TEST_FRAME } }, lab.scratch),
    `${lab.bpffs}/program`,
    `${lab.bpffs}/maps`,
  );
  programId = (await lab.bpftool.showProgram(`${lab.bpffs}/program`)).id;
});
links.after.each(async () => {
  for (const end of endings.splice(0)) await end();
  rmSync(`${lab.bpffs}/program`);
  rmSync(`${lab.bpffs}/maps`, { recursive: true });
  assert.equal(await lab.attached(), []);
  assert.is(existsSync(`${lab.bpffs}/make-link`), false, 'the pin of what makes links is gone');
  assert.equal(await children(), [], 'no process is left');
});
links.after(() => lab.close());

async function ifindexOf(device: string, netns = lab.netns): Promise<number> {
  const [link] = await showLinks(resolveNetns(netns), device);
  if (link === undefined) throw new Error(`${device}: not in ${netns}`);
  return link.ifindex;
}

async function requestOf(changes: Partial<LinkRequest> = {}): Promise<LinkRequest> {
  return {
    programPin: `${lab.bpffs}/program`,
    programId,
    testFrame: TEST_FRAME,
    ifindex: changes.ifindex ?? (await ifindexOf('eth0')),
    netnsPath: resolveNetns(lab.netns).path,
    mode: 'native',
    pin: `${lab.bpffs}/make-link`,
    scratch: lab.scratch,
    ...changes,
  };
}

async function hold(changes: Partial<LinkRequest> = {}, bpftool = lab.bpftool): Promise<Link> {
  const link = await holdLink(bpftool, objects, await requestOf(changes));
  endings.push(() => link.close());
  return link;
}

/** The errno of a refusal; fails for everything else. */
async function refusal(changes: Partial<LinkRequest> = {}): Promise<string> {
  const error = await hold(changes).then(closeAndFail, (reason: unknown) => reason);
  if (!(error instanceof LinkRefused)) throw error;
  return error.errno;
}

/** The reason why no link can be had; fails for everything else. */
async function reason(changes: Partial<LinkRequest>, bpftool = lab.bpftool): Promise<string> {
  const error = await hold(changes, bpftool).then(closeAndFail, (cause: unknown) => cause);
  if (!(error instanceof LinkUnavailable)) throw error;
  return error.message;
}

async function closeAndFail(link: Link): Promise<never> {
  await link.close();
  throw new Error('a link was made');
}

/** A bpftool that runs `body` of sh in place of a batch, or before it; see Lab.bpftoolThat. */
function otherBpftool(name: string, body: string): Bpftool {
  const inBatch = `case " $* " in *" batch "*)\n${body}\nesac`;
  return new Bpftool({ path: lab.bpftoolThat(name, inBatch, { keepsOpen: true }) });
}

/** What a run falls back to when no link can be had: it counts, from zero. */
async function worksWithoutLink(): Promise<void> {
  const netnsPath = resolveNetns(lab.netns).path;
  await lab.bpftool.attach('native', `${lab.bpffs}/program`, 'eth0', netnsPath);
  assert.is(await counted(), '0 0 0 0 0', 'the test run is not counted');
  await sendSix();
  assert.is(await counted(), `${6 * FRAME.length} 6 0 0 0`);
  await detachXdp(lab.bpftool, 'native', 'eth0', netnsPath);
}

/** Processes that this one has started and that run: those of the lab itself are left out. */
async function children(): Promise<string[]> {
  const { stdout } = await execa('ps', ['--ppid', String(process.pid), '-o', 'args=']);
  return stdout.split('\n').filter((line) => /bpftool|nsenter|link-holder/.test(line));
}

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** The file that makes a link-holder's process hold one, in the namespace of the lab. */
class Holder {
  readonly child: ChildProcess;
  readonly id: number;
  readonly pid: number;

  private constructor(child: ChildProcess, { id, pid }: { id: number; pid: number }) {
    this.child = child;
    this.id = id;
    this.pid = pid;
  }

  static async start(changes: Partial<LinkRequest> = {}, under: readonly string[] = []) {
    const request = JSON.stringify(await requestOf(changes));
    const [file = '', ...args] = [
      ...[...under, process.execPath, holderProgram],
      ...[lab.bpftool.path, OBJECTS_DIRECTORY, request],
    ];
    // A group of its own, as a terminal's foreground job is one.
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    const [line] = await once(createInterface({ input: child.stdout }), 'line');
    const answer: HolderAnswer = JSON.parse(String(line));
    if (!('id' in answer)) throw new Error(String(line));
    const holder = new Holder(child, answer);
    endings.push(() => holder.end());
    return holder;
  }

  get parent(): number {
    if (this.child.pid === undefined) throw new Error('it did not start');
    return this.child.pid;
  }

  /** Waits until both processes have ended, and the program is detached. */
  async gone(): Promise<void> {
    await lab.until(() => !isRunning(this.parent) && !isRunning(this.pid), 'both ended');
    await detached();
  }

  async end(): Promise<void> {
    this.child.stdin?.end();
    await this.gone();
  }
}

async function detached(): Promise<void> {
  await lab.until(async () => (await lab.attached()).length === 0, 'detached');
}

/** What the program has counted: bytes, and packets of each class. */
async function counted(): Promise<string> {
  const entries = await lab.bpftool.dumpMap(`${lab.bpffs}/maps/totals`);
  const { bytes, ipv4, ipv6, other, malformed } = decodeTotals(entries, endianness() === 'LE');
  return [bytes, ipv4, ipv6, other, malformed].join(' ');
}

/** Sends six packets, and waits until they have gone through the hook. */
async function sendSix(): Promise<void> {
  const before = await lab.countDelivered();
  await lab.send(FRAME, 6);
  await lab.until(async () => (await lab.countDelivered()) - before === 6, 'delivered');
}

for (const mode of ['native', 'generic'] as const) {
  links(
    `is made in ${mode} mode, is shown, counts from zero, and is gone when it is closed`,
    async () => {
      const link = await hold({ mode });
      const [shown, ...more] = await lab.attached();
      assert.equal([shown?.device, shown?.mode, shown?.programId], ['eth0', mode, programId]);
      assert.is(more.length, 0);
      const byId = ['-j', 'link', 'show', 'id', String(link.id)];
      const { stdout } = await execa(lab.bpftool.path, byId);
      const said: unknown = JSON.parse(stdout);
      assert.equal([propertyOf(said, 'type'), propertyOf(said, 'prog_id')], ['xdp', programId]);
      assert.is(await counted(), '0 0 0 0 0', 'the test run is not counted');
      await sendSix();
      assert.is(await counted(), `${6 * FRAME.length} 6 0 0 0`);
      await link.close();
      // At once: the kernel has detached when the process has ended.
      assert.equal(await lab.attached(), []);
      await sendSix();
      assert.is(await counted(), `${6 * FRAME.length} 6 0 0 0`);
    },
  );
}

links('tells what it sends to the batch, after the command that starts it', async () => {
  const told: string[] = [];
  const stop = observeCommands((file, args) => told.push([file, ...args].join(' ')));
  const link = await hold().finally(stop);
  await link.close();
  assert.equal(told.slice(1), [
    `/usr/bin/nsenter --net=/run/netns/${lab.netns} -- ${lab.bpftool.path} -n batch file -`,
    `prog run pinned ${lab.bpffs}/program data_in ${lab.scratch}/frame repeat 1`,
    `prog load ${lab.scratch}/link.o ${lab.bpffs}/make-link`,
    `prog run pinned ${lab.bpffs}/make-link repeat 0`,
  ]);
});

links('is gone when the process that holds it is killed, and that is noticed', async () => {
  const link = await hold();
  let hasEnded = false;
  const ended = link.ended.then(() => {
    hasEnded = true;
  });
  await sleep(100);
  assert.is(hasEnded, false);
  process.kill(link.pid, 'SIGKILL');
  await ended;
  assert.equal(await lab.attached(), []);
  await link.close();
});

const DEATHS: Readonly<Record<string, (holder: Holder) => void>> = {
  'its parent is killed': ({ parent }) => process.kill(parent, 'SIGKILL'),
  'both processes are killed': ({ parent, pid }) => {
    process.kill(pid, 'SIGKILL');
    process.kill(parent, 'SIGKILL');
  },
  'both are killed, the parent first': ({ parent, pid }) => {
    process.kill(parent, 'SIGKILL');
    process.kill(pid, 'SIGKILL');
  },
  'its parent is ended by SIGTERM': ({ parent }) => process.kill(parent, 'SIGTERM'),
  'the session of its parent is killed': ({ parent }) => process.kill(-parent, 'SIGKILL'),
};

for (const [how, kill] of Object.entries(DEATHS)) {
  links(`is gone when ${how}`, async () => {
    const holder = await Holder.start();
    assert.is((await lab.attached()).length, 1);
    kill(holder);
    await holder.gone();
  });
}

links(
  "stays while its parent is stopped, and at a terminal's Ctrl-C that its parent survives",
  async () => {
    const holder = await Holder.start();
    process.kill(holder.parent, 'SIGSTOP');
    await sleep(200);
    assert.is((await lab.attached()).length, 1);
    process.kill(holder.parent, 'SIGCONT');
    // What a terminal does at Ctrl-C: to every process of the group in the foreground.
    process.kill(-holder.parent, 'SIGINT');
    await sleep(200);
    assert.ok(isRunning(holder.parent) && isRunning(holder.pid));
    assert.is((await lab.attached()).length, 1);
    process.kill(holder.parent, 'SIGSTOP');
    process.kill(holder.parent, 'SIGKILL');
    await holder.gone();
  },
);

links("is refused with EBUSY where a stranger's program is, however that is attached", async () => {
  const id = await lab.attachStranger('eth0');
  assert.is(await refusal(), 'EBUSY');
  assert.is(await refusal({ mode: 'generic' }), 'EEXIST');
  assert.equal(
    (await lab.attached()).map((each) => each.programId),
    [id],
  );
  await lab.detachStranger('eth0');

  const pin = `${lab.bpffs}/stranger`;
  await lab.bpftool.loadProgram(objects.path('pass'), pin);
  const strangerId = (await lab.bpftool.showProgram(pin)).id;
  const theirs = await hold({ programPin: pin, programId: strangerId });
  assert.is(await refusal(), 'EBUSY');
  assert.equal(
    (await lab.attached()).map((each) => each.programId),
    [strangerId],
  );
  await theirs.close();
  rmSync(pin);
});

links(
  'is not replaced and not taken off by others while it is held, but may be detached by its id',
  async () => {
    const link = await hold();
    const still = async () =>
      assert.equal(
        (await lab.attached()).map((each) => each.programId),
        [programId],
      );
    const pin = `${lab.bpffs}/stranger`;
    await lab.bpftool.loadProgram(objects.path('pass'), pin);
    const inLab = (...args: string[]) =>
      execa('nsenter', [`--net=/run/netns/${lab.netns}`, '--', ...args], { reject: false });
    for (const command of [
      [lab.bpftool.path, 'net', 'attach', 'xdp', 'pinned', pin, 'dev', 'eth0', 'overwrite'],
      [lab.bpftool.path, 'net', 'detach', 'xdp', 'dev', 'eth0'],
      ['ip', '-force', 'link', 'set', 'dev', 'eth0', 'xdp', 'off'],
    ]) {
      const { exitCode, stderr } = await inLab(...command);
      assert.is.not(exitCode, 0, command.join(' '));
      assert.match(stderr, /busy|Can't replace active BPF XDP link/);
      await still();
    }
    rmSync(pin);
    await execa(lab.bpftool.path, ['link', 'detach', 'id', String(link.id)]);
    assert.equal(await lab.attached(), []);
    assert.ok(isRunning(link.pid), 'its process does not notice');
    await link.close();
  },
);

links(
  'is gone from the namespace that its interface was moved to, when its parent is killed',
  async () => {
    await lab.addVeth('tx1', 'eth1');
    const holder = await Holder.start({ ifindex: await ifindexOf('eth1') });
    await lab.ip(lab.netns, ['link', 'set', 'dev', 'eth1', 'netns', lab.sender]);
    const there = () => lab.bpftool.showNet(resolveNetns(lab.sender).path);
    assert.equal(
      (await there()).map((each) => each.programId),
      [programId],
    );
    assert.equal(await lab.attached(), []);
    process.kill(holder.parent, 'SIGKILL');
    await holder.gone();
    await lab.until(async () => (await there()).length === 0, 'detached there');
    await lab.ip(lab.sender, ['link', 'del', 'dev', 'eth1']);
  },
);

links('outlives its interface, and does not come back with one of the same name', async () => {
  await lab.addVeth('tx1', 'eth1');
  const link = await hold({ ifindex: await ifindexOf('eth1') });
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'eth1', 'name', 'eth2']);
  assert.equal(
    (await lab.attached()).map((each) => each.device),
    ['eth2'],
  );
  await lab.ip(lab.netns, ['link', 'del', 'dev', 'eth2']);
  assert.ok(isRunning(link.pid));
  await lab.addVeth('tx1', 'eth1');
  assert.equal(await lab.attached(), []);
  await link.close();
  await lab.ip(lab.netns, ['link', 'del', 'dev', 'eth1']);
});

links('is made in the namespace that we run in, without nsenter', async () => {
  const holder = await Holder.start({ netnsPath: undefined }, [
    ...['nsenter', `--net=/run/netns/${lab.netns}`, '--'],
  ]);
  assert.is(readFileSync(`/proc/${holder.pid}/comm`, 'utf8'), 'bpftool\n');
  assert.is((await lab.attached()).length, 1);
  await holder.end();
});

links('is made with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON only', async () => {
  const copies = `${lab.scratch}/nobody`;
  const byteOrder = endianness() === 'LE' ? 'el' : 'eb';
  mkdirSync(`${copies}/objects/${byteOrder}`, { recursive: true });
  copyFileSync(objects.path('link'), `${copies}/objects/${byteOrder}/link.o`);
  mkdirSync(`${lab.bpffs}/nobody`);
  chmodSync(lab.bpffs, 0o711);
  const files = [`${lab.bpffs}/program`, `${lab.bpffs}/maps`, `${lab.bpffs}/maps/totals`];
  for (const path of [copies, `${lab.bpffs}/nobody`, ...files]) chownSync(path, NOBODY, NOBODY);
  const list = '-all,+bpf,+net_admin,+perfmon';
  const request = await requestOf({
    ...{ netnsPath: undefined, scratch: copies, pin: `${lab.bpffs}/nobody/make-link` },
  });
  const child = spawn(
    'nsenter',
    [
      ...[`--net=/run/netns/${lab.netns}`, '--'],
      ...['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'],
      ...[`--inh-caps=${list}`, `--ambient-caps=${list}`, `--bounding-set=${list}`, '--'],
      ...[process.execPath, holderProgram, lab.bpftool.path, `${copies}/objects`],
      JSON.stringify(request),
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const { pid }: { pid?: number } = JSON.parse(String(line));
  assert.type(pid, 'number', String(line));
  assert.match(
    readFileSync(`/proc/${pid}/status`, 'utf8'),
    new RegExp(`^Uid:\\s+${NOBODY}\\s`, 'm'),
  );
  assert.equal(
    (await lab.attached()).map((each) => each.programId),
    [programId],
  );
  child.kill('SIGKILL');
  await once(child, 'close');
  await detached();
  rmSync(`${lab.bpffs}/nobody`, { recursive: true });
});

links(
  "is refused with the errno that `net attach` has, where a driver's mode is not to be had",
  async () => {
    await lab.addVeth('tx1', 'eth1', 9000);
    const plain = `${lab.bpffs}/plain`;
    await lab.bpftool.loadProgram(objects.path('pass'), plain);
    const { id } = await lab.bpftool.showProgram(plain);
    const cases = [
      { device: 'eth1', errno: 'ERANGE' },
      { device: 'lo', errno: 'EOPNOTSUPP' },
    ];
    for (const { device, errno } of cases) {
      const ifindex = await ifindexOf(device);
      const netnsPath = resolveNetns(lab.netns).path;
      const byNetlink = await lab.bpftool
        .attach('native', plain, device, netnsPath)
        .catch((error: unknown) => error);
      if (!(byNetlink instanceof BpftoolError)) throw byNetlink;
      assert.is(byNetlink.errno, errno);
      assert.is(await refusal({ programPin: plain, programId: id, ifindex }), errno);
      const generic = await hold({ programPin: plain, programId: id, ifindex, mode: 'generic' });
      assert.equal(
        (await lab.attached()).map((each) => each.mode),
        ['generic'],
      );
      await generic.close();
    }
    rmSync(plain);
    await lab.ip(lab.netns, ['link', 'del', 'dev', 'eth1']);
  },
);

links('is unavailable where the interface is not there', async () => {
  assert.match(await reason({ ifindex: 999_999 }), 'no link can be had: the kernel answers EINVAL');
});

const OTHER_BPFTOOLS: Readonly<Record<string, { body: string; why: RegExp }>> = {
  'closes the program that it has run': {
    body: 'shift 4; while read -r line; do $bpftool -n $line </dev/null || exit 1; done; exit 0',
    why: /bpftool does not keep the program open$/,
  },
  'answers without doing anything': {
    body: 'while read -r _; do echo "Return value: 2, duration: 5ns"; done; exit 0',
    why: /bpftool does not keep the program open$/,
  },
  'makes no link and returns what is none': {
    // The real one, under the same number; but what it is told in the end is to run our program again.
    body: `mkfifo "$0-in"; exec 3<&0
sed -u 's|^prog run .*/make-link repeat 0|prog run pinned '"$PROGRAM"' data_in '"$FRAME"' repeat 1|' <&3 >"$0-in" &
exec "$bpftool" "$@" <"$0-in" 3<&-`,
    why: /what bpftool has made is not the link that was asked for$/,
  },
  'refuses its first command': {
    body: 'read -r _; echo "Error: bpf obj get: Permission denied" >&2; exit 255',
    why: /bpftool batch: bpf obj get: Permission denied$/,
  },
  'ends without a word': { body: 'exit 0', why: /bpftool batch: it ended without a word$/ },
  'is killed in the middle': {
    body: 'read -r _; kill -9 $$',
    why: /bpftool batch: it ended without a word$/,
  },
  'knows no batch in text': {
    body: 'echo "Usage: bpftool" >&2; exit 255',
    why: /bpftool batch: Usage: bpftool$/,
  },
};

for (const [index, [how, { body, why }]] of Object.entries(OTHER_BPFTOOLS).entries()) {
  links(`is unavailable from a bpftool that ${how}`, async () => {
    const places = `PROGRAM=${lab.bpffs}/program FRAME=${lab.scratch}/frame\n`;
    assert.match(await reason({}, otherBpftool(`other${index}`, places + body)), why);
    await worksWithoutLink();
  });
}

links('is unavailable where a path cannot be said to the batch, or nothing be pinned', async () => {
  assert.match(
    await reason({ programPin: `${lab.bpffs}/a#b` }),
    /a character that it cannot read$/,
  );
  const nowhere = `${lab.bpffs}/nowhere/make-link`;
  assert.match(await reason({ pin: nowhere }), /no link can be had: bpftool batch: /);
  await worksWithoutLink();
});

/** What `doctor` says of attaching. */
async function doctorSays(bpftool: string): Promise<string> {
  const { stdout } = await lab.run(['doctor', '-o', 'json', '--bpftool', bpftool], { bare: true });
  const checks: unknown = propertyOf(JSON.parse(stdout), 'checks');
  const all: unknown[] = Array.isArray(checks) ? checks : [];
  const link = all.find((each) => propertyOf(each, 'name') === 'link');
  return `${propertyOf(link, 'status')}: ${propertyOf(link, 'detail')}`;
}

links(
  'doctor tries it in namespaces of its own, says what came of it, and leaves nothing',
  async () => {
    const programs = async () => {
      const shown = ['-j', 'prog', 'show', 'name', 'pass'];
      return (await execa(lab.bpftool.path, shown, { reject: false })).stdout;
    };
    const before = await programs();
    assert.is(
      await doctorSays(lab.bpftool.path),
      'pass: by a link: the kernel detaches when a run ends',
    );
    assert.match(
      await doctorSays(otherBpftool('mute', 'echo "Error: no such thing" >&2; exit 255').path),
      /^warn: by net attach, and a guard detaches when a run ends: no link can be had: bpftool batch: no such thing$/,
    );
    assert.is(await doctorSays('/nowhere/bpftool'), 'warn: unknown: no bpftool that works');
    await lab.until(async () => (await programs()) === before, 'its program is gone');
  },
);

links('says that bpftool is not there, where it is not', async () => {
  const none = new Bpftool({ path: '/nowhere/bpftool' });
  assert.match(await reason({ netnsPath: undefined }, none), /cannot be started$/);
  assert.match(await reason({}, none), /nsenter: failed to execute \/nowhere\/bpftool/);
});

const SILENT: Readonly<Record<string, string>> = {
  'answers nothing': 'echo $$ >>"$0-pids"; sleep 600 & echo $! >>"$0-pids"; wait; exit 0',
  'ignores the end of its input and every signal': `trap '' HUP INT TERM PIPE
echo $$ >>"$0-pids"; while :; do sleep 1 & echo $! >>"$0-pids"; wait; done`,
  'has another that does the work, in a session of its own':
    'setsid -f sh -c \'echo $$ >>"$1-pids"; cat >/dev/null\' sh "$0" <&0; echo $$ >>"$0-pids"; while read -r _; do :; done; exit 0',
};

for (const [index, [how, body]] of Object.entries(SILENT).entries()) {
  links(`is unavailable from a bpftool that ${how}, and that is ended`, async () => {
    const bpftool = otherBpftool(`silent${index}`, body);
    assert.match(await reason({ timeoutMs: 500 }, bpftool), /no answer within the time limit$/);
    const pids = readFileSync(`${bpftool.path}-pids`, 'utf8').trim().split('\n').map(Number);
    assert.ok(pids.length >= 2);
    await lab.until(() => pids.every((pid) => !isRunning(pid)), 'all of them ended');
    await worksWithoutLink();
  });
}

links('ends a process that does not end with its input', async () => {
  const link = await hold();
  process.kill(link.pid, 'SIGSTOP');
  await link.close();
  assert.is(isRunning(link.pid), false);
  assert.equal(await lab.attached(), []);
});

links(`leaks nothing in ${CYCLES} cycles`, async () => {
  const descriptors = () => readdirSync('/proc/self/fd').length;
  await (await hold()).close();
  const before = descriptors();
  const one = await hold();
  assert.is(descriptors() - before, 1, 'what a link costs us');
  await one.close();
  for (let cycle = 0; cycle < CYCLES; cycle++) {
    const link = await hold({ mode: cycle % 2 === 0 ? 'native' : 'generic' });
    if (cycle % 5 === 0) process.kill(link.pid, 'SIGKILL');
    await link.close();
  }
  assert.is(descriptors(), before);
  assert.equal(await children(), []);
  assert.is(await counted(), '0 0 0 0 0', 'on any of the CPUs');
  const { stdout } = await execa(lab.bpftool.path, ['-j', 'link', 'show'], { maxBuffer: 1e8 });
  const left: unknown = JSON.parse(stdout);
  const ours = Array.isArray(left)
    ? left.filter((each) => propertyOf(each, 'prog_id') === programId)
    : [];
  assert.equal(ours, []);
});

links.run();
