/** The front table: what it counts while its lines change hands, are written back, and are aimed at. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { frontPinName, linkFront, unlinkFront } from '../../src/attachment/front-pin.js';
import { configuredHz, countPossibleCpus } from '../../src/host/kernel.js';
import { resolveNetns } from '../../src/host/netns.js';
import { udpFrame } from '../../src/model/frames.js';
import type { SourceRecord } from '../../src/model/records.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { FRONT_PIN_NAME, frontConstants } from '../../src/objects/front.js';
import { addFrontLine, type FrontFigures, parseSourceLines } from '../../src/table/decode.js';
import { tried } from '../reliability.js';
import { suite } from '../suite.js';
import { detachXdp, loadWithMaps } from './bpftool.js';
import { compileProgram, compileTool } from './compiler.js';
import { withIterator } from './iterators.js';
import { Lab, OBJECTS_DIRECTORY, recordsIn, WHY_NOT } from './lab.js';

const PROMISE = 'Every packet is counted once, and no count is lost without being told';
const SENDERS = Math.min(2, cpus().length);
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const CPUS = countPossibleCpus();
const LENGTH = 64;
/** The offset of the low 32 bits of the source in an IPv4 frame. */
const SOURCE_OFFSET = 26;

let lab: Lab;
let tool: string;
let object: string;
let loaded = 0;

interface Program {
  readonly sourcesFile: string;
  readonly frontMap: string;
  readonly lines: number;
}

interface ProgramOptions {
  /** The lines of each CPU. */
  readonly lines: number;
  readonly maxSources: number;
  /** What the program takes for a second, in milliseconds: sources change hands after three of them. */
  readonly secondMs: number;
}

/** Attaches the program with a front table to wide1, and pins the iterator that reads both tables. */
async function attach({ lines, maxSources, secondMs }: ProgramOptions): Promise<Program> {
  const objects = new ObjectFiles(OBJECTS_DIRECTORY);
  const pin = `${lab.bpffs}/front${++loaded}`;
  const maps = `${pin}-maps`;
  const program = { sourcesFile: `${pin}-sources`, frontMap: `${maps}/front`, lines };
  const hz = configuredHz() ?? 250;
  const front = frontConstants(lines, Math.max(1, Math.round((hz * secondMs) / 1000)));
  const maxEntries = { sources: maxSources, front: lines * CPUS };
  mkdirSync(maps);
  await loadWithMaps(
    lab.bpftool,
    objects.writePatched('xdpwho.frags', { constants: front, maxEntries }, lab.scratch),
    pin,
    maps,
  );
  const token = randomUUID();
  const constants = { ...front, possible_cpus: CPUS, interface_json: 'eth0' };
  const iterator = {
    constants: { ...constants, jiffies_per_second: hz },
    maxEntries: { [FRONT_PIN_NAME]: lines * CPUS },
    mapNames: { [FRONT_PIN_NAME]: frontPinName(token) },
  };
  assert.is(linkFront(token, program.frontMap), undefined);
  try {
    const copy = objects.writePatched('sources.front', iterator, lab.scratch);
    await lab.bpftool.pinIterator(copy, program.sourcesFile, `${maps}/sources`);
  } finally {
    unlinkFront(token);
  }
  await lab.bpftool.attach('native', pin, 'wide1', resolveNetns(lab.netns).path);
  return program;
}

async function detach(): Promise<void> {
  await detachXdp(lab.bpftool, 'native', 'wide1', resolveNetns(lab.netns).path);
}

/** Sends `packets` from `sources` addresses from `first` on, in turn, on one CPU. */
async function flood(cpu: number, first: string, sources: number, packets: number): Promise<void> {
  const frame = `${lab.scratch}/front-frame-${cpu}`;
  writeFileSync(frame, udpFrame({ source: first, length: LENGTH }));
  const ifindex = await lab.ifindex('wide0');
  const words = [tool, object, frame, ifindex, SOURCE_OFFSET, sources, 0, packets].map(String);
  const enter = [`--net=${resolveNetns(lab.sender).path}`, '--', 'taskset', '-c', String(cpu)];
  const { stdout } = await execa('nsenter', [...enter, ...words]);
  assert.is(stdout, String(packets));
}

