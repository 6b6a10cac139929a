import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { suite } from '../suite.js';
import { compileTool } from './compiler.js';
import { withIterator } from './iterators.js';
import { Lab, WHY_NOT } from './lab.js';

/** How often a verb starts bpftool: most of its time. */
const runs = suite('bpftool is started no more often than that', WHY_NOT);
/** The limits are those with iterators: map dump is a bpftool for each map. */
const counted = withIterator(runs);

let lab: Lab;
let bpftool: string;

runs.before(async () => {
  lab = await Lab.create();
  bpftool = await compileTool(lab, 'count-runs');
  writeFileSync(`${bpftool}.path`, lab.bpftool.path);
  for (const name of ['eth1', 'eth2', 'eth3', 'eth4', 'eth5']) await lab.addVeth(`${name}s`, name);
});
runs.after(() => lab.close());

/** Runs a verb, whose guard has ended by then, and gives how often it started bpftool. */
async function count(...words: string[]): Promise<number> {
  rmSync(`${bpftool}.runs`, { force: true });
  const { exitCode, stderr } = await lab.run([...words, '--bpftool', bpftool]);
  assert.is(exitCode, 0, stderr);
  await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
  return statSync(`${bpftool}.runs`, { throwIfNoEntry: false })?.size ?? 0;
}

async function atMost(limit: number, ...words: string[]): Promise<void> {
  const times = await count(...words);
  assert.ok(times > 0 && times <= limit, `${words.join(' ')}: ${times} times, at most ${limit}`);
}

counted(
  'attach, attach again, attach --replace, dump, status and detach of one interface',
  async () => {
    await atMost(6, 'attach', 'eth0');
    await atMost(2, 'attach', 'eth0');
    await atMost(8, 'attach', 'eth0', '--replace', '--max-sources', '300');
    await atMost(2, 'dump', 'eth0');
    await atMost(2, 'status', 'eth0');
    await atMost(4, 'detach', 'eth0');
    await lab.untilNothingLeft();
  },
);

counted('a reading of watch, with five interfaces of one namespace', async () => {
  const watch = ['watch', 'eth1', 'eth2', 'eth3', 'eth4', 'eth5', '--interval', '100ms', '--count'];
  const few = await count(...watch, '1');
  const many = await count(...watch, '21');
  assert.ok(many - few <= 20, `${few} times for 1 reading, ${many} for 21`);
  await lab.untilNothingLeft();
});

counted("status of ours and of strangers': their sum, and not their product", async () => {
  assert.is((await lab.run(['attach', 'eth1', 'eth2', 'eth3'])).exitCode, 0);
  for (const name of ['eth4', 'eth5']) await lab.attachStranger(name);
  try {
    await atMost(2 + 3 + 2, 'status');
  } finally {
    for (const name of ['eth4', 'eth5']) await lab.detachStranger(name);
    assert.is((await lab.run(['detach', '--all'])).exitCode, 0);
  }
});

counted('the program that counts runs the real one', async () => {
  const { stdout } = await lab.run(['doctor', '--bpftool', bpftool, '-o', 'json'], { bare: true });
  assert.match(stdout, 'bpftool');
  assert.ok(readFileSync(`${bpftool}.runs`).length > 0);
});

runs.run();
