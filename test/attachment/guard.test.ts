import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Guard } from '../../src/attachment/guard.js';
import { type Pins, pinsAt } from '../../src/attachment/pin-paths.js';
import { claim } from '../../src/attachment/pins.js';
import { observeCommands } from '../../src/host/command-log.js';
import { ownNetns } from '../../src/host/netns.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { suite } from '../suite.js';
import { STATE } from './pin-directory.js';

const PROGRAM = 7;

/** A guard, a pin directory on a plain file system, and a bpftool that has one program in a file. */
interface Guarded {
  readonly guard: Guard;
  readonly pins: Pins;
  /** Whether the program is still attached. */
  readonly isAttached: () => boolean;
}

interface Options {
  /** Shell text of `net detach`. Default: detaches. */
  readonly detach?: string;
  /** Shell text of `net show`. Default: shows what is attached. */
  readonly show?: string;
  /** Default: the token of the record in the directory. */
  readonly token?: string;
}

/** Runs with a guard that is ready and knows the program, and ends it. */
async function guarded(options: Options, work: (context: Guarded) => Promise<void>): Promise<void> {
  const root = mkdtempSync(`${tmpdir()}/xdpwho-guard-`);
  const attached = `${root}/attached`;
  writeFileSync(attached, `eth0(2) driver id ${PROGRAM}\n`);
  const bpftool = `${root}/bpftool`;
  const { detach = `: >${attached}`, show = `echo xdp:; cat ${attached}; echo; echo tc:` } =
    options;
  const script = `#!/bin/sh
case "$*" in
  '-n net show') ${show} ;;
  '-n net detach xdpdrv dev eth0') ${detach} ;;
  *) echo "unexpected: $*"; exit 1 ;;
esac
`;
  writeFileSync(bpftool, script, { mode: 0o755 });
  mkdirSync(`${root}/xdpwho`);
  const pins = pinsAt(root, 'eth0');
  claim(pins, STATE);
  const guard = new Guard({
    bpftool,
    netns: ownNetns(),
    pins,
    token: options.token ?? STATE.token,
  });
  try {
    await guard.ready();
    await guard.watch(PROGRAM);
    const isAttached = () => readFileSync(attached, 'utf8') !== '';
    await work({ guard, pins, isAttached });
  } finally {
    await guard.release();
    rmSync(root, { recursive: true });
  }
}

async function failureOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    assert.ok(hasErrorCode(error, 'tool-failed'), String(error));
    return error.message;
  }
  return assert.unreachable('it succeeded') as never;
}

async function until(holds: () => boolean): Promise<void> {
  for (let waitedMs = 0; !holds(); waitedMs += 20) {
    assert.ok(waitedMs < 30_000, 'it does not come');
    await sleep(20);
  }
}

const answers = suite('a guard');

answers('detaches, removes the pins, and says so', async () => {
  await guarded({}, async ({ guard, pins, isAttached }) => {
    assert.is(await guard.detach(), 'detached');
    assert.not(isAttached());
    assert.ok(existsSync(pins.mapsDirectory), 'the pins stay until it is told to remove them');
    assert.is(await guard.remove(), true);
    assert.not(existsSync(pins.directory));
  });
});

answers('says that the program was attached nowhere', async () => {
  await guarded({ show: 'echo xdp:; echo; echo tc:' }, async ({ guard }) => {
    assert.is(await guard.detach(), 'nowhere');
  });
});

answers('says where the program still is, and what bpftool said', async () => {
  const detach = 'echo one >&2; echo "Error: it is busy" >&2; exit 16';
  await guarded({ detach }, async ({ guard, isAttached }) => {
    const message = await failureOf(guard.detach());
    assert.is(message, `eth0: program ${PROGRAM} is still attached: it is busy`);
    assert.ok(isAttached());
  });
});

answers('says that it cannot look', async () => {
  await guarded({ show: 'echo "Error: no way" >&2; exit 1' }, async ({ guard, isAttached }) => {
    const message = await failureOf(guard.detach());
    assert.is(message, `program ${PROGRAM} may still be attached: no way`);
    assert.ok(isAttached());
  });
});

