import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { run } from '../../src/host/exec.js';
import { resolveNetns } from '../../src/host/netns.js';
import { requireTool } from '../../src/host/tools.js';
import { arpFrame, malformedFrame, udpFrame } from '../../src/model/frames.js';
import { compileArguments, findHeaderDirectories } from '../../src/objects/compile.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { suite } from '../suite.js';
import { loadWithMaps } from './bpftool.js';
import { compileProgram, compileTool } from './compiler.js';
import { USUAL_READER } from './iterators.js';
import {
  type JsonRecord,
  Lab,
  OBJECTS_DIRECTORY,
  recordsIn,
  type Started,
  WHY_NOT,
} from './lab.js';

/** The offset of the low 32 bits of the source: the Ethernet header and part of the IP header. */
const SOURCE_OFFSET = 26;
const SMALLEST_BUFFER = `${2 * 6 * countCpus()}K`;

let lab: Lab;
let flooder: string;
let floodObject: string;

async function setUp(): Promise<void> {
  lab = await Lab.create();
  flooder = await compileTool(lab, 'flood/flood');
  floodObject = await compileProgram(lab, 'flood/flood');
}

function countCpus(): number {
  const list = readFileSync('/sys/devices/system/cpu/possible', 'utf8');
  return Number(/(\d+)\s*$/.exec(list)?.[1]) + 1;
}

/** Sends as fast as one CPU can. `shortened`: the frame of source k is k % shortened bytes shorter. */
async function flood(
  count: number,
  options: { sources?: number; length?: number; shortened?: number } = {},
): Promise<void> {
  const { sources = 1000, length = 64, shortened = 0 } = options;
  const frame = `${lab.scratch}/flood-frame`;
  writeFileSync(frame, udpFrame({ source: '198.18.0.0', length }));
  const ifindex = await lab.ifindex('eth0');
  const words = [flooder, floodObject, frame, ifindex, SOURCE_OFFSET, sources, shortened, count];
  const enter = [`--net=${resolveNetns(lab.sender).path}`, '--'];
  const { stdout } = await execa('nsenter', [...enter, ...words.map(String)]);
  assert.is(stdout, String(count));
}

