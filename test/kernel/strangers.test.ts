/** Programs of others on our interfaces, before us, after us and at the same moment. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { resolveNetns } from '../../src/host/netns.js';
import { udpFrame } from '../../src/model/frames.js';
import { propertyOf } from '../../src/model/json-values.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { timesOf, tried } from '../reliability.js';
import { suite } from '../suite.js';
import { detachXdp } from './bpftool.js';
import { compileTool } from './compiler.js';
import { USUAL_READER } from './iterators.js';
import {
  Lab,
  lastReading,
  OBJECTS_DIRECTORY,
  recordsIn,
  type Started,
  WHY_NO_TCX,
  WHY_NOT,
} from './lab.js';

const PROMISE = "A stranger's program is never removed, replaced or taken for ours";

const ROUNDS_AT_ONCE = timesOf(50, 15);
const LABS = 2;

let lab: Lab;
let others: Lab[] = [];

const strangers = suite(PROMISE, WHY_NOT);

strangers.before(async () => {
  lab = await Lab.create();
  others = [lab];
  while (others.length < LABS) others.push(await Lab.create());
});
strangers.after(async () => {
  await Promise.all(others.map((each) => each.close()));
});

/** An object that passes everything and is not ours. */
function strangersObject(): string {
  return `${dirname(new ObjectFiles(OBJECTS_DIRECTORY).path('xdpwho'))}/pass.o`;
}

let pinned = 0;

async function pinStranger(): Promise<string> {
  const pin = `${lab.bpffs}/stranger${++pinned}`;
  await lab.bpftool.loadProgram(strangersObject(), pin);
  return pin;
}

/** The ids of what is on the lab's interface. */
async function programsThere(): Promise<number[]> {
  return (await lab.attached()).map((each) => each.programId);
}

interface Stranger {
  readonly leave: () => Promise<void>;
}

const inLab = () => resolveNetns(lab.netns).path;

/** Ways in which others put a program on an interface. */
const WAYS: Readonly<Record<string, () => Promise<Stranger>>> = {
  'in native mode': async () => {
    await lab.bpftool.attach('native', await pinStranger(), 'eth0', inLab());
    return { leave: () => detachXdp(lab.bpftool, 'native', 'eth0', inLab()) };
  },
  'in generic mode': async () => {
    await lab.bpftool.attach('generic', await pinStranger(), 'eth0', inLab());
    return { leave: () => detachXdp(lab.bpftool, 'generic', 'eth0', inLab()) };
  },
  'held by a bpf_link': async () => {
    const tool = await compileTool(lab, 'hold-link');
    const [link] = await linksOf('eth0');
    const args = [`--net=${inLab()}`, '--', tool, await pinStranger(), String(link)];
    const holder = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const closed = once(holder, 'close');
    await once(holder.stdout, 'data');
    return {
      leave: async () => {
        holder.stdin.end();
        await closed;
      },
    };
  },
  "by libxdp's dispatcher (xdp-loader)": async () => {
    const loader = (...args: string[]) =>
      execa('nsenter', [`--net=${inLab()}`, '--', 'xdp-loader', ...args]);
    await loader('load', '-m', 'native', 'eth0', strangersObject());
    return {
      leave: async () => {
        await loader('unload', 'eth0', '--all');
      },
    };
  },
};

async function linksOf(device: string): Promise<number[]> {
  const shown: unknown = JSON.parse(await lab.ip(lab.netns, ['-j', 'link', 'show', 'dev', device]));
  if (!Array.isArray(shown)) return [];
  return shown.flatMap((each: { ifindex?: unknown }) =>
    typeof each.ifindex === 'number' ? [each.ifindex] : [],
  );
}

/** A run at TCX counts what a stranger's program lets through, and leaves it there. */
async function countedBehind(before: readonly number[]): Promise<void> {
  const run = lab.start(['watch', 'eth0', '--beside', '-o', 'ndjson']);
  await run.says(/behind the XDP program that is there/);
  await run.says(/attached at TCX/);
  await lab.send(udpFrame({ source: '192.0.2.1' }), 20);
  assert.equal(await programsThere(), before);
  run.child.kill('SIGINT');
  assert.is((await run.ended()).exitCode, 130);
  assert.is(lastReading(recordsIn(run.stdout)).totals?.['packets'], 20);
  assert.equal(await programsThere(), before);
  assert.equal(lab.pins(), []);
}

