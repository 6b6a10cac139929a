import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { type Pins, pinsIn } from '../../src/attachment/pin-paths.js';
import { readState } from '../../src/attachment/record.js';
import { configuredHz } from '../../src/host/kernel.js';
import { propertyOf } from '../../src/model/json-values.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { renderScript, type ScriptOptions } from '../../src/script/script.js';
import { suite } from '../suite.js';
import { USUAL_READER } from './iterators.js';
import { CLI, Lab, OBJECTS_DIRECTORY, WHY_NOT } from './lab.js';
import { MinimalRoot } from './minimal-root.js';

const test = suite('a script', WHY_NOT);

/** An Ethernet frame with an IPv4 packet from 192.0.2.1. */
const FRAME = Buffer.alloc(60);
/** A bridge takes no frame without a sender. */
FRAME.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
FRAME.set([0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1], 12);

/** For what hangs; generous, and no measurement. */
const LIMIT_MS = 60_000;

let lab: Lab;
let root: MinimalRoot;

test.before(async () => {
  root = await MinimalRoot.create();
});

test.after(() => root.close());

test.before.each(async () => {
  // A generic program, which auto takes on a veth, gets the frames behind a bridge only.
  lab = await Lab.create({ bridged: true });
});

test.after.each(async () => {
  await lab.close();
  root.unwrapBpftool();
});

type Wanted = Omit<ScriptOptions, 'interface'> & { readonly interface?: string };

function script(options: Wanted): string {
  return renderScript(
    { interface: lab.device, bpffs: lab.bpffs, ...options },
    { version: '0', objectsDirectory: OBJECTS_DIRECTORY },
  );
}

/** A way to run a script from its standard input. */
interface Shell {
  readonly name: string;
  readonly run: (options: Wanted) => Promise<Ran>;
}

