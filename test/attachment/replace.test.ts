import * as assert from 'uvu/assert';
import { Attachment } from '../../src/attachment/attachment.js';
import { pinsAt } from '../../src/attachment/pin-paths.js';
import { replacementMode } from '../../src/attachment/replace.js';
import { Bpftool } from '../../src/host/bpftool.js';
import { ownNetns } from '../../src/host/netns.js';
import type { AttachMode } from '../../src/model/records.js';
import { suite } from '../suite.js';
import { STATE } from './pin-directory.js';

/** An attachment in a mode. `asked` is the mode that its user asked for. */
function attached(mode: AttachMode, asked: 'auto' | AttachMode): Attachment {
  return new Attachment(
    { bpftool: new Bpftool({ path: '/nonexistent' }) },
    {
      pins: pinsAt('/sys/fs/bpf', 'eth0'),
      netns: ownNetns(),
      state: { ...STATE, programId: 9, mode, modeAsked: asked, reader: 'iterator' },
    },
  );
}

const NATIVE_FIRST = { first: 'native', second: 'generic', note: 'it costs' } as const;
const ONLY = (mode: AttachMode) => ({ first: mode, second: undefined, note: 'it costs' }) as const;

const modes = suite('replacementMode');

for (const [mode, before, asked, choice, overwrite] of [
  ['native', 'auto', 'auto', NATIVE_FIRST, true],
  ['native', 'native', 'auto', NATIVE_FIRST, true],
  ['native', 'native', 'native', ONLY('native'), true],
  ['native', 'auto', 'generic', ONLY('generic'), false],
  // auto has found that there is no native mode.
  ['generic', 'auto', 'auto', NATIVE_FIRST, true],
  ['generic', 'auto', 'generic', ONLY('generic'), true],
  ['generic', 'generic', 'generic', ONLY('generic'), true],
  // Nobody has tried native mode.
  ['generic', 'generic', 'auto', NATIVE_FIRST, false],
  ['generic', 'auto', 'native', ONLY('native'), false],
  ['generic', 'generic', 'native', ONLY('native'), false],
  // auto takes generic mode on this device.
  ['native', 'auto', 'auto', ONLY('generic'), false],
  ['generic', 'generic', 'auto', ONLY('generic'), true],
] as const) {
  modes(`${mode}, by ${before}, and now ${asked}, ${choice.first} first`, () => {
    const old = attached(mode, before);
    const note = mode === choice.first ? choice.note : null;
    const used = overwrite ? { first: mode, second: undefined, note } : choice;
    assert.equal(replacementMode(old, { mode: asked }, choice), { overwrite, choice: used });
    if (asked === 'auto') {
      assert.equal(replacementMode(old, {}, choice), { overwrite, choice: used });
    }
  });
}

modes.run();