for (const [way, place] of Object.entries(WAYS)) {
  strangers(`one that is there first, ${way}, stays, and every verb says so`, async () => {
    const stranger = await place();
    const before = await programsThere();
    assert.is(before.length, 1);
    const verbs = [
      ['watch', 'eth0', '--count', '1'],
      ['attach', 'eth0'],
      ['attach', 'eth0', '--replace'],
      ['attach', 'eth0', '--mode', 'generic'],
      ['watch', 'eth0', '--mode', 'generic', '--count', '1'],
      ['detach', 'eth0'],
    ];
    try {
      for (const verb of verbs) {
        const { exitCode, stderr } = await lab.run(verb);
        assert.is(exitCode, 4, `${verb.join(' ')}: ${stderr}`);
        assert.match(stderr, new RegExp(`\\b${before[0]}\\b`), verb.join(' '));
        assert.equal(await programsThere(), before, verb.join(' '));
      }
      for (const verb of [['detach', '--all'], ['clean']]) {
        await lab.run(verb);
        assert.equal(await programsThere(), before, verb.join(' '));
      }
      assert.equal(lab.pins(), []);
      if (WHY_NO_TCX === undefined) await countedBehind(before);
    } finally {
      await stranger.leave();
    }
    assert.equal(await programsThere(), []);
    tried(PROMISE, {
      what: `a stranger's program there first, ${way}; \`watch\`, \`attach\`, \`detach\`, \`clean\``,
      times: verbs.length + 2,
      result: 'it stayed; exit code 4, its id named',
    });
  });
}

async function watching(...args: string[]): Promise<Started> {
  const run = lab.start(['watch', 'eth0', '--interval', '100ms', ...args]);
  await run.says(/attached in native mode/);
  return run;
}

const REPLACEMENTS: Readonly<Record<string, () => Promise<unknown>>> = {
  'by `ip -force link set`': () =>
    lab.ip(lab.netns, [
      ...['-force', 'link', 'set', 'dev', 'eth0', 'xdpdrv'],
      ...['object', strangersObject(), 'section', 'xdp'],
    ]),
  'by `bpftool net attach ... overwrite`': async () => {
    const args = ['net', 'attach', 'xdpdrv', 'pinned', await pinStranger(), 'dev', 'eth0'];
    await execa('nsenter', [`--net=${inLab()}`, '--', lab.bpftool.path, ...args, 'overwrite']);
  },
};

/** Makes a run be held by its guard: of this bpftool no link can be had. */
function withoutLink(): string[] {
  return ['--bpftool', lab.bpftoolThat('without-link', '')];
}

