/** The library as a program uses it: through the package's name, and from its examples. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import {
  attach,
  attachToStay,
  detach,
  dump,
  log,
  openSession,
  status,
  watch,
  XdpwhoError,
} from '../../src/index.js';
import { udpFrame } from '../../src/model/frames.js';
import { propertyOf } from '../../src/model/json-values.js';
import { suite } from '../suite.js';
import { Lab, WHY_NOT } from './lab.js';

interface Context {
  lab: Lab;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const test = suite<Context>('the library', WHY_NOT);

test.before(async (context) => {
  context.lab = await Lab.create({ bridged: true });
});

test.after.each(async ({ lab }) => {
  await lab.untilNothingLeft();
});

test.after(async ({ lab }) => {
  await lab.close();
});

/** eth0 of the lab. */
function place({ netns, bpffs }: Lab) {
  return { interface: 'eth0', netns, bpffs };
}

test('attaches for a block, and dumps and tells meanwhile', async ({ lab }) => {
  {
    await using attachment = await attach(place(lab));
    assert.is(attachment.interface, 'eth0');
    await lab.send(udpFrame({ source: '192.0.2.1' }), 5);
    await lab.send(udpFrame({ source: '198.51.100.1' }), 7);
    const whole = await dump(place(lab));
    assert.equal(
      whole.sources.map(({ source, packets }) => [source, packets]),
      [
        ['198.51.100.1', 7n],
        ['192.0.2.1', 5n],
      ],
    );
    const network = await dump({ ...place(lab), source: '192.0.2.0/24', group: '8' });
    assert.equal(
      network.sources.map(({ source, packets }) => [source, packets]),
      [['192.0.0.0/8', 5n]],
    );
    const [record] = await status({ ...place(lab), interfaces: ['eth0'] });
    assert.equal([record?.ownership, record?.packets], ['foreground', 12n]);
  }
  assert.is((await lab.attached()).length, 0);
});

test('what is kept stays until it is detached', async ({ lab }) => {
  const attachment = await attach(place(lab));
  await attachment.keep();
  assert.is((await status({ ...place(lab), interfaces: ['eth0'] }))[0]?.ownership, 'ours');
  assert.is(await detach(place(lab)), true);
  assert.is(await detach(place(lab)), false);
});

test('what is kept stays after its process, however that ends, and detach ends it', async ({
  lab,
}) => {
  const keeping = `
    import { attach } from ${JSON.stringify(`${ROOT}/dist/index.js`)};
    const attachment = await attach(JSON.parse(process.argv[1]));
    await attachment.keep();
    console.log(JSON.stringify(attachment.record));
    setInterval(() => {}, 1000);`;
  const args = ['--input-type=module', '-e', keeping, JSON.stringify(place(lab))];
  const running = execa(process.execPath, args, { reject: false, forceKillAfterDelay: false });
  const [said] = await once(running.stdout, 'data').finally(() => running.kill('SIGKILL'));
  await running;
  assert.is(propertyOf(JSON.parse(String(said)), 'held_by'), null);
  const [there, ...more] = await lab.attached();
  assert.is(more.length, 0);
  const [record] = await status({ ...place(lab), interfaces: ['eth0'] });
  assert.equal(
    [record?.ownership, record?.program_id, record?.held_by],
    ['ours', there?.programId, null],
  );
  await lab.send(udpFrame({ source: '192.0.2.1' }), 5);
  assert.is((await dump(place(lab))).totals.packets, 5n);
  assert.is(await detach(place(lab)), true);
  assert.equal(await lab.attached(), []);
});

test('what is closed twice is closed once', async ({ lab }) => {
  const attachment = await attach(place(lab));
  assert.is(await attachment.close(), true);
  await attachToStay([place(lab)]);
  assert.is(await attachment.close(), true);
  assert.is((await lab.attached()).length, 1, 'what is there now is another one');
  assert.is(await detach(place(lab)), true);
});

test('what is attached to stay stays, and is not changed the second time', async ({ lab }) => {
  const first = await attachToStay([place(lab)]);
  assert.equal(
    first.map(({ interface: name, changed, failure }) => ({ name, changed, failure })),
    [{ name: 'eth0', changed: true, failure: undefined }],
  );
  const second = await attachToStay([place(lab), { ...place(lab), interface: 'nosuch0' }], {
    keepGoing: true,
  });
  assert.is(second.find((each) => each.interface === 'eth0')?.changed, false);
  assert.is(
    second.find((each) => each.interface === 'nosuch0')?.failure?.code,
    'no-such-interface',
  );
  assert.is(await detach(place(lab)), true);
});

