import * as assert from 'uvu/assert';
import { commandWith, hintOf } from '../../src/cli/again.js';
import { suite } from '../suite.js';

const again = suite('the hint of an error');

again('is the same command with the option that avoids it', () => {
  const auto = { option: '--mode', value: 'auto' };
  for (const [words, expected] of [
    [['attach', 'br0', '--mode', 'native'], 'xdpwho attach --mode auto br0'],
    [['attach', 'br0', '--mode=native', '-q'], 'xdpwho attach --mode auto br0 -q'],
    [['br0'], 'xdpwho --mode auto br0'],
    [['-v', 'log', 'br0'], 'xdpwho -v log --mode auto br0'],
    [
      ['watch', 'e 0', '--netns', '/run/netns/a b', '--bpffs', '/x'],
      "xdpwho watch --mode auto 'e 0' --netns '/run/netns/a b' --bpffs /x",
    ],
    [['watch', '--', '--mode'], 'xdpwho watch --mode auto -- --mode'],
  ] as const) {
    assert.is(commandWith(words, auto), expected);
  }
  assert.is(
    commandWith(['attach', 'eth0', '--replace'], { option: '--replace' }),
    'xdpwho attach --replace eth0',
  );
  const beside = { option: '--beside', without: ['--mode'] };
  for (const words of [
    ['watch', 'eth0', '--mode', 'native', '--top', '3'],
    ['watch', 'eth0', '--mode=native', '--top', '3'],
    ['watch', 'eth0', '--top', '3'],
  ]) {
    assert.is(commandWith(words, beside), 'xdpwho watch --beside eth0 --top 3');
  }
});

again('has what else helps behind it', () => {
  const retry = { option: '--reader', value: 'dump' };
  assert.is(
    hintOf({ retry, hint: 'or look: xdpwho doctor' }, ['eth0']),
    'xdpwho --reader dump eth0, or look: xdpwho doctor',
  );
  assert.is(hintOf({ hint: 'ip link show' }, ['eth0']), 'ip link show');
  assert.is(hintOf({}, ['eth0']), undefined);
});

again.run();
