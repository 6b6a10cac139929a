/**
 * What the packet log costs and carries: nanoseconds per packet, lines per second to a file, bursts,
 * the delay of a line, and the same flood through `bpftool map event_pipe` and tcpdump.
 *
 * Usage: npm run bench:log [-- ROUNDS]
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { DEFAULT_BUFFER_BYTES } from '../../src/attachment/defaults.js';
import { cpuNumberLimit } from '../../src/host/kernel.js';
import { resolveNetns } from '../../src/host/netns.js';
import { findTool, requireTool } from '../../src/host/tools.js';
import { udpFrame } from '../../src/model/frames.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { ringElements, ringSegments } from '../../src/objects/ring-size.js';
import { detachXdp, loadWithMaps } from '../kernel/bpftool.js';
import { compileProgram, compileTool } from '../kernel/compiler.js';
import { CLI, Lab, OBJECTS_DIRECTORY } from '../kernel/lab.js';
import { compileProgram as compileHere } from './baseline.js';

const ROUNDS = Number(process.argv[2] ?? 25);
const REPEAT = 200_000;
const BOUND_NS = 45;
const FLOOD = 3_000_000;
/** The others take a second for what the log takes a tenth of. */
const SMALL_FLOOD = 300_000;
const BURSTS = 8;
const BURST = 100_000;
const SOURCE_OFFSET = 26;

const lab = await Lab.create();
try {
  const flooder = await compileTool(lab, 'flood/flood');
  const floodObject = await compileProgram(lab, 'flood/flood');
  await measureCost();
  await measureLines(flooder, floodObject);
  await measureDelay();
} finally {
  await lab.close();
}

/** Nanoseconds per packet, by `prog run`, in turn. */
async function measureCost(): Promise<void> {
  const cpus = cpuNumberLimit();
  const segments = ringSegments(DEFAULT_BUFFER_BYTES, cpus);
  const constants = { log_cpus: cpus, log_segments: segments };
  const maxEntries = { packets: ringElements(segments, cpus) };
  const objects = new ObjectFiles(OBJECTS_DIRECTORY);
  const patched = (more: Record<string, number>) =>
    objects.writePatched(
      'xdpwho.log.frags',
      { constants: { ...constants, ...more }, maxEntries },
      lab.scratch,
    );
  const pins: Record<string, string> = {};
  const load = async (name: string, object: string) => {
    const pin = `${lab.bpffs}/cost-${Object.keys(pins).length}`;
    mkdirSync(`${pin}-maps`);
    await loadWithMaps(lab.bpftool, object, pin, `${pin}-maps`);
    pins[name] = pin;
  };
  const counting = 'counting: log off';
  await load('empty program', objects.path('pass'));
  await load(counting, objects.path('xdpwho.frags'));
  await load('log on', patched({}));
  await load('sampled 1:1000', patched({ log_sample: 1000 }));

  const frame = `${lab.scratch}/cost-frame`;
  writeFileSync(frame, udpFrame({ source: '192.0.2.7' }));
  const times = new Map(Object.keys(pins).map((name) => [name, [] as number[]]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, pin] of Object.entries(pins)) {
      const { durationNs } = await lab.bpftool.runProgram(pin, frame, REPEAT);
      // The first round meets a source that is new, and cold caches.
      if (round > 0) times.get(name)?.push(durationNs);
    }
  }
  const base = median(times.get(counting) ?? []);
  console.log(`${ROUNDS} rounds of ${REPEAT} packets; ns per packet: median (min-max)`);
  for (const [name, list] of times) {
    const middle = median(list);
    const over = `${middle - base >= 0 ? '+' : ''}${middle - base} ns over counting`;
    console.log(
      `  ${name.padEnd(18)} ${middle} (${Math.min(...list)}-${Math.max(...list)})  ${over}`,
    );
  }
  const added = median(times.get('log on') ?? []) - base;
  console.log(`at most ${BOUND_NS} ns: ${added <= BOUND_NS ? 'holds' : 'does NOT hold'}\n`);
}

/** What a reader gets of a flood, and how fast; one way after the other, several times. */
async function measureLines(flooder: string, floodObject: string): Promise<void> {
  const frame = `${lab.scratch}/flood-frame`;
  writeFileSync(frame, udpFrame({ source: '198.18.0.0' }));
  const ifindex = await lab.ifindex('eth0');
  const send = async (count: number) => {
    const words = [flooder, floodObject, frame, ifindex, SOURCE_OFFSET, 1000, 0, count];
    const enter = [`--net=${resolveNetns(lab.sender).path}`, '--'];
    const startMs = performance.now();
    await execa('nsenter', [...enter, ...words.map(String)]);
    return performance.now() - startMs;
  };
  const eventObject = await compileHere('event-pipe.bpf.c', lab.scratch);
  for (let round = 0; round < 3; round++) {
    await viaLog('plain', [], FLOOD, 1, send);
    await viaLog('ndjson', ['-o', 'ndjson'], FLOOD, 1, send);
    await viaLog(`plain, ${BURSTS} bursts`, [], BURST, BURSTS, send);
    await viaEventPipe(eventObject, send);
    await viaTcpdump(send);
  }
}

type Send = (count: number) => Promise<number>;

