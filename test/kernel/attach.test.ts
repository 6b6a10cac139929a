import { existsSync, readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { resolveNetns } from '../../src/host/netns.js';
import { udpFrame } from '../../src/model/frames.js';
import { propertyOf } from '../../src/model/json-values.js';
import { suite } from '../suite.js';
import { USUAL_READER } from './iterators.js';
import { documentIn, Lab, lastReading, listIn, recordsIn, type Started, WHY_NOT } from './lab.js';

const ROUNDS = 20;
const FRAME = udpFrame({ source: '192.0.2.1' });

let lab: Lab;

/** Attaches, which must succeed, and gives what was said of the first interface. */
async function attach(...args: string[]) {
  const { exitCode, stdout, stderr } = await lab.run(['attach', ...args, '--json']);
  assert.is(exitCode, 0, stderr);
  const document = documentIn(stdout);
  return { changed: document['changed'], ...listIn(document, 'interfaces')[0] };
}

async function packets(device = 'eth0'): Promise<unknown> {
  const { stdout, stderr, exitCode } = await lab.run(['dump', device, '-o', 'ndjson']);
  assert.is(exitCode, 0, stderr);
  return lastReading(recordsIn(stdout)).packets;
}

/** Program ids by interface. */
async function attached(): Promise<Record<string, number>> {
  const shown = await lab.attached();
  return Object.fromEntries(shown.map(({ device, programId }) => [device, programId]));
}

/** The first line on standard error, without the program's name. */
function complaint(stderr: string): string {
  return /^xdpwho: (.*)$/m.exec(stderr)?.[1] ?? '';
}

async function detachAll(): Promise<void> {
  const { exitCode, stderr } = await lab.run(['detach', '--all', '-q']);
  assert.is(exitCode, 0, stderr);
  assert.equal(lab.pins(), []);
  assert.equal(await lab.attached(), []);
}

const attaching = suite('attach', WHY_NOT);
attaching.before(async () => {
  lab = await Lab.create();
  await lab.addVeth('tx1', 'eth1');
});
attaching.after.each(detachAll);
attaching.after(() => lab.close());

attaching('attaches, returns, and goes on counting with no process of ours', async () => {
  const first = await attach('eth0');
  assert.is(first.changed, true);
  const { pins } = { pins: `${lab.bpffs}/xdpwho/${lab.pins()[0]}` };
  const { since, program_id, file_note, ...rest } = {
    ...{ since: '', program_id: 0, file_note: null },
    ...first,
  };
  assert.match(String(since), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.is(program_id, (await attached())['eth0']);
  assert.is(typeof file_note, USUAL_READER === 'iterator' ? 'object' : 'string');
  assert.equal(rest, {
    changed: true,
    interface: 'eth0',
    netns: lab.netns,
    mode: 'native',
    reader: USUAL_READER,
    file: USUAL_READER === 'iterator' ? `${pins}/sources` : null,
    mode_note: null,
    options: { mode: 'native', reader: 'auto', max_sources: 65536, file_mode: '0400', log: null },
    held_by: null,
  });
  assert.equal(await lab.guards(), []);
  await lab.send(FRAME, 7);
  assert.equal(await packets(), { '192.0.2.1': 7 });
});

attaching('changes nothing when it is ours already with the same options', async () => {
  const first = await attach('eth0', '--max-sources', '1000');
  await lab.send(FRAME, 3);
  const second = await attach('eth0', '--max-sources', '1000');
  assert.equal(second, { ...first, changed: false });
  assert.equal(await packets(), { '192.0.2.1': 3 });
});

attaching('says what differs when it is ours with other options, and leaves it', async () => {
  const { program_id } = { program_id: 0, ...(await attach('eth0')) };
  await lab.send(FRAME, 2);
  const options = ['--max-sources', '500', '--mode', 'generic', '--file-mode', '0444'];
  const { exitCode, stdout, stderr } = await lab.run([
    'attach',
    'eth0',
    ...options,
    '--reader=dump',
    '--json',
  ]);
  assert.is(exitCode, 1);
  assert.is(documentIn(stdout)['code'], 'options-differ');
  for (const words of [
    '--mode is native, asked for generic',
    '--reader is auto, asked for dump',
    '--max-sources is 65536, asked for 500',
    '--file-mode is 0400, asked for 0444',
    'hint: xdpwho attach --replace eth0',
  ]) {
    assert.ok(stderr.includes(words), `${words}: ${stderr}`);
  }
  assert.equal(await attached(), { eth0: program_id });
  assert.equal(await packets(), { '192.0.2.1': 2 });
});

attaching('--replace attaches anew where the options differ, and only there', async () => {
  const first = await attach('eth0');
  await lab.send(FRAME, 2);
  assert.is((await attach('eth0', '--replace')).changed, false);
  const second = { program_id: 0, ...(await attach('eth0', '--replace', '--max-sources', '500')) };
  assert.is(second.changed, true);
  assert.is.not(second.program_id, propertyOf(first, 'program_id'));
  assert.equal(await attached(), { eth0: second.program_id });
  assert.is(lab.pins().length, 1, 'the former one is gone');
  assert.equal(await packets(), {});
});

attaching('a --replace that fails puts back what was there, with its counts', async () => {
  const { program_id } = { program_id: 0, ...(await attach('eth0')) };
  await lab.send(FRAME, 5);
  const state = readlinkSync(`${lab.bpffs}/xdpwho/${lab.pins()[0]}/state`);
  const bpftool = lab.bpftoolThat(
    'without-generic',
    `case "$*" in *xdpgeneric*) echo '{"error":"Operation not supported"}'; exit 161 ;; esac`,
  );
  const replacing = ['attach', 'eth0', '--replace', '--mode', 'generic', '--bpftool', bpftool];
  const { exitCode, stderr } = await lab.run(replacing);
  assert.is(exitCode, 5, stderr);
  assert.not.match(stderr, 'could not be put back');
  assert.equal(await attached(), { eth0: program_id });
  assert.is(lab.pins().length, 1);
  assert.is(readlinkSync(`${lab.bpffs}/xdpwho/${lab.pins()[0]}/state`), state);
  await lab.send(FRAME, 1);
  assert.equal(await packets(), { '192.0.2.1': 6 });
});

attaching("a stranger's program is left alone, also by --replace: exit 4", async () => {
  const id = await lab.attachStranger('eth0');
  for (const more of [[], ['--replace'], ['--dry-run']]) {
    const { exitCode, stdout, stderr } = await lab.run(['attach', 'eth0', '--json', ...more]);
    assert.is(exitCode, 4, stderr);
    assert.is(documentIn(stdout)['code'], 'interface-busy');
    assert.match(complaint(stderr), `held by another program: id ${id}, name pass, native mode`);
  }
  assert.equal(await attached(), { eth0: id });
  assert.equal(lab.pins(), []);
  await lab.detachStranger('eth0');
});

attaching('of several interfaces, one that is refused keeps all from being begun', async () => {
  const id = await lab.attachStranger('eth1');
  const { exitCode, stderr } = await lab.run(['attach', 'eth0', 'eth1', '-v']);
  assert.is(exitCode, 4, stderr);
  assert.not.match(stderr, 'prog load');
  assert.equal(await attached(), { eth1: id });
  assert.is((await lab.run(['attach', 'eth0', 'nosuch'])).exitCode, 1);
  assert.equal(await attached(), { eth1: id });
  await lab.detachStranger('eth1');
});

attaching('of several interfaces, a failure half-way takes back what was done', async () => {
  const { program_id } = { program_id: 0, ...(await attach('eth0')) };
  await lab.send(FRAME, 4);
  const failing = lab.bpftoolThat(
    'fails-on-eth1',
    `case "$*" in *"net attach"*"dev eth1"*) echo '{"error":"out of order"}'; exit 1;; esac`,
  );
  const { exitCode, stderr } = await lab.run([
    ...['attach', 'eth0', 'eth1', '--replace', '--max-sources', '300', '--bpftool', failing],
  ]);
  assert.is(exitCode, 1, stderr);
  assert.match(stderr, 'out of order');
  assert.equal(await attached(), { eth0: program_id }, 'what was replaced is back');
  assert.equal(await packets(), { '192.0.2.1': 4 });
  assert.is(lab.pins().length, 1);
  assert.equal(await lab.guards(), []);
});

attaching(
  '--keep-going leaves what could be attached, and the exit code of what could not',
  async () => {
    const id = await lab.attachStranger('eth1');
    const args = ['attach', 'nosuch', 'eth1', 'eth0', '--keep-going'];
    const dry = await lab.run([...args, '--json', '-n']);
    assert.is(dry.exitCode, 1);
    assert.is(documentIn(dry.stdout)['changed'], true);
    assert.equal(await attached(), { eth1: id });

    const { exitCode, stdout, stderr } = await lab.run([...args, '--json']);
    assert.is(exitCode, 1, stderr);
    const document = documentIn(stdout);
    assert.is(document['changed'], true);
    assert.equal(
      listIn(document, 'interfaces').map((each) => each['interface']),
      ['eth0'],
    );
    assert.equal(
      listIn(document, 'failed').map((each) => [each['interface'], each['code']]),
      [
        ['nosuch', 'no-such-interface'],
        ['eth1', 'interface-busy'],
      ],
    );
    assert.equal(Object.keys(await attached()).sort(), ['eth0', 'eth1']);

    const again = await lab.run([...args, '-o', 'ndjson']);
    assert.equal(
      recordsIn(again.stdout).map((record) => record.type),
      ['attached', 'error', 'error'],
    );
    const quiet = await lab.run([...args, '--quiet']);
    assert.match(quiet.stderr, /^xdpwho: nosuch: no such .*\n {2}hint: .*\nxdpwho: eth1: held by /);
    await lab.detachStranger('eth1');
  },
);

attaching('an interface that is named twice, by its other name too, is attached once', async () => {
  await lab.ip(lab.netns, ['link', 'property', 'add', 'dev', 'eth0', 'altname', 'uplink']);
  const { exitCode, stdout, stderr } = await lab.run(['attach', 'uplink', 'eth0', '--json']);
  assert.is(exitCode, 0, stderr);
  assert.equal(
    listIn(documentIn(stdout), 'interfaces').map((each) => each['interface']),
    ['eth0'],
  );
  assert.is((await attach('uplink')).changed, false);
  const plan = async (...args: string[]) => (await lab.run([...args, '--dry-run'])).stdout;
  assert.is(await plan('attach', 'uplink', 'eth0'), '');
  const [totals] = (await plan('watch', 'uplink')).split('\n');
  assert.match(
    totals ?? '',
    /^(cat|\S+bpftool -j -n map dump pinned) \S+\/eth0@\d+(\/maps)?\/totals$/,
  );
  await lab.run(['detach', 'eth0']);
  assert.is((await plan('attach', 'uplink', 'eth0')).match(/net attach/g)?.length, 1);
  assert.not.match(await plan('log', 'uplink'), 'uplink');
});

/** Commands of bpftool that change something, without what is another in each run. */
function changes(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.replace(/^\+ /, ''))
    .filter((line) =>
      /^\/.*bpftool .*(prog load|prog show|iter pin|net attach|net detach)/.test(line),
    )
    .map((line) =>
      line.replace(/'?(\$SCRATCH|\/\S*\/xdpwho-\d+-[\w-]+)\/([\w.]+)'?/, 'SCRATCH/$2'),
    );
}

attaching('--dry-run prints the commands of the run itself, and changes nothing', async () => {
  const dry = await lab.run(['attach', 'eth0', '--dry-run']);
  assert.is(dry.exitCode, 0, dry.stderr);
  assert.equal(lab.pins(), []);
  assert.equal(await attached(), {});
  const real = await lab.run(['attach', 'eth0', '-v']);
  assert.is(changes(real.stderr).length, 5);
  assert.equal(changes(dry.stdout), changes(real.stderr));
});

attaching('--dry-run says `changed` as it would be', async () => {
  const dry = async (...args: string[]) => {
    const { exitCode, stdout } = await lab.run(['attach', 'eth0', '-n', '--json', ...args]);
    const document = documentIn(stdout);
    return { exitCode, changed: document['changed'], code: document['code'] };
  };
  assert.equal(await dry(), { exitCode: 0, changed: true, code: undefined });
  const { program_id } = { program_id: 0, ...(await attach('eth0')) };
  const pins = readdirSync(`${lab.bpffs}/xdpwho`, { recursive: true });
  assert.equal(await dry(), { exitCode: 0, changed: false, code: undefined });
  const other = ['--max-sources', '99'];
  assert.equal(await dry(...other), { exitCode: 1, changed: undefined, code: 'options-differ' });
  assert.equal(await dry(...other, '--replace'), { exitCode: 0, changed: true, code: undefined });
  assert.equal(await attached(), { eth0: program_id });
  assert.equal(readdirSync(`${lab.bpffs}/xdpwho`, { recursive: true }), pins);
});

attaching('what a running `watch` holds is not taken over: it says by which process', async () => {
  const watch = lab.start(['watch', 'eth0', '-o', 'ndjson']);
  await watch.says(/attached in/);
  const { exitCode, stdout, stderr } = await lab.run(['attach', 'eth0', '--replace', '--json']);
  assert.is(exitCode, 1);
  assert.is(documentIn(stdout)['code'], 'held');
  assert.match(stderr, `held by xdpwho watch, process ${watch.pid}`);
  watch.child.kill('SIGINT');
  await watch.ended();
});

attaching(
  'an interface that has another name now is still ours, and speaks by that name',
  async () => {
    await attach('eth0');
    await lab.send(FRAME, 2);
    const rename = async (from: string, to: string) => {
      await lab.ip(lab.netns, ['link', 'set', 'dev', from, 'down']);
      await lab.ip(lab.netns, ['link', 'set', 'dev', from, 'name', to]);
      await lab.ip(lab.netns, ['link', 'set', 'dev', to, 'up']);
    };
    await rename('eth0', 'lan0');
    try {
      const status = await lab.run(['status', 'lan0', '--json']);
      assert.is(status.exitCode, 0, status.stderr);
      const [row] = listIn(documentIn(status.stdout), 'interfaces');
      assert.is(row?.['ownership'], 'ours');
      assert.is(row?.['why'], 'it was attached as eth0');
      const dump = recordsIn((await lab.run(['dump', 'lan0', '-o', 'ndjson'])).stdout);
      assert.equal(
        dump.map((each) => each['interface']),
        ['lan0', 'lan0'],
      );
      assert.is((await attach('lan0')).changed, false);
      const detach = await lab.run(['detach', 'lan0', '--json']);
      assert.is(documentIn(detach.stdout)['changed'], true);
      assert.equal(await attached(), {});
    } finally {
      await rename('lan0', 'eth0');
    }
  },
);

attaching('what another version attached is told from ours, and --replace is offered', async () => {
  const { program_id } = { program_id: 0, ...(await attach('eth0')) };
  const link = `${lab.bpffs}/xdpwho/${lab.pins()[0]}/state`;
  const state = readlinkSync(link).replace('"version":1,', '"version":2,"something":{"new":[1]},');
  rmSync(link);
  symlinkSync(state, link);
  const { exitCode, stdout, stderr } = await lab.run(['attach', 'eth0', '--json']);
  assert.is(exitCode, 1);
  assert.is(documentIn(stdout)['code'], 'other-version');
  assert.match(stderr, 'eth0: it was made by another version of xdpwho');
  const place = `eth0 --netns ${lab.netns} --bpffs ${lab.bpffs}`;
  assert.match(stderr, `hint: xdpwho attach --replace ${place}, or xdpwho detach ${place}`);
  assert.equal(await attached(), { eth0: program_id });
  const second = { program_id: 0, ...(await attach('eth0', '--replace')) };
  assert.is(second.changed, true);
  assert.is.not(second.program_id, program_id);
});

attaching(
  'inside `ip netns exec`, where bpffs is hidden, every verb says to use --netns',
  async () => {
    const under = ['ip', 'netns', 'exec', lab.netns];
    for (const words of [
      ['attach', 'eth0'],
      ['watch', 'eth0'],
      ['dump', 'eth0'],
      ['status'],
      ['status', 'eth0'],
      ['detach', 'eth0'],
      ['clean'],
    ]) {
      const { exitCode, stderr } = await lab.run(words, { bare: true, under });
      assert.is(exitCode, 5, `${words}: ${stderr}`);
      assert.match(stderr, 'hidden by `ip netns exec`');
      assert.match(stderr, 'xdpwho --netns NAME');
    }
    assert.equal(await attached(), {});

    const own = await lab.run(['attach', 'eth0', '--bpffs', lab.bpffs], { bare: true, under });
    assert.is(own.exitCode, 0, own.stderr);
    assert.is((await attach('eth0')).changed, false);
  },
);

attaching('an absent, an empty and no interface are refused', async () => {
  for (const [words, code, why] of [
    [['attach'], 2, 'no interface named'],
    [['attach', 'eth00'], 1, 'no such interface'],
    [['attach', 'eth0', '--max-sources', '0'], 2, 'must be at least 1'],
    [['attach', 'eth0', '--file-mode', '0777'], 2, 'permissions to read only'],
  ] as const) {
    const { exitCode, stderr } = await lab.run(words);
    assert.is(exitCode, code, stderr);
    assert.match(stderr, why);
  }
  assert.equal(lab.pins(), []);
});

attaching.run();

const racing = suite('attach, interrupted', WHY_NOT);
racing.before(async () => {
  lab = await Lab.create();
});
racing.after(() => lab.close());

racing(
  'of two at the same moment one wins, and the other reports what the winner made',
  async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const both = await Promise.all(
        [1, 2].map(() => lab.run(['attach', 'eth0', '--json', '--max-sources', '100'])),
      );
      for (const { exitCode, stderr } of both) assert.is(exitCode, 0, stderr);
      const documents = both.map(({ stdout }) => documentIn(stdout));
      assert.equal(documents.map((each) => each['changed']).sort(), [false, true]);
      const [one, two] = documents.map((each) => listIn(each, 'interfaces')[0]);
      assert.equal(one, two);
      assert.equal(await attached(), { eth0: one?.['program_id'] });
      assert.is(lab.pins().length, 1);
      assert.equal(await lab.guards(), []);
      await detachAll();
    }
  },
);