interface Ran {
  readonly exitCode?: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

const dash: Shell = {
  name: 'dash',
  run: (options) =>
    execa('nsenter', [`--net=/run/netns/${lab.netns}`, 'dash'], {
      input: script(options),
      reject: false,
      timeout: LIMIT_MS,
    }),
};

const SHELLS: readonly Shell[] = [
  dash,
  {
    name: 'busybox, in a root that has only that and bpftool',
    run: (options) => root.start(lab, script(options)),
  },
];

/** The command, in the lab's namespace itself, as a script runs there. */
function command(verb: string, device: string, ...args: string[]) {
  const words = [process.execPath, CLI, verb, '--bpffs', lab.bpffs, ...args, '--', device];
  const inNamespace = [`--net=/run/netns/${lab.netns}`, ...words];
  return execa('nsenter', inNamespace, { reject: false, timeout: LIMIT_MS });
}

function parse(text: string): unknown {
  return JSON.parse(text);
}

function firstInterface(ran: Ran): object {
  const list = propertyOf(parse(ran.stdout), 'interfaces');
  const first: unknown = Array.isArray(list) ? list[0] : undefined;
  if (typeof first !== 'object' || first === null) throw new Error(`no interface: ${ran.stdout}`);
  return first;
}

function pins(): Pins {
  const [name, ...others] = lab.pins();
  assert.equal(others, []);
  return pinsIn(`${lab.bpffs}/xdpwho/${name}`);
}

/** Everything that an attachment leaves: names, permissions, the record, the objects in the kernel. */
async function remains() {
  const { directory, program, sourcesMap, totalsMap, mapsDirectory } = pins();
  const state = readState(pins());
  if (state === undefined) throw new Error('no record');
  const files = [
    ...readdirSync(directory),
    ...readdirSync(mapsDirectory).map((each) => `maps/${each}`),
  ];
  const [sources, totals] = [
    await lab.bpftool.showMap(sourcesMap),
    await lab.bpftool.showMap(totalsMap),
  ];
  const shown = await lab.bpftool.showProgram(program);
  const attached = await lab.attached();
  assert.equal(
    attached.map(({ programId }) => programId),
    [shown.id],
  );
  return {
    directory,
    modes: files
      .sort()
      .map((name) => `${name} ${lstatSync(`${directory}/${name}`).mode.toString(8)}`),
    order: Object.keys(parse(readlinkSync(`${directory}/state`)) ?? {}),
    state: {
      ...state,
      token: state.token.length,
      readerNote: state.readerNote?.replace(/\/run\/xdpwho-[\w-]+/g, 'SCRATCH') ?? null,
      programId: typeof state.programId,
      since: state.since.length,
    },
    attached: attached.map(({ programId: _, ...each }) => each),
    program: { name: shown.name, type: shown.type, maps: shown.mapIds.length },
    maps: [sources, totals].map(({ id: _, ...each }) => each),
  };
}

/** The sources that the attachment has counted. */
async function lines(device = lab.device): Promise<unknown[]> {
  const { stdout } = await command('dump', device, '-o', 'ndjson');
  const records = stdout.trim().split('\n').map(parse);
  return records.filter((record) => propertyOf(record, 'type') === 'source');
}

/** An interface as it is described, without what differs each time: its note may name a scratch directory. */
function likeness(ran: Ran): object {
  const described = firstInterface(ran);
  const note = propertyOf(described, 'file_note');
  return {
    ...described,
    file_note: typeof note === 'string' ? note.replace(/\/run\/xdpwho-[^/]+/, '') : note,
    program_id: 0,
    since: '',
  };
}

for (const shell of SHELLS) {
  for (const [name, options, words] of [
    ['without options', {}, []],
    [
      'with every option',
      { mode: 'native', maxSources: 300, fileMode: 0o444, reader: USUAL_READER },
      ['--mode', 'native', '--max-sources', '300', '--file-mode', '0444', '--reader', USUAL_READER],
    ],
    ['with the dump for a reader', { reader: 'dump' }, ['--reader', 'dump']],
  ] as const) {
    test(`leaves what the command leaves, ${name} (${shell.name})`, async () => {
      const ours = await command('attach', lab.device, '-o', 'json', ...words);
      assert.is(ours.exitCode, 0, ours.stderr);
      const expected = await remains();
      assert.is((await command('detach', lab.device)).exitCode, 0);
      const ran = await shell.run({ verb: 'attach', ...options });
      assert.is(ran.exitCode, 0, ran.stderr);
      assert.equal(await remains(), expected);

      assert.equal(likeness(ran), likeness(ours));
      assert.equal(Object.keys(parse(ran.stdout) ?? {}), Object.keys(parse(ours.stdout) ?? {}));
      assert.is(propertyOf(parse(ran.stdout), 'changed'), true);

      await lab.send(FRAME, 5);
      const dumped = await command('dump', lab.device, '-o', 'ndjson');
      assert.match(dumped.stdout, /"source":"192\.0\.2\.1","packets":5,"bytes":300,/);
      const [status, reported] = [
        await command('status', lab.device, '-o', 'json'),
        await shell.run({ verb: 'status' }),
      ];
      assert.equal(parse(reported.stdout), parse(status.stdout));
      assert.is(reported.exitCode, 0);

      const again = await shell.run({ verb: 'attach', ...options });
      assert.is(propertyOf(parse(again.stdout), 'changed'), false);
      const byCommand = await command('attach', lab.device, '-o', 'json', ...words);
      assert.is(propertyOf(parse(byCommand.stdout), 'changed'), false);

      const detached = await command('detach', lab.device, '-o', 'json');
      assert.is(propertyOf(parse(detached.stdout), 'changed'), true);
      await lab.untilNothingLeft();
    });
  }

  test(`reads, keeps and detaches what the command attached (${shell.name})`, async () => {
    assert.is((await command('attach', lab.device)).exitCode, 0);
    await lab.send(FRAME, 3);
    const kept = await shell.run({ verb: 'attach' });
    assert.is(propertyOf(parse(kept.stdout), 'changed'), false);
    const status = await shell.run({ verb: 'status' });
    assert.equal(
      parse(status.stdout),
      parse((await command('status', lab.device, '-o', 'json')).stdout),
    );
    assert.is(propertyOf(firstInterface(status), 'packets'), 3);
    const detached = await shell.run({ verb: 'detach' });
    assert.is(detached.exitCode, 0, detached.stderr);
    assert.equal(Object.keys(firstInterface(detached)), ['interface', 'netns', 'program_id']);
    await lab.untilNothingLeft();
    const again = await shell.run({ verb: 'detach' });
    assert.is(again.exitCode, 0);
    assert.equal(parse(again.stdout), { changed: false, interfaces: [] });
    const [none, expected] = [
      await shell.run({ verb: 'status' }),
      await command('status', lab.device, '-o', 'json'),
    ];
    assert.equal([parse(none.stdout), none.exitCode], [parse(expected.stdout), expected.exitCode]);
  });

  test(`leaves a stranger's program alone (${shell.name})`, async () => {
    const pin = `${lab.bpffs}/stranger`;
    await lab.bpftool.loadProgram(new ObjectFiles(OBJECTS_DIRECTORY).path('clock'), pin);
    await lab.bpftool.attach('native', pin, lab.device, `/run/netns/${lab.netns}`);
    const before = await lab.attached();
    for (const verb of ['attach', 'detach', 'status'] as const) {
      const [ran, ours] = [
        await shell.run({ verb }),
        await command(verb, lab.device, '-o', 'json'),
      ];
      assert.is(ran.exitCode, 4, `${verb}: ${ran.stdout}${ran.stderr}`);
      assert.is(ours.exitCode, 4, verb);
      assert.equal(parse(ran.stdout), parse(ours.stdout), verb);
    }
    assert.equal(await lab.attached(), before);
    assert.equal(lab.pins(), []);
  });
}

const HOSTILE = ['$(id)`x;\'"&', '-x\\(*?[a]', 'eth0.100', `\u00e4\u202e\${b}`];

for (const shell of SHELLS) {
  test(`takes an interface of any name (${shell.name})`, async () => {
    for (const device of HOSTILE) {
      await lab.addVeth(`tx${HOSTILE.indexOf(device)}`, device);
      const ran = await shell.run({ verb: 'attach', interface: device, mode: 'native' });
      assert.is(ran.exitCode, 0, ran.stderr);
      assert.is(propertyOf(firstInterface(ran), 'interface'), device);
      assert.is(readState(pins())?.interface, device);
      await lab.send(FRAME, 2, { ifindex: await lab.ifindex(`tx${HOSTILE.indexOf(device)}`) });
      const named = (await lines(device)).map((line) => propertyOf(line, 'interface'));
      assert.equal(named, [device]);
      const reported = await shell.run({ verb: 'status', interface: device });
      assert.is(propertyOf(firstInterface(reported), 'ownership'), 'ours');
      if (!device.includes('\\')) {
        const status = await command('status', device, '-o', 'json');
        assert.equal(parse(reported.stdout), parse(status.stdout));
      }
      assert.is((await shell.run({ verb: 'detach', interface: device })).exitCode, 0);
      await lab.untilNothingLeft();
    }
  });
}

test('keeps away from an attachment that logs packets, and describes it', async () => {
  assert.is((await command('attach', lab.device, '--log')).exitCode, 0);
  const [dash] = SHELLS;
  const status = await dash?.run({ verb: 'status' });
  const expected = await command('status', lab.device, '-o', 'json');
  assert.equal(parse(status?.stdout ?? ''), parse(expected.stdout));
  const refused = await dash?.run({ verb: 'attach' });
  assert.match(refused?.stderr ?? '', /--log is on, asked for off/);
  assert.is((await dash?.run({ verb: 'detach' }))?.exitCode, 0);
  await lab.untilNothingLeft();
});

test('finds a namespace by its name and by its path, and says when there is none', async () => {
  for (const netns of [lab.netns, `/run/netns/${lab.netns}`]) {
    const input = script({ verb: 'attach', netns });
    const ran = await execa('dash', { input, reject: false });
    assert.is(ran.exitCode, 0, ran.stderr);
    assert.is(propertyOf(firstInterface(ran), 'netns'), netns);
    const ours = await lab.run(['attach', lab.device, '--mode', 'auto', '-o', 'json']);
    assert.is(propertyOf(parse(ours.stdout), 'changed'), false);
    const detached = await execa('dash', {
      input: script({ verb: 'detach', netns }),
      reject: false,
    });
    assert.is(detached.exitCode, 0, detached.stderr);
    await lab.untilNothingLeft();
  }
  for (const [netns, code] of [
    ['xdpwho-none', 'no-such-interface'],
    ['/etc/passwd', 'usage'],
  ] as const) {
    const ran = await execa('dash', { input: script({ verb: 'attach', netns }), reject: false });
    assert.is(propertyOf(parse(ran.stdout), 'code'), code);
  }
});

test('refuses other options, and with --replace begins anew', async () => {
  const [dash] = SHELLS;
  assert.ok(dash);
  assert.is((await dash.run({ verb: 'attach' })).exitCode, 0);
  await lab.send(FRAME, 3);
  const refused = await dash.run({ verb: 'attach', maxSources: 100 });
  assert.is(refused.exitCode, 1);
  assert.is(propertyOf(parse(refused.stdout), 'code'), 'options-differ');
  assert.match(refused.stderr, /--max-sources is \d+, asked for 100/);
  assert.is((await lines()).length, 1);
  const replaced = await dash.run({ verb: 'attach', maxSources: 100, replace: true });
  assert.is(replaced.exitCode, 0, replaced.stderr);
  assert.is(propertyOf(parse(replaced.stdout), 'changed'), true);
  assert.is(readState(pins())?.maxSources, 100);
  assert.equal(await lines(), []);
});

test('leaves what was there, with its counts, when a replacement fails', async () => {
  const [dash] = SHELLS;
  assert.ok(dash);
  assert.is((await dash.run({ verb: 'attach' })).exitCode, 0);
  await lab.send(FRAME, 3);
  const before = readState(pins());
  const failed = await dash.run({ verb: 'attach', maxSources: 4_294_967_295, replace: true });
  assert.is(failed.exitCode, 1, failed.stderr);
  assert.is(propertyOf(parse(failed.stdout), 'code'), 'tool-failed');
  assert.equal(readState(pins()), before);
  assert.equal(
    (await lines()).map((line) => propertyOf(line, 'packets')),
    [3],
  );
  assert.is((await lab.attached()).length, 1);
});

/** bpftool as it fails on kernels and drivers that lack something. */
const FALLBACKS = {
  frags: `case "$*" in *frags*) echo '{"error":"failed to load object file"}'; echo "libbpf: prog 'xdpwho': BPF program load failed: Invalid argument" >&2; exit 255 ;; esac; exec "$real" "$@"`,
  native: `case "$*" in *xdpdrv*) echo '{"error":"interface xdp attach failed: Operation not supported"}'; exit 161 ;; esac; exec "$real" "$@"`,
  iterator: `case "$*" in *iter*) echo '{"error":"can\\u0027t \\"load\\" objfile"}'; exit 253 ;; esac; exec "$real" "$@"`,
};

test('falls back as the command does: to the plain program, to no iterator', async () => {
  for (const name of ['frags', 'iterator'] as const) {
    root.wrapBpftool(FALLBACKS[name]);
    const ran = await root.start(lab, script({ verb: 'attach' }));
    assert.is(ran.exitCode, 0, `${name}: ${ran.stderr}`);
    const state = readState(pins());
    const reader = name === 'iterator' ? 'dump' : USUAL_READER;
    assert.is(state?.reader, reader);
    assert.is(typeof state?.readerNote, reader === 'dump' ? 'string' : 'object');
    await lab.send(FRAME, 2);
    const reported = await root.start(lab, script({ verb: 'status' }));
    assert.equal(
      parse(reported.stdout),
      parse((await command('status', lab.device, '-o', 'json')).stdout),
    );
    assert.is((await root.start(lab, script({ verb: 'detach' }))).exitCode, 0);
    await lab.untilNothingLeft();
  }
  root.wrapBpftool(FALLBACKS.iterator);
  const insisting = await root.start(lab, script({ verb: 'attach', reader: 'iterator' }));
  assert.is(insisting.exitCode, 5);
  assert.is(propertyOf(parse(insisting.stdout), 'code'), 'kernel-too-old');
  root.wrapBpftool(FALLBACKS.native);
  const native = await root.start(lab, script({ verb: 'attach', mode: 'native' }));
  assert.is(propertyOf(parse(native.stdout), 'code'), 'mode-unsupported');
  await lab.untilNothingLeft();
});

test('tries native mode first where that harms nothing, and else generic mode', async () => {
  await lab.ip(lab.netns, ['tuntap', 'add', 'dev', 'tap0', 'mode', 'tap']);
  const modes: unknown[] = [];
  for (const wrapper of ['exec "$real" "$@"', FALLBACKS.native]) {
    root.wrapBpftool(wrapper);
    const ran = await root.start(lab, script({ verb: 'attach', interface: 'tap0' }));
    assert.is(ran.exitCode, 0, ran.stderr);
    modes.push([
      propertyOf(firstInterface(ran), 'mode'),
      propertyOf(firstInterface(ran), 'mode_note'),
    ]);
    const detached = await root.start(lab, script({ verb: 'detach', interface: 'tap0' }));
    assert.is(detached.exitCode, 0, detached.stderr);
  }
  const why = 'native mode is not to be had (interface xdp attach failed: Operation not supported)';
  assert.equal(modes, [
    ['native', null],
    ['generic', `${why}; using generic mode`],
  ]);
  await lab.untilNothingLeft();
});

test('measures the ticks of a kernel that does not publish its configuration', async () => {
  const text = script({ verb: 'attach' }).replace(
    /\n {2}\$verb\n/,
    '\n  find_byte_order; prepare_bpffs; mkdir "$directory"; echo "$(configured_hz)/$(measured_hz)"; rmdir "$directory"\n',
  );
  const measured = await root.start(lab, text, { masked: '/proc/config.gz' });
  const known = configuredHz();
  if (known === undefined) assert.match(measured.stdout, /^\/(100|250|300|1000)$/);
  else assert.is(measured.stdout, `/${known}`, measured.stderr);
});

test('takes back what it had begun when it is ended, and is collected when it is killed', async () => {
  root.wrapBpftool(
    `case "$*" in *'net attach'*) "$real" "$@"; : >/tmp/attached; sleep 2; exit 0 ;; esac; exec "$real" "$@"`,
  );
  const during = `${root.path}/tmp/attached`;
  const running = root.start(lab, script({ verb: 'attach' }));
  await lab.until(() => existsSync(during), 'attached');
  const shell = readState(pins())?.holder?.pid;
  assert.ok(shell);
  process.kill(shell, 'SIGTERM');
  assert.is((await running).exitCode, 143);
  await lab.untilNothingLeft();

  await execa('rm', [during]);
  const killed = root.start(lab, script({ verb: 'attach' }));
  await lab.until(() => existsSync(during), 'attached');
  process.kill(readState(pins())?.holder?.pid ?? 0, 'SIGKILL');
  await killed;
  assert.is((await lab.attached()).length, 1);
  root.unwrapBpftool();
  const status = await root.start(lab, script({ verb: 'status' }));
  assert.is(status.exitCode, 3, status.stdout);
  assert.is(propertyOf(firstInterface(status), 'ownership'), 'stale');
  const anew = await root.start(lab, script({ verb: 'attach' }));
  assert.is(propertyOf(parse(anew.stdout), 'changed'), true, anew.stderr);
});

test('leaves a run in another pid namespace alone, and collects it when that has ended', async () => {
  const words = [process.execPath, CLI, 'watch', 'eth0', '--mode', 'generic', '--bpffs', lab.bpffs];
  const inside = [`--net=/run/netns/${lab.netns}`, '--', ...words];
  const run = lab.startProgram('unshare', [
    ...['--pid', '--fork', '--mount-proc', 'nsenter', ...inside],
  ]);
  await run.says(/attached in generic mode/);
  const held = await dash.run({ verb: 'detach' });
  assert.is(held.exitCode, 1);
  assert.match(held.stderr, /held by xdpwho watch, process \d+ in another pid namespace/);
  assert.match(held.stderr, /hint: end it there: kill \d+/);
  process.kill(
    Number(readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, 'utf8')),
    'SIGKILL',
  );
  await run.ended();
  await lab.until(async () => (await lab.guards()).length === 0, 'the guard is dead');
  assert.is((await lab.attached()).length, 0, 'its link has ended with its pid namespace');
  assert.is(propertyOf(firstInterface(await dash.run({ verb: 'status' })), 'ownership'), 'stale');
  assert.is((await dash.run({ verb: 'detach' })).exitCode, 0);
  await lab.untilNothingLeft();
});

