import * as assert from 'uvu/assert';
import { ownCommand, quoteWord, renderCommand } from '../../src/text/shell-words.js';
import { suite } from '../suite.js';

const commands = suite('renderCommand, quoteWord, ownCommand');

commands('a command of ours is about the interface that was meant, whatever it is called', () => {
  assert.is(ownCommand('dump', { interface: 'eth0', netns: null }), 'xdpwho dump eth0');
  assert.is(
    ownCommand('attach --replace', { interface: 'eth0', netns: 'blue', bpffs: '/tmp/a b' }),
    "xdpwho attach --replace eth0 --netns blue --bpffs '/tmp/a b'",
  );
  assert.is(ownCommand('log', { interface: '$(id)' }), "xdpwho log '$(id)'");
  assert.is(ownCommand('log', { interface: '-x', netns: 'blue' }), 'xdpwho log --netns blue -- -x');
});

commands('prints words as a shell reads them back', () => {
  assert.is(
    renderCommand('/usr/sbin/bpftool', ['-j', 'net', 'show', 'dev', 'eth0.100']),
    '/usr/sbin/bpftool -j net show dev eth0.100',
  );
  assert.equal(['', 'a b', "it's", '$(id)', '*', 'a;b', '~'].map(quoteWord), [
    "''",
    "'a b'",
    "'it'\\''s'",
    "'$(id)'",
    "'*'",
    "'a;b'",
    "'~'",
  ]);
});

commands.run();