/** Runs `attach` until bpftool is called with `step`, which then takes a while, and kills it there. */
async function killAt(step: string, more: readonly string[] = []): Promise<Started> {
  const reached = `${lab.scratch}/reached`;
  rmSync(reached, { force: true });
  const slow = lab.bpftoolThat('slow', `case "$*" in *"${step}"*) : >${reached}; sleep 0.3;; esac`);
  const run = lab.start(['attach', 'eth0', '--bpftool', slow, ...more]);
  await lab.until(() => existsSync(reached), step);
  run.child.kill('SIGKILL');
  await run.ended();
  return run;
}

/** Where no iterator can be had, the second is not tried. */
const STEPS = [
  ...['prog load', 'prog show', '/sources.front.o'],
  ...(USUAL_READER === 'iterator' ? ['/totals.front.o'] : []),
  'net attach',
];

racing('killed at any step, it leaves nothing', async () => {
  for (const step of STEPS) {
    await killAt(step);
    await lab.untilNothingLeft();
  }
});

racing(
  'killed together with its guard, it leaves what `clean` and the next run collect',
  async () => {
    for (const [index, step] of STEPS.entries()) {
      const reached = `${lab.scratch}/reached-${index}`;
      const slow = lab.bpftoolThat(
        'slow',
        `case "$*" in *"${step}"*) "$bpftool" "$@"; : >${reached}; exec sleep 1;; esac`,
      );
      const run = lab.start(['attach', 'eth0', '--bpftool', slow]);
      await lab.until(() => existsSync(reached), step);
      // Stopped first: it would start another guard in place of the one that is killed.
      run.child.kill('SIGSTOP');
      for (const line of await lab.guards()) process.kill(Number.parseInt(line, 10), 'SIGKILL');
      run.child.kill('SIGKILL');
      await run.ended();
      await lab.until(async () => (await lab.guards()).length === 0, 'no guard left');
      assert.is(lab.pins().length, 1, step);
      assert.equal(Object.keys(await attached()), step === 'net attach' ? ['eth0'] : []);
      if (index % 2 === 0) {
        const { exitCode, stdout, stderr } = await lab.run(['clean']);
        assert.is(exitCode, 0, stderr);
        assert.match(stdout, 'the run that was attaching it is gone');
      } else {
        assert.is((await attach('eth0')).changed, true);
        await detachAll();
      }
      assert.equal(lab.pins(), []);
      assert.equal(await attached(), {});
      assert.equal(frontLinks(), []);
    }
  },
);

