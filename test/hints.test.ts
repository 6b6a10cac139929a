/** Every command of ours that a hint of the source names is one that the command line takes. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { parseCommandLine } from '../src/cli/parser.js';
import { DEFAULT_VERB, VERBS } from '../src/commands/verbs.js';
import { suite } from './suite.js';

const SOURCE = fileURLToPath(new URL('../src', import.meta.url));

/** What stands for a value in a hint, and a value. */
const VALUES: Readonly<Record<string, string>> = {
  NAME: 'blue',
  DIRECTORY: '/tmp',
  IFACE: 'eth0',
  FILE: 'file',
  near: 'watch',
  command: 'doctor',
  'FILE.ndjson': 'file.ndjson',
};

/** The commands that the texts of a file name: `xdpwho VERB ...` in a hint or a fix, and ownCommand('VERB ...'). */
function commandsIn(text: string): string[][] {
  const lines = text
    .split('\n')
    .filter((line) => !/^ *(\*|\/[/*])/.test(line))
    .filter((line) => /\bhint|\bfix|REMEDIES|others =|^ {2}'?[\w-]+'?: '; xdpwho/.test(line));
  const named = lines.flatMap((line) =>
    [...line.matchAll(/(?<![\w./-])xdpwho ([^'`,;>|]+)/g)].map((match) => match[1] ?? ''),
  );
  const made = [...text.matchAll(/ownCommand\(\s*'([^']+)'/g)].map((match) => `${match[1]} IFACE`);
  return [...named, ...made].map((command) =>
    command
      .trim()
      // What stands behind the command in a sentence.
      .replace(/ (removes it|writes one|see .*)$/, '')
      .split(' ')
      .filter((word) => word !== '...')
      .map(
        (word) =>
          VALUES[word] ??
          VALUES[/^\$\{(\w+)/.exec(word)?.[1] ?? ''] ??
          word.replace(/\$\{[^}]*\}?/, 'eth0'),
      ),
  );
}

const hints = suite('the commands of hints');

const files = readdirSync(SOURCE, { recursive: true })
  .map(String)
  .filter((name) => name.endsWith('.ts'));
const commands = files.flatMap((name) =>
  commandsIn(readFileSync(`${SOURCE}/${name}`, 'utf8')).map((words) => ({ name, words })),
);

hints('are found', () => {
  const verbs = new Set(commands.map(({ words }) => words[0]));
  for (const verb of ['attach', 'detach', 'clean', 'doctor', 'status', 'dump', 'log', 'build']) {
    assert.ok(verbs.has(verb), verb);
  }
});

for (const { name, words } of commands) {
  hints(`${name}: xdpwho ${words.join(' ')}`, async () => {
    const parsed = await parseCommandLine(words, {
      verbs: VERBS,
      defaultVerb: DEFAULT_VERB,
      version: '0',
    });
    const [verb = ''] = words;
    const isVerb = VERBS.some((each) => each.verb === verb);
    assert.ok(isVerb || verb.startsWith('-') || verb === 'help', `no verb: ${verb}`);
    assert.ok(['command', 'text'].includes(parsed.kind));
  });
}

hints.run();
