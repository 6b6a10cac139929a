/** From the words of a command line to a command that can run. The only module that runs yargs. */
import yargs, { type Options } from 'yargs';
import { nearNames } from '../model/did-you-mean.js';
import { XdpwhoError } from '../model/errors.js';
import { printable } from '../text/text.js';
import type {
  AnyCommand,
  Command,
  CommandDescription,
  OptionValues,
  Run,
  Verb,
} from './command.js';
import { renderCommandHelp, renderHelp } from './help.js';
import {
  GENERAL_OPTIONS,
  OPTIONS,
  type Option,
  type OptionTable,
  visibleOptions,
} from './options.js';

/** What a command line asks for: a text to print, or a command to run. */
export type Invocation = { readonly kind: 'text'; readonly text: string } | CommandInvocation;

export interface CommandInvocation {
  readonly kind: 'command';
  /** False where the verb was left out. */
  readonly named: boolean;
  /** The words as they were typed. */
  readonly words: readonly string[];
  readonly options: OptionValues<typeof GENERAL_OPTIONS>;
  /** The command line that shows the command's help. */
  readonly help: string;
  readonly changesHost: boolean;
  readonly run: Run;
}

interface CommandLineOptions {
  readonly verbs: readonly Verb[];
  /** Runs when no verb is given. */
  readonly defaultVerb: Verb;
  readonly version: string;
}

/** Makes a command one of many; the compiler checks the handler against the options. */
export function defineCommand<O extends OptionTable>(command: Command<O>): AnyCommand {
  const { verb, describe, options, examples } = command;
  const { about = [`${capitalize(describe)}.`], arguments: list = [] } = command;
  const description = { verb, describe, about, arguments: list, options, examples };
  return {
    description,
    changesHost: command.changesHost === true,
    parse: (words, help) => {
      const parser = makeParser((message) => {
        throw new XdpwhoError('usage', message, { hint: help });
      })
        .options(GENERAL_OPTIONS)
        .options(options);
      const given = parser.parseSync(withOutputWords(words, options));
      const named = argumentsIn(given);
      if (named[0] === verb) named.shift();
      checkWords(Object.keys(given), named, description, help);
      return (context) => command.handler({ ...given, words: named }, context);
    },
  };
}

/** Throws an XdpwhoError `usage` with a hint. */
export async function parseCommandLine(
  typed: readonly string[],
  { verbs, defaultVerb, version }: CommandLineOptions,
): Promise<Invocation> {
  const words = withValueOfNew(typed);
  const options = parseGeneralOptions(words);
  const [first, second] = argumentsIn(options);
  const verb = verbs.find((each) => each.verb === first);
  if (first === 'help') {
    const asked = verbs.find((each) => each.verb === second);
    if (second !== undefined && asked === undefined) throw noSuchCommand(second, verbs);
    return helpText(asked, verbs);
  }
  if (options.help) {
    return helpText(first === undefined ? undefined : (verb ?? defaultVerb), verbs);
  }
  if (options.version) return { kind: 'text', text: `${version}\n` };
  const { verb: name, load } = verb ?? defaultVerb;
  const help = words.length === 0 ? 'xdpwho --help' : `xdpwho ${name} --help`;
  const command = await load();
  const run = command.parse(words, help);
  const { changesHost } = command;
  return { kind: 'command', named: verb !== undefined, words, options, help, changesHost, run };
}

async function helpText(verb: Verb | undefined, verbs: readonly Verb[]): Promise<Invocation> {
  const text =
    verb === undefined ? renderHelp(verbs) : renderCommandHelp((await verb.load()).description);
  return { kind: 'text', text };
}

function noSuchCommand(word: string, verbs: readonly Verb[]): XdpwhoError {
  const [near] = nearNames(
    word,
    verbs.map((each) => each.verb),
  );
  return new XdpwhoError('usage', `${printable(word)}: no such command`, {
    hint: near === undefined ? 'xdpwho --help' : `did you mean: xdpwho help ${near}`,
  });
}

/**
 * Finds the verb before any command is loaded. For that it is enough to know of each option whether
 * it takes a value: every option is in one table. Errors are left to the command, whose help then is
 * the hint.
 */
