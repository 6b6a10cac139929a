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

const modes = suite('replacementMode');

for (const [mode, before, asked, overwrite, used] of [
  ['native', 'auto', 'auto', true, 'native'],
  ['native', 'native', 'auto', true, 'native'],
  ['native', 'native', 'native', true, 'native'],
  ['native', 'auto', 'generic', false, 'generic'],
  // auto has found that there is no native mode.
  ['generic', 'auto', 'auto', true, 'generic'],
  ['generic', 'auto', 'generic', true, 'generic'],
  ['generic', 'generic', 'generic', true, 'generic'],
  // Nobody has tried native mode.
  ['generic', 'generic', 'auto', false, 'auto'],
  ['generic', 'auto', 'native', false, 'native'],
  ['generic', 'generic', 'native', false, 'native'],
] as const) {
  modes(`${mode}, by ${before}, and now ${asked}`, () => {
    const old = attached(mode, before);
    assert.equal(replacementMode(old, { mode: asked }), { overwrite, mode: used });
    if (asked === 'auto') assert.equal(replacementMode(old, {}), { overwrite, mode: used });
  });
}

modes.run();