/** The links to front tables that lead into this lab's bpffs, or did. */
function frontLinks(): string[] {
  const directory = '/sys/fs/bpf';
  const links = readdirSync(directory).filter((name) => name.startsWith('xdpwho_front_'));
  return links.filter((name) => {
    try {
      return readlinkSync(`${directory}/${name}`).startsWith(lab.bpffs);
    } catch {
      return false; // Of another test, and gone by now.
    }
  });
}

racing('killed while it replaces, what had been there is collected too', async () => {
  await attach('eth0');
  await killAt('net attach', ['--replace', '--max-sources', '100']);
  await lab.until(async () => (await lab.guards()).length === 0, 'no guard left');
  const { exitCode, stderr } = await lab.run(['clean']);
  assert.is(exitCode, 0, stderr);
  assert.equal(lab.pins(), []);
  assert.equal(await attached(), {});
});

racing('interrupted, it leaves nothing and exits with the code of the signal', async () => {
  const reached = `${lab.scratch}/interrupted`;
  const slow = lab.bpftoolThat(
    'slow',
    `case "$*" in *"iter pin"*) : >${reached}; sleep 0.3;; esac`,
  );
  const run = lab.start(['attach', 'eth0', '--bpftool', slow]);
  await lab.until(() => existsSync(reached), 'iter pin');
  run.child.kill('SIGTERM');
  assert.is((await run.ended()).exitCode, 143);
  await lab.untilNothingLeft();
});