function parseGeneralOptions(words: readonly string[]): OptionValues<typeof GENERAL_OPTIONS> {
  const parser = makeParser(() => {}).options(GENERAL_OPTIONS);
  parser.options(
    Object.fromEntries([
      ...Object.entries(OPTIONS)
        .filter(([name]) => !(name in GENERAL_OPTIONS))
        .map(([name, option]) => [name, arityOf(option)]),
      ['output', { alias: 'o', nargs: 1 }],
      ['json', { type: 'boolean' }],
      ['ndjson', { type: 'boolean' }],
    ]),
  );
  return parser.parseSync(words);
}

function arityOf({ alias, values }: Option): Options {
  return {
    ...(alias === undefined ? {} : { alias }),
    ...(values === null ? { type: 'boolean' } : { nargs: 1 }),
  };
}

/** yargs as a parser alone: help, version and the checks of what is unknown are ours. */
function makeParser(onError: (message: string) => void) {
  return yargs()
    .locale('en')
    .updateStrings(STRINGS)
    .parserConfiguration({
      'boolean-negation': false,
      'dot-notation': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'populate--': true,
    })
    .help(false)
    .version(false)
    .exitProcess(false)
    .fail((message, error) => {
      // yargs makes a YError of what `coerce` throws; anything else is a bug.
      if (error !== undefined && error !== null && error.name !== 'YError') throw error;
      onError(message ?? error.message);
    });
}

/** Messages of yargs in the form of ours: the option, then what is wrong. */
const STRINGS = { 'Not enough arguments following: %s': 'option %s: a value is missing' };

/** The words that belong to no option, those after `--` last. */
function argumentsIn(given: Readonly<Record<string, unknown>>): string[] {
  return ['_', '--'].flatMap((list) => {
    const words = given[list];
    return Array.isArray(words) ? words.map(String) : [];
  });
}

/** Throws where an option is unknown to the command, or where it takes fewer words. */
function checkWords(
  given: readonly string[],
  words: readonly string[],
  { arguments: list, options }: CommandDescription,
  help: string,
): void {
  const extra = list.at(-1)?.many === true ? undefined : words[list.length];
  if (extra !== undefined) {
    throw new XdpwhoError('usage', `unexpected argument: ${printable(extra)}`, { hint: help });
  }
  const tables = [GENERAL_OPTIONS, options];
  const known = new Set(tables.flatMap((table) => Object.entries(table).flatMap(keysOf)));
  const unknown = given.find((key) => !known.has(key) && !PARSER_KEYS.includes(key));
  if (unknown === undefined) return;
  const names = tables.flatMap((table) => visibleOptions(table).map(({ name }) => name));
  const [near] = nearNames(unknown, names);
  throw new XdpwhoError(
    'usage',
    `unknown option: ${unknown.length === 1 ? '-' : '--'}${printable(unknown)}`,
    { hint: near === undefined ? help : `did you mean --${near}? See ${help}` },
  );
}

/** What yargs puts beside the options. */
const PARSER_KEYS: readonly string[] = ['_', '--', '$0'];

/** The keys under which yargs hands over one option. */
function keysOf([name, { alias }]: readonly [string, Option]): string[] {
  const camelCase = name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
  return [name, camelCase, ...(alias === undefined ? [] : [alias])];
}

/** The value of `--new` may be left out; an interface may follow it. */
function withValueOfNew(words: readonly string[]): string[] {
  const end = words.indexOf('--');
  return words.flatMap((word, index) => {
    if (end >= 0 && index >= end) return [word];
    const isOfNew = index > 0 && words[index - 1] === '--new' && word === 'only';
    if (isOfNew) return [];
    if (word !== '--new') return [word];
    return [`--new=${words[index + 1] === 'only' ? 'only' : 'all'}`];
  });
}

/** `--json` and `--ndjson` are short for `-o`. As its values they are checked together with other ones. */
function withOutputWords(words: readonly string[], { output }: OptionTable): string[] {
  if (output?.values?.kind !== 'words') return [...words];
  const end = words.indexOf('--');
  return words.map((word, index) => {
    const isOption = end < 0 || index < end;
    return isOption && (word === '--json' || word === '--ndjson')
      ? `--output=${word.slice(2)}`
      : word;
  });
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
