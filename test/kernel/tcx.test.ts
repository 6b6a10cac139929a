/** What is counted at TCX: packets that are sent, and packets that are received behind XDP. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { log, watch } from '../../src/api.js';
import { holdLink, type Link, makeTestFrame } from '../../src/attachment/link.js';
import { resolveNetns } from '../../src/host/netns.js';
import { arpFrame, malformedFrame, udpFrame } from '../../src/model/frames.js';
import { propertyOf } from '../../src/model/json-values.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { timesOf, tried } from '../reliability.js';
import { suite } from '../suite.js';
import { compileProgram, compileTool } from './compiler.js';
import { READERS } from './iterators.js';
import {
  CLI,
  documentIn,
  holderPid,
  type JsonRecord,
  Lab,
  lastReading,
  listIn,
  OBJECTS_DIRECTORY,
  recordsIn,
  type Started,
  WHY_NO_TCX,
} from './lab.js';

const PROMISE = 'What it attached at TCX is gone when its run is gone, however that ended';

const SENT = ['watch', 'eth0', '--sent', '--interval', '200ms', '-o', 'ndjson'];

let lab: Lab;
/** With addresses at both ends: the kernel's own stack sends from `free0` to `free0`. */
let stacks: Lab;
let transfer: string;
let strangersObject: string;

const tcx = suite('TCX', WHY_NO_TCX);
const death = suite(PROMISE, WHY_NO_TCX);

const ADDRESSES = {
  ipv4: { sender: '192.0.2.1', receiver: '192.0.2.2', bits: 24 },
  ipv6: { sender: '2001:db8::1', receiver: '2001:db8::2', bits: 64 },
} as const;
const FAMILIES = ['ipv4', 'ipv6'] as const;
const ENDS = ['sender', 'receiver'] as const;

tcx.before(async () => {
  lab = await Lab.create();
  stacks = await Lab.create({ bridged: true });
  transfer = await compileTool(lab, 'transfer');
  strangersObject = await compileProgram(lab, 'tcx-stranger');
  const macs = { sender: await macOf(stacks.sender), receiver: await macOf(stacks.netns) };
  for (const end of ENDS) {
    const netns = netnsOf(end);
    const other = end === 'sender' ? 'receiver' : 'sender';
    for (const family of FAMILIES) {
      const { [end]: own, [other]: peer, bits } = ADDRESSES[family];
      const nodad = family === 'ipv6' ? ['nodad'] : [];
      await stacks.ip(netns, ['addr', 'add', `${own}/${bits}`, 'dev', 'free0', ...nodad]);
      const neighbour = ['neigh', 'replace', peer, 'lladdr', macs[other], 'nud', 'permanent'];
      await stacks.ip(netns, [...neighbour, 'dev', 'free0']);
    }
  }
});
tcx.after.each(async () => {
  await lab.endAll();
  await stacks.endAll();
});
tcx.after(async () => {
  await lab.close();
  await stacks.close();
});

function netnsOf(end: (typeof ENDS)[number]): string {
  return end === 'sender' ? stacks.sender : stacks.netns;
}

async function macOf(netns: string): Promise<string> {
  const links: unknown = JSON.parse(await stacks.ip(netns, ['-j', 'link', 'show', 'dev', 'free0']));
  const address = propertyOf(Array.isArray(links) ? links[0] : undefined, 'address');
  assert.type(address, 'string');
  return String(address);
}

/** The last reading of one direction: its totals, and the figures of each address. */
function lastOf(records: readonly JsonRecord[], direction: 'received' | 'sent') {
  const wanted = direction === 'sent' ? 'sent' : undefined;
  const isLast = (record: JsonRecord | undefined) =>
    record?.type === 'totals' && record['direction'] === wanted;
  let end = records.length - 1;
  while (end >= 0 && !isLast(records[end])) end--;
  let start = end;
  const key = direction === 'sent' ? 'destination' : 'source';
  while (records[start - 1]?.type === key) start--;
  const figures = records
    .slice(start, end)
    .map((record) => [record[key], [record['packets'], record['bytes']]]);
  return { totals: records[end], figures: Object.fromEntries(figures) };
}

async function stopped(run: Started): Promise<JsonRecord[]> {
  run.child.kill('SIGINT');
  const { exitCode } = await run.ended();
  assert.is(exitCode, 130, run.stderr);
  return recordsIn(run.stdout);
}

