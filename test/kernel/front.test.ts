/**
 * The front table: what it counts while its lines change hands, are written back, and are aimed at.
 * `prog run` gives the program its packets, so no sender is needed: bpf/spread.bpf.c writes their sources.
 */
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { frontPinName, linkFront, unlinkFront } from '../../src/attachment/front-pin.js';
import { bpftoolArguments } from '../../src/host/bpftool-arguments.js';
import { configuredHz, countPossibleCpus, cpuNumbers } from '../../src/host/kernel.js';
import { udpFrame } from '../../src/model/frames.js';
import type { SourceRecord } from '../../src/model/records.js';
import { ObjectFiles } from '../../src/objects/files.js';
import {
  FRONT_PIN_NAME,
  type FrontSize,
  frontConstants,
  frontSize,
} from '../../src/objects/front.js';
import { addFrontLine, type FrontFigures, parseSourceLines } from '../../src/table/decode.js';
import { suite } from '../suite.js';
import { loadWithMaps } from './bpftool.js';
import { withIterator } from './iterators.js';
import { Lab, OBJECTS_DIRECTORY, recordsIn, WHY_NOT } from './lab.js';
import { ipv4At } from './table.js';

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const CPUS = Math.min(2, cpus().length);
const LENGTH = 64;
/** 198.18.0.0, the first address of ipv4At. */
const FIRST = 0xc6120000;

let lab: Lab;
let loaded = 0;

interface Program {
  readonly pin: string;
  readonly sourcesFile: string;
  readonly frontMap: string;
  readonly size: FrontSize;
}

interface ProgramOptions {
  /** The lines of each CPU. */
  readonly lines: number;
  readonly maxSources: number;
  /** What the program takes for a second, in milliseconds: a line changes hands after three of them. */
  readonly secondMs: number;
}

/** Loads the program with a front table, and pins the iterator that reads both tables. */
async function load({ lines, maxSources, secondMs }: ProgramOptions): Promise<Program> {
  const objects = new ObjectFiles(OBJECTS_DIRECTORY);
  const pin = `${lab.bpffs}/front${++loaded}`;
  const maps = `${pin}-maps`;
  const hz = configuredHz() ?? 250;
  const size = frontSize(lines, cpuNumbers());
  if (size === undefined) throw new Error('no lines');
  const front = frontConstants(size, Math.max(1, Math.round((hz * secondMs) / 1000)));
  const maxEntries = { sources: maxSources, front: size.entries };
  const program = { pin, sourcesFile: `${pin}-sources`, frontMap: `${maps}/front`, size };
  mkdirSync(maps);
  const copy = objects.writePatched('xdpwho.frags', { constants: front, maxEntries }, lab.scratch);
  await loadWithMaps(lab.bpftool, copy, pin, maps);
  const token = randomUUID();
  const constants = { ...front, possible_cpus: countPossibleCpus(), interface_json: 'eth0' };
  const iterator = {
    constants: { ...constants, jiffies_per_second: hz },
    maxEntries: { [FRONT_PIN_NAME]: size.entries },
    mapNames: { [FRONT_PIN_NAME]: frontPinName(token) },
  };
  assert.is(linkFront(token, program.frontMap), undefined);
  try {
    const sources = objects.writePatched('sources.front', iterator, lab.scratch);
    await lab.bpftool.pinIterator(sources, program.sourcesFile, `${maps}/sources`);
  } finally {
    unlinkFront(token);
  }
  return program;
}

/** Gives a program packets on one CPU, from `count` addresses from ipv4At(first) on, in random order. */
class Sender {
  readonly #pin: string;
  readonly #frame: string;
  readonly #cpu: number;
  readonly #first: number;
  readonly #count: number;
  /** As in bpf/spread.bpf.c. */
  #state = 0;

  private constructor(pin: string, frame: string, cpu: number, first: number, count: number) {
    this.#pin = pin;
    this.#frame = frame;
    this.#cpu = cpu;
    this.#first = first;
    this.#count = count;
  }

  static async to(program: Program, cpu: number, first: number, count: number): Promise<Sender> {
    const name = `sender${++loaded}`;
    const [pin, scratch] = [`${lab.bpffs}/${name}`, `${lab.scratch}/${name}`];
    mkdirSync(scratch);
    const constants = { source_count: count, first_source: FIRST + first };
    const objects = new ObjectFiles(OBJECTS_DIRECTORY);
    const object = objects.writePatched('spread.frags', { constants }, scratch);
    mkdirSync(`${pin}-maps`);
    await loadWithMaps(lab.bpftool, object, pin, `${pin}-maps`);
    await lab.bpftool.setProgramArray(`${pin}-maps/measured`, program.pin);
    const frame = `${scratch}/frame`;
    writeFileSync(frame, udpFrame({ source: ipv4At(0), length: LENGTH }));
    return new Sender(pin, frame, cpu, first, count);
  }

