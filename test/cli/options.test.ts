import * as assert from 'uvu/assert';
import {
  chooseOptions,
  GENERAL_OPTIONS,
  interfacesIn,
  OPTIONS,
  type OptionTable,
  outputOption,
  visibleOptions,
} from '../../src/cli/options.js';
import { loadCommands } from '../../src/commands/verbs.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { suite } from '../suite.js';

const commands = (await loadCommands()).map(({ description }) => description);
const tables = [OPTIONS, ...commands.map(({ options }) => options)];

/** The message with which an option refuses a value, or undefined. */
function refusalOf(coerce: ((given: string) => unknown) | undefined, text: string) {
  try {
    coerce?.(text);
  } catch (error) {
    assert.ok(error instanceof XdpwhoError, String(error));
    assert.is(error.code, 'usage');
    return error.message;
  }
  return undefined;
}

const test = suite('the table of options');

test('calls each option by its own name when it refuses a value', () => {
  const refused = new Set<string>();
  for (const options of tables) {
    for (const [name, { coerce }] of Object.entries(options)) {
      const message = refusalOf(coerce, '');
      if (message?.startsWith('-') !== true) continue;
      assert.ok(message.startsWith(`--${name}`), message);
      refused.add(name);
    }
  }
  for (const name of ['interval', 'max-sources', 'output', 'bpffs', 'source']) {
    assert.ok(refused.has(name), name);
  }
});

test('takes every word that it offers, and its own default', () => {
  for (const options of tables) {
    for (const [name, { coerce, values, default: usual }] of Object.entries(options)) {
      const words = values?.kind === 'words' ? values.words : [];
      for (const word of typeof usual === 'string' ? [...words, usual] : words) {
        assert.is(refusalOf(coerce, word), undefined, `--${name} ${word}`);
      }
    }
  }
});

test('has each letter once for a command', () => {
  for (const { verb, options } of commands) {
    const table: OptionTable = { ...GENERAL_OPTIONS, ...options };
    const letters = Object.values(table).flatMap(({ alias }) => alias ?? []);
    assert.is(new Set(letters).size, letters.length, verb);
  }
});

test('gives an option the same letter, and a value or none, in every command', () => {
  const table: OptionTable = OPTIONS;
  for (const { verb, options } of commands) {
    for (const [name, { alias, values }] of Object.entries(options)) {
      const known = table[name];
      if (known === undefined)
        assert.equal([name, alias, values !== null], ['output', 'o', true], verb);
      else assert.equal([alias, values === null], [known.alias, known.values === null], name);
    }
  }
});

test('shows what is not hidden, in order', () => {
  assert.equal(
    visibleOptions(GENERAL_OPTIONS).map(({ name }) => name),
    ['quiet', 'verbose', 'color', 'bpftool', 'help', 'version'],
  );
  assert.equal(Object.keys(chooseOptions('top', 'iface')), ['top', 'iface']);
});

test('takes the last of several values, and all interfaces', () => {
  assert.is(OPTIONS.count.coerce(['1', '7']), 7);
  assert.equal(OPTIONS.iface.coerce(['eth0', 'eth1']), ['eth0', 'eth1']);
  assert.equal(interfacesIn({ words: ['eth0', 'eth1'], iface: ['eth1', 'eth2'] }), [
    ...['eth0', 'eth1', 'eth2'],
  ]);
});

test('has the formats of one command, of which the first is the default', () => {
  const { output } = outputOption('table', 'json');
  assert.equal([output.describe, output.default], ['table, json', 'table']);
  assert.is(output.coerce('json'), 'json');
  assert.is(refusalOf(output.coerce, 'ndjson'), '--output ndjson: must be table or json');
});

test.run();