async function viaLog(
  what: string,
  options: readonly string[],
  count: number,
  times: number,
  send: Send,
): Promise<void> {
  const file = `${lab.scratch}/lines`;
  const args = [CLI, 'log', lab.device, '--netns', lab.netns, '--bpffs', lab.bpffs, ...options];
  const reader = spawn(process.execPath, args, { stdio: ['ignore', openSync(file, 'w'), 'pipe'] });
  let said = '';
  reader.stderr?.on('data', (chunk) => {
    said += String(chunk);
  });
  await lab.until(() => /attached in/.test(said), 'attached');
  let tookMs = 0;
  for (let burst = 0; burst < times; burst++) {
    if (burst > 0) await sleep(200);
    tookMs += await send(count);
  }
  await sleep(300);
  reader.kill('SIGINT');
  await once(reader, 'close');
  const text = readFileSync(file, 'latin1');
  const stamps = text.match(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/g) ?? [];
  const lost = [...text.matchAll(/"lost".*"count":(\d+)|^# .*: lost (\d+)$/gm)].reduce(
    (sum, match) => sum + Number(match[1] ?? match[2]),
    0,
  );
  tell(`log, ${what}`, count * times, stamps.length, lost, spanMs(stamps, times, tookMs));
  rmSync(file);
}

/** From the first packet to the last, by their own time; of several bursts, while something was sent. */
function spanMs(stamps: readonly string[], times: number, tookMs: number): number {
  if (times > 1) return tookMs;
  const microseconds = (stamp = '') => Date.parse(stamp) * 1000 + Number(stamp.slice(23, 26));
  return (microseconds(stamps.at(-1)) - microseconds(stamps[0])) / 1000;
}

async function viaEventPipe(object: string, send: Send): Promise<void> {
  const pin = `${lab.bpffs}/event`;
  const bpftool = requireTool('bpftool');
  mkdirSync(`${pin}-maps`, { recursive: true });
  await loadWithMaps(lab.bpftool, object, pin, `${pin}-maps`);
  await lab.bpftool.attach('native', pin, lab.device, resolveNetns(lab.netns).path);
  const file = `${lab.scratch}/events`;
  const output = openSync(file, 'w');
  const reader = spawn(bpftool, ['map', 'event_pipe', 'pinned', `${pin}-maps/events`], {
    stdio: ['ignore', output, 'ignore'],
  });
  await sleep(300);
  const tookMs = await send(SMALL_FLOOD);
  await untilQuiet(file);
  reader.kill('SIGINT');
  await once(reader, 'close');
  const text = readFileSync(file, 'latin1');
  const lost = [...text.matchAll(/^lost (\d+) events$/gm)];
  tell(
    'bpftool map event_pipe',
    SMALL_FLOOD,
    text.match(/^== @/gm)?.length ?? 0,
    lost.reduce((sum, match) => sum + Number(match[1]), 0),
    tookMs,
  );
  await detachXdp(lab.bpftool, 'native', lab.device, resolveNetns(lab.netns).path);
  rmSync(pin);
  rmSync(`${pin}-maps/events`);
  rmSync(file);
}

async function viaTcpdump(send: Send): Promise<void> {
  const tcpdump = findTool('tcpdump');
  if (tcpdump === undefined) {
    console.log('  tcpdump: not installed');
    return;
  }
  const pin = `${lab.bpffs}/pass`;
  // The veth takes redirected frames only if its other end has a program.
  await lab.bpftool.loadProgram(new ObjectFiles(OBJECTS_DIRECTORY).path('pass'), pin);
  const netns = resolveNetns(lab.netns).path;
  await lab.bpftool.attach('native', pin, lab.device, netns);
  const file = `${lab.scratch}/dump`;
  const words = [`--net=${netns}`, '--', tcpdump, '-nn', '-q', '-l', '-i', lab.device];
  const reader = spawn('nsenter', words, { stdio: ['ignore', openSync(file, 'w'), 'pipe'] });
  let said = '';
  reader.stderr?.on('data', (chunk) => {
    said += String(chunk);
  });
  await lab.until(() => /listening on/.test(said), 'tcpdump listens');
  const tookMs = await send(SMALL_FLOOD);
  await untilQuiet(file);
  reader.kill('SIGINT');
  await once(reader, 'close');
  const lines = readFileSync(file, 'latin1').split('\n').length - 1;
  const dropped = Number(/(\d+) packets dropped by kernel/.exec(said)?.[1] ?? 0);
  tell('tcpdump -nn -q -l', SMALL_FLOOD, lines, dropped, tookMs);
  await detachXdp(lab.bpftool, 'native', lab.device, netns);
  rmSync(pin);
  rmSync(file);
}

async function untilQuiet(file: string): Promise<void> {
  for (let before = -1; statSync(file).size !== before; await sleep(500)) {
    before = statSync(file).size;
  }
}

function tell(what: string, sent: number, lines: number, lost: number, tookMs: number): void {
  const perSecond = (count: number) => `${Math.round(count / tookMs)} k/s`;
  console.log(
    `  ${what.padEnd(24)} ${sent} packets at ${perSecond(sent)}: ${lines} lines (${perSecond(lines)}), lost ${lost}`,
  );
}

/** From a packet's time to the arrival of its line, at some packets a second. */
async function measureDelay(): Promise<void> {
  const started = lab.start(['log', lab.device]);
  const delays: number[] = [];
  started.child.stdout?.on('data', (chunk) => {
    const nowMs = performance.timeOrigin + performance.now();
    for (const stamp of String(chunk).match(/^\S+Z/gm) ?? []) {
      delays.push(nowMs - Date.parse(stamp) - Number(stamp.slice(23, 26)) / 1000);
    }
  });
  await started.says(/attached in/);
  for (let packet = 0; packet < 40; packet++) {
    await lab.send(udpFrame({ source: '192.0.2.7' }), 1);
    await sleep(137);
  }
  await lab.until(() => delays.length === 40, 'all lines');
  started.child.kill('SIGINT');
  await started.ended();
  const most = Math.max(...delays).toFixed(1);
  console.log(`\ndelay of a line: median ${median(delays).toFixed(1)} ms, at most ${most} ms`);
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, two) => one - two);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