  /** Adds to `sent` what it has sent of each source. */
  async send(packets: number, sent: Map<string, bigint> = new Map()): Promise<void> {
    const run = bpftoolArguments.runProgram(this.#pin, this.#frame, packets);
    const { failure } = await lab.bpftool.batch([run], { cpu: this.#cpu });
    assert.is(failure, undefined);
    for (let packet = 0; packet < packets; packet++) {
      this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
      const source = ipv4At(this.#first + Math.floor((this.#state * this.#count) / 2 ** 32));
      sent.set(source, (sent.get(source) ?? 0n) + 1n);
    }
  }
}

function read({ sourcesFile }: Program): SourceRecord[] {
  return parseSourceLines(readFileSync(sourcesFile, 'latin1'), 'eth0');
}

function packetsOf(records: readonly SourceRecord[]): Map<string, bigint> {
  return new Map(records.map(({ source, packets }) => [source, packets]));
}

/** The lines that have a source, of all CPUs. */
async function takenLines({ frontMap, size }: Program): Promise<number> {
  const figures: FrontFigures = new Map();
  for (const entry of await lab.bpftool.dumpMap(frontMap)) {
    addFrontLine(figures, entry, size, LITTLE_ENDIAN);
  }
  return [...figures.values()].reduce((sum, ofCpu) => sum + ofCpu.size, 0);
}

const tests = suite('the front table', WHY_NOT);
const front = withIterator(tests);

tests.before(async () => {
  lab = await Lab.create();
});
tests.after(() => lab.close());

const READINGS = 1_000_000;
const READING_MS = 60_000;
const SETS = 5;
const IN_SET = 100;
/** The bytes are read after the packets: more packets come between, many where the reader has lost its CPU. */
const READ_APART = 1000n;

front(
  'read as fast as can be while lines change hands on both CPUs, no figure is ever smaller than before',
  async () => {
    // A tenth of a second in place of a second: each line changes hands some three times a second.
    const program = await load({ lines: 64, maxSources: 4096, secondMs: 100 });
    const sent = new Map<string, bigint>();
    let endMs = performance.now() + READING_MS;
    let readings = 0;
    let isSending = true;
    /** Each CPU sends from one set of sources, then from the next; so does the other, one set ahead. */
    const sendOn = async (cpu: number) => {
      const senders: Sender[] = [];
      for (let set = 0; set < SETS; set++) {
        senders.push(await Sender.to(program, cpu, set * IN_SET, IN_SET));
      }
      for (let turn = 0; performance.now() < endMs && readings < READINGS; turn++) {
        await senders[(turn + cpu) % SETS]?.send(20_000, sent);
        await sleep(40);
      }
    };
    const sending = Promise.allSettled(Array.from({ length: CPUS }, (_, cpu) => sendOn(cpu)));
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
          assert.ok(
            bytes <= (packets + READ_APART) * BigInt(LENGTH),
            `${source}: ${packets}, ${bytes}`,
          );
        }
        before = now;
        readings++;
        // Lets the senders go on.
        if (readings % 8 === 0) await sleep(0);
      }
      for (const each of await sending) assert.is(each.status, 'fulfilled');
      assert.equal([...packetsOf(read(program))].sort(), [...sent].sort());
      assert.ok((await takenLines(program)) > CPUS * 60, 'all lines are taken');
    } finally {
      endMs = 0;
      await sending;
    }
  },
);

front(
  'a source whose entry was let go under its line is there again, with all of its packets',
  async () => {
    const program = await load({ lines: 64, maxSources: 64, secondMs: 100 });
    const sent = new Map<string, bigint>();
    const few = await Sender.to(program, 0, 0, 5);
    // More sources than the table has room for.
    const many = await Sender.to(program, 0, 1000, 3000);
    for (let round = 1; round <= 3; round++) {
      await few.send(500, sent);
      await many.send(3000);
      await sleep(150);
      await few.send(500, sent);
      const packets = packetsOf(read(program));
      for (const [source, count] of sent) assert.is(packets.get(source), count, `round ${round}`);
    }
  },
);

front('a source that comes in on both CPUs has one line for each, and one sum', async () => {
  const program = await load({ lines: 64, maxSources: 64, secondMs: 1000 });
  const senders = await Promise.all(
    Array.from({ length: CPUS }, (_, cpu) => Sender.to(program, cpu, 1, 1)),
  );
  await Promise.all(senders.map((each) => each.send(100_000)));
  const [record, ...others] = read(program);
  assert.equal(others, []);
  assert.is(record?.packets, BigInt(CPUS * 100_000));
  assert.is(record?.bytes, BigInt(CPUS * 100_000 * LENGTH));
  assert.is(await takenLines(program), CPUS);
});

front('addresses that would share a line without the random numbers do not share one', async () => {
  const program = await load({ lines: 4096, maxSources: 65_536, secondMs: 1000 });
  // With the numbers that are in the object, 1 and 1, few lines are left for all of these.
  const sender = await Sender.to(program, 0, 0, 1000);
  await sender.send(20_000);
  const taken = await takenLines(program);
  assert.ok(taken > 900 && taken <= 1000, String(taken));
  assert.is(read(program).length, 1000);
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