/** Frames to destinations: what each is to count for. */
const FLOWS = [
  { destination: '192.0.2.7', source: '192.0.2.254', frames: 40, length: 100 },
  { destination: '192.0.2.8', source: '192.0.2.254', frames: 7, length: 1000, vlans: [100] },
  { destination: '198.51.100.9', source: '192.0.2.254', frames: 5, length: 200, vlans: [7, 9] },
  { destination: '2001:db8::7', source: '2001:db8::fffe', frames: 31, length: 128 },
  { destination: '2001:db8::8', source: '2001:db8::fffe', frames: 3, length: 90, vlans: [4] },
  { destination: '2001:db8::9', source: '2001:db8::fffe', frames: 2, length: 98, vlans: [4, 5] },
];
/** Frames with a source, and the same the other way. */
const SOURCES = FLOWS.map(({ destination, source, ...flow }) => ({
  ...flow,
  source: destination,
  destination: source,
}));

/** Sends all of them, one way or, in turn, both. */
async function sendAll(...ways: readonly boolean[]): Promise<void> {
  for (const [at, flow] of FLOWS.entries()) {
    for (const back of ways) {
      await lab.send(udpFrame((back ? flow : SOURCES[at]) ?? flow), flow.frames, { back });
    }
  }
  for (const back of ways) {
    await lab.send(arpFrame(), 3, { back });
    await lab.send(malformedFrame(), 2, { back });
  }
}

const EXPECTED = Object.fromEntries(
  FLOWS.map(({ destination, frames, length }) => [destination, [frames, frames * length]]),
);
/** 3 + 2 frames of 64 bytes are neither IPv4 nor IPv6, or malformed. */
const IN_ALL = {
  packets: FLOWS.reduce((sum, { frames }) => sum + frames, 5),
  bytes: FLOWS.reduce((sum, { frames, length }) => sum + frames * length, 5 * 64),
  ipv4: 52,
  ipv6: 36,
  other: 3,
  malformed: 2,
  untracked: 0,
};

function sums(totals: JsonRecord | undefined) {
  return Object.fromEntries(Object.keys(IN_ALL).map((name) => [name, totals?.[name]]));
}

for (const reader of READERS) {
  tcx(
    `what is sent and what is received at once is counted exactly, read by ${reader}`,
    async () => {
      const args = ['watch', 'eth0', '--both', '-o', 'ndjson', '--reader', reader];
      const run = lab.start(args);
      await run.says(/\(sent\): attached at TCX/);
      await sendAll(false, true);
      const records = await stopped(run);
      for (const direction of ['received', 'sent'] as const) {
        const { totals, figures } = lastOf(records, direction);
        assert.equal(sums(totals), IN_ALL, direction);
        assert.equal(byAddress(figures), byAddress(EXPECTED), direction);
      }
      const attached = records.filter(({ type }) => type === 'attached');
      assert.equal(
        attached.map(({ mode, direction, held_by }) => [mode, direction, held_by]),
        [
          ['native', undefined, 'link'],
          ['tcx', 'sent', 'link'],
        ],
      );
      const detached = records.filter(({ type }) => type === 'detached');
      assert.equal(
        detached.map(({ direction }) => direction),
        [undefined, 'sent'],
      );
      await lab.untilNothingLeft();
    },
  );
}

tcx(
  'behind a program of XDP the same is counted, and a VLAN tag beside the packet too',
  async () => {
    const id = await lab.attachStranger('eth0');
    try {
      const run = lab.start(['watch', 'eth0', '--beside', '-o', 'ndjson']);
      await run.says(/attached at TCX/);
      await sendAll(false);
      const records = await stopped(run);
      const { totals, figures } = lastOf(records, 'received');
      assert.equal(sums(totals), IN_ALL);
      assert.equal(byAddress(figures), byAddress(EXPECTED));
      assert.equal(
        (await lab.attached()).map(({ programId }) => programId),
        [id],
      );
    } finally {
      await lab.detachStranger('eth0');
    }
  },
);

