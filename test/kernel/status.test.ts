import {
  chownSync,
  existsSync,
  mkdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { resolveNetns } from '../../src/host/netns.js';
import { processStartTicks } from '../../src/host/processes.js';
import { udpFrame } from '../../src/model/frames.js';
import { suite } from '../suite.js';
import { detachXdp } from './bpftool.js';
import { USUAL_READER } from './iterators.js';
import { documentIn, Lab, listIn, recordsIn, WHY_NOT } from './lab.js';

const FRAME = udpFrame({ source: '192.0.2.1' });
const MEMBERS = [
  ...[
    'interface',
    'netns',
    'ownership',
    'direction',
    'why',
    'mode',
    'program_id',
    'program_name',
    'reader',
  ],
  ...['file', 'file_note', 'mode_note', 'since', 'options'],
  ...['sources', 'packets', 'bytes', 'holder', 'held_by', 'link_id'],
];

let lab: Lab;

async function attach(...args: string[]): Promise<number> {
  const { exitCode, stderr } = await lab.run(['attach', ...args]);
  assert.is(exitCode, 0, stderr);
  return (await lab.attached())[0]?.programId ?? 0;
}

/** What `status` says of each interface, in either form, which must agree; and how it ended. */
async function status(...args: string[]) {
  const { exitCode, stdout, stderr } = await lab.run(['status', ...args, '--json']);
  assert.is(stderr, '', 'what is not attached is no error');
  const lines = recordsIn((await lab.run(['status', ...args, '-o', 'ndjson'])).stdout);
  const rows = listIn(documentIn(stdout), 'interfaces');
  assert.equal(
    lines,
    rows.map((row) => ({ type: 'status', ...row })),
  );
  for (const row of rows) assert.equal(Object.keys(row), MEMBERS);
  return { exitCode, rows, row: rows[0] ?? {} };
}

/** Runs a verb with `--json`, which must end with `expected`. */
async function run(expected: number, ...args: string[]) {
  const { exitCode, stdout, stderr } = await lab.run([...args, '--json']);
  assert.is(exitCode, expected, stderr);
  return { document: documentIn(stdout), stderr };
}

const directory = () => `${lab.bpffs}/xdpwho/${lab.pins()[0]}`;

/** Replaces the record, as somebody would by hand. */
function writeRecord(text: string): void {
  rmSync(`${directory()}/state`);
  symlinkSync(text, `${directory()}/state`);
}

async function detachAll(): Promise<void> {
  await run(0, 'detach', '--all');
  assert.equal(lab.pins(), []);
  assert.equal(await lab.attached(), []);
}

const telling = suite('status', WHY_NOT);
telling.before(async () => {
  lab = await Lab.create();
  await lab.addVeth('tx1', 'eth1');
});
telling.after.each(detachAll);
telling.after(() => lab.close());

telling('of ours: mode, options, since, packets, fill of the table', async () => {
  const id = await attach('eth0', '--max-sources', '1000', '--file-mode', '0444');
  await lab.send(FRAME, 20, { sources: 4 });
  const { exitCode, row } = await status('eth0');
  assert.is(exitCode, 0);
  const { since, file, file_note, mode_note, ...rest } = row;
  assert.ok(Date.now() - Date.parse(String(since)) < 600_000);
  assert.is(file, USUAL_READER === 'iterator' ? `${directory()}/sources` : null);
  assert.is(typeof file_note, USUAL_READER === 'iterator' ? 'object' : 'string');
  assert.is(mode_note, null);
  assert.equal(rest, {
    interface: 'eth0',
    netns: lab.netns,
    ownership: 'ours',
    direction: 'received',
    why: null,
    mode: 'native',
    program_id: id,
    program_name: 'xdpwho',
    reader: USUAL_READER,
    options: { mode: 'native', reader: 'auto', max_sources: 1000, file_mode: '0444', log: null },
    sources: 4,
    packets: 20,
    bytes: 1280,
    holder: null,
    held_by: null,
    link_id: null,
  });
  const table = (await lab.run(['status', 'eth0'])).stdout.split('\n');
  assert.match(table[0] ?? '', /^INTERFACE +NETNS +WHOSE +MODE +PROGRAM +PACKETS +SOURCES +SINCE/);
  assert.match(table[1] ?? '', /^eth0 .* ours .* 20 +4\/1000 0% .*/);
});

telling('of ours without an iterator: no file, why, and the same counts', async () => {
  await attach('eth0', '--reader', 'dump');
  await lab.send(FRAME, 6, { sources: 3 });
  const { row } = await status('eth0');
  assert.equal([row['reader'], row['file'], row['sources'], row['packets']], ['dump', null, 3, 6]);
  assert.is(row['file_note'], 'attached with --reader dump');
});

telling('of nothing: exit 3, and not an error', async () => {
  const { exitCode, row } = await status('eth0');
  assert.is(exitCode, 3);
  assert.equal([row['ownership'], row['program_id'], row['file']], ['none', null, null]);
  const all = await status();
  assert.equal([all.exitCode, all.rows], [0, []]);
  const table = await lab.run(['status']);
  assert.is(table.stdout, 'nothing is attached');
});

telling('of an interface that does not exist: an error', async () => {
  const { document } = await run(1, 'status', 'eth7');
  assert.is(document['code'], 'no-such-interface');
});

telling("of a stranger's: its id, name and mode, and exit 4", async () => {
  const id = await lab.attachStranger('eth0');
  const { exitCode, row } = await status('eth0');
  assert.is(exitCode, 4);
  assert.equal([row['ownership'], row['program_id'], row['program_name']], ['foreign', id, 'pass']);
  assert.equal([row['mode'], row['packets']], ['native', null]);
  assert.equal((await status()).rows.length, 1, 'it is listed too');
  await lab.detachStranger('eth0');
});

telling('of several: one row each, and the exit code of the worst', async () => {
  await attach('eth0');
  const { exitCode, rows } = await status('eth0', 'eth1');
  assert.equal(
    rows.map((row) => [row['interface'], row['ownership']]),
    [
      ['eth0', 'ours'],
      ['eth1', 'none'],
    ],
  );
  assert.is(exitCode, 3);
  await lab.attachStranger('eth1');
  assert.is((await status('eth0', 'eth1')).exitCode, 4);
  await lab.detachStranger('eth1');
});

telling('of what a `watch` holds: which process', async () => {
  const watch = lab.start(['watch', 'eth0']);
  await watch.says(/attached in/);
  const { exitCode, row } = await status('eth0');
  assert.is(exitCode, 0);
  assert.is(row['ownership'], 'foreground');
  assert.equal(row['holder'], { pid: watch.pid, command: 'watch' });
  assert.is(row['held_by'], 'link');
  const { stdout } = await lab.run(['status', 'eth0']);
  const ways = `xdpwho watch, process ${watch.pid}; end that, or bpftool link detach id ${row['link_id']}`;
  assert.ok(stdout.includes(ways), stdout);
  const { document, stderr } = await run(1, 'detach', 'eth0');
  assert.is(document['code'], 'held');
  assert.match(stderr, `held by xdpwho watch, process ${watch.pid}`);
  const all = await run(1, 'detach', '--all');
  assert.is(all.document['changed'], false);
  assert.equal(
    listIn(all.document, 'failed').map((each) => [each['interface'], each['code']]),
    [['eth0', 'held']],
  );
  const quiet = await lab.run(['detach', '--all', '-q', '-o', 'ndjson']);
  assert.equal([quiet.exitCode, recordsIn(quiet.stdout).map(({ type }) => type)], [1, ['error']]);
  assert.match(quiet.stderr, `held by xdpwho watch, process ${watch.pid}`);
  assert.match((await lab.run(['clean'])).stderr, 'nothing to clean');
  assert.is((await lab.attached()).length, 1);
  watch.child.kill('SIGINT');
  await watch.ended();
});

telling.run();

const detaching = suite('detach', WHY_NOT);
detaching.before(async () => {
  lab = await Lab.create();
  await lab.addVeth('tx1', 'eth1');
});
detaching.after.each(detachAll);
detaching.after(() => lab.close());

detaching('twice: the second time there is nothing to change', async () => {
  const id = await attach('eth0');
  const dry = await lab.run(['detach', 'eth0', '-n']);
  assert.match(dry.stdout, /net show\n.*net detach xdpdrv dev eth0\n.*net show\nrm -r /s);
  assert.is((await lab.attached()).length, 1);
  assert.is((await run(0, 'detach', 'eth0', '-n')).document['changed'], true);

  const first = await run(0, 'detach', 'eth0');
  assert.equal(first.document, {
    changed: true,
    interfaces: [{ interface: 'eth0', netns: lab.netns, program_id: id }],
    failed: [],
  });
  const second = await run(0, 'detach', 'eth0');
  assert.equal(second.document, { changed: false, interfaces: [], failed: [] });
  assert.is((await run(0, 'detach', 'eth0', '-n')).document['changed'], false);
});

detaching('--all takes all of ours, and -o ndjson says each', async () => {
  await attach('eth0', 'eth1');
  const { stdout, exitCode } = await lab.run(['detach', '--all', '-o', 'ndjson']);
  assert.is(exitCode, 0);
  assert.equal(
    recordsIn(stdout).map((each) => [each.type, each['interface'], typeof each['program_id']]),
    [
      ['detached', 'eth0', 'number'],
      ['detached', 'eth1', 'number'],
    ],
  );
  assert.equal(await lab.attached(), []);
  assert.is((await run(2, 'detach', '--all', 'eth0')).document['code'], 'usage');
  assert.is((await run(2, 'detach')).document['code'], 'usage');
});

detaching("a stranger's program is left alone: exit 4, and by --all", async () => {
  await attach('eth1');
  const id = await lab.attachStranger('eth0');
  for (const words of [['eth0'], ['eth1', 'eth0']]) {
    const { document } = await run(4, 'detach', ...words);
    assert.is(document['code'], 'not-ours');
    assert.is((await lab.attached()).length, 2, 'nothing was begun');
  }
  await run(0, 'detach', '--all');
  assert.equal(
    (await lab.attached()).map(({ programId }) => programId),
    [id],
  );
  await lab.detachStranger('eth0');
});

detaching(
  'of what somebody else detached or replaced, the remains go and nothing else',
  async () => {
    await attach('eth0');
    await detachXdp(lab.bpftool, 'native', 'eth0', resolveNetns(lab.netns).path);
    const gone = await status('eth0');
    assert.equal([gone.exitCode, gone.row['ownership']], [3, 'stale']);
    assert.is(gone.row['why'], 'its program is not attached any more');
    const id = await lab.attachStranger('eth0');
    const replaced = await status('eth0');
    assert.is(replaced.row['why'], "another program has taken our program's place");
    assert.is((await run(0, 'detach', 'eth0')).document['changed'], true);
    assert.equal(lab.pins(), []);
    assert.is((await lab.attached())[0]?.programId, id);
    await lab.detachStranger('eth0');
  },
);

detaching('of an interface that is gone, the remains go; then it is so already', async () => {
  await lab.addVeth('tx8', 'eth8');
  await attach('eth8');
  await lab.ip(lab.netns, ['link', 'del', 'eth8']);
  const { exitCode, row } = await status('eth8');
  assert.equal([exitCode, row['ownership']], [3, 'stale']);
  assert.is(row['why'], 'its interface is gone');
  assert.is((await run(0, 'detach', 'eth8')).document['changed'], true);
  const again = await run(0, 'detach', 'eth8');
  assert.is(again.document['changed'], false);
  assert.match(again.stderr, 'eth8: no such interface');
  await run(1, 'status', 'eth8');
});

detaching(
  'an interface that went to another namespace took its program along: it is still ours',
  async () => {
    await lab.addVeth('tx9', 'eth9');
    const id = await attach('eth9');
    await lab.ip(lab.netns, ['link', 'set', 'dev', 'eth9', 'netns', lab.sender]);
    const { rows } = await status();
    assert.equal(
      rows.map(({ interface: name, netns, ownership, why }) => [name, netns, ownership, why]),
      [],
      'not in the namespace that was asked for',
    );
    const place = ['--bpffs', lab.bpffs];
    const all = await lab.run(['status', '--json', ...place], { bare: true });
    const moved = listIn(documentIn(all.stdout), 'interfaces').find(
      (each) => each['program_id'] === id,
    );
    assert.equal(
      [moved?.['interface'], moved?.['netns'], moved?.['ownership'], moved?.['why']],
      ['eth9', lab.sender, 'ours', 'it was attached as eth9'],
    );
    assert.match((await lab.run(['clean', ...place], { bare: true })).stderr, 'nothing to clean');
    const there = ['--netns', lab.sender, ...place];
    const detach = await lab.run(['detach', 'eth9', '--json', ...there], { bare: true });
    assert.is(documentIn(detach.stdout)['changed'], true, detach.stderr);
    assert.equal(await lab.bpftool.showNet(resolveNetns(lab.sender).path), []);
  },
);

detaching('of a namespace that is gone, the remains go', async () => {
  const other = await Lab.create();
  const there = ['--netns', other.netns, '--bpffs', lab.bpffs];
  const attached = await lab.run(['attach', 'eth0', ...there], { bare: true });
  await other.close();
  assert.is(attached.exitCode, 0, attached.stderr);
  const shown = await lab.run(['status', 'eth0', '--json', ...there], { bare: true });
  assert.is(shown.exitCode, 3, shown.stderr);
  const [row] = listIn(documentIn(shown.stdout), 'interfaces');
  assert.equal([row?.['ownership'], row?.['why']], ['stale', 'its network namespace is gone']);
  for (const changed of [true, false]) {
    const { exitCode, stdout } = await lab.run(['detach', 'eth0', '--json', ...there], {
      bare: true,
    });
    assert.is(exitCode, 0);
    assert.is(documentIn(stdout)['changed'], changed);
  }
});

detaching.run();

const cleaning = suite('clean', WHY_NOT);
cleaning.before(async () => {
  lab = await Lab.create();
});
cleaning.after.each(async () => {
  await lab.run(['detach', '--all']);
  rmSync(`${lab.bpffs}/xdpwho`, { recursive: true, force: true });
});
cleaning.after(() => lab.close());

/** Runs `clean` after saying what it would do; gives [why, kept] of each. */
async function clean(expected = 0): Promise<unknown[][]> {
  const before = lab.pins();
  const told = async (...more: string[]) => {
    const { document } = await run(expected, 'clean', ...more);
    return {
      changed: document['changed'],
      found: listIn(document, 'directories').map((each) => [each['why'], each['kept']]),
    };
  };
  const dry = await told('-n');
  assert.equal(lab.pins(), before, 'a dry run changes nothing');
  const real = await told();
  assert.equal(real, dry);
  assert.is(real.changed, lab.pins().length < before.length);
  return real.found;
}

cleaning('nothing, when all is well', async () => {
  await attach('eth0');
  assert.equal(await clean(), []);
  assert.is((await lab.attached()).length, 1);
});

cleaning('what a killed run left together with its guard, the program included', async () => {
  // Without a link, it stays attached.
  const watch = lab.start(['watch', 'eth0', '--bpftool', lab.bpftoolThat('without-link', '')]);
  await watch.says(/attached in/);
  watch.child.kill('SIGSTOP');
  for (const line of await lab.guards()) process.kill(Number.parseInt(line, 10), 'SIGKILL');
  watch.child.kill('SIGKILL');
  await watch.ended();
  const { exitCode, row } = await status('eth0');
  assert.equal([exitCode, row['ownership']], [3, 'stale']);
  assert.is((await lab.attached()).length, 1);
  assert.equal(await clean(), [[`the run that held it (${watch.pid}) is gone`, null]]);
  assert.equal(lab.pins(), []);
  assert.equal(await lab.attached(), []);
});

cleaning('what is left of an interface and of a namespace that are gone', async () => {
  const other = await Lab.create();
  const there = ['--netns', other.netns, '--bpffs', lab.bpffs];
  await lab.run(['attach', 'eth0', ...there], { bare: true });
  await other.close();
  await lab.addVeth('tx8', 'eth8');
  await attach('eth8');
  await lab.ip(lab.netns, ['link', 'del', 'eth8']);
  await attach('eth0');
  const { exitCode, stdout } = await lab.run(['clean', '--bpffs', lab.bpffs], { bare: true });
  assert.is(exitCode, 0);
  assert.match(stdout, /^removed \S+\/xdpwho\/eth0@\d+: its network namespace is gone$/m);
  assert.match(stdout, /^removed \S+\/xdpwho\/eth8@\d+: its interface is gone$/m);
  assert.is(lab.pins().length, 1);
  assert.is((await lab.attached()).length, 1);
});

cleaning(
  'what another version attached is kept while it is attached, and goes after that',
  async () => {
    await attach('eth0');
    const text = readlinkSync(`${directory()}/state`);
    writeRecord(text.replace('"version":1', '"version":7'));
    const { exitCode, row } = await status('eth0');
    assert.equal([exitCode, row['ownership']], [1, 'other-version']);
    assert.equal(await clean(), []);
    assert.is((await lab.attached()).length, 1);
    assert.is((await run(1, 'dump', 'eth0')).document['code'], 'other-version');
    await detachXdp(lab.bpftool, 'native', 'eth0', resolveNetns(lab.netns).path);
    assert.equal(await clean(), [['it was made by another version of xdpwho', null]]);

    await attach('eth0');
    writeRecord(text.replace('"version":1', '"version":7'));
    mkdirSync(`${directory()}/more`);
    assert.is((await run(0, 'detach', 'eth0')).document['changed'], true);
    assert.equal(await lab.attached(), []);
    assert.equal(lab.pins(), []);
  },
);

/** What every verb says of the directory while it is as `spoil` has left it, and what `clean` does then. */
async function isNeverTrusted(why: RegExp, kept: RegExp | null): Promise<void> {
  const { exitCode, row } = await status('eth0');
  assert.equal([exitCode, row['ownership']], [1, 'broken'], String(why));
  assert.match(String(row['why']), why);
  for (const verb of ['dump', 'attach']) {
    const { document, stderr } = await run(1, verb, 'eth0');
    assert.is(document['code'], 'bad-object');
    assert.match(stderr, why);
    assert.match(stderr, 'xdpwho clean');
  }
  const [found = []] = await clean(kept === null ? 0 : 1);
  assert.match(String(found[0]), why);
  if (kept === null) assert.is(found[1], null);
  else assert.match(String(found[1]), kept);
}

cleaning('a directory made by hand is never trusted, and removed', async () => {
  const name = () => `${lab.bpffs}/xdpwho/eth0@${resolveNetns(lab.netns).inode}`;
  const make = () => mkdirSync(name(), { recursive: true });
  make();
  await isNeverTrusted(/no record/, null);
  make();
  symlinkSync('{"version":1}', `${name()}/state`);
  await isNeverTrusted(/of another shape/, null);
  make();
  symlinkSync('eth0', `${name()}/state`);
  await isNeverTrusted(/not JSON/, null);

  make();
  mkdirSync(`${name()}/mine`);
  await isNeverTrusted(/no record/, /it holds what xdpwho did not make/);
  assert.ok(existsSync(`${name()}/mine`), 'what we did not make is left');
  const refused = await run(1, 'detach', 'eth0');
  assert.is(refused.document['code'], 'bad-object');
  rmSync(name(), { recursive: true });

  mkdirSync(`${lab.bpffs}/elsewhere`);
  symlinkSync(`${lab.bpffs}/elsewhere`, name());
  await isNeverTrusted(/not a directory/, null);
  assert.ok(existsSync(`${lab.bpffs}/elsewhere`), 'only the link went');
  rmSync(`${lab.bpffs}/elsewhere`, { recursive: true });
  make();
  rmSync(name(), { recursive: true });
  await lab.bpftool.loadProgram(`${objects()}/pass.o`, name());
  await isNeverTrusted(/not a directory/, /it holds what xdpwho did not make/);
  assert.is((await run(1, 'watch', 'eth0')).document['code'], 'bad-object');
  rmSync(name());
  rmSync(`${lab.bpffs}/xdpwho`, { recursive: true });
});

cleaning(
  'an attachment that has been tampered with is not trusted, and left until `detach`',
  async () => {
    const attached = /its program is attached: xdpwho detach eth0/;
    const spoil = async (work: () => unknown, why: RegExp) => {
      await attach('eth0');
      await work();
      await isNeverTrusted(why, attached);
      assert.is((await lab.attached()).length, 1);
      assert.is((await run(0, 'detach', 'eth0')).document['changed'], true);
      assert.equal(await lab.attached(), []);
      assert.equal(lab.pins(), []);
    };
    await spoil(() => rmSync(`${directory()}/state`), /no record/);
    await spoil(
      () =>
        writeRecord(
          readlinkSync(`${directory()}/state`).replace(/"programId":\d+/, '"programId":1'),
        ),
      /its program has id \d+, and not 1/,
    );
    if (USUAL_READER === 'iterator') {
      await spoil(() => rmSync(`${directory()}/totals`), /its totals is missing or no pin/);
      await spoil(() => {
        rmSync(`${directory()}/sources`);
        symlinkSync('/etc/hostname', `${directory()}/sources`);
      }, /its sources is missing or no pin/);
    }
    await spoil(async () => {
      rmSync(`${directory()}/maps/sources`);
      const shape = ['type', 'hash', 'key', '4', 'value', '8', 'entries', '10', 'name', 'sources'];
      await execa(lab.bpftool.path, [
        '-n',
        'map',
        'create',
        `${directory()}/maps/sources`,
        ...shape,
      ]);
    }, /its maps are of another program/);
  },
);

cleaning("a stranger's program pinned in our place stays where it is", async () => {
  await attach('eth0');
  const state = readlinkSync(`${directory()}/state`);
  const place = directory();
  await run(0, 'detach', 'eth0');
  const id = await lab.attachStranger('eth0');
  mkdirSync(`${place}/maps`, { recursive: true });
  renameSync(`${lab.bpffs}/stranger-eth0`, `${place}/program`);
  for (const map of ['sources', 'totals']) {
    const shape = ['type', 'array', 'key', '4', 'value', '8', 'entries', '1', 'name', map];
    await execa(lab.bpftool.path, ['-n', 'map', 'create', `${place}/maps/${map}`, ...shape]);
  }
  symlinkSync(
    state
      .replace(/"programId":\d+/, `"programId":${id}`)
      .replace('"reader":"iterator"', '"reader":"dump"'),
    `${place}/state`,
  );
  await isNeverTrusted(/its program is named pass/, null);
  assert.is((await lab.attached())[0]?.programId, id);
  assert.is((await run(4, 'detach', 'eth0')).document['code'], 'not-ours');
  await detachXdp(lab.bpftool, 'native', 'eth0', resolveNetns(lab.netns).path);
});

cleaning('temporary folders of runs that are gone', async () => {
  const dead = execa('true');
  await dead;
  const folder = `/tmp/xdpwho-${dead.pid}-AbCdEf`;
  mkdirSync(folder);
  writeFileSync(`${folder}/sources.o`, '');
  // In /tmp anybody may have made one.
  const theirs = `/tmp/xdpwho-${dead.pid}-GhIjKl`;
  mkdirSync(theirs);
  chownSync(theirs, 65_534, 65_534);
  await clean();
  assert.not.ok(existsSync(folder));
  assert.ok(existsSync(theirs), "another user's stays");
  rmSync(theirs, { recursive: true });
});

cleaning(
  'temporary folders of runs whose pid is of another pid namespace, or another process by now',
  async () => {
    const own = readlinkSync('/proc/self/ns/pid').replace(/\D/g, '');
    const startTicks = processStartTicks('self');
    const names = {
      // Process 2 of a container that was killed: the host has a process 2 as well.
      [`xdpwho-2-4026539999-1234-AbCdEf`]: false,
      [`xdpwho-${process.pid}-${own}-1-AbCdEf`]: false,
      [`xdpwho-${process.pid}-${own}-${startTicks}-AbCdEf`]: true,
      [`xdpwho-${process.pid}-AbCdEf`]: true,
    };
    try {
      for (const name of Object.keys(names)) mkdirSync(`/tmp/${name}`);
      await clean();
      for (const [name, stays] of Object.entries(names)) {
        assert.is(existsSync(`/tmp/${name}`), stays, name);
      }
    } finally {
      for (const name of Object.keys(names))
        rmSync(`/tmp/${name}`, { recursive: true, force: true });
    }
  },
);

cleaning.run();

function objects(): string {
  return new URL('../../dist/bpf/el', import.meta.url).pathname;
}
