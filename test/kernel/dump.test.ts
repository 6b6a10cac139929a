import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { findTool } from '../../src/host/tools.js';
import { arpFrame, malformedFrame, udpFrame } from '../../src/model/frames.js';
import { parseMetrics } from '../metrics/text-format.js';
import { suite } from '../suite.js';
import { USUAL_READER, withIterator } from './iterators.js';
import {
  CLI,
  documentIn,
  type JsonRecord,
  Lab,
  lastReading,
  listIn,
  recordsIn,
  WHY_NOT,
} from './lab.js';

/** What is sent, and what each reading must report: packets, and the bytes of one packet. */
const TRAFFIC = [
  { source: '192.0.2.1', count: 300, length: 64 },
  { source: '192.0.2.2', count: 20, length: 1400 },
  { source: '192.0.2.200', count: 7, length: 64 },
  { source: '198.51.100.7', count: 40, length: 100 },
  { source: '2001:db8::1', count: 5, length: 80 },
  { source: '2001:db8::1:0:0:2', count: 6, length: 80 },
  { source: '2001:db8:5::9', count: 90, length: 80 },
] as const;
const OTHER = 4;
const MALFORMED = 3;

const READERS = { eth0: USUAL_READER, eth1: 'dump' } as const;
const DEVICES = ['eth0', 'eth1'] as const;

let lab: Lab;

/** Runs `dump`, which must succeed. */
async function dump(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await lab.run(['dump', ...args], { whole: true });
  assert.is(exitCode, 0, stderr);
  assert.is(stderr, '');
  return stdout;
}

async function records(...args: string[]): Promise<JsonRecord[]> {
  return recordsIn(await dump(...args, '-o', 'ndjson'));
}

/** [source, packets, bytes] of each source record. */
function rows(all: readonly JsonRecord[]): unknown[][] {
  return all
    .filter((each) => each.type === 'source')
    .map((each) => [each['source'], each['packets'], each['bytes']]);
}

const expectedRows = TRAFFIC.map(({ source, count, length }) => [source, count, count * length]);
const sumOf = (pick: (each: (typeof TRAFFIC)[number]) => number) =>
  TRAFFIC.reduce((sum, each) => sum + pick(each), 0);
const IPV6 = sumOf(({ source, count }) => (source.includes(':') ? count : 0));
const IPV4 = sumOf(({ count }) => count) - IPV6;
const EXPECTED_TOTALS = {
  type: 'totals',
  sources: TRAFFIC.length,
  packets: IPV4 + IPV6 + OTHER + MALFORMED,
  bytes: sumOf(({ count, length }) => count * length) + (OTHER + MALFORMED) * 64,
  ipv4: IPV4,
  ipv6: IPV6,
  other: OTHER,
  malformed: MALFORMED,
  untracked: 0,
};

const dumping = suite('dump', WHY_NOT);
dumping.before(async () => {
  lab = await Lab.create();
  await lab.addVeth('tx1', 'eth1');
  for (const device of DEVICES) {
    const { exitCode, stderr } = await lab.run(['attach', device, '--reader', READERS[device]]);
    assert.is(exitCode, 0, stderr);
  }
  for (const ifindex of [await lab.ifindex('eth0'), await lab.ifindex('tx1')]) {
    for (const { count, ...frame } of TRAFFIC) await lab.send(udpFrame(frame), count, { ifindex });
    await lab.send(arpFrame(), OTHER, { ifindex });
    await lab.send(malformedFrame(), MALFORMED, { ifindex });
  }
});
dumping.after(async () => {
  await lab.run(['detach', '--all']);
  await lab.close();
});

dumping('prints every source and the totals exactly, by both readers alike', async () => {
  for (const device of DEVICES) {
    const all = await records(device);
    assert.equal(rows(all).sort(), [...expectedRows].sort(), device);
    assert.equal(all.at(-1), { ...EXPECTED_TOTALS, interface: device });
    for (const each of all.slice(0, -1)) {
      assert.equal(
        Object.keys(each),
        ['type', 'interface', 'source', 'packets', 'bytes', 'idle_ms'],
        'the public record',
      );
      const idle = each['idle_ms'];
      assert.ok(typeof idle === 'number' && idle >= 0 && idle < 120_000, String(idle));
    }
  }
});