test('keeps the pins of what it cannot take back', async () => {
  for (const verb of ['net detach', 'net show']) {
    root.wrapBpftool(`case "$*" in
*'net attach'*) "$real" "$@"; : >/tmp/broken; exit 1 ;;
*'${verb}'*) [ ! -e /tmp/broken ] || exit 1 ;;
esac
exec "$real" "$@"`);
    const failed = await root.start(lab, script({ verb: 'attach' }));
    assert.is(failed.exitCode, 1, failed.stderr);
    assert.match(failed.stderr, /could not be taken back: run one of detach/);
    assert.is((await lab.attached()).length, 1);
    root.unwrapBpftool();
    await execa('rm', [`${root.path}/tmp/broken`]);
    const status = await root.start(lab, script({ verb: 'status' }));
    assert.is(propertyOf(firstInterface(status), 'ownership'), 'stale');
    assert.is((await root.start(lab, script({ verb: 'detach' }))).exitCode, 0);
    await lab.untilNothingLeft();
  }
});

test('waits for another one, and only one of several at once attaches', async () => {
  const all = await Promise.all(
    Array.from({ length: 4 }, () => root.start(lab, script({ verb: 'attach' }))),
  );
  assert.equal(
    all.map(({ exitCode }) => exitCode),
    [0, 0, 0, 0],
  );
  assert.is(all.filter(({ stdout }) => propertyOf(parse(stdout), 'changed') === true).length, 1);
  assert.is((await lab.attached()).length, 1);
});

