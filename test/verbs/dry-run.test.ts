import * as assert from 'uvu/assert';
import { Attachment } from '../../src/attachment/attachment.js';
import type { SessionContext } from '../../src/attachment/context.js';
import { initialState } from '../../src/attachment/defaults.js';
import type { InventoryEntry } from '../../src/attachment/find.js';
import { targetOf } from '../../src/attachment/target.js';
import { Bpftool } from '../../src/host/bpftool.js';
import { ownNetns } from '../../src/host/netns.js';
import {
  planAttachment,
  planDetachment,
  planReading,
  planReplacement,
} from '../../src/verbs/dry-run.js';
import { suite } from '../suite.js';

const BPFFS = '/tmp/no bpffs';
const context: SessionContext = {
  bpftool: new Bpftool({ path: '/x/bpftool' }),
  objectsDirectory: '/x',
};
const target = targetOf('lo', ownNetns(), { bpffs: BPFFS });
const { pins } = target;

/** Commands by the words that tell what they do. */
function words(plan: readonly { file: string; args: readonly string[] }[]): string[] {
  return plan.map(({ file, args }) => {
    const name = file.split('/').at(-1) ?? '';
    return name === 'bpftool' ? args.slice(2, 4).join(' ') : name;
  });
}

function entryWith(reader: 'iterator' | 'dump'): InventoryEntry & { attachment: Attachment } {
  const netns = ownNetns();
  const state = { ...initialState({ device: 'lo', netns }, {}), token: '0123456789abcdef' };
  const attachment = new Attachment(context, {
    ...{ pins, netns },
    state: { ...state, programId: 7, mode: 'generic', reader },
  });
  return {
    ...{ interface: 'lo', netns: null, ownership: 'ours', why: null, mode: 'generic' },
    ...{
      programId: 7,
      pinnedId: 7,
      programName: 'xdpwho',
      reader,
      file: null,
      state,
      holder: null,
      pins,
    },
    attachment,
  };
}

const planning = suite('plan');

planning("attaching mounts what is absent, and its steps come in the session's order", async () => {
  const plan = await planAttachment(context, target, { fileMode: 0o444, stays: true });
  assert.equal(words(plan), [
    ...['mount', 'mkdir', 'mkdir', 'ln', 'mkdir', 'map create', 'map create', 'map create'],
    ...['prog load', 'prog show'],
    ...['ln', 'iter pin', 'iter pin', 'rm', 'chmod', 'chmod', 'net attach'],
  ]);
  assert.equal(plan.at(-1)?.args.slice(-6), [
    'attach',
    'xdpdrv',
    'pinned',
    pins.program,
    'dev',
    'lo',
  ]);
  assert.equal(plan[14]?.args, ['0444', pins.sourcesFile, pins.totalsFile]);
  assert.equal(plan[15]?.args, ['0711', `${BPFFS}/xdpwho`, pins.directory]);
});

planning('what is not asked for is not in it', async () => {
  const plan = await planAttachment(context, target, {
    ...{ reader: 'dump', mode: 'generic', stays: true },
  });
  assert.not.ok(words(plan).includes('iter pin'));
  assert.not.ok(words(plan).includes('chmod'));
  assert.ok(plan.at(-1)?.args.includes('xdpgeneric'));
});

planning(
  'what is not to stay is attached by a link, whose lines are told as batch gets them',
  async () => {
    const plan = await planAttachment(context, target, { reader: 'dump' });
    assert.equal(
      plan.slice(-5).map(({ file, args }) => [file, ...args].join(' ')),
      [
        '/x/bpftool -n batch file -',
        `prog run pinned ${pins.program} data_in $SCRATCH/frame repeat 1`,
        `prog load $SCRATCH/link.o ${pins.linkMaker}`,
        `prog run pinned ${pins.linkMaker} repeat 0`,
        `rm ${pins.linkMaker}`,
      ],
    );
    assert.not.ok(words(plan).includes('net attach'));
  },
);

planning('detaching looks before and after, and only where it is attached', () => {
  const entry = entryWith('iterator');
  assert.equal(words(planDetachment(context, entry)), ['net show', 'net detach', 'net show', 'rm']);
  assert.ok(planDetachment(context, entry)[1]?.args.includes('xdpgeneric'));
  assert.equal(words(planDetachment(context, { ...entry, attachment: null })), ['rm']);
  assert.equal(planDetachment(context, { ...entry, pins: null }), []);
});

planning(
  'replacing puts the new program over the old one, and detaches it first only for another mode',
  async () => {
    const entry = entryWith('iterator');
    const plan = await planReplacement(context, entry, target, { reader: 'dump' });
    assert.equal(words(plan).slice(-4), ['net attach', 'mv', 'mv', 'rm']);
    assert.ok(plan.at(-4)?.args.includes('xdpgeneric'));
    assert.is(plan.at(-4)?.args.at(-1), 'overwrite');
    assert.not.ok(words(plan).includes('net detach'));
    const native = await planReplacement(context, entry, target, { mode: 'native' });
    assert.equal(words(native).slice(-7, -3), ['net show', 'net detach', 'net show', 'net attach']);
    assert.is(native.at(-4)?.args.at(-1), 'lo');
  },
);

planning('reading takes the totals before the sources and after them', () => {
  const { attachment } = entryWith('iterator');
  const files = planReading(context, attachment).map(({ file, args }) => [file, ...args]);
  assert.equal(files, [
    ['cat', pins.totalsFile],
    ['cat', pins.sourcesFile],
    ['cat', pins.totalsFile],
  ]);
  const maps = planReading(context, entryWith('dump').attachment);
  assert.equal(
    maps.map(({ args }) => args.at(-1)),
    [pins.totalsMap, pins.sourcesMap, pins.totalsMap],
  );
});

planning.run();