function read({ sourcesFile }: Program): SourceRecord[] {
  return parseSourceLines(readFileSync(sourcesFile, 'latin1'), 'eth0');
}

function packetsOf(records: readonly SourceRecord[]): Map<string, bigint> {
  return new Map(records.map(({ source, packets }) => [source, packets]));
}

/** The lines that have a source, of all CPUs. */
async function takenLines({ frontMap, lines }: Program): Promise<number> {
  const figures: FrontFigures = new Map();
  for (const entry of await lab.bpftool.dumpMap(frontMap)) {
    addFrontLine(figures, entry, lines, LITTLE_ENDIAN);
  }
  return [...figures.values()].reduce((sum, ofCpu) => sum + ofCpu.size, 0);
}

/** The packets that the veth has dropped because its ring was full. */
async function dropped(): Promise<number> {
  const text = await lab.ip(lab.sender, ['-s', '-j', 'link', 'show', 'dev', 'wide0']);
  const [link]: { stats64?: { tx?: { dropped?: number } } }[] = JSON.parse(text);
  return link?.stats64?.tx?.dropped ?? 0;
}

const tests = suite(PROMISE, WHY_NOT);
const front = withIterator(tests);

tests.before(async () => {
  lab = await Lab.create();
  tool = await compileTool(lab, 'flood/flood');
  object = await compileProgram(lab, 'flood/flood');
  const queues = ['numrxqueues', String(SENDERS), 'numtxqueues', String(SENDERS)];
  const ends = ['name', 'wide0', 'netns', lab.sender, ...queues, 'type', 'veth'];
  const peer = ['peer', 'name', 'wide1', 'netns', lab.netns, ...queues];
  await execa('ip', ['link', 'add', ...ends, ...peer]);
  for (const [netns, name] of [
    [lab.sender, 'wide0'],
    [lab.netns, 'wide1'],
  ] as const) {
    await lab.ip(netns, ['link', 'set', 'dev', name, 'arp', 'off', 'addrgenmode', 'none', 'up']);
  }
});
tests.after(() => lab.close());

const READINGS = 1_000_000;
const READING_MS = 60_000;

front(
  'read as fast as can be while lines change hands on both CPUs, no figure is ever smaller than before',
  async () => {
    // A tenth of a second in place of a second: each line changes hands some three times a second.
    const program = await attach({ lines: 64, maxSources: 4096, secondMs: 100 });
    const sent = new Map<string, bigint>();
    let endMs = performance.now() + READING_MS;
    let readings = 0;
    let isSending = true;
    /** Each CPU sends from one set of sources, then from the next; the sets of both CPUs overlap. */
    const send = async (cpu: number) => {
      for (let turn = 0; performance.now() < endMs && readings < READINGS; turn++) {
        const set = (turn + cpu) % 5;
        await flood(cpu, `198.18.${set}.0`, 100, 20_000);
        for (let host = 0; host < 100; host++) {
          const source = `198.18.${set}.${host}`;
          sent.set(source, (sent.get(source) ?? 0n) + 200n);
        }
        await sleep(40);
      }
    };
    const sending = Promise.allSettled(Array.from({ length: SENDERS }, (_, cpu) => send(cpu)));
    void sending.then(() => {
      isSending = false;
    });
    try {
      let before = new Map<string, bigint>();
      while (isSending) {
        const records = read(program);
        const now = packetsOf(records);
        assert.is(now.size, records.length, 'a source came twice');
        for (const [source, packets] of before) {
          const later = now.get(source);
          assert.ok(
            later !== undefined && later >= packets,
            `${source}: ${packets}, then ${later}, reading ${readings}`,
          );
        }
        for (const { source, packets, bytes } of records) {
          assert.ok(bytes <= (packets + 2n) * BigInt(LENGTH), `${source}: ${packets}, ${bytes}`);
        }
        before = now;
        readings++;
        // Lets the senders go on.
        if (readings % 8 === 0) await sleep(0);
      }
      for (const each of await sending) assert.is(each.status, 'fulfilled');
      if ((await dropped()) === 0) {
        assert.equal([...packetsOf(read(program))].sort(), [...sent].sort());
      }
    } finally {
      endMs = 0;
      await sending;
      await detach();
    }
    tried(PROMISE, {
      what: 'sources changing hands in the front table on two CPUs, read as fast as can be for a minute',
      times: readings,
      result: 'no source twice, no figure smaller than before, the last reading exact',
    });
  },
);