racing('two namespaces with an eth0 each, in one bpffs, never meet', async () => {
  const other = await Lab.create();
  try {
    const there = ['--netns', other.netns, '--bpffs', lab.bpffs];
    const first = { program_id: 0, ...(await attach('eth0')) };
    const bare = (...words: string[]) => lab.run([...words, ...there], { bare: true });
    const second = await bare('attach', 'eth0', '--json');
    assert.is(documentIn(second.stdout)['changed'], true, second.stderr);
    assert.is(lab.pins().length, 2);
    const [here, far] = await Promise.all([lab.attached(), other.attached()]);
    assert.is(here[0]?.ifindex, far[0]?.ifindex, 'same index too');
    await lab.send(FRAME, 5);
    await other.send(udpFrame({ source: '192.0.2.99' }), 9);
    assert.equal(await packets(), { '192.0.2.1': 5 });
    const dump = await bare('dump', 'eth0', '-o', 'ndjson');
    assert.equal(lastReading(recordsIn(dump.stdout)).packets, { '192.0.2.99': 9 });

    assert.is((await bare('detach', 'eth0')).exitCode, 0);
    assert.equal(await other.attached(), []);
    assert.equal(await attached(), { eth0: first.program_id });
    // By path and by a process in it, it is the same namespace.
    const sleeper = execa('nsenter', [`--net=/run/netns/${lab.netns}`, 'sleep', '60'], {
      reject: false,
    });
    await lab.until(
      () => resolveNetns(String(sleeper.pid)).inode === resolveNetns(lab.netns).inode,
      'the process is in the namespace',
    );
    for (const netns of [`/run/netns/${lab.netns}`, String(sleeper.pid)]) {
      const place = ['--netns', netns, '--bpffs', lab.bpffs];
      const again = ['attach', 'eth0', '--json', ...place];
      const { stdout } = await lab.run(again, { bare: true });
      assert.is(documentIn(stdout)['changed'], false);
    }
    sleeper.kill();
    await sleeper;
  } finally {
    await other.close();
  }
  await detachAll();
});

racing.run();
