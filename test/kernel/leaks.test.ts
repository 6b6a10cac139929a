/** The same thing again and again: what is there afterwards is what was there before. */
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { attach } from '../../src/api.js';
import type { Attachment } from '../../src/attachment/attachment.js';
import { udpFrame } from '../../src/model/frames.js';
import { propertyOf } from '../../src/model/json-values.js';
import { dump } from '../../src/verbs/dump.js';
import { watch } from '../../src/verbs/watch.js';
import { timesOf, tried } from '../reliability.js';
import { suite } from '../suite.js';
import { Lab, WHY_NOT } from './lab.js';

const PROMISE = 'Nothing grows: not with the number of runs, and not with their length';

const CYCLES = timesOf(500, 120);
const WATCHES = timesOf(100, 60);
/** An hour at an interval of one second. */
const HOUR_OF_READINGS = timesOf(3600, 240);
/** Cycles that run side by side, each on an interface of its own. */
const LANES = 4;
/** Before the first measurement: what is made once, caches and compiled code. */
const WARM_UP = 40;
/** What is in use after a garbage collection; a leak of one reading per cycle is far more. */
const HEAP_SLACK_BYTES = 4 * 1024 * 1024;
/** V8 gives its pages back in its own time. */
const RESIDENT_SLACK_BYTES = 64 * 1024 * 1024;

setFlagsFromString('--expose-gc');
const collectGarbage: unknown = runInNewContext('gc');

let lab: Lab;

const leaks = suite(PROMISE, WHY_NOT);

leaks.before(async () => {
  lab = await Lab.create();
  for (let lane = 1; lane < LANES; lane++) await lab.addVeth(`tx${lane}`, `eth${lane}`);
});
leaks.after(() => lab.close());

interface Memory {
  readonly heapBytes: number;
  readonly residentBytes: number;
}

/** V8 frees the memory of arrays some time after a collection has found them to be garbage. */
async function memory(): Promise<Memory> {
  for (let collection = 0; collection < 3; collection++) {
    if (typeof collectGarbage === 'function') collectGarbage();
    await sleep(50);
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heapBytes: heapUsed + external, residentBytes: rss };
}

/** Fails where it has grown; otherwise says by how much it has changed. */
function hasNotGrown(before: Memory, after: Memory): string {
  const heapBytes = after.heapBytes - before.heapBytes;
  const residentBytes = after.residentBytes - before.residentBytes;
  const inMiB = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const said = `memory in use changed by ${inMiB(heapBytes)}, resident by ${inMiB(residentBytes)}`;
  assert.ok(heapBytes < HEAP_SLACK_BYTES && residentBytes < RESIDENT_SLACK_BYTES, said);
  return said;
}

interface Holdings {
  readonly descriptors: number;
  readonly children: number;
  readonly memory: Memory;
}

async function holdings(): Promise<Holdings> {
  await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
  const { stdout } = await execa('ps', ['--ppid', String(process.pid), '-o', 'pid='], {
    reject: false,
  });
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    children: stdout.split('\n').length,
    memory: await memory(),
  };
}

/** Ids of kernel objects that a cycle has made: others make some at the same time. */
interface Ids {
  readonly programs: Set<number>;
  readonly maps: Set<number>;
}

async function record(attachment: Attachment, ids: Ids): Promise<void> {
  const { id, mapIds } = await lab.bpftool.showProgram(attachment.pins.program);
  ids.programs.add(id);
  for (const map of mapIds) ids.maps.add(map);
}

/** What of it the kernel still has. A link or a program that is left keeps its maps. */
async function alive(ids: Ids): Promise<number[]> {
  const list = async (kind: string): Promise<unknown[]> => {
    for (let tries = 0; ; tries++) {
      const args = ['-j', kind, 'show'];
      const { stdout, exitCode } = await execa(lab.bpftool.path, args, {
        maxBuffer: 1e8,
        reject: false,
      });
      // The list is cut short by EAGAIN at a link that is just being made.
      if (exitCode !== 0 && tries < 20) continue;
      const value: unknown = JSON.parse(stdout);
      return Array.isArray(value) ? value : [];
    }
  };
  const idOf = (each: unknown) => Number(propertyOf(each, 'id'));
  const programs = (await list('prog')).map(idOf).filter((id) => ids.programs.has(id));
  const maps = (await list('map')).map(idOf).filter((id) => ids.maps.has(id));
  const links = (await list('link')).filter(
    (each) =>
      ids.maps.has(Number(propertyOf(each, 'map_id'))) ||
      ids.programs.has(Number(propertyOf(each, 'prog_id'))),
  );
  return [...programs, ...maps, ...links.map(idOf)];
}