front(
  'a source whose entry was let go under its line is there again, with all of its packets',
  async () => {
    const program = await attach({ lines: 64, maxSources: 64, secondMs: 100 });
    try {
      for (let round = 1; round <= 3; round++) {
        await flood(0, '198.18.0.0', 5, 500);
        // More sources than the table has room for.
        await flood(0, '198.19.0.0', 3000, 3000);
        await sleep(150);
        await flood(0, '198.18.0.0', 5, 500);
        const packets = packetsOf(read(program));
        for (let host = 0; host < 5; host++) {
          assert.is(packets.get(`198.18.0.${host}`), BigInt(200 * round), `round ${round}`);
        }
      }
    } finally {
      await detach();
    }
    tried(PROMISE, {
      what: 'entries let go under a resident line, by a table smaller than the front table',
      times: 3,
      result: 'made anew with all of their packets',
    });
  },
);

front('a source that comes in on both CPUs has one line for each, and one sum', async () => {
  const program = await attach({ lines: 64, maxSources: 64, secondMs: 1000 });
  try {
    await Promise.all(
      Array.from({ length: SENDERS }, (_, cpu) => flood(cpu, '198.18.0.1', 1, 100_000)),
    );
    const [record, ...others] = read(program);
    assert.equal(others, []);
    if ((await dropped()) === 0) assert.is(record?.packets, BigInt(SENDERS * 100_000));
    assert.is(record?.bytes, (record?.packets ?? 0n) * BigInt(LENGTH));
    assert.is(await takenLines(program), SENDERS);
  } finally {
    await detach();
  }
});

front('addresses that would share a line without the random numbers do not share one', async () => {
  const lines = 4096;
  const program = await attach({ lines, maxSources: 65_536, secondMs: 1000 });
  try {
    // With the numbers that are in the object, 1 and 1, all of 198.18.0.0/15 has the same two lines.
    await flood(0, '198.18.0.0', 1000, 3000);
    const taken = await takenLines(program);
    assert.ok(taken > 900 && taken <= 1000, String(taken));
    assert.is(read(program).length, 1000);
  } finally {
    await detach();
  }
});

const HIDDEN = 'mount -t tmpfs -o ro none /sys/fs/bpf && exec "$@"';

front('where nothing can be put into /sys/fs/bpf, it counts without, and -v says so', async () => {
  const under = ['unshare', '--mount', 'sh', '-c', HIDDEN, 'sh'];
  const args = ['watch', lab.device, '--count', '1', '--interval', '100ms', '-o', 'ndjson', '-v'];
  const { exitCode, stdout, stderr } = await lab.run(args, { under });
  assert.is(exitCode, 0, stderr);
  assert.is(recordsIn(stdout)[0]?.reader, 'iterator');
  assert.match(stderr, /^xdpwho: eth0: no front table: .*EROFS/m);
  const usual = await lab.run(args);
  assert.not.match(usual.stderr, 'no front table');
  assert.match(usual.stderr, 'sources.front.o');
  await lab.untilNothingLeft();
});

tests.run();