withIterator(dumping)(
  'prints the same bytes as the file, where nothing is chosen or sorted',
  async () => {
    const { stdout } = await lab.run(['status', 'eth0', '--json']);
    const [row] = listIn(documentIn(stdout), 'interfaces');
    const cat = await execa('cat', [String(row?.['file'])]);
    const still = (text: string) => text.replace(/"idle_ms":\d+/g, '');
    const lines = (await dump('eth0', '-o', 'ndjson')).split('\n').slice(0, -1);
    assert.is(still(lines.slice(0, -1).join('\n')), still(cat.stdout));
  },
);

dumping('--sort and --top choose and order; the totals stay those of everything', async () => {
  const byPackets = [...expectedRows].sort((a, b) => Number(b[1]) - Number(a[1]));
  const byBytes = [...expectedRows].sort((a, b) => Number(b[2]) - Number(a[2]));
  for (const device of DEVICES) {
    assert.equal(rows(await records(device, '--sort', 'packets')), byPackets);
    assert.equal(rows(await records(device, '--sort', 'source')), expectedRows);
    const top = await records(device, '--top', '2', '--sort', 'bytes');
    assert.equal(rows(top), byBytes.slice(0, 2));
    assert.equal(top.at(-1), { ...EXPECTED_TOTALS, interface: device });
  }
});

dumping('--source takes an address or a prefix of either family', async () => {
  const only = async (prefix: string) =>
    rows(await records('eth0', '--source', prefix, '--sort', 'source')).map(([source]) => source);
  assert.equal(await only('192.0.2.0/24'), ['192.0.2.1', '192.0.2.2', '192.0.2.200']);
  assert.equal(await only('192.0.2.0/30'), ['192.0.2.1', '192.0.2.2']);
  assert.equal(await only('198.51.100.7'), ['198.51.100.7']);
  assert.equal(await only('2001:db8::/64'), ['2001:db8::1', '2001:db8::1:0:0:2']);
  assert.equal(await only('2001:DB8:0:0:0:0:0:1'), ['2001:db8::1']);
  assert.equal((await only('0.0.0.0/0')).length, 4);
  assert.equal((await only('::/0')).length, 3);
  assert.equal(await only('203.0.113.0/24'), []);
});

dumping('--group sums by prefix, one length for each family', async () => {
  for (const device of DEVICES) {
    const all = await records(device, '--group', '24,48', '--sort', 'source');
    assert.equal(rows(all), [
      ['192.0.2.0/24', 327, 300 * 64 + 20 * 1400 + 7 * 64],
      ['198.51.100.0/24', 40, 4000],
      ['2001:db8::/48', 11, 11 * 80],
      ['2001:db8:5::/48', 90, 7200],
    ]);
    assert.equal(all.at(-1), { ...EXPECTED_TOTALS, interface: device });
  }
  const none = await records('eth0', '--group', '0,0', '--sort', 'source');
  assert.equal(
    rows(none).map(([source, packets]) => [source, packets]),
    [
      ['0.0.0.0/0', IPV4],
      ['::/0', IPV6],
    ],
  );
  const both = await records('eth0', '--group', '24', '--source', '192.0.2.0/24', '--top', '1');
  assert.equal(rows(both), [['192.0.2.0/24', 327, 300 * 64 + 20 * 1400 + 7 * 64]]);
});

dumping('-o json is one document, with what --top left out', async () => {
  const document = documentIn(await dump('eth0', 'eth1', '--json', '--top', '1'));
  assert.is(document['changed'], false);
  const interfaces = listIn(document, 'interfaces');
  assert.equal(
    interfaces.map((each) => [each['interface'], each['reader']]),
    Object.entries(READERS),
  );
  for (const each of interfaces) {
    assert.equal(
      listIn(each, 'sources').map(({ source, packets }) => [source, packets]),
      [['192.0.2.1', 300]],
    );
    assert.equal(each['omitted'], {
      sources: TRAFFIC.length - 1,
      packets: IPV4 + IPV6 - 300,
      bytes: sumOf(({ count, length }) => count * length) - 300 * 64,
    });
  }
});

