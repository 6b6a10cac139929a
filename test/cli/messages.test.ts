import * as assert from 'uvu/assert';
import { Messages } from '../../src/cli/messages.js';
import { announceCommand } from '../../src/host/command-log.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { suite } from '../suite.js';

const test = suite('messages');

function messages(options: { quiet?: boolean; verbose?: boolean }) {
  const lines: string[] = [];
  return { lines, messages: new Messages((text) => lines.push(text), options) };
}

const ERROR = new XdpwhoError('failed', 'eth0: failed', { hint: 'xdpwho doctor' });

test('are lines that no name can make more of', () => {
  const { lines, messages: own } = messages({});
  own.info('a\nb: detached');
  own.error(ERROR);
  assert.equal(lines, [
    'xdpwho: a\\x0ab: detached\n',
    'xdpwho: eth0: failed\n',
    '  hint: xdpwho doctor\n',
  ]);
});

test('are errors only where the user asked for quiet', () => {
  const { lines, messages: own } = messages({ quiet: true });
  own.info('eth0: detached');
  own.error(ERROR);
  assert.equal(lines, ['xdpwho: eth0: failed\n', '  hint: xdpwho doctor\n']);
});

test('have each command among them where the user asked for that', () => {
  const quiet = messages({});
  announceCommand('/usr/sbin/bpftool', ['net', 'show']);
  assert.equal(quiet.lines, []);
  const { lines } = messages({ verbose: true });
  announceCommand('/usr/sbin/bpftool', ['net', 'show', 'dev', '$(id)']);
  assert.equal(lines, ["+ /usr/sbin/bpftool net show dev '$(id)'\n"]);
});

test.run();