tcx('the file of what is sent has destination records', async () => {
  const run = lab.start(SENT);
  await run.says(/attached at TCX/);
  await sendAll(true);
  const [attached] = recordsIn(run.stdout);
  const file = String(attached?.['file']);
  const lines = recordsIn(readFileSync(file, 'latin1'));
  assert.equal(
    Object.fromEntries(
      lines.map(({ type, interface: name, destination, packets, bytes }) => {
        assert.equal([type, name], ['destination', 'eth0']);
        return [destination, [packets, bytes]];
      }),
    ),
    EXPECTED,
  );
  const totals = recordsIn(readFileSync(file.replace(/sources$/, 'totals'), 'latin1'));
  assert.is(totals[0]?.['direction'], 'sent');
  await stopped(run);
});

tcx('a frame whose headers are not in its first part is counted all the same', async () => {
  // A packet socket leaves little more than the Ethernet header of a jumbo frame there.
  const wide = await Lab.create({ mtu: 9000 });
  try {
    const run = wide.start(SENT);
    await run.says(/attached at TCX/);
    const program = `
import socket, sys
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(('eth0', 0))
for frame in sys.argv[1:]:
    out.send(bytes.fromhex(frame))
`;
    const frames = [
      udpFrame({ source: '192.0.2.1', destination: '192.0.2.9', length: 8000 }),
      udpFrame({ source: '2001:db8::1', destination: '2001:db8::9', length: 7000, vlans: [3] }),
    ].map((frame) => Buffer.from(frame).toString('hex'));
    await execa('nsenter', [
      ...[`--net=${resolveNetns(wide.netns).path}`, '--', 'python3', '-c', program],
      ...frames,
    ]);
    const records = await stopped(run);
    assert.equal(lastOf(records, 'sent').figures, {
      '192.0.2.9': [1, 8000],
      '2001:db8::9': [1, 7000],
    });
  } finally {
    await wide.close();
  }
});

/** Runs the program with these words in a namespace of `stacks`. */
function transferIn(netns: string, ...words: (string | number)[]) {
  const path = resolveNetns(netns).path;
  return execa('nsenter', [`--net=${path}`, '--', transfer, ...words.map(String)]);
}

/** Counts traffic at four places: where it is sent, behind the first veth at TCX, and behind the second in native mode. */
async function countedAt(traffic: () => Promise<void>) {
  const options = ['-o', 'ndjson', '--interval', '200ms'];
  const bare = ['--bpffs', stacks.bpffs];
  const start = (netns: string, ...args: string[]) =>
    stacks.start([...args, ...options, '--netns', netns, ...bare], { bare: true });
  const sent = start(stacks.sender, 'watch', 'free0', '--sent');
  const veth = start(stacks.netns, 'watch', 'eth0', '--mode', 'auto');
  const native = start(stacks.netns, 'watch', 'free0', '--mode', 'native');
  try {
    await sent.says(/\(sent\): attached at TCX/);
    await veth.says(/attached at TCX/);
    await native.says(/attached in native mode/);
    await traffic();
  } finally {
    // What is under way is there by then.
    await sleep(300);
  }
  return {
    sent: lastOf(await stopped(sent), 'sent').figures,
    veth: lastOf(await stopped(veth), 'received').figures,
    native: lastOf(await stopped(native), 'received').figures,
  };
}

const PORT = 4567;
const TCP_BYTES = 20_000_000;

for (const family of FAMILIES) {
  const { sender, receiver } = ADDRESSES[family];
  tcx(
    `TCP with segmentation offload counts as its segments, as in native mode (${family})`,
    async () => {
      let numbers: string[] = [];
      const counted = await countedAt(async () => {
        const sink = transferIn(stacks.netns, 'sink', PORT);
        const [ready] = await once(sink.stdout, 'data');
        assert.is(String(ready), 'ready\n');
        const { stdout } = await transferIn(stacks.sender, 'tcp', receiver, PORT, TCP_BYTES);
        numbers = [stdout, (await sink).stdout.replace('ready\n', '')];
      });
      assert.is(numbers[0], numbers[1], 'what came is what was sent');
      const [packets, bytes] = counted.native[sender] ?? [];
      assert.ok(Number(packets) > TCP_BYTES / 1500, `${packets} packets`);
      assert.ok(Number(bytes) > TCP_BYTES, `${bytes} bytes`);
      assert.equal(counted.veth[sender], [packets, bytes]);
      assert.equal(counted.sent[receiver], [packets, bytes]);
    },
  );

  tcx(`UDP with segmentation offload counts as its datagrams (${family})`, async () => {
    const headers = family === 'ipv4' ? 42 : 62;
    const [buffers, size, segment] = [200, 60_000, 1400];
    const counted = await countedAt(async () => {
      await transferIn(stacks.sender, 'udp', receiver, 9, buffers, size, segment);
    });
    const packets = buffers * Math.ceil(size / segment);
    const expected = [packets, buffers * size + packets * headers];
    assert.equal(counted.sent[receiver], expected);
    assert.equal(counted.veth[sender], expected);
    assert.equal(counted.native[sender], expected);
  });
}