dumping('a table has a line for each source, and one for all packets', async () => {
  const text = await dump('eth0', '--sort', 'source');
  const lines = text.split('\n');
  assert.match(lines[0] ?? '', /^SOURCE +PACKETS +BYTES +IDLE$/);
  assert.equal(
    lines.slice(1, 1 + TRAFFIC.length).map((line) => line.split(/ +/).slice(0, 2)),
    TRAFFIC.map(({ source, count }) => [source, String(count)]),
  );
  assert.match(text, `eth0: 7 sources; ${EXPECTED_TOTALS.packets} packets`);
});

for (const format of ['prometheus', 'openmetrics'] as const) {
  dumping(`-o ${format} is what its reader takes, and adds up`, async () => {
    const text = await dump('eth0', 'eth1', '-o', format, '--top', '3');
    const samples = parseMetrics(text, format);
    for (const device of DEVICES) {
      const packets = samples.filter(
        ({ name, labels }) => name === 'xdpwho_source_packets_total' && labels['device'] === device,
      );
      assert.equal(
        packets.map(({ labels, value }) => [labels['source'], value]),
        [
          ['192.0.2.1', '300'],
          ['2001:db8:5::9', '90'],
          ['198.51.100.7', '40'],
        ],
      );
      for (const { labels } of packets) assert.is(labels['netns'], lab.netns);
      const omitted = samples.find(
        ({ name, labels }) => name === 'xdpwho_sources_omitted' && labels['device'] === device,
      );
      assert.is(omitted?.value, String(TRAFFIC.length - 3));
      const rest = samples.find(
        ({ name, labels }) => name === 'xdpwho_omitted_packets' && labels['device'] === device,
      );
      assert.is(rest?.value, String(IPV4 + IPV6 - 430));
    }
    if (format === 'openmetrics') return;
    const promtool = findTool('promtool');
    if (promtool === undefined) return;
    const { exitCode, stderr } = await execa(promtool, ['check', 'metrics'], {
      input: text,
      reject: false,
    });
    assert.is(exitCode, 0, stderr);
  });
}

dumping('what makes no sense of a single reading, or is not offered, is refused', async () => {
  for (const [words, why] of [
    [['--sort', 'rate'], 'a dump is one reading, and has no rates'],
    [['--reset'], 'unknown option: --reset'],
    [['--source', '192.0.2.0/33'], 'not an address or prefix'],
    [['--group', '33'], 'not a length of prefixes'],
    [['--group', '24,129'], 'not a length of prefixes'],
    [['--top', '0'], 'must be at least 1'],
    [['-o', 'json', '-o', 'prometheus'], 'one format at a time'],
  ] as const) {
    const { exitCode, stdout, stderr } = await lab.run(['dump', 'eth0', ...words]);
    assert.is(exitCode, 2, stderr);
    assert.match(stderr, why);
    assert.not.match(stdout, 'source"');
  }
});

dumping("an interface that has nothing is 3, a stranger's is 4, one that is absent 1", async () => {
  await lab.addVeth('tx2', 'eth2');
  const failing = async (device: string) => {
    const { exitCode, stdout, stderr } = await lab.run(['dump', device, '--json']);
    return { exitCode, code: documentIn(stdout)['code'], stderr };
  };
  const nothing = await failing('eth2');
  assert.equal([nothing.exitCode, nothing.code], [3, 'not-attached']);
  assert.match(
    nothing.stderr,
    `hint: xdpwho attach eth2 --netns ${lab.netns} --bpffs ${lab.bpffs}`,
  );
  const id = await lab.attachStranger('eth2');
  const stranger = await failing('eth2');
  assert.equal([stranger.exitCode, stranger.code], [4, 'not-ours']);
  assert.match(stranger.stderr, `its program ${id} is not ours`);
  const absent = await failing('eth9');
  assert.equal([absent.exitCode, absent.code], [1, 'no-such-interface']);
  await lab.detachStranger('eth2');
});

