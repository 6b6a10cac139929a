import * as assert from 'uvu/assert';
import type { Verb } from '../../src/cli/command.js';
import { chooseOptions, INTERFACES, interfacesIn, outputOption } from '../../src/cli/options.js';
import { type CommandInvocation, defineCommand, parseCommandLine } from '../../src/cli/parser.js';
import { DEFAULT_VERB, VERBS } from '../../src/commands/verbs.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { suite } from '../suite.js';

const OWN = { verbs: VERBS, defaultVerb: DEFAULT_VERB, version: '1.2.3' };

async function textOf(...words: string[]): Promise<string> {
  const invocation = await parseCommandLine(words, OWN);
  if (invocation.kind !== 'text') throw new Error(`a command: ${words.join(' ')}`);
  return invocation.text;
}

async function commandOf(...words: string[]): Promise<CommandInvocation> {
  const invocation = await parseCommandLine(words, OWN);
  if (invocation.kind !== 'command') throw new Error(`a text: ${words.join(' ')}`);
  return invocation;
}

/** The message of the error, and its hint. */
async function refusalOf(...words: string[]): Promise<(string | undefined)[]> {
  try {
    await parseCommandLine(words, OWN);
  } catch (error) {
    assert.ok(error instanceof XdpwhoError, String(error));
    assert.is(error.code, 'usage');
    return [error.message, error.hint];
  }
  throw new Error(`taken: ${words.join(' ')}`);
}

const help = suite('help');