for (const [how, replace] of Object.entries(REPLACEMENTS)) {
  strangers(`one that would take our place under watch, ${how}, is refused`, async () => {
    for (const death of ['SIGTERM', 'SIGKILL'] as const) {
      const run = await watching();
      const ours = await programsThere();
      const refused = await replace().then(
        () => '',
        (error: unknown) => String(propertyOf(error, 'stderr')),
      );
      assert.match(refused, /Can't replace active BPF XDP link|Device or resource busy/);
      assert.equal(await programsThere(), ours);
      run.child.kill(death);
      await run.ended();
      await lab.untilNothingLeft();
      // And then there is room.
      await replace();
      assert.is((await programsThere()).length, 1);
      await lab.ip(lab.netns, ['link', 'set', 'dev', 'eth0', 'xdpdrv', 'off']);
    }
    tried(PROMISE, {
      what: `a stranger that would replace ours ${how} while \`watch\` runs, which is then ended, or killed`,
      times: 2,
      result: 'refused by the kernel (EBUSY) until ours was gone, and then not',
    });
  });

  strangers(
    `one that takes our place under watch, ${how}, where no link can be had, stays, and the watch says so and ends`,
    async () => {
      for (const death of [undefined, 'SIGTERM', 'SIGKILL'] as const) {
        // With long intervals, what ends the run is the first to see the stranger.
        const interval = death === undefined ? [] : ['--interval', '10s'];
        const run = await watching(...withoutLink(), ...interval);
        const ours = await programsThere();
        await replace();
        const theirs = await programsThere();
        assert.not.equal(theirs, ours);
        if (death !== undefined) run.child.kill(death);
        const { exitCode } = await run.ended();
        if (death === undefined) {
          assert.is(exitCode, 4, run.stderr);
          assert.match(run.stderr, new RegExp(`another program has taken.*id ${theirs[0]}`));
        }
        await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
        await lab.until(() => lab.pins().length === 0, 'unpinned');
        assert.equal(await programsThere(), theirs);
        await lab.ip(lab.netns, ['link', 'set', 'dev', 'eth0', 'xdpdrv', 'off']);
      }
      tried(PROMISE, {
        what: `ours replaced ${how} while \`watch\` runs, is ended, or is killed, where no link can be had`,
        times: 3,
        result: 'the stranger stayed; `watch` said so and ended with exit code 4',
      });
    },
  );
}

strangers('an attachment that another xdpwho made in our place is left alone too', async () => {
  for (const death of ['SIGTERM', 'SIGKILL'] as const) {
    const run = await watching('--interval', '10s', ...withoutLink());
    await lab.ip(lab.netns, ['link', 'set', 'dev', 'eth0', 'xdpdrv', 'off']);
    rmSync(pinDirectory(), { recursive: true });
    assert.is((await lab.run(['attach', 'eth0'])).exitCode, 0);
    const theirs = await programsThere();
    // A reading by map dump leaves the folder of readers' pins.
    const listed = () => readdirSync(pinDirectory()).filter((name) => name !== 'readers');
    const pins = listed();
    run.child.kill(death);
    await run.ended();
    await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
    assert.equal(await programsThere(), theirs);
    assert.equal(listed(), pins);
    assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
    await lab.untilNothingLeft();
  }
  tried(PROMISE, {
    what: 'our program and pins removed by hand, and `attach` run, while `watch` runs, which is then ended, or killed, where no link can be had',
    times: 2,
    result: 'the program and the pins of `attach` stay',
  });
});

strangers(
  'one that comes while a run detaches is refused, until ours is gone: nobody looks first and detaches then',
  async () => {
    const pin = await pinStranger();
    const { id } = await lab.bpftool.showProgram(pin);
    for (const end of ['SIGTERM', 'SIGKILL'] as const) {
      const run = await watching();
      const [ours] = await programsThere();
      assert.ok(ours !== undefined && ours !== id);
      const come = `while ! "$1" -n net attach xdpdrv pinned "$2" dev eth0 overwrite; do :; done`;
      const args = [`--net=${inLab()}`, '--', 'sh', '-c', come, 'sh', lab.bpftool.path, pin];
      const coming = spawn('nsenter', args, { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      coming.stderr.on('data', (chunk) => {
        said += String(chunk);
      });
      const came = once(coming, 'close');
      await lab.until(() => said.includes('busy'), 'refused');
      run.child.kill(end);
      await run.ended();
      await came;
      await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
      assert.equal(await programsThere(), [id]);
      assert.equal(lab.pins(), []);
      await detachXdp(lab.bpftool, 'native', 'eth0', inLab());
    }
    tried(PROMISE, {
      what: 'a stranger that tries to take our place without a pause while `watch` is ended, or killed',
      times: 2,
      result: 'refused by the kernel (EBUSY) until ours was gone; it stayed',
    });
  },
);

strangers(
  'one that comes between the look and the detaching is detached for ours: there is no way to close that moment',
  async () => {
    const pin = await pinStranger();
    const { id } = await lab.bpftool.showProgram(pin);
    assert.is((await lab.run(['attach', 'eth0'])).exitCode, 0);
    const arrived = `${lab.scratch}/arrived`;
    const arrive = `mkdir ${arrived} && "$bpftool" net attach xdpdrv pinned ${pin} dev eth0 overwrite`;
    const bpftool = lab.bpftoolThat('racing', `case " $* " in *" net detach "*) ${arrive} ;; esac`);
    const { exitCode, stderr } = await lab.run(['detach', 'eth0', '--bpftool', bpftool]);
    assert.is(exitCode, 0, stderr);
    assert.equal(await programsThere(), []);
    assert.is(
      (await lab.bpftool.showProgram(pin)).id,
      id,
      'detached, but there to be attached again',
    );
    assert.equal(lab.pins(), []);
    tried(PROMISE, {
      what: 'a stranger that comes in the instant between the look and `bpftool net detach` of what `attach` has attached',
      times: 1,
      result: '**does not hold**: its program is detached (and exists still, where it is pinned)',
    });
  },
);

strangers(
  'two of ours at the same moment: one has the interface, the other says so or finds it done',
  async () => {
    const found = { held: 0, shared: 0, both: 0 };
    const rounds = Array.from({ length: ROUNDS_AT_ONCE }, (_, index) => index);
    const lane = async (each: Lab) => {
      for (let round = rounds.shift(); round !== undefined; round = rounds.shift()) {
        const watches = round % 2 === 0;
        const verb = watches
          ? ['watch', 'eth0', '--interval', '400ms', '--count', '1']
          : ['attach', 'eth0'];
        const ends = await Promise.all([each.run(verb), each.run(verb)]);
        const codes = ends.map(({ exitCode }) => exitCode).sort();
        const said = ends.map(({ stderr }) => stderr).join('');
        if (watches) {
          // The second came after the first had ended, or was refused.
          assert.ok(codes[0] === 0 && (codes[1] === 0 || codes[1] === 1), said);
          if (codes[1] === 1) assert.match(said, /eth0: (held by xdpwho|another xdpwho)/);
          found[codes[1] === 1 ? 'held' : 'both']++;
          await each.untilNothingLeft();
        } else {
          assert.equal(codes, [0, 0], said);
          assert.is((await each.attached()).length, 1);
          assert.is(each.pins().length, 1);
          found.shared++;
          assert.is((await each.run(['detach', 'eth0'])).exitCode, 0);
          await each.untilNothingLeft();
        }
      }
    };
    await Promise.all(others.map(lane));
    assert.ok(found.held > 0, JSON.stringify(found));
    tried(PROMISE, {
      what: 'two `watch`, or two `attach`, on one interface at the same moment',
      times: ROUNDS_AT_ONCE,
      result: `one program each time: ${found.held} times the second was refused, ${found.both} times it came after the first, ${found.shared} times it found it attached`,
    });
  },
);

/** The directory of the lab's only attachment. */
function pinDirectory(): string {
  const [name, ...more] = lab.pins();
  assert.ok(name !== undefined && more.length === 0);
  return `${lab.bpffs}/xdpwho/${name}`;
}

/** A directory that is not ours, with something in it. */
function makePrecious(): void {
  mkdirSync(`${lab.bpffs}/precious`);
  symlinkSync('anywhere', `${lab.bpffs}/precious/theirs`);
}

/** What somebody may do to our pins while we run. */
const MEDDLING: Readonly<Record<string, (directory: string) => Promise<void> | void>> = {
  'the whole directory removed': (directory) => rmSync(directory, { recursive: true }),
  'the program removed': (directory) => rmSync(`${directory}/program`),
  'the sources removed': (directory) => rmSync(`${directory}/sources`, { force: true }),
  'the record removed': (directory) => rmSync(`${directory}/state`),
  'the directory moved, and a link in its place': (directory) => {
    renameSync(directory, `${lab.bpffs}/moved`);
    makePrecious();
    symlinkSync(`${lab.bpffs}/precious`, directory);
  },
  'its maps moved, and a link in their place': (directory) => {
    renameSync(`${directory}/maps`, `${lab.bpffs}/moved`);
    makePrecious();
    symlinkSync(`${lab.bpffs}/precious`, `${directory}/maps`);
  },
  'its map another one, of another shape': async (directory) => {
    rmSync(`${directory}/maps/sources`);
    const map = ['type', 'hash', 'key', '4', 'value', '8', 'entries', '4', 'name', 'sources'];
    await execa(lab.bpftool.path, ['map', 'create', `${directory}/maps/sources`, ...map]);
  },
};

for (const [what, meddle] of Object.entries(MEDDLING)) {
  strangers(`${what} under watch: no crash, and ours is off the interface at the end`, async () => {
    for (const [end, reader] of [
      ['SIGTERM', USUAL_READER],
      ['SIGKILL', 'dump'],
      // It goes on without its maps: what it ends with is the guard's doing.
      ['SIGKILL', USUAL_READER],
    ] as const) {
      const run = await watching('-o', 'ndjson', '--reader', reader);
      try {
        await meddle(pinDirectory());
        // Some readings see it. The run may end by itself: what it reads has gone.
        await sleep(300);
      } finally {
        run.child.kill(end);
      }
      await run.ended();
      assert.not.match(run.stderr, /internal error/);
      recordsIn(run.stdout);
      await lab.until(async () => (await lab.attached()).length === 0, 'detached');
      await lab.until(async () => (await lab.guards()).length === 0, 'no guard');
      const left = readdirSync(lab.bpffs);
      if (left.includes('precious')) {
        assert.equal(readdirSync(`${lab.bpffs}/precious`), ['theirs']);
        rmSync(`${lab.bpffs}/precious`, { recursive: true });
        rmSync(`${lab.bpffs}/moved`, { recursive: true });
      }
      // What is left is not known for ours any more, and in nobody's way.
      const { exitCode, stderr } = await lab.run([
        'watch',
        'eth0',
        '--interval',
        '100ms',
        '--count',
        '1',
      ]);
      assert.is(exitCode, 0, stderr);
      await lab.run(['clean']);
      assert.equal(lab.pins(), []);
    }
    tried(PROMISE, {
      what: `${what} while \`watch\` runs, which is then ended, or killed`,
      times: 3,
      result: 'detached at the end; the next run had the interface',
    });
  });
}

strangers.run();