/** `times` runs of `work`, LANES at a time, each with an interface of its own. */
async function repeat(times: number, work: (device: string) => Promise<void>): Promise<void> {
  let left = times;
  const lane = async (index: number) => {
    while (left-- > 0) await work(`eth${index}`);
  };
  await Promise.all(Array.from({ length: LANES }, (_, index) => lane(index)));
}

/** Measures before and after; the first WARM_UP of the runs are not measured. */
async function unchanged(times: number, ids: Ids, work: (device: string) => Promise<void>) {
  await repeat(WARM_UP, work);
  const before = await holdings();
  await repeat(times - WARM_UP, work);
  const after = await holdings();
  // The kernel frees maps some time after the last one has let go.
  await lab.until(async () => (await alive(ids)).length === 0, 'freed', 30_000);
  assert.is(after.descriptors, before.descriptors);
  assert.is(after.children, before.children);
  const changed = hasNotGrown(before.memory, after.memory);
  assert.equal(lab.pins(), []);
  assert.equal(await lab.attached(), []);
  return `of ${ids.programs.size} programs and ${ids.maps.size} maps none is left, nor a link, pin, process or descriptor; ${changed}`;
}

const options = (device: string) => ({
  interface: device,
  netns: lab.netns,
  bpffs: lab.bpffs,
  maxSources: 256,
  mode: 'native' as const,
});

leaks(
  `${CYCLES} times attach, dump, detach in one process leave it and the kernel as they were`,
  async () => {
    const ids = { programs: new Set<number>(), maps: new Set<number>() };
    const result = await unchanged(CYCLES, ids, async (device) => {
      const attachment = await attach({ ...options(device), session: lab.context });
      await record(attachment, ids);
      assert.is(attachment.record.held_by, 'link');
      await dump(lab.context, attachment, { top: 0, sort: 'packets' });
      await attachment[Symbol.asyncDispose]();
    });
    assert.is(ids.programs.size, CYCLES);
    tried(PROMISE, {
      what: 'attach by a link, dump, detach in one process',
      times: CYCLES,
      result,
    });
  },
);

leaks(`${WATCHES} times watch in one process leave it and the kernel as they were`, async () => {
  const ids = { programs: new Set<number>(), maps: new Set<number>() };
  const result = await unchanged(WATCHES, ids, async (device) => {
    const { interface: name, ...rest } = options(device);
    const events = watch(lab.context, {
      ...rest,
      interfaces: [name],
      intervalMs: 20,
      count: 3,
      top: 0,
      sort: 'packets',
    });
    for await (const event of events) {
      if (event.kind === 'attached') await record(event.attachment, ids);
    }
  });
  assert.is(ids.programs.size, WATCHES);
  tried(PROMISE, { what: '`watch` of three readings in one process', times: WATCHES, result });
});

leaks(`a watch of ${HOUR_OF_READINGS} readings does not grow`, async () => {
  const { interface: name, ...rest } = options('eth0');
  const events = watch(lab.context, {
    ...rest,
    interfaces: [name],
    intervalMs: 1,
    count: HOUR_OF_READINGS,
    top: 20,
    sort: 'rate',
  });
  let readings = 0;
  let sent = 0;
  let early: Memory | undefined;
  let descriptors = 0;
  for await (const event of events) {
    if (event.kind !== 'readings') continue;
    readings++;
    // New sources all the time, in a table of 256.
    if (readings % 20 === 0 && !event.final) {
      const source = `198.18.${(readings / 20) & 255}.0`;
      await lab.send(udpFrame({ source }), 128, { sources: 128 });
      sent += 128;
    }
    if (readings === HOUR_OF_READINGS / 6) {
      early = await memory();
      descriptors = readdirSync('/proc/self/fd').length;
    }
    if (readings === HOUR_OF_READINGS - 1) {
      assert.is(readdirSync('/proc/self/fd').length, descriptors);
    }
    if (event.final) {
      const [reading] = event.readings;
      assert.is(reading?.totals.packets, BigInt(sent));
    }
  }
  assert.is(readings, HOUR_OF_READINGS);
  assert.ok(early !== undefined);
  const changed = hasNotGrown(early, await memory());
  tried(PROMISE, {
    what: `readings of one \`watch\`, as many as in an hour, while sources churn`,
    times: readings,
    result: `${sent.toLocaleString('en')} packets, all counted; ${changed} in the last five sixths`,
  });
});

leaks.run();