test('does nothing when it arrives cut off', async () => {
  const whole = script({ verb: 'attach' });
  for (const length of [whole.length - 20, whole.length - 400, 5000]) {
    const input = whole.slice(0, length);
    await execa('nsenter', [`--net=/run/netns/${lab.netns}`, 'dash'], { input, reject: false });
    assert.equal([lab.pins(), await lab.attached()], [[], []]);
  }
});

test('says what is missing: bpftool, a right, an interface', async () => {
  const bare = await root.start(lab, script({ verb: 'attach' }).replaceAll('/usr/sbin', '/none'));
  assert.is(bare.exitCode, 5);
  assert.is(propertyOf(parse(bare.stdout), 'code'), 'tool-missing');
  const unprivileged = await execa('setpriv', ['--reuid=65534', '--clear-groups', 'dash'], {
    input: script({ verb: 'attach' }),
    reject: false,
  });
  assert.is(unprivileged.exitCode, 77, unprivileged.stderr);
  assert.is(propertyOf(parse(unprivileged.stdout), 'code'), 'not-permitted');
  const [dash] = SHELLS;
  const absent = await dash?.run({ verb: 'attach', interface: 'eth7' });
  assert.is(absent?.exitCode, 1);
  assert.is(propertyOf(parse(absent?.stdout ?? ''), 'code'), 'no-such-interface');
});

test.run();
