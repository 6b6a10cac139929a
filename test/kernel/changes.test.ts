/** Interfaces that go, move and are many, when nobody but the guard is left to see it. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { udpFrame } from '../../src/model/frames.js';
import { timesOf, tried } from '../reliability.js';
import { suite } from '../suite.js';
import { documentIn, Lab, lastReading, listIn, recordsIn, type Started, WHY_NOT } from './lab.js';

const PROMISE =
  'An interface that moves, is renamed, goes, or is one of many keeps no program of ours';

const MANY = timesOf(200, 40);

let lab: Lab;
let other: Lab;

const changes = suite(PROMISE, WHY_NOT);

changes.before.each(async () => {
  lab = await Lab.create();
  other = await Lab.create();
});
changes.after.each(async () => {
  await lab.close();
  await other.close();
});

async function watching(interfaceName: string, hold: 'link' | 'guard'): Promise<Started> {
  const bpftool = lab.bpftoolThat('holding', '', { keepsOpen: hold === 'link' });
  const args = ['watch', interfaceName, '--interval', '10s', '-o', 'ndjson', '--bpftool', bpftool];
  const run = lab.start(args);
  await lab.until(() => run.stdout.includes('\n'), 'attached');
  assert.is(recordsIn(run.stdout)[0]?.held_by, hold);
  return run;
}

/** What may become of the interface before its run is killed. */
const CHANGES: Readonly<Record<string, () => Promise<unknown>>> = {
  renamed: async () => {
    await lab.ip(lab.netns, ['link', 'set', 'dev', 'eth0', 'name', 'eth.9']);
  },
  'set down': () => lab.ip(lab.netns, ['link', 'set', 'dev', 'eth0', 'down']),
  deleted: () => lab.ip(lab.netns, ['link', 'del', 'dev', 'eth0']),
  'deleted, and made anew': async () => {
    await lab.ip(lab.netns, ['link', 'del', 'dev', 'eth0']);
    await lab.addVeth('again', 'eth0');
  },
  'moved to another named namespace': async () => {
    await other.ip(other.netns, ['link', 'del', 'dev', 'eth0']);
    await lab.ip(lab.netns, ['link', 'set', 'dev', 'eth0', 'netns', other.netns]);
  },
  'left without its namespace': () => execa('ip', ['netns', 'del', lab.netns]),
};

/** What holds the program: a link, or, with a bpftool of which none can be had, the guard. */
const HOLDS = ['link', 'guard'] as const;

const cases = Object.entries(CHANGES).flatMap(([what, change]) =>
  HOLDS.map((hold) => ({ what, change, hold })),
);

for (const { what, change, hold } of cases) {
  changes(`${what}, then the run killed, held by the ${hold}: nothing is left`, async () => {
    const run = await watching('eth0', hold);
    await change();
    run.child.kill('SIGKILL');
    await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
    assert.equal(lab.pins(), []);
    const places = what.includes('without') ? [other] : [lab, other];
    for (const place of places) assert.equal(await place.attached(), []);
    tried(PROMISE, {
      what: `the interface ${what} under \`watch\`, which is then killed${hold === 'link' ? '' : ', where no link can be had'}`,
      times: 1,
      result: 'nothing left, wherever it was',
    });
  });
}

for (const hold of HOLDS)
  changes(
    `moved to the namespace of a process, which has no name, then the run killed, held by the ${hold}: nothing is left`,
    async () => {
      const process = execa('unshare', ['--net', 'sleep', '60'], { reject: false });
      const pid = process.pid;
      assert.ok(pid !== undefined);
      try {
        const inode = (place: string) =>
          execa('stat', ['-Lc', '%i', place]).then(({ stdout }) => stdout);
        const own = await inode('/proc/self/ns/net');
        await lab.until(async () => (await inode(`/proc/${pid}/ns/net`)) !== own, 'unshared');
        const run = await watching('eth0', hold);
        await lab.ip(lab.netns, ['link', 'set', 'dev', 'eth0', 'netns', String(pid)]);
        const there = () => lab.bpftool.showNet(`/proc/${pid}/ns/net`);
        assert.is((await there()).length, 1, 'it takes its program along');
        run.child.kill('SIGKILL');
        await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
        assert.equal(await there(), []);
        assert.equal(lab.pins(), []);
      } finally {
        process.kill('SIGKILL');
        await process;
      }
      tried(PROMISE, {
        what: `the interface moved to the namespace of a process under \`watch\`, which is then killed${hold === 'link' ? '' : ', where no link can be had'}`,
        times: 1,
        result: 'nothing left',
      });
    },
  );