help('is one text, however it is asked for', async () => {
  const text = await textOf('--help');
  assert.match(text, /^Usage: xdpwho \[watch\] \[interface/);
  for (const words of [['-h'], ['help'], ['-v', '--help'], ['help', '--help'], ['-q', 'help']]) {
    assert.is(await textOf(...words), text, words.join(' '));
  }
});

help('of a verb comes with `help VERB`, `VERB --help` and `--help VERB`', async () => {
  for (const { verb } of VERBS) {
    const text = await textOf('help', verb);
    assert.match(text, new RegExp(`^Usage: xdpwho ${verb}\\b`));
    assert.is(await textOf(verb, '--help'), text);
    assert.is(await textOf('-h', verb), text);
  }
  assert.is(await textOf('eth0', '--help'), await textOf('watch', '--help'), 'the default verb');
});

help('comes also beside what is wrong', async () => {
  assert.is(await textOf('watch', '--frobnicate', '--help'), await textOf('help', 'watch'));
  assert.is(await textOf('watch', '--color', 'blue', '--help'), await textOf('help', 'watch'));
});

help('of what is no verb is refused', async () => {
  assert.equal(await refusalOf('help', 'wacth'), [
    ...['wacth: no such command', 'did you mean: xdpwho help watch'],
  ]);
  assert.equal(await refusalOf('help', 'eth0'), ['eth0: no such command', 'xdpwho --help']);
});

help('leaves an interface that is called help to the verbs', async () => {
  for (const words of [
    ['watch', 'help'],
    ['-i', 'help'],
    ['watch', '--', 'help'],
  ]) {
    assert.is((await commandOf(...words)).kind, 'command', words.join(' '));
  }
});

help('is not the version', async () => {
  assert.is(await textOf('--version'), '1.2.3\n');
  assert.is(await textOf('watch', '--version'), '1.2.3\n');
});

help.run();

/** Two verbs that tell what they were given. */
function recorder() {
  let given: unknown;
  const verb = (name: string): Verb => {
    const command = defineCommand({
      verb: name,
      describe: 'tells what it was given',
      arguments: INTERFACES,
      options: {
        ...chooseOptions('iface', 'netns', 'interval', 'max-sources', 'dry-run'),
        ...outputOption('table', 'json'),
      },
      examples: [],
      handler: async (options) => {
        const { netns, interval, maxSources, dryRun, output } = options;
        const names = interfacesIn(options);
        given = { name, names, netns, interval, maxSources, dryRun, output };
        return 0;
      },
    });
    return { verb: name, describe: 'tells what it was given', load: async () => command };
  };
  const [first, second] = [verb('first'), verb('second')];
  const options = { verbs: [first, second], defaultVerb: first, version: '0' };
  return async (...words: string[]): Promise<unknown> => {
    const invocation = await parseCommandLine(words, options);
    if (invocation.kind !== 'command') throw new Error('a text');
    // The handler does not look at its context.
    await invocation.run(Object.create(null));
    return given;
  };
}

const DEFAULTS = {
  ...{ netns: undefined, interval: 1000, maxSources: undefined, dryRun: false, output: 'table' },
};

const values = suite('a command line');

values('gives a command its words and the values of its options', async () => {
  const given = recorder();
  assert.equal(await given('second', 'eth0', '--max-sources', '7', '-no', 'json', '-i', 'eth1'), {
    ...{ name: 'second', names: ['eth0', 'eth1'], ...DEFAULTS },
    ...{ maxSources: 7, dryRun: true, output: 'json' },
  });
  assert.equal(await given('eth0', '--json'), {
    ...{ name: 'first', names: ['eth0'], ...DEFAULTS, output: 'json' },
  });
});

values('names the verb after options too', async () => {
  const given = recorder();
  const second = { name: 'second', names: ['eth0'], ...DEFAULTS };
  assert.equal(await given('-n', 'second', 'eth0'), { ...second, dryRun: true });
  assert.equal(await given('--json', 'second', 'eth0'), { ...second, output: 'json' });
  assert.equal(await given('--netns', 'blue', 'second', 'eth0'), { ...second, netns: 'blue' });
});

values('does not take the value of an option for the verb', async () => {
  const given = recorder();
  const first = { name: 'first', names: ['eth0'], ...DEFAULTS };
  assert.equal(await given('--netns', 'second', 'eth0'), { ...first, netns: 'second' });
  assert.equal(await given('eth0', '--netns=second'), { ...first, netns: 'second' });
});

values('has interfaces with the names of verbs and options', async () => {
  const given = recorder();
  const names = async (...words: string[]) => {
    const found = await given(...words);
    return typeof found === 'object' && found !== null && 'names' in found ? found.names : found;
  };
  assert.equal(await names('first', 'first', 'second'), ['first', 'second']);
  assert.equal(await names('second', '--', '-n', '--json', 'help'), ['-n', '--json', 'help']);
  assert.equal(await names('first', 'help'), ['help']);
});

values.run();

const wrong = suite('a wrong command line');

wrong('has a hint only at options that the verb has', async () => {
  assert.equal(await refusalOf('dump', 'eth0', '--keep-going'), [
    ...['unknown option: --keep-going', 'xdpwho dump --help'],
  ]);
  assert.equal(await refusalOf('attach', 'eth0', '--keep-goin'), [
    ...['unknown option: --keep-goin', 'did you mean --keep-going? See xdpwho attach --help'],
  ]);
  assert.equal(await refusalOf('dump', 'eth0', '--drop'), [
    ...['unknown option: --drop', 'did you mean --top? See xdpwho dump --help'],
  ]);
});

wrong('never has a hint at the option itself, nor at a hidden one', async () => {
  for (const { verb, load } of VERBS) {
    const { description } = await load();
    for (const name of ['objekts', 'no-colour', 'all-of-it', 'maxSourcs', 'xyz']) {
      const [message, hint = ''] = await refusalOf(verb, `--${name}`, 'x');
      assert.match(message ?? '', /^unknown option: |^unexpected argument: /);
      const near = /^did you mean --([\w-]+)\?/.exec(hint)?.[1];
      if (near === undefined) continue;
      const known = [...Object.keys(description.options), 'quiet', 'verbose', 'color', 'bpftool'];
      assert.ok([...known, 'help', 'version'].includes(near), `${verb} --${name}: ${hint}`);
      assert.ok(!['objects', 'no-color'].includes(near), hint);
    }
  }
});

wrong('is told with the help of the verb that it names', async () => {
  assert.equal(await refusalOf('--netns', 'dump', 'eth0', '--frobnicate'), [
    ...['unknown option: --frobnicate', 'xdpwho watch --help'],
  ]);
  assert.equal(await refusalOf('-n', 'dump', 'eth0', '--interval=5'), [
    ...['unknown option: --interval', 'xdpwho dump --help'],
  ]);
});

wrong('has too many words', async () => {
  assert.equal(await refusalOf('completion', 'bash', 'zsh'), [
    ...['unexpected argument: zsh', 'xdpwho completion --help'],
  ]);
  assert.equal(await refusalOf('clean', '--', 'eth0'), [
    ...['unexpected argument: eth0', 'xdpwho clean --help'],
  ]);
});

wrong('asks for records of a command that prints none', async () => {
  assert.equal(await refusalOf('report', 'x.ndjson', '--json'), [
    ...['unknown option: --json', 'xdpwho report --help'],
  ]);
});

wrong.run();