tcx('2,000,000 packets, half of them each way, are counted exactly', async () => {
  const each = 500_000;
  const run = stacks.start(['watch', 'free0', '--both', '--mode', 'auto', '-o', 'ndjson']);
  await run.says(/\(sent\): attached at TCX/);
  // Otherwise the stacks answer that nobody listens.
  for (const netns of [stacks.sender, stacks.netns]) {
    const path = resolveNetns(netns).path;
    const words = [`--net=${path}`, '--', transfer, 'take', '9'];
    await stacks.startProgram('nsenter', words).prints(/ready/);
  }
  const before = await packetsOf('free0');
  await Promise.all(
    FAMILIES.flatMap((family) => {
      const { sender, receiver } = ADDRESSES[family];
      return [
        transferIn(stacks.sender, 'udp', receiver, 9, each, 100),
        transferIn(stacks.netns, 'udp', sender, 9, each, 100),
      ];
    }),
  );
  const records = await stopped(run);
  const after = await packetsOf('free0');
  const expected = (end: (typeof ENDS)[number]) => ({
    [ADDRESSES.ipv4[end]]: [each, each * 142],
    [ADDRESSES.ipv6[end]]: [each, each * 162],
  });
  assert.equal(byAddress(lastOf(records, 'sent').figures), byAddress(expected('sender')));
  assert.equal(byAddress(lastOf(records, 'received').figures), byAddress(expected('sender')));
  assert.is(after.sent - before.sent, 2 * each);
  assert.is(after.received - before.received, 2 * each);
  assert.is(after.dropped, before.dropped);
});

function byAddress(figures: Readonly<Record<string, unknown>>) {
  return Object.entries(figures).sort();
}

/** The interface's own counts. */
async function packetsOf(device: string) {
  const shown: unknown = JSON.parse(
    await stacks.ip(stacks.netns, ['-s', '-j', 'link', 'show', 'dev', device]),
  );
  const stats = propertyOf(Array.isArray(shown) ? shown[0] : undefined, 'stats64');
  const of = (way: string, name: string) => Number(propertyOf(propertyOf(stats, way), name));
  return {
    sent: of('tx', 'packets'),
    received: of('rx', 'packets'),
    dropped: of('tx', 'dropped') + of('rx', 'dropped'),
  };
}

tcx('log has a line for each buffer, with its packets', async () => {
  const { receiver } = ADDRESSES.ipv4;
  const place = ['--netns', stacks.sender, '--bpffs', stacks.bpffs];
  const printed: JsonRecord[] = [];
  for (const format of ['ndjson', 'table']) {
    const run = stacks.start(['log', 'free0', '--sent', '-o', format, ...place], { bare: true });
    await run.says(/attached at TCX/);
    await transferIn(stacks.sender, 'udp', receiver, 9, 3, 14_000, 1400);
    await transferIn(stacks.sender, 'udp', receiver, 9, 2, 100);
    await sleep(300);
    run.child.kill('SIGINT');
    await run.ended();
    if (format === 'ndjson') printed.push(...recordsIn(run.stdout));
    else {
      assert.is(run.stdout.match(/Z free0 > 192\.0\.2\.2 14420 in 10 packets\n/g)?.length, 3);
      assert.is(run.stdout.match(/Z free0 > 192\.0\.2\.2 142\n/g)?.length, 2);
    }
  }
  const packets = printed.filter(({ type }) => type === 'packet');
  assert.equal(
    packets.map(({ direction, destination, source, length, packets: many }) => [
      ...[direction, destination, source],
      ...[length, many],
    ]),
    [
      ...Array.from({ length: 3 }, () => ['sent', receiver, undefined, 14_420, 10]),
      ...Array.from({ length: 2 }, () => ['sent', receiver, undefined, 142, undefined]),
    ],
  );
  const totals = printed.filter(({ type }) => type === 'totals').at(-1);
  assert.equal([totals?.['direction'], totals?.['packets'], totals?.['printed']], ['sent', 32, 5]);
});

