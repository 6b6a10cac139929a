import * as assert from 'uvu/assert';
import { checkIterator, describeRefusal } from '../../src/doctor/iterator.js';
import { suite } from '../suite.js';

const reading = suite('checkIterator');

reading('without a bpftool it says that it does not know', async () => {
  const { status, detail } = await checkIterator(undefined, '/nowhere');
  assert.equal([status, detail], ['warn', 'unknown: no bpftool that works']);
});

reading(
  'a refusal names lockdown where that is the reason, and else the modules that there are',
  () => {
    for (const [modules, lockdown, text] of [
      [undefined, undefined, 'a security module of the kernel refuses it'],
      [
        'capability',
        '[none] integrity confidentiality',
        'a security module of the kernel refuses it',
      ],
      [
        'lockdown,capability,yama,apparmor\n',
        'none [integrity] confidentiality',
        'a security module of the kernel refuses it, of lockdown, yama, apparmor',
      ],
      [
        'lockdown,capability',
        'none integrity [confidentiality]',
        'kernel lockdown refuses it: confidentiality',
      ],
    ] as const) {
      assert.is(describeRefusal(modules, lockdown), text);
    }
  },
);

reading.run();