answers('leaves what xdpwho did not make, unless it is told to remove all', async () => {
  await guarded({}, async ({ guard, pins }) => {
    writeFileSync(`${pins.directory}/theirs`, '');
    assert.is(await guard.remove(), false);
    assert.ok(existsSync(`${pins.directory}/theirs`));
    assert.is(await guard.remove(true), true);
    assert.not(existsSync(pins.directory));
  });
});

answers('leaves a directory that has got the record of another attachment', async () => {
  await guarded({ token: 'another' }, async ({ guard, pins }) => {
    await guard.remove();
    assert.ok(existsSync(pins.mapsDirectory));
  });
});

answers('keeps everything when it is released', async () => {
  let kept: Guarded | undefined;
  await guarded({}, async (context) => {
    kept = context;
    await context.guard.release();
    await until(() => !existsSync(`/proc/${context.guard.pid}`));
    assert.ok(context.isAttached());
    assert.ok(existsSync(context.pins.mapsDirectory));
  });
  assert.ok(kept !== undefined);
});

answers('detaches and removes by itself what is left to it', async () => {
  await guarded({}, async ({ guard, pins, isAttached }) => {
    guard.leave();
    await until(() => !existsSync(pins.directory));
    assert.not(isAttached());
  });
});

/** What `net show` and `net detach` do while a link that is pinned holds the program: the kernel refuses to detach. */
const HELD_BY_LINK = {
  show: `echo xdp:; [ ! -e "\${0%/*}/xdpwho/eth0/link" ] || echo "eth0(2) driver id ${PROGRAM}"; echo; echo tc:`,
  detach: 'echo "Error: it is held" >&2; exit 16',
};

answers('ends a link that stays pinned, told to or left to it', async () => {
  await guarded(HELD_BY_LINK, async ({ guard, pins }) => {
    writeFileSync(pins.link, '');
    assert.is(await guard.detach(), 'detached');
    assert.not(existsSync(pins.link));
  });
  await guarded(HELD_BY_LINK, async ({ guard, pins }) => {
    writeFileSync(pins.link, '');
    guard.leave();
    await until(() => !existsSync(pins.directory));
  });
});

answers('leaves a link in a directory that has got the record of another attachment', async () => {
  await guarded({ ...HELD_BY_LINK, token: 'another' }, async ({ guard, pins }) => {
    writeFileSync(pins.link, '');
    const message = await failureOf(guard.detach());
    assert.is(message, `eth0: program ${PROGRAM} is still attached: it is held`);
    assert.ok(existsSync(pins.link));
  });
});

answers('tells the commands that it runs, if anybody listens', async () => {
  const commands: string[] = [];
  const stop = observeCommands((file, args) => commands.push([file, ...args].join(' ')));
  try {
    await guarded({}, async ({ guard }) => {
      await guard.detach();
    });
  } finally {
    stop();
  }
  const ran = commands.map((command) => command.replace(/^\S*\/bpftool /, ''));
  assert.equal(ran, ['-n net show', '-n net detach xdpdrv dev eth0', '-n net show']);
});

answers(
  'that is killed between two words is replaced, and the next one knows the program',
  async () => {
    await guarded({}, async ({ guard, isAttached }) => {
      const first = guard.pid;
      process.kill(first, 'SIGKILL');
      await until(() => guard.pid !== first);
      assert.is(await guard.detach(), 'detached');
      assert.not(isAttached());
      process.kill(guard.pid, 'SIGKILL');
      assert.is(await guard.remove(), true);
    });
  },
);

answers('that is stopped is replaced when it does not answer in time', async () => {
  await guarded({}, async ({ guard, isAttached }) => {
    const first = guard.pid;
    process.kill(first, 'SIGSTOP');
    assert.is(await guard.detach(), 'detached');
    assert.is.not(guard.pid, first);
    assert.not(isAttached());
    assert.not(existsSync(`/proc/${first}`));
  });
});

answers.run();