tcx('the library gives destinations, and packets that are sent', async () => {
  const options = { interfaces: ['eth0'], netns: lab.netns, bpffs: lab.bpffs };
  const session = lab.context;
  const ending = new AbortController();
  for await (const event of watch({
    ...{ ...options, session, directions: ['sent'], intervalMs: 100 },
    signal: ending.signal,
  })) {
    if (event.kind === 'attached') {
      assert.is(event.attachment.direction, 'sent');
      await lab.send(udpFrame({ source: '192.0.2.1', destination: '192.0.2.3' }), 9, {
        back: true,
      });
      ending.abort();
    }
    if (event.kind !== 'readings' || !event.final) continue;
    const [reading] = event.readings;
    assert.equal(reading?.sources, []);
    assert.is(reading?.direction, 'sent');
    const [first, ...more] = reading?.destinations ?? [];
    assert.equal(more, []);
    assert.equal(
      [first?.type, first?.destination, first?.packets],
      ['destination', '192.0.2.3', 9n],
    );
  }
  for await (const event of log({ ...options, session, directions: ['sent'], count: 1 })) {
    if (event.kind === 'attached') {
      await lab.send(udpFrame({ source: '192.0.2.1', destination: '192.0.2.3' }), 1, {
        back: true,
      });
    }
    if (event.kind !== 'packets') continue;
    const [packet] = event.packets.records(event.interface, event.direction);
    assert.is(propertyOf(packet, 'destination'), '192.0.2.3');
  }
  await lab.untilNothingLeft();
});

tcx('attach says that it offers none of it, and why', async () => {
  for (const option of ['--sent', '--beside']) {
    const { exitCode, stderr } = await lab.run(['attach', 'eth0', option]);
    assert.is(exitCode, 2);
    assert.match(stderr, new RegExp(`${option}: not with attach: bpftool cannot leave`));
  }
  for (const options of [
    ['--sent', '--both'],
    ['--sent', '--beside'],
    ['--sent', '--mode', 'native'],
    ['--beside', '--mode', 'generic'],
  ]) {
    const { exitCode, stderr } = await lab.run(['watch', 'eth0', ...options]);
    assert.is(exitCode, 2, stderr);
    assert.match(stderr, /: one or the other/);
  }
  assert.equal(lab.pins(), []);
});

tcx(
  'where there is no TCX: one line and exit code 5, and XDP where nobody asked for TCX',
  async () => {
    // What a kernel before 6.6 answers to the link, and one without its maker to the program.
    for (const body of [
      `case "$*" in *'prog load '*xdpwho*tcx.o*) echo '{"error":"no such thing"}'; exit 255 ;; esac`,
      `case "$*" in *'batch file -'*) exit 1 ;; esac`,
    ]) {
      const bpftool = ['--bpftool', lab.bpftoolThat(`without${body.length}`, body)];
      for (const option of ['--sent', '--both', '--beside']) {
        const { exitCode, stderr } = await lab.run(['watch', 'eth0', option, ...bpftool]);
        assert.is(exitCode, 5, stderr);
        assert.match(stderr, /no program can be attached at TCX, which takes kernel 6\.6 or newer/);
        await lab.untilNothingLeft();
      }
      const auto = ['watch', 'eth0', '--mode', 'auto', '--duration', '200ms', '-v', ...bpftool];
      const { exitCode, stderr } = await lab.run(auto);
      assert.is(exitCode, 0, stderr);
      assert.match(stderr, /attached in generic mode/);
      await lab.untilNothingLeft();
    }
  },
);

tcx('on a veth auto takes TCX, with the reason, and stays away where a stranger is', async () => {
  const run = lab.start(['watch', 'eth0', '--mode', 'auto', '-o', 'ndjson']);
  await run.says(/eth0: at TCX, because XDP slows TCP through a veth down/);
  await run.says(/attached at TCX/);
  const [record] = listIn(documentIn((await lab.run(['status', '--json'])).stdout), 'interfaces');
  assert.equal(
    [record?.['ownership'], record?.['mode'], record?.['direction'], record?.['held_by']],
    ['foreground', 'tcx', 'received', 'link'],
  );
  assert.match(String(record?.['mode_note']), /XDP slows TCP/);
  assert.equal(await lab.attached(), []);
  await stopped(run);
  await lab.attachStranger('eth0');
  try {
    const { exitCode, stderr } = await lab.run(['watch', 'eth0', '--mode', 'auto']);
    assert.is(exitCode, 4);
    assert.match(stderr, /hint: .*watch --beside eth0 /);
  } finally {
    await lab.detachStranger('eth0');
  }
});