/** The packets that the receiving end has counted. In a flood the veth drops what its NAPI does not keep up with. */
async function arrived(): Promise<number> {
  const text = await lab.ip(lab.netns, ['-s', '-j', 'link', 'show', 'dev', lab.device]);
  return Number(/"rx":\{"bytes":\d+,"packets":(\d+)/.exec(text)?.[1]);
}

async function startLog(...args: readonly string[]): Promise<Started> {
  const started = lab.start(['log', lab.device, '-o', 'ndjson', ...args]);
  await started.says(/attached (in|since)/);
  return started;
}

interface Outcome {
  readonly records: readonly JsonRecord[];
  readonly packets: readonly JsonRecord[];
  /** The sum of the `lost` records. */
  readonly lost: number;
  readonly totals: JsonRecord;
  readonly exitCode: number | null;
}

async function end(started: Started, signal: NodeJS.Signals | undefined = 'SIGINT') {
  if (signal !== undefined) started.child.kill(signal);
  return outcomeOf(started, (await started.ended()).exitCode);
}

function outcomeOf(started: Started, exitCode: number | null): Outcome {
  const records = recordsIn(started.stdout);
  const totals = records.filter((record) => record.type === 'totals').at(-1);
  assert.ok(totals, started.stderr);
  const lost = records
    .filter((record) => record.type === 'lost')
    .reduce((sum, record) => sum + Number(record['count']), 0);
  return {
    records,
    packets: records.filter((record) => record.type === 'packet'),
    lost,
    totals,
    exitCode,
  };
}

/** Waits until so many lines are there. */
async function printed(started: Started, lines: number): Promise<void> {
  await lab.until(() => started.stdout.split('\n').length > lines, `${lines} lines`);
}

/** Checks that each packet that was seen is in exactly one of the four counts. */
function accounts(outcome: Outcome, expected: Partial<Record<string, number>>): void {
  const { totals, packets, lost } = outcome;
  const figure = (name: string) => Number(totals[name]);
  assert.is(
    figure('seen'),
    figure('printed') + figure('sampled_out') + figure('filtered_out') + figure('lost'),
  );
  assert.is(figure('printed'), packets.length);
  assert.is(figure('lost'), lost);
  for (const [name, value] of Object.entries(expected)) assert.is(figure(name), value, name);
}

function timesOf(packets: readonly JsonRecord[]): string[] {
  return packets.map((packet) => String(packet['time']));
}

const program = suite('the program', WHY_NOT);
program.before(setUp);
program.after(() => lab.close());

for (const name of ['xdpwho', 'xdpwho.frags'] as const) {
  program(`${name} has nothing of the log in it, and no map of it`, async () => {
    const plain = await loaded(name);
    assert.equal(plain.maps, ['front', 'sources', 'totals', 'xdpwho_rodata']);
    // The program has the same instructions as one compiled from sources without a log.
    const stripped = `${lab.scratch}/without`;
    await execa('cp', ['-r', new URL('../../bpf', import.meta.url).pathname, stripped]);
    const source = `${stripped}/xdpwho.bpf.c`;
    const text = readFileSync(source, 'utf8')
      .replace(/#ifdef XDPWHO_LOG\n[\s\S]*?#endif\n/, '')
      .replace(/\tlog_packet\(.*\);\n/, '');
    assert.not.match(text, /log_packet/);
    writeFileSync(source, text);
    const bare = `${stripped}/${name}.o`;
    const args = compileArguments({
      source,
      output: bare,
      byteOrder: objectsByteOrder(),
      frags: name === 'xdpwho.frags',
      includeDirectories: findHeaderDirectories('/usr/include'),
    });
    await execa('clang', args);
    assert.is((await loaded(name, bare)).tag, plain.tag);
    const logging = await loaded(name.replace('xdpwho', 'xdpwho.log'));
    assert.is.not(logging.tag, plain.tag);
    assert.ok(logging.maps.includes('packets'));
  });
}

function objectsByteOrder(): 'el' | 'eb' {
  return new ObjectFiles(OBJECTS_DIRECTORY).path('xdpwho').includes('/el/') ? 'el' : 'eb';
}

let loads = 0;

/** The kernel's digest (tag) of a program's instructions, and the names of its maps. */
async function loaded(name: string, object?: string): Promise<{ tag: string; maps: string[] }> {
  const pin = `${lab.bpffs}/load${++loads}`;
  const file = object ?? `${OBJECTS_DIRECTORY}/${objectsByteOrder()}/${name}.o`;
  await execa('mkdir', [`${pin}-maps`]);
  await loadWithMaps(lab.bpftool, file, pin, `${pin}-maps`);
  const { stdout } = await run(requireTool('bpftool'), ['prog', 'show', 'pinned', pin]);
  return { tag: /tag (\w+)/.exec(stdout)?.[1] ?? '', maps: readdirSync(`${pin}-maps`).sort() };
}

program.run();

const log = suite('log', WHY_NOT);
log.before(setUp);
log.after(() => lab.close());

log('prints one line for each of 1,000 packets, in order, with what they were', async () => {
  const kinds = [
    { source: '192.0.2.7', length: 142 },
    { source: '198.51.100.3', length: 64, vlans: [100] },
    { source: '2001:db8::7', length: 90 },
    { source: '2001:db8:0:1::53', length: 1000, vlans: [200, 100] },
  ];
  const started = await startLog();
  const before = Date.now();
  for (let round = 0; round < 250; round++) {
    const kind = kinds[round % 4] ?? kinds[0];
    if (kind !== undefined) await lab.send(udpFrame(kind), 4);
  }
  await lab.send(arpFrame(), 3);
  await lab.send(malformedFrame(), 2);
  const after = Date.now();
  await printed(started, 1001);
  const outcome = await end(started);
  accounts(outcome, { seen: 1000, printed: 1000, lost: 0, ipv4: 504, ipv6: 496 });
  accounts(outcome, { other: 3, malformed: 2, packets: 1005 });
  const expected = Array.from({ length: 1000 }, (_, index) => kinds[Math.floor(index / 4) % 4]);
  assert.equal(
    outcome.packets.map(({ source, length }) => [source, length]),
    expected.map((kind) => [kind?.source, kind?.length]),
  );
  const times = timesOf(outcome.packets);
  assert.equal(times, [...times].sort());
  for (const time of times) {
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    const ms = Date.parse(time);
    assert.ok(ms >= before - 1 && ms <= after + 1, `${time}: ${before} to ${after}`);
  }
  assert.is(outcome.exitCode, 130);
  await lab.untilNothingLeft();
});

log('prints plain lines of time, interface, source and length', async () => {
  const started = lab.start(['log', lab.device, '--count', '2']);
  await started.says(/attached in/);
  await lab.send(udpFrame({ source: '192.0.2.7', length: 142 }), 1);
  await lab.send(udpFrame({ source: '2001:db8::1' }), 1);
  assert.is((await started.ended()).exitCode, 0);
  assert.match(
    started.stdout,
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z eth0 192\.0\.2\.7 142\n\S+Z eth0 2001:db8::1 64\n$/,
  );
  assert.match(started.stderr, /eth0: 2 packets = 2 printed \+ 0 lost\n/);
  await lab.untilNothingLeft();
});

log('loses none of 200,000 packets at full speed, or says how many', async () => {
  const before = await arrived();
  const started = await startLog();
  await flood(200_000);
  const outcome = await end(started);
  accounts(outcome, { seen: (await arrived()) - before });
  assert.is(outcome.packets.length + outcome.lost, Number(outcome.totals['ipv4']));
});

log('accounts for every packet of a flood through the smallest ring', async () => {
  const before = await arrived();
  const started = await startLog('--buffer', SMALLEST_BUFFER);
  await flood(1_000_000);
  const outcome = await end(started);
  accounts(outcome, { seen: (await arrived()) - before });
  assert.ok(outcome.packets.length > 0 && outcome.lost > 0, started.stderr);
});

log('never prints a record that is half old and half new', async () => {
  const started = lab.start(['log', lab.device, '--buffer', SMALLEST_BUFFER]);
  await started.says(/attached in/);
  await flood(3_000_000, { sources: 65_000, length: 1200, shortened: 900 });
  started.child.kill('SIGINT');
  await started.ended();
  const lines = started.stdout.split('\n').filter((line) => !line.startsWith('#') && line !== '');
  // map dump reads the ring slowly: of a flood it prints little more than is in the ring at the end.
  const least = USUAL_READER === 'iterator' ? 1000 : 100;
  assert.ok(lines.length > least, `${lines.length} lines`);
  for (const line of lines) {
    const [, third, fourth, length] = / 198\.18\.(\d+)\.(\d+) (\d+)$/.exec(line) ?? [];
    const number = Number(third) * 256 + Number(fourth);
    assert.is(Number(length), 1200 - (number % 900), line);
  }
});

log('samples and filters in the kernel, and counts what it leaves out', async () => {
  const sampled = await startLog('--sample', '10');
  await lab.send(udpFrame({ source: '192.0.2.7' }), 1000);
  const outcome = await end(sampled);
  // The packets may arrive on several CPUs, and each CPU logs its first packet.
  const most = 100 + countCpus();
  assert.ok(outcome.packets.length >= 100 && outcome.packets.length <= most);
  accounts(outcome, { seen: 1000, sampled_out: 1000 - outcome.packets.length, lost: 0 });

  const filtered = await startLog('--source', '198.51.100.0/24');
  for (const source of ['198.51.100.7', '198.51.101.7', '2001:db8::7', '198.51.100.255']) {
    await lab.send(udpFrame({ source }), 5);
  }
  const passed = await end(filtered);
  accounts(passed, { seen: 20, printed: 10, filtered_out: 10, lost: 0 });
  assert.ok(passed.packets.every(({ source }) => String(source).startsWith('198.51.100.')));

  const both = await startLog('--source', '2001:db8::/32', '--sample', '2');
  await lab.send(udpFrame({ source: '192.0.2.1' }), 6);
  await lab.send(udpFrame({ source: '2001:db8::7' }), 1);
  accounts(await end(both), { seen: 7, printed: 1, filtered_out: 6, lost: 0 });

  // An IPv6 prefix must not match IPv4, although the keys of IPv4 addresses are in ::/0.
  const any = await startLog('--source', '::/0');
  await lab.send(udpFrame({ source: '192.0.2.1' }), 3);
  await lab.send(udpFrame({ source: '2001:db8::7' }), 2);
  accounts(await end(any), { seen: 5, printed: 2, filtered_out: 3 });
});

log('ends after --count packets, and accounts up to the last of them', async () => {
  const started = await startLog('--count', '10');
  await flood(5000);
  const outcome = outcomeOf(started, (await started.ended()).exitCode);
  accounts(outcome, { seen: 10, printed: 10, lost: 0 });
  assert.is(outcome.exitCode, 0);
});

log('gives totals at intervals that add up, too', async () => {
  const started = await startLog('--totals', '200ms', '--buffer', SMALLEST_BUFFER);
  for (let round = 0; round < 5; round++) await flood(20_000);
  await lab.until(() => (started.stdout.match(/"type":"totals"/g) ?? []).length >= 3, 'totals');
  const { records } = await end(started);
  let before = 0;
  let [packets, lost] = [0, 0];
  for (const record of records) {
    if (record.type === 'packet') packets++;
    if (record.type === 'lost') lost += Number(record['count']);
    if (record.type !== 'totals') continue;
    assert.equal([record['printed'], record['lost']], [packets, lost]);
    assert.is(record['seen'], packets + lost);
    assert.ok(packets + lost >= before);
    before = packets + lost;
  }
});

log('reads by map dump where there is no iterator, and says so', async () => {
  const started = await startLog('--reader', 'dump');
  await lab.send(udpFrame({ source: '192.0.2.7' }), 500);
  await lab.send(udpFrame({ source: '2001:db8::7' }), 500);
  await printed(started, 1001);
  const outcome = await end(started);
  accounts(outcome, { seen: 1000, printed: 1000, lost: 0 });
  const times = timesOf(outcome.packets);
  assert.equal(times, [...times].sort());
  assert.match(started.stderr, /read by dump/);
  assert.match(started.stderr, /log of 10\.\d+k? packets|log of \d+ packets/);
});

log('detaches when the reader of its output leaves', async () => {
  const started = lab.start(['log', lab.device]);
  await started.says(/attached in/);
  await lab.send(udpFrame({ source: '192.0.2.7' }), 1);
  await printed(started, 1);
  started.child.stdout?.destroy();
  await lab.send(udpFrame({ source: '192.0.2.7' }), 5);
  assert.is((await started.ended()).exitCode, 0);
  await lab.untilNothingLeft();
});

log('is detached by the guard when it is killed', async () => {
  const started = await startLog();
  await lab.send(udpFrame({ source: '192.0.2.7' }), 1);
  await printed(started, 2);
  started.child.kill('SIGKILL');
  await started.ended();
  await lab.untilNothingLeft();
});

log('says so when the interface is deleted, and exits 1', async () => {
  await lab.addVeth('gone0', 'gone1');
  const started = lab.start(['log', 'gone1', '-o', 'ndjson']);
  await started.says(/attached in/);
  await lab.send(udpFrame({ source: '192.0.2.7' }), 3, { ifindex: await lab.ifindex('gone0') });
  await printed(started, 4);
  await lab.ip(lab.netns, ['link', 'del', 'gone1']);
  const { exitCode } = await started.ended();
  assert.is(exitCode, 1);
  assert.match(started.stderr, /gone1: the interface has gone/);
  accounts(outcomeOf(started, exitCode), { seen: 3, printed: 3 });
  await lab.untilNothingLeft();
});

for (const duration of [[], ['--duration', '60s']]) {
  const words = ['log', 'gone1', ...duration];
  log(
    `${words.join(' ')}: ends when the last interface goes, with nothing of Node's own on the screen`,
    async () => {
      await lab.addVeth('gone0', 'gone1');
      const started = lab.start(words);
      await started.says(/attached in/);
      const beganMs = Date.now();
      await lab.ip(lab.netns, ['link', 'del', 'gone1']);
      const { exitCode } = await started.ended();
      assert.is(exitCode, 1);
      assert.ok(Date.now() - beganMs < 50_000, 'before the duration is over');
      assert.not.match(started.stderr, /Warning|trace-warnings/);
    },
  );
}

log.run();

const recorder = suite('attach --log', WHY_NOT);
recorder.before(setUp);
recorder.after(() => lab.close());
recorder.before.each(async () => {
  const { exitCode, stderr } = await lab.run(['attach', lab.device, '--log', '--buffer', '1M']);
  assert.is(exitCode, 0, stderr);
});
recorder.after.each(async () => {
  await lab.run(['detach', lab.device]);
  await lab.untilNothingLeft();
});

recorder('keeps the last packets for --last, with no process of ours', async () => {
  assert.equal(await lab.guards(), []);
  for (let number = 0; number < 120; number++) {
    await lab.send(udpFrame({ source: `192.0.2.${number}` }), 1);
  }
  const { stdout, exitCode } = await lab.run(['log', lab.device, '--last', '50']);
  assert.is(exitCode, 0);
  const lines = stdout.trimEnd().split('\n');
  assert.equal(
    lines.map((line) => line.split(' ')[2]),
    Array.from({ length: 50 }, (_, index) => `192.0.2.${70 + index}`),
  );
  const all = await lab.run(['log', lab.device, '--last', '1000', '-o', 'ndjson']);
  assert.is(recordsIn(all.stdout).filter((record) => record.type === 'packet').length, 120);
  assert.is((await lab.attached()).length, 1);
});

recorder('keeps no more than the ring holds, and the newest', async () => {
  await flood(100_000);
  const { stdout } = await lab.run(['log', lab.device, '--last', '100000', '-o', 'ndjson']);
  const packets = recordsIn(stdout).filter((record) => record.type === 'packet');
  assert.ok(packets.length >= 128 && packets.length < 100_000, String(packets.length));
  assert.is(packets.at(-1)?.['source'], `198.18.3.${999 - 768}`);
});

recorder('is read by two at once, and each gets everything', async () => {
  await lab.send(udpFrame({ source: '203.0.113.1' }), 5);
  const readers = [await startLog(), await startLog()];
  await lab.send(udpFrame({ source: '192.0.2.7' }), 500);
  for (const reader of readers) await printed(reader, 501);
  for (const reader of readers) {
    const outcome = await end(reader);
    accounts(outcome, { seen: 500, printed: 500, lost: 0 });
    assert.ok(outcome.packets.every(({ source }) => source === '192.0.2.7'));
    assert.not(outcome.records.some((record) => record.type === 'detached'));
  }
  assert.is((await lab.attached()).length, 1);
});

recorder('goes on when a reader is killed, and another one reads on', async () => {
  const killed = await startLog();
  await lab.send(udpFrame({ source: '192.0.2.7' }), 5);
  await printed(killed, 6);
  killed.child.kill('SIGKILL');
  await killed.ended();
  await lab.until(() => readersLeft() === 0, 'its iterator has gone');
  await lab.send(udpFrame({ source: '192.0.2.8' }), 5);
  const next = await startLog();
  await lab.send(udpFrame({ source: '192.0.2.9' }), 5);
  await printed(next, 6);
  accounts(await end(next), { seen: 5, printed: 5 });
  const last = await lab.run(['log', lab.device, '--last', '100']);
  assert.is(last.stdout.trimEnd().split('\n').length, 15);
  assert.is(readersLeft(), 0);
});

function readersLeft(): number {
  const [pins] = lab.pins();
  const directory = `${lab.bpffs}/xdpwho/${pins}/readers`;
  return existsSync(directory) ? readdirSync(directory).length : 0;
}

recorder('says what it keeps, and is a difference of options', async () => {
  const status = await lab.run(['status', lab.device, '-o', 'json']);
  assert.match(status.stdout, /"log": \{\s+"source": null,\s+"sample": 1,\s+"buffer_bytes": 10\d+/);
  assert.match(
    (await lab.run(['status', lab.device])).stdout,
    /log of 1\.0M?B|log of \d+\.?\d*[kM]?B/,
  );
  const same = await lab.run(['attach', lab.device, '--log', '--buffer', '1M', '-o', 'json']);
  assert.match(same.stdout, /"changed": false/);
  for (const other of [[], ['--log'], ['--log', '--buffer', '1M', '--sample', '5']]) {
    const { exitCode, stderr } = await lab.run(['attach', lab.device, ...other]);
    assert.is(exitCode, 1, other.join(' '));
    assert.match(stderr, /attached with other options: --(log|buffer|sample)/);
  }
  const log = await lab.run(['log', lab.device, '--sample', '5']);
  assert.is(log.exitCode, 1);
  assert.match(log.stderr, /logged with other options: --sample is 1, asked for 5/);
});

recorder('ends its readers when it is detached', async () => {
  const reader = await startLog();
  await lab.run(['detach', lab.device]);
  const { exitCode } = await reader.ended();
  assert.is(exitCode, 3, reader.stderr);
  assert.match(reader.stderr, /has gone|detached/);
});

recorder.run();

const refusals = suite('log, refused', WHY_NOT);
refusals.before(setUp);
refusals.after(() => lab.close());

refusals('where nothing is kept, or packets are only counted', async () => {
  const nothing = await lab.run(['log', lab.device, '--last', '5']);
  assert.is(nothing.exitCode, 3);
  assert.match(nothing.stderr, /hint: xdpwho attach --log eth0/);
  await lab.run(['attach', lab.device]);
  const counted = await lab.run(['log', lab.device]);
  assert.is(counted.exitCode, 1);
  assert.match(counted.stderr, /attached without a log of packets\n.*attach --replace --log eth0/);
  await lab.run(['detach', lab.device]);
});

refusals('with options that make no sense', async () => {
  for (const [options, message] of [
    [['--buffer', '1K'], /--buffer: must be at least \d+K for \d+ CPUs/],
    [['--buffer', 'much'], /--buffer much: not a size/],
    [['--sample', '0'], /--sample 0: must be at least 1/],
    [['--source', '300.1.1.1'], /300\.1\.1\.1: not an address or prefix/],
    [['--last', '5', '--count', '5'], /--last and --count: one or the other/],
  ] as const) {
    const { exitCode, stderr } = await lab.run(['log', lab.device, ...options]);
    assert.is(exitCode, 2, stderr);
    assert.match(stderr, message);
  }
  const { exitCode, stderr } = await lab.run(['attach', lab.device, '--sample', '5']);
  assert.is(exitCode, 2);
  assert.match(stderr, /--sample: only with --log/);
  assert.equal(await lab.attached(), []);
});

refusals('--dry-run prints the commands, and changes nothing', async () => {
  const { stdout } = await lab.run(['log', lab.device, '-n']);
  for (const words of [/prog load '?\$SCRATCH\/xdpwho\.log\.frags\.o/, /iter pin .*packets\.o/]) {
    assert.match(stdout, words);
  }
  assert.equal(await lab.attached(), []);
  assert.equal(lab.pins(), []);
});

refusals.run();
