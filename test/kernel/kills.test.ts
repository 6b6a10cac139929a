/** SIGKILL of every process that has a part in a run, alone and together, at random moments. */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { timesOf, tried } from '../reliability.js';
import { suite } from '../suite.js';
import { Lab, type Started, WHY_NOT } from './lab.js';

const PROMISE = 'Whichever of its processes are killed with the run, nothing stays attached';

const LABS = 3;
const KILLS = timesOf(1000, 200);
/** Strikes that leave the run alive, before the one that does not. */
const MAX_EARLIER_STRIKES = 2;
const MAX_PAUSE_MS = 300;
/** Between the victims of one strike. */
const MAX_GAP_MS = 10;

const labs: Lab[] = [];

const kills = suite(PROMISE, WHY_NOT);

kills.before(async () => {
  for (let count = 0; count < LABS; count++) labs.push(await Lab.create());
});
kills.after(async () => {
  await Promise.all(labs.map((lab) => lab.close()));
});

/** The run and what it has started: the processes that hold links, and the guards. */
interface Processes {
  readonly run: number;
  readonly holders: readonly number[];
  readonly guards: readonly number[];
}

function processesOf(run: number): Processes {
  const children = textOf(`/proc/${run}/task/${run}/children`).split(' ').filter(Boolean);
  const withWords = (words: RegExp) =>
    children.filter((pid) => words.test(textOf(`/proc/${pid}/cmdline`))).map(Number);
  return { run, holders: withWords(/\0batch\0file\0-\0$/), guards: withWords(/xdpwho-guard\0/) };
}

/** Empty for a process that has gone. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Each item with even odds. */
function some<T>(items: readonly T[]): T[] {
  return items.filter(() => randomInt(2) === 0);
}

function shuffled<T>(items: readonly T[]): T[] {
  const left = [...items];
  return items.flatMap(() => left.splice(randomInt(left.length), 1));
}

/** Kills them in a random order, some of them at the same moment. Gives how many there were. */
async function strike(pids: readonly number[]): Promise<number> {
  let struck = 0;
  for (const pid of shuffled(pids)) {
    if (randomInt(2) === 0) await sleep(randomInt(MAX_GAP_MS));
    try {
      process.kill(pid, 'SIGKILL');
      struck++;
    } catch {
      // It has gone with another one.
    }
  }
  return struck;
}

interface Found {
  kills: number;
  runs: number;
  withHolder: number;
  withGuard: number;
  withBoth: number;
  /** From the last SIGKILL until a look finds nothing attached. */
  readonly detachMs: number[];
}

async function killOne(lab: Lab, found: Found): Promise<void> {
  const started = lab.start(['watch', 'eth0', '--interval', '100ms']);
  await started.says(/attached in native mode/);
  for (let left = randomInt(MAX_EARLIER_STRIKES + 1); left > 0; left--) {
    await sleep(randomInt(MAX_PAUSE_MS));
    const { holders, guards } = processesOf(started.pid);
    found.kills += await strike(some([...holders, ...guards]));
  }
  await sleep(randomInt(MAX_PAUSE_MS));
  const { run, holders, guards } = processesOf(started.pid);
  const others = some([...holders, ...guards]);
  const hasHolder = others.some((pid) => holders.includes(pid));
  const hasGuard = others.some((pid) => guards.includes(pid));
  found.kills += await strike([run, ...others]);
  found.detachMs.push(await untilDetached(lab));
  found.runs++;
  if (hasHolder && hasGuard) found.withBoth++;
  else if (hasHolder) found.withHolder++;
  else if (hasGuard) found.withGuard++;
  await ended(lab, started);
}

/** Milliseconds, the time of the last look included. */
async function untilDetached(lab: Lab): Promise<number> {
  const startMs = performance.now();
  await lab.until(async () => (await lab.attached()).length === 0, 'detached');
  return performance.now() - startMs;
}

/**
 * What is left then may be pins, where the guard was among the dead: the next run collects them. A link
 * that was being made at that moment is gone with its process.
 */
async function ended(lab: Lab, started: Started): Promise<void> {
  assert.is((await started.ended()).signal, 'SIGKILL', started.stderr);
  await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
  await lab.until(async () => {
    const { stdout } = await execa('ip', ['netns', 'pids', lab.netns]);
    return stdout === '';
  }, 'no process that holds a link');
  assert.equal(await lab.attached(), []);
}

kills(
  `${KILLS} times SIGKILL of the run, of what holds its link, of its guard: nothing stays attached`,
  async () => {
    const found: Found = {
      kills: 0,
      runs: 0,
      withHolder: 0,
      withGuard: 0,
      withBoth: 0,
      detachMs: [],
    };
    await Promise.all(
      labs.map(async (lab) => {
        while (found.kills < KILLS) await killOne(lab, found);
        assert.is((await lab.run(['clean'])).exitCode, 0);
        await lab.untilNothingLeft();
      }),
    );
    assert.ok(found.withHolder > 0 && found.withGuard > 0 && found.withBoth > 0);
    const sorted = found.detachMs.sort((one, other) => one - other);
    const ms = (index: number) => `${Math.ceil(sorted[index] ?? 0)} ms`;
    const { runs, withHolder, withGuard, withBoth } = found;
    tried(PROMISE, {
      what: `SIGKILL of a \`watch\`, the process that holds its link and its guard, alone or together, in any order, at random moments, until the \`watch\` is among them`,
      times: found.kills,
      result:
        `${runs} runs: ${withHolder} died together with the holder, ${withGuard} with the guard, ${withBoth} with both; ` +
        `nothing attached after ${ms(Math.floor(sorted.length / 2))} in the middle, ${ms(sorted.length - 1)} at most, the look itself included; nothing left after \`clean\``,
    });
  },
);

kills.run();