test('watches until the loop is left, and detaches then', async ({ lab }) => {
  const { netns, bpffs } = lab;
  const kinds: string[] = [];
  for await (const event of watch({ interfaces: ['eth0'], netns, bpffs, intervalMs: 100 })) {
    kinds.push(event.kind);
    if (event.kind === 'attached') await lab.send(udpFrame({ source: '192.0.2.1' }), 3);
    if (event.kind !== 'readings') continue;
    assert.is(event.readings[0]?.sources[0]?.packets, 3n);
    assert.ok(
      !Number.isNaN(Date.parse(event.readings[0]?.totals.time ?? '')),
      'the time of the reading',
    );
    break;
  }
  assert.equal(kinds, ['attached', 'readings']);
  assert.is((await lab.attached()).length, 0);
});

test('an AbortSignal ends it in order, with a final reading', async ({ lab }) => {
  const { netns, bpffs } = lab;
  const ending = new AbortController();
  const kinds: string[] = [];
  const { signal } = ending;
  for await (const event of watch({ interfaces: ['eth0'], netns, bpffs, signal })) {
    kinds.push(event.kind === 'readings' && event.final ? 'final' : event.kind);
    if (event.kind === 'attached') ending.abort();
  }
  assert.equal(kinds, ['attached', 'final', 'detached']);
});

test('logs one record for each packet', async ({ lab }) => {
  const { netns, bpffs } = lab;
  let packets = 0;
  for await (const event of log({ interfaces: ['eth0'], netns, bpffs, count: 4 })) {
    if (event.kind === 'attached') await lab.send(udpFrame({ source: '192.0.2.9' }), 4);
    if (event.kind === 'packets') packets += event.packets.length;
  }
  assert.is(packets, 4);
});

test('a log that joins has everything from the moment it says so', async ({ lab }) => {
  await attachToStay([{ ...place(lab), log: {} }]);
  await lab.send(udpFrame({ source: '192.0.2.8' }), 3);
  const { netns, bpffs } = lab;
  const sources: string[] = [];
  for await (const event of log({ interfaces: ['eth0'], netns, bpffs, durationMs: 200 })) {
    // Before the next event is asked for, and so before the first pass after it.
    if (event.kind === 'joined') await lab.send(udpFrame({ source: '192.0.2.9' }), 4);
    if (event.kind !== 'packets') continue;
    for (const { source } of event.packets.records('eth0')) sources.push(source);
  }
  assert.equal(sources, Array(4).fill('192.0.2.9'));
  await detach(place(lab));
});

test('rejects with a code that a program can act upon', async ({ lab }) => {
  const session = await openSession();
  const failures: readonly (readonly [code: string, call: () => Promise<unknown>])[] = [
    ['not-attached', () => dump({ ...place(lab), session })],
    ['no-such-interface', () => attach({ ...place(lab), interface: 'nosuch0', session })],
    ['usage', () => dump({ ...place(lab), source: 'x', session })],
    ['tool-missing', () => openSession({ bpftool: '/nowhere/bpftool' })],
  ];
  for (const [code, call] of failures) {
    try {
      await call();
    } catch (error) {
      assert.ok(error instanceof XdpwhoError, String(error));
      assert.is(error.code, code);
      continue;
    }
    assert.unreachable(code);
  }
});

test('the examples run, by the name of the package', async ({ lab }) => {
  // One takes TCX, the other generic mode.
  const isAttached = async () =>
    (await status({ session: lab.context, bpffs: lab.bpffs })).some(
      ({ packets }) => packets !== null,
    );
  const example = async (name: string, args: readonly string[]) => {
    const running = execa(
      process.execPath,
      ['--import', 'tsx', `${ROOT}/examples/${name}.ts`, ...args],
      { cwd: ROOT },
    );
    await lab.until(isAttached, 'attached');
    await lab.send(udpFrame({ source: '192.0.2.1' }), 6);
    return (await running).stdout;
  };
  assert.is(await example('top-talkers', ['eth0', '2', lab.netns, lab.bpffs]), '192.0.2.1\t6');
  assert.match(
    await example('scoped', ['eth0', lab.netns, lab.bpffs]),
    /^attached in generic mode\n192\.0\.2\.0\/24\t6\n6 packets in all$/,
  );
});

test.run();