changes(
  'the same name and index in two namespaces with one bpffs: each has its own counts and its own end',
  async () => {
    const index = async (each: Lab) => {
      const [link]: { ifindex?: number }[] = JSON.parse(
        await each.ip(each.netns, ['-j', 'link', 'show', 'dev', 'eth0']),
      );
      return link?.ifindex;
    };
    assert.is(await index(lab), await index(other));
    const places = ['--bpffs', lab.bpffs];
    const run = (each: Lab, ...args: string[]) =>
      each.run([...args, '--netns', each.netns, ...places], { bare: true });
    for (const [each, count] of [
      [lab, 5],
      [other, 9],
    ] as const) {
      assert.is((await run(each, 'attach', 'eth0')).exitCode, 0);
      await each.send(udpFrame({ source: '192.0.2.1' }), count);
    }
    assert.is(lab.pins().length, 2);
    const packets = async (each: Lab) => {
      const { stdout } = await run(each, 'dump', 'eth0', '-o', 'ndjson');
      return lastReading(recordsIn(stdout)).packets;
    };
    assert.equal(
      [await packets(lab), await packets(other)],
      [{ '192.0.2.1': 5 }, { '192.0.2.1': 9 }],
    );
    assert.is((await run(lab, 'detach', 'eth0')).exitCode, 0);
    assert.equal([(await lab.attached()).length, (await other.attached()).length], [0, 1]);
    assert.equal(await packets(other), { '192.0.2.1': 9 });
    assert.is((await run(other, 'detach', 'eth0')).exitCode, 0);
    assert.equal(lab.pins(), []);
    tried(PROMISE, {
      what: 'the same name and index in two namespaces, one bpffs',
      times: 1,
      result: 'told apart: counts, `detach`',
    });
  },
);

changes('an index above 1,000 is like any other', async () => {
  const peer = ['peer', 'name', 'far', 'index', '65432', 'netns', lab.netns];
  const ends = ['name', 'near', 'netns', lab.sender, 'index', '54321', 'type', 'veth'];
  await execa('ip', ['link', 'add', ...ends, ...peer]);
  for (const [netns, name] of [
    [lab.sender, 'near'],
    [lab.netns, 'far'],
  ] as const) {
    await lab.ip(netns, ['link', 'set', 'dev', name, 'arp', 'off', 'addrgenmode', 'none', 'up']);
  }
  assert.is((await lab.run(['attach', 'far'])).exitCode, 0);
  await lab.send(udpFrame({ source: '192.0.2.1' }), 7, { ifindex: 54_321 });
  const { stdout } = await lab.run(['dump', 'far', '-o', 'ndjson']);
  assert.equal(lastReading(recordsIn(stdout)).packets, { '192.0.2.1': 7 });
  assert.is((await lab.run(['detach', 'far'])).exitCode, 0);
  await lab.untilNothingLeft();
  tried(PROMISE, { what: 'an interface with index 65,432', times: 1, result: 'like any other' });
});

/** Runs the command, which must succeed, without the limits that are made for one interface. */
async function runWhole(args: readonly string[]): Promise<void> {
  const run = lab.start(args);
  await lab.until(
    () => run.child.exitCode !== null || run.child.signalCode !== null,
    'its end',
    300_000,
  );
  assert.is(run.child.exitCode, 0, run.stderr);
}

/** Adds so many interfaces to the lab. Gives their names. */
async function addMany(): Promise<string[]> {
  const names = Array.from({ length: MANY }, (_, index) => `many${index}`);
  const batch = `${lab.scratch}/links`;
  const lines = names.map((name) => {
    const peer = `peer name ${name} netns ${lab.netns}`;
    return `link add name t${name} netns ${lab.sender} type veth ${peer}`;
  });
  writeFileSync(batch, `${lines.join('\n')}\n`);
  await execa('ip', ['-batch', batch]);
  return names;
}

const few = ['--max-sources', '64'];

changes(`${MANY} interfaces at once are attached, told and detached`, async () => {
  const names = await addMany();
  await runWhole(['attach', ...names, ...few]);
  assert.is((await lab.attached()).length, MANY);
  const status = documentIn((await lab.run(['status', '--json'])).stdout);
  const entries = listIn(status, 'interfaces').filter((each) => each.ownership === 'ours');
  assert.equal(entries.map((each) => each.interface).sort(), [...names].sort());
  await runWhole(['detach', '--all', '-q']);
  await lab.untilNothingLeft();

  // And in the foreground, killed: a guard for each.
  const half = names.slice(0, MANY / 4);
  const run = lab.start(['watch', ...half, ...few, '--interval', '10s', '-q']);
  await lab.until(async () => (await lab.attached()).length >= half.length / 2, 'many', 180_000);
  run.child.kill('SIGKILL');
  await lab.until(async () => (await lab.guards()).length === 0, 'no guard left', 180_000);
  assert.equal(lab.pins(), []);
  assert.equal(await lab.attached(), []);
  tried(PROMISE, {
    what: `${MANY} interfaces by \`attach\`, \`status\`, \`detach --all\`; ${half.length} by \`watch\`, killed in the middle`,
    times: 1,
    result: 'all of them attached, told and detached; nothing left',
  });
});