dumping('what a running `watch` holds can be dumped meanwhile', async () => {
  await lab.addVeth('tx3', 'eth3');
  const watch = lab.start(['watch', 'eth3']);
  await watch.says(/attached in/);
  await lab.send(udpFrame({ source: '203.0.113.5' }), 11, { ifindex: await lab.ifindex('tx3') });
  assert.equal(lastReading(await records('eth3')).packets, { '203.0.113.5': 11 });
  watch.child.kill('SIGINT');
  await watch.ended();
  assert.is((await lab.run(['dump', 'eth3'])).exitCode, 3);
});

dumping('several may read at once, by the slow way too', async () => {
  const device = 'eth1';
  const runs = Array.from({ length: 6 }, () => lab.run(['dump', device, '--json']));
  for (const { exitCode, stderr } of await Promise.all(runs)) assert.is(exitCode, 0, stderr);
});

dumping('--dry-run names the files or maps that it would read', async () => {
  const files = /^cat \S+\/totals\ncat \S+\/sources\ncat \S+\/totals\n$/;
  const maps = /^(\S+bpftool -j -n map dump pinned \S+\n){3}$/;
  assert.match(await dump('eth0', '-n'), READERS.eth0 === 'iterator' ? files : maps);
  assert.match(await dump('eth1', '-n'), maps);
});

dumping('a closed pipe ends it quietly', async () => {
  const status = `${lab.scratch}/status`;
  const script = '{ "$@"; echo "$?" >"$0"; } | head -c 20 >/dev/null';
  const { stderr } = await execa('sh', [
    ...['-c', script, status, process.execPath, CLI, 'dump', 'eth0', '-o', 'ndjson'],
    ...['--netns', lab.netns, '--bpffs', lab.bpffs],
  ]);
  assert.is(stderr, '');
  assert.is(readFileSync(status, 'utf8'), '0\n');
});

dumping.run();

const evicting = suite('dump of a table that was too small', WHY_NOT);
const SENT_SOURCES = 10_000;
evicting.before(async () => {
  lab = await Lab.create();
  await lab.addVeth('tx1', 'eth1');
  for (const device of DEVICES) {
    const options = ['--reader', READERS[device], '--max-sources', '256'];
    const { exitCode, stderr } = await lab.run(['attach', device, ...options]);
    assert.is(exitCode, 0, stderr);
  }
});
evicting.after(async () => {
  await lab.run(['detach', '--all']);
  await lab.close();
});

evicting('sources and untracked add up to what came, exactly, by both readers', async () => {
  const frame = udpFrame({ source: '198.18.0.0' });
  for (const device of ['eth0', 'tx1']) {
    const ifindex = await lab.ifindex(device);
    await lab.send(frame, SENT_SOURCES, { sources: SENT_SOURCES, ifindex });
    await lab.send(udpFrame({ source: '2001:db8::1' }), 3, { ifindex });
  }
  for (const device of DEVICES) {
    for (const extra of [[], ['--top', '5'], ['--group', '16']]) {
      const all = await records(device, ...extra);
      const totals = all.at(-1) ?? {};
      const { ipv4, ipv6, untracked, sources } = { ...EXPECTED_TOTALS, ...totals };
      assert.equal([ipv4, ipv6], [SENT_SOURCES, 3]);
      assert.ok(sources > 0 && sources <= 256, String(sources));
      assert.ok(untracked >= SENT_SOURCES - 256, String(untracked));
      if (extra[0] === '--top') continue;
      const sum = rows(all).reduce((total, [, packets]) => total + Number(packets), 0);
      assert.is(sum + untracked, ipv4 + ipv6);
      if (extra.length === 0) assert.is(rows(all).length, sources);
    }
  }
});

evicting.run();
