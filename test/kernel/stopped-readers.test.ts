/** A reader of our output that stops, goes on, or goes: nothing grows, and a signal ends the run at once, detached. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { tried } from '../reliability.js';
import { suite } from '../suite.js';
import { CLI, Lab, recordsIn, type Started, WHY_NOT } from './lab.js';
import { fillTable } from './table.js';

/** Enough for more than a pipe and our own buffer hold, in one reading. */
const SOURCES = 20_000;
/** What a run may grow by while nobody reads. */
const GROWTH_KIB = 40_000;

const PROMISE = 'A reader of the output that stops holds nothing up, and nothing grows meanwhile';
const test = suite(PROMISE, WHY_NOT);
let lab: Lab;

test.before.each(async () => {
  lab = await Lab.create();
});

test.after.each(() => lab.close());

/** Starts a command whose output nobody reads, and waits until it can write no more. */
async function stuck(args: readonly string[]): Promise<Started> {
  const run = lab.start(args);
  run.child.stdout?.pause();
  // Its standard output is a pipe that is full: then it sleeps, and its output does not grow.
  await lab.until(() => run.child.stdout?.readableLength !== 0, 'output');
  await sleep(1000);
  return run;
}

function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

async function attachFilled(): Promise<void> {
  const attached = await lab.run(['attach', 'eth0', '--max-sources', '65536', '-o', 'json']);
  assert.is(attached.exitCode, 0, attached.stderr);
  const [directory] = lab.pins();
  await fillTable(lab, `${lab.bpffs}/xdpwho/${directory}/maps/sources`, SOURCES);
}

for (const format of ['table', 'ndjson']) {
  test(`watch -o ${format}: does not grow, ends at SIGINT, and what it had attached is detached`, async () => {
    const options = ['--top', '5000', '--interval', '100ms', '--max-sources', '65536'];
    const run = lab.start(['watch', 'eth0', '-o', format, ...options]);
    await run.says(/attached/);
    const [directory] = lab.pins();
    await fillTable(lab, `${lab.bpffs}/xdpwho/${directory}/maps/sources`, SOURCES);
    run.child.stdout?.pause();
    await sleep(3000);
    const before = residentKiB(run.pid);
    await sleep(3000);
    const grown = residentKiB(run.pid) - before;
    assert.ok(grown < GROWTH_KIB, `${grown} KiB`);
    run.child.kill('SIGINT');
    const [code] = await once(run.child, 'exit');
    assert.is(code, 130, run.stderr);
    assert.equal(await lab.attached(), []);
    run.child.stdout?.resume();
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: `\`watch -o ${format}\` of 20,000 sources, nobody reads for six seconds, then SIGINT`,
      times: 1,
      result: 'less than 40 MB more; ended with 130, detached',
    });
  });
}

test('watch goes on when its reader does, with whole lines', async () => {
  const options = ['--interval', '100ms', '--max-sources', '65536'];
  const run = lab.start(['watch', 'eth0', '-o', 'ndjson', ...options]);
  await run.says(/attached/);
  const [directory] = lab.pins();
  await fillTable(lab, `${lab.bpffs}/xdpwho/${directory}/maps/sources`, SOURCES);
  run.child.stdout?.pause();
  await sleep(2000);
  run.child.stdout?.resume();
  const lines = () => run.stdout.split('"type":"totals"').length;
  const now = lines();
  await lab.until(() => lines() > now + 2, 'more readings');
  run.child.kill('SIGTERM');
  await run.ended();
  assert.is(run.child.exitCode, 143);
  assert.is(recordsIn(run.stdout).at(-1)?.type, 'detached');
  tried(PROMISE, {
    what: 'the reader of `watch -o ndjson` pauses and goes on',
    times: 1,
    result: 'whole records, the last one `detached`',
  });
});

for (const [verb, ...options] of [
  ['dump', '-o', 'table'],
  ['dump', '-o', 'ndjson', '--sort', 'bytes'],
  ['dump', '-o', 'ndjson'],
  ['dump', '-o', 'json'],
  ['dump', '-o', 'prometheus', '--top', String(SOURCES)],
] as const) {
  const words = [verb, ...options].join(' ');
  test(`${words}: ends at SIGINT, prints no more, and what is attached stays`, async () => {
    await attachFilled();
    const run = await stuck([verb, 'eth0', ...options]);
    run.child.kill('SIGINT');
    const [code] = await once(run.child, 'exit');
    assert.is(code, 130, run.stderr);
    run.child.stdout?.resume();
    await run.ended();
    assert.ok(run.stdout.length < 500_000, `${run.stdout.length} characters`);
    assert.is(run.stderr, '');
    assert.is((await lab.attached()).length, 1);
    tried(PROMISE, {
      what: `\`${words}\` of 20,000 sources, nobody reads, then SIGINT`,
      times: 1,
      result: 'ended with 130, and printed no more',
    });
  });
}

test('a reader that goes ends every one with 0, without a word', async () => {
  await attachFilled();
  for (const args of [
    ['dump', 'eth0'],
    ['dump', 'eth0', '-o', 'ndjson'],
    ['watch', 'eth0', '-o', 'ndjson', '--interval', '100ms'],
  ]) {
    const run = await stuck(args);
    run.child.stdout?.destroy();
    const [code] = await once(run.child, 'exit');
    assert.is(code, 0, `${args.join(' ')}: ${run.stderr}`);
    assert.is(run.stderr.replace(/^xdpwho: eth0: .*\n/gm, ''), '');
  }
  tried(PROMISE, {
    what: 'the reader of `dump` and `watch` goes away',
    times: 3,
    result: 'ended with 0, without a word',
  });
});

test('attach, with nobody to read what it says: its exit code is that of its work', async () => {
  const script = `
( head -c 65536 /dev/zero
  sh -c 'echo $$ >"$0"; exec "$@"' "$SCRATCH/pid" "$@"
  echo $? >"$SCRATCH/code" ) | sleep 15
`;
  const own = ['--netns', lab.netns, '--bpffs', lab.bpffs];
  const words = [process.execPath, CLI, 'attach', 'eth0', '-o', 'json', ...own];
  const run = lab.startProgram('sh', ['-c', script, 'sh', ...words], {
    env: { SCRATCH: lab.scratch },
  });
  await run.says(/eth0: attached/);
  // It has done its work, and waits for its reader.
  await sleep(1000);
  process.kill(Number(readFileSync(`${lab.scratch}/pid`, 'utf8')), 'SIGTERM');
  const code = `${lab.scratch}/code`;
  // The shell makes the file before it writes to it.
  await lab.until(() => existsSync(code) && readFileSync(code, 'utf8') !== '', 'its end');
  assert.is(readFileSync(code, 'utf8'), '0\n', run.stderr);
  assert.is((await lab.attached()).length, 1);
  await run.ended();
  tried(PROMISE, {
    what: 'SIGTERM of an `attach` that has done its work and whose output nobody reads',
    times: 1,
    result: 'ended with 0; attached',
  });
});

test.run();