tcx('status shows both, and a second run is told who holds it', async () => {
  const run = lab.start(['watch', 'eth0', '--both', '-o', 'ndjson']);
  await run.says(/\(sent\): attached at TCX/);
  const { stdout } = await lab.run(['status']);
  assert.match(stdout, /^eth0 +\S+ +foreground +native /m);
  assert.match(stdout, /^eth0 \(sent\) +\S+ +foreground +tcx /m);
  const second = await lab.run(['watch', 'eth0', '--sent', '-o', 'ndjson']);
  assert.is(second.exitCode, 1);
  assert.match(second.stderr, /held by xdpwho watch, process \d+/);
  // Neither of these may end a run.
  for (const verb of [['detach', '--all'], ['clean'], ['clean', '--dry-run']]) await lab.run(verb);
  await sleep(500);
  assert.is((await lab.run(['status'])).stdout.match(/foreground/g)?.length, 2);
  await stopped(run);
  await lab.untilNothingLeft();
});

tcx('--dry-run prints the commands of both', async () => {
  const { exitCode, stdout } = await lab.run(['watch', 'eth0', '--both', '--dry-run']);
  assert.is(exitCode, 0);
  assert.match(stdout, /xdpwho\.frags\.o'? \S+\/eth0@\d+\/program type xdp/);
  assert.match(stdout, /xdpwho\.tcx\.o'? \S+\/eth0\+sent@\d+\/program type classifier/);
});

// Programs of others.

let strangers = 0;

/** Puts a program of somebody else at the head of the chain; `seen`: how many packets have come to it. */
async function strangerAtTcx(direction: 'received' | 'sent') {
  const pin = `${lab.bpffs}/tcx-stranger${++strangers}`;
  const maps = `${pin}-maps`;
  await lab.bpftool.loadClassifier(strangersObject, pin, maps);
  const programId = (await lab.bpftool.showProgram(pin)).id;
  const link: Link = await holdLink(lab.bpftool, new ObjectFiles(OBJECTS_DIRECTORY), {
    ...{ programPin: pin, programId, testFrame: makeTestFrame(), direction, mode: 'tcx' },
    ifindex: await lab.ifindexIn(lab.netns, 'eth0'),
    netnsPath: resolveNetns(lab.netns).path,
    pin: `${pin}-maker`,
    scratch: lab.scratch,
  });
  const seen = async () => {
    const [entry] = await lab.bpftool.dumpMap(`${maps}/seen`);
    const bytes = propertyOf(entry, 'value');
    const hex = Array.isArray(bytes) ? bytes.map((byte) => Number(byte)) : [];
    return Number(new DataView(Uint8Array.from(hex).buffer).getBigUint64(0, true));
  };
  // The test run that the link is made of was one.
  const first = await seen();
  return { close: () => link.close(), seen: async () => (await seen()) - first };
}

const ORDERS = [
  { first: 'stranger', last: 'ours' },
  { first: 'stranger', last: 'stranger' },
  { first: 'ours', last: 'ours' },
  { first: 'ours', last: 'stranger' },
] as const;

for (const direction of ['received', 'sent'] as const) {
  const back = direction === 'sent';
  const option = back ? '--sent' : '--beside';
  const frame = udpFrame({ source: '192.0.2.1', destination: '192.0.2.1' });
  for (const { first, last } of ORDERS) {
    tcx(
      `another program at TCX (${direction}), ${first} first, ${last} ends last: both go on`,
      async () => {
        const ours = async () => {
          const run = lab.start(['watch', 'eth0', option, '-o', 'ndjson']);
          await run.says(/attached at TCX/);
          return run;
        };
        let run: Started;
        let stranger: Awaited<ReturnType<typeof strangerAtTcx>>;
        if (first === 'stranger') {
          stranger = await strangerAtTcx(direction);
          run = await ours();
        } else {
          run = await ours();
          stranger = await strangerAtTcx(direction);
        }
        let here = 0;
        try {
          await lab.send(frame, 20, { back });
          here += 20;
          assert.is(await stranger.seen(), 20);
          if (last === 'ours') {
            await stranger.close();
            await lab.send(frame, 10, { back });
            here += 10;
          }
          const records = await stopped(run);
          const { totals } = lastReading(records);
          assert.is(totals?.['packets'], here);
          if (last === 'stranger') {
            await lab.send(frame, 10, { back });
            assert.is(await stranger.seen(), 30);
          }
        } finally {
          await stranger.close();
        }
        await lab.until(async () => lab.pins().length === 0, 'no pins');
      },
    );
  }
}

tcx('a filter of clsact goes on, whatever order they end in', async () => {
  const path = resolveNetns(lab.netns).path;
  const inside = (file: string, ...args: string[]) =>
    execa('nsenter', [`--net=${path}`, '--', file, ...args]);
  const filter = `${lab.bpffs}/filter`;
  await lab.bpftool.loadClassifier(strangersObject, filter, `${filter}-maps`);
  await inside('tc', 'qdisc', 'add', 'dev', 'eth0', 'clsact');
  const shown = async () => {
    const lists = ['ingress', 'egress'].map((way) =>
      inside('tc', 'filter', 'show', 'dev', 'eth0', way),
    );
    return (await Promise.all(lists)).map(({ stdout }) => stdout);
  };
  try {
    for (const way of ['ingress', 'egress']) {
      await inside('tc', 'filter', 'add', 'dev', 'eth0', way, 'bpf', 'da', 'object-pinned', filter);
    }
    const before = await shown();
    assert.match(before.join(''), /stranger/);
    const run = lab.start(['watch', 'eth0', '--both', '--mode', 'native', '-o', 'ndjson']);
    await run.says(/\(sent\): attached at TCX/);
    await lab.send(udpFrame({ source: '192.0.2.1' }), 20);
    await lab.send(udpFrame({ source: '192.0.2.1' }), 30, { back: true });
    assert.equal(await shown(), before);
    const records = await stopped(run);
    assert.equal(await shown(), before);
    const totals = records.filter(({ type }) => type === 'totals').slice(-2);
    assert.equal(
      totals.map(({ packets }) => packets),
      [20, 30],
    );
    const other = lab.start(SENT);
    await other.says(/attached at TCX/);
    await inside('tc', 'qdisc', 'del', 'dev', 'eth0', 'clsact');
    await lab.send(udpFrame({ source: '192.0.2.1' }), 5, { back: true });
    assert.is(lastReading(await stopped(other)).totals?.['packets'], 5);
  } finally {
    await inside('tc', 'qdisc', 'del', 'dev', 'eth0', 'clsact').catch(() => {});
  }
});

tcx.run();

// Ways to end.

death.before(async () => {
  lab = await Lab.create();
});
death.after.each(() => lab.endAll());
death.after(() => lab.close());

/** A run that counts what is sent, and the id of its program. */
async function sending(...args: string[]): Promise<{ run: Started; id: number }> {
  const run = lab.start([...SENT, ...args], { ownGroup: true });
  await run.says(/attached at TCX/);
  const id = Number(/program (\d+),/.exec(run.stderr)?.[1]);
  assert.ok(await isLoaded(id));
  return { run, id };
}

/** Whether the kernel still has a program: it has one as long as it is attached. */
async function isLoaded(id: number): Promise<boolean> {
  const { exitCode } = await execa('bpftool', ['prog', 'show', 'id', String(id)], {
    reject: false,
  });
  return exitCode === 0;
}

async function isGone(id: number): Promise<void> {
  await lab.untilNothingLeft();
  await lab.until(async () => !(await isLoaded(id)), `program ${id} is gone`);
}

const ENDINGS: Readonly<Record<string, (run: Started) => Promise<void>>> = {
  SIGINT: async (run) => void run.child.kill('SIGINT'),
  SIGTERM: async (run) => void run.child.kill('SIGTERM'),
  SIGHUP: async (run) => void run.child.kill('SIGHUP'),
  SIGKILL: async (run) => void run.child.kill('SIGKILL'),
  'SIGKILL of its process group': async (run) => void process.kill(-run.pid, 'SIGKILL'),
  'SIGSTOP, then SIGKILL': async (run) => {
    run.child.kill('SIGSTOP');
    await sleep(200);
    run.child.kill('SIGKILL');
  },
  'SIGKILL while what holds its link is stopped': async (run) => {
    process.kill(await holderPid(lab, run), 'SIGSTOP');
    run.child.kill('SIGKILL');
  },
  'SIGKILL of the run and what holds its link': async (run) => {
    const holder = await holderPid(lab, run);
    run.child.kill('SIGKILL');
    process.kill(holder, 'SIGKILL');
  },
};

for (const [what, end] of Object.entries(ENDINGS)) {
  death(`${what} leaves nothing`, async () => {
    const { run, id } = await sending();
    await end(run);
    await run.ended();
    await isGone(id);
    tried(PROMISE, { what: `\`watch --sent\`: ${what}`, times: 1, result: 'nothing left' });
  });
}

death('SIGKILL at a random moment leaves nothing', async () => {
  const times = timesOf(60, 16);
  for (let count = 0; count < times; count++) {
    const run = lab.start(['watch', 'eth0', '--both', '--interval', '100ms']);
    await sleep(Math.random() * 900);
    run.child.kill('SIGKILL');
    await run.ended();
    await lab.untilNothingLeft();
  }
  tried(PROMISE, {
    what: '`watch --both`: SIGKILL at a random moment',
    times,
    result: 'nothing left',
  });
});

death('a terminal that is closed leaves nothing', async () => {
  const terminal = spawn(
    'script',
    ['-qfc', `exec ${process.execPath} ${commandOf(SENT)}`, '/dev/null'],
    {
      stdio: 'ignore',
    },
  );
  await lab.until(
    async () => (await lab.run(['status'])).stdout.includes('foreground'),
    'attached',
  );
  terminal.kill('SIGKILL');
  await once(terminal, 'exit');
  await lab.untilNothingLeft();
});

function commandOf(args: readonly string[]): string {
  return [CLI, ...args, '--netns', lab.netns, '--bpffs', lab.bpffs].join(' ');
}

death('a holder that is killed is replaced, and the run goes on', async () => {
  const { run, id } = await sending();
  process.kill(await holderPid(lab, run), 'SIGKILL');
  await run.says(/attached again, and what came meanwhile is not counted/);
  await lab.send(udpFrame({ source: '192.0.2.1' }), 6, { back: true });
  assert.is(lastReading(await stopped(run)).totals?.['packets'], 6);
  await isGone(id);
});

death(
  'a guard and a run that are killed leave pins that clean collects, and no program that counts',
  async () => {
    const { run, id } = await sending();
    const [line] = await lab.guards();
    process.kill(run.pid, 'SIGSTOP');
    process.kill(Number.parseInt(line?.trim() ?? '', 10), 'SIGKILL');
    process.kill(run.pid, 'SIGKILL');
    await run.ended();
    const [record] = listIn(documentIn((await lab.run(['status', '--json'])).stdout), 'interfaces');
    assert.equal([record?.['ownership'], record?.['direction']], ['stale', 'sent']);
    assert.is((await lab.run(['clean'])).exitCode, 0);
    await isGone(id);
  },
);

death('a link that somebody detaches by its id is told, and the run ends', async () => {
  const { run, id } = await sending();
  const [record] = listIn(documentIn((await lab.run(['status', '--json'])).stdout), 'interfaces');
  await execa('bpftool', ['link', 'detach', 'id', String(record?.['link_id'])]);
  const { exitCode } = await run.ended();
  assert.is(exitCode, 3, run.stderr);
  assert.match(run.stderr, /eth0: somebody else detached our program/);
  await isGone(id);
});

death('an interface that is renamed is followed, one that goes is told', async () => {
  await lab.addVeth('gone-tx', 'gone0');
  const run = lab.start(['watch', 'gone0', '--sent', '-o', 'ndjson']);
  await run.says(/attached at TCX/);
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'gone0', 'down', 'name', 'gone1']);
  await run.says(/the interface is called gone1 now/);
  const [record] = listIn(documentIn((await lab.run(['status', '--json'])).stdout), 'interfaces');
  assert.equal([record?.['interface'], record?.['ownership']], ['gone1', 'foreground']);
  await lab.ip(lab.netns, ['link', 'del', 'dev', 'gone1']);
  const { exitCode } = await run.ended();
  assert.is(exitCode, 1, run.stderr);
  assert.match(run.stderr, /the interface has gone/);
  await lab.untilNothingLeft();
});

death.run();