/** What a run of many interfaces has open and takes. */
interface Cost {
  readonly descriptors: number;
  readonly residentKiB: number;
  /** Of the guards and of the processes that hold links, what they share divided among those that share it. */
  readonly guardsKiB: number;
  readonly holdersKiB: number;
  readonly holders: number;
}

/** Empty for a process that has ended meanwhile. */
function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

/** The fewest of some looks: while a child runs, its pipes are open too. */
async function descriptorsOf(run: number): Promise<number> {
  let fewest = Number.POSITIVE_INFINITY;
  for (let look = 0; look < 20; look++) {
    fewest = Math.min(fewest, readdirSync(`/proc/${run}/fd`).length);
    await sleep(50);
  }
  return fewest;
}

async function costOf(run: number): Promise<Cost> {
  const children = readFileSync(`/proc/${run}/task/${run}/children`, 'utf8').split(' ');
  const withWords = (words: RegExp) =>
    children.filter((pid) => pid !== '' && words.test(commandOf(pid)));
  const kiB = (file: string, name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(file, 'utf8'))?.[1]);
  const sumOf = (pids: readonly string[]) =>
    pids.reduce((sum, pid) => sum + kiB(`/proc/${pid}/smaps_rollup`, 'Pss'), 0);
  const holders = withWords(/\0batch\0file\0-\0$/);
  return {
    descriptors: await descriptorsOf(run),
    residentKiB: kiB(`/proc/${run}/status`, 'VmRSS'),
    guardsKiB: sumOf(withWords(/xdpwho-guard\0/)),
    holdersKiB: sumOf(holders),
    holders: holders.length,
  };
}

changes(
  `${MANY} interfaces in one watch, each by a link of its own, then the run killed`,
  async () => {
    const names = await addMany();
    const costs: Cost[] = [];
    for (const some of [names.slice(0, 1), names]) {
      const run = lab.start(['watch', ...some, ...few, '--interval', '2s', '-o', 'ndjson']);
      const readings = () => run.stdout.split('"type":"totals"').length - 1;
      await lab.until(() => readings() >= 2 * some.length, 'two readings', 300_000);
      assert.is((await lab.attached()).length, some.length);
      const cost = await costOf(run.pid);
      assert.is(cost.holders, some.length);
      costs.push(cost);
      run.child.kill('SIGKILL');
      await run.ended();
      await lab.until(async () => (await lab.attached()).length === 0, 'detached');
      await lab.until(async () => (await lab.guards()).length === 0, 'no guard left', 180_000);
      assert.equal(lab.pins(), []);
    }
    const [one, all] = costs;
    assert.ok(one !== undefined && all !== undefined);
    const each = (name: keyof Cost) => (all[name] - one[name]) / (MANY - 1);
    assert.is(each('descriptors'), 4, 'three of the guard, one of the link');
    tried(PROMISE, {
      what: `${MANY} interfaces by one \`watch\`, each held by a link, then SIGKILL`,
      times: 1,
      result:
        `nothing left; the run had ${all.descriptors} descriptors open and ${Math.round(all.residentKiB / 1024)} MiB resident; ` +
        `each interface took 4 descriptors, ${Math.round(each('residentKiB'))} KiB of the run, ` +
        `${Math.round(each('guardsKiB'))} KiB of its guard and ${Math.round(each('holdersKiB'))} KiB of what holds its link`,
    });
  },
);

/** So long takes `net show` where a namespace has some thousands of links. */
const SLOW_SHOW = `
case " $* " in *' net show '*) echo x >>"$(dirname "$0")/shows"; sleep 1.3 ;; esac`;

changes(
  'a namespace of thousands of links: the interval is kept, and the looks are few',
  async () => {
    const names = (await addMany()).slice(0, 10);
    const bpftool = lab.bpftoolThat('slow-show', SLOW_SHOW, { keepsOpen: true });
    const run = lab.start([
      ...['watch', ...names, ...few, '--interval', '250ms', '--duration', '20s'],
      ...['-o', 'ndjson', '--bpftool', bpftool],
    ]);
    const { exitCode } = await run.ended();
    assert.is(exitCode, 0, run.stderr);
    const readings = run.stdout.split('"type":"totals"').length - 1;
    assert.ok(readings >= 10 * 20, `${readings} readings of ten interfaces`);
    const shows = readFileSync(`${lab.scratch}/shows`, 'utf8').trimEnd().split('\n').length;
    assert.ok(shows <= 4, `${shows} times net show`);
    await lab.untilNothingLeft();
  },
);

changes.run();
