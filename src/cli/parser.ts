/** From words to a command and its options: the only module that makes a yargs parser. */
import yargs, { type ArgumentsCamelCase, type Argv } from 'yargs';
import { nearNames } from '../model/did-you-mean.js';
import { XdpwhoError } from '../model/errors.js';
import { propertyOf, stringIn } from '../model/json-values.js';
import { printable, wrapWords } from '../text/text.js';
import type { CommandContext } from './context.js';
import { type GlobalOptions, globalOptions } from './options.js';

export type Example = readonly [line: string, description: string];

/** One verb. `O`: its options, with those of every command. */
export interface Command<O> {
  /** The verb and its positional arguments as yargs writes them: `watch [interface..]`. */
  readonly command: string;
  /** One short line. */
  readonly describe: string;
  /** More about it, for its own help, which breaks it into lines. */
  readonly about?: readonly string[] | undefined;
  readonly builder: (parser: Argv<GlobalOptions>) => Argv<O>;
  /** Command lines, and what each does. Help ends with them. */
  readonly examples: readonly Example[];
  /** Resolves with the exit code; rejects with an XdpwhoError. */
  readonly handler: (options: ArgumentsCamelCase<O>, context: CommandContext) => Promise<number>;
}

/** Runs a command with the options that it has been given already. */
export type Run = (context: CommandContext) => Promise<number>;

/** What the man page and the completion say of a command: the same that its help does. */
export interface CommandDescription {
  readonly verb: string;
  /** The verb and its positional arguments: `watch [interface..]`. */
  readonly command: string;
  readonly describe: string;
  readonly about: readonly string[];
  readonly examples: readonly Example[];
  /** Without those of every command. */
  readonly options: readonly OptionDescription[];
}

export interface OptionDescription {
  /** Without its dashes, as `letter`. */
  readonly name: string;
  readonly letter: string | undefined;
  readonly describe: string;
  readonly takesValue: boolean;
  readonly default: string | undefined;
}

/** A command of any options. */
export interface AnyCommand {
  readonly description: () => CommandDescription;
  readonly addTo: (
    parser: Argv<GlobalOptions>,
    aliases: readonly string[],
    select: (run: Run) => void,
  ) => void;
}

/** Checks a command's handler against its options, and makes it one of many. */
export function defineCommand<O>(command: Command<O>): AnyCommand {
  const { describe, about = [`${capitalize(describe)}.`], examples } = command;
  const verb = command.command.split(' ', 1)[0] ?? '';
  return {
    description: () => {
      const parser = yargs().help(false).version(false).options(globalOptions);
      const others = new Set([
        ...generalOptions().map((option) => option.name),
        ...[...command.command.matchAll(/[[<]([\w-]+)/g)].map(([, positional]) => positional),
      ]);
      const options = optionsOf(command.builder(parser)).filter(({ name }) => !others.has(name));
      return { verb, command: command.command, describe, about, examples, options };
    },
    addTo: (parser, aliases, select) => {
      parser.command<O>({
        command: [command.command, ...aliases],
        describe,
        builder: (inner: Argv<GlobalOptions>) => {
          const lines = wrapWords(about.join(' '), HELP_COLUMNS);
          addUsage(inner, [`Usage: $0 ${command.command}`, ...lines]);
          inner.epilogue(renderExamples(examples));
          // The usage line says it already.
          return command.builder(inner).hide('interface');
        },
        handler: (options) => select((context) => command.handler(options, context)),
      });
    },
  };
}

/** The options of every command. */
export function generalOptions(): OptionDescription[] {
  return [
    ...optionsOf(yargs().help(false).version(false).options(globalOptions)),
    { ...HELP_OPTION, takesValue: false, default: undefined },
    { ...VERSION_OPTION, takesValue: false, default: undefined },
  ];
}

const HELP_OPTION = { name: 'help', letter: 'h', describe: 'show this' } as const;
const VERSION_OPTION = {
  name: 'version',
  letter: undefined,
  describe: 'show the version',
} as const;

/** Those that a parser has been given and that are not hidden: yargs' getOptions, which its types leave out. */
function optionsOf(parser: unknown): OptionDescription[] {
  const call = (object: unknown, method: string): unknown => {
    const value = typeof object === 'object' || typeof object === 'function' ? object : null;
    const found: unknown = value === null ? undefined : Reflect.get(value, method);
    return typeof found === 'function' ? Reflect.apply(found, object, []) : undefined;
  };
  const given = call(parser, 'getOptions');
  const descriptions = call(
    call(call(parser, 'getInternalMethods'), 'getUsageInstance'),
    'getDescriptions',
  );
  const listed = (list: string): readonly unknown[] => {
    const value = propertyOf(given, list);
    return Array.isArray(value) ? value : [];
  };
  const hidden = listed('hiddenOptions');
  return Object.keys(Object(propertyOf(given, 'key'))).flatMap((name) => {
    const describe = stringIn(descriptions, name);
    if (describe === undefined || hidden.includes(name)) return [];
    const aliases = propertyOf(propertyOf(given, 'alias'), name);
    const letter = Array.isArray(aliases) ? aliases.find((each) => each.length === 1) : undefined;
    return [
      {
        name,
        letter: typeof letter === 'string' ? letter : undefined,
        describe,
        takesValue: !listed('boolean').includes(name),
        default: stringIn(propertyOf(given, 'defaultDescription'), name),
      },
    ];
  });
}

/** What the words ask for: a text to print, or a command to run. */
export type Invocation = { readonly kind: 'text'; readonly text: string } | CommandInvocation;

export interface CommandInvocation {
  readonly kind: 'command';
  /** False where the verb was left out. */
  readonly named: boolean;
  /** As they were typed. */
  readonly words: readonly string[];
  readonly options: ArgumentsCamelCase<GlobalOptions>;
  /** The command line that shows its help. */
  readonly help: string;
  readonly run: Run;
}

/** A command that is loaded when it is asked for: to list the verbs must not take all that they need. */
export interface Verb {
  readonly verb: string;
  /** As the command itself has them. */
  readonly command: string;
  readonly describe: string;
  readonly load: () => Promise<AnyCommand>;
}

export interface CommandLineOptions {
  readonly verbs: readonly Verb[];
  /** The one that runs when no verb is given. */
  readonly defaultVerb: Verb;
  readonly version: string;
}

/** Throws an XdpwhoError `usage` with a hint. */
export async function parseCommandLine(
  words: readonly string[],
  { verbs, defaultVerb, version }: CommandLineOptions,
): Promise<Invocation> {
  let run: Run | undefined;
  // The help of the whole is about the verbs, not about the options of the default one.
  const helpOfAll = words.length === 1 && ['-h', '--help', 'help'].includes(words[0] ?? '');
  const verb = verbs.find((each) => words.includes(each.verb)) ?? defaultVerb;
  const help = words.length === 0 ? 'xdpwho --help' : `xdpwho ${verb.verb} --help`;

  const parser = yargs()
    .scriptName('xdpwho')
    .locale('en')
    .updateStrings(STRINGS)
    .parserConfiguration({
      'boolean-negation': false,
      'dot-notation': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'populate--': true,
    })
    .options(globalOptions)
    .help(HELP_OPTION.name, HELP_OPTION.describe)
    .alias(HELP_OPTION.name, HELP_OPTION.letter)
    .version(VERSION_OPTION.name, VERSION_OPTION.describe, version)
    .group([...Object.keys(globalOptions), 'help', 'version'], GENERAL)
    .wrap(HELP_COLUMNS)
    .strict()
    .exitProcess(false)
    .showHelpOnFail(false)
    .fail((message, error) => {
      // A YError is yargs' own, and what it makes of an error that the parser of a value threw.
      if (error !== undefined && error !== null && error.name !== 'YError') throw error;
      throw usageError(message ?? error.message, parser, help);
    });
  if (helpOfAll) {
    addUsage(parser, USAGE);
    parser.epilogue(renderExamples(EXAMPLES));
  }
  // A verb after options may be the value of one: then it is for the default command.
  const first = verbs.find((each) => each.verb === words[0]);
  const possible = verbs.filter((each) => each === defaultVerb || words.includes(each.verb));
  const needed = helpOfAll ? [] : first === undefined ? possible : [first];
  for (const each of verbs) {
    const aliases = each === defaultVerb && !helpOfAll ? ['$0'] : [];
    if (needed.includes(each)) {
      (await each.load()).addTo(parser, aliases, (selected) => {
        run = selected;
      });
    } else parser.command([helpOfAll ? each.verb : each.command, ...aliases], each.describe);
  }

  let text = '';
  const options = parser.parseSync(rewriteFormats(words), {}, (_error, _options, output) => {
    text = output;
  });
  if (text !== '') return { kind: 'text', text: `${tidied(text, helpOfAll)}\n` };
  if (run === undefined) throw usageError('no command', parser, help);
  return { kind: 'command', run, named: options._.length > 0, words, options, help };
}

const HELP_COLUMNS = 80;
const GENERAL = 'General options:';
const USAGE = [
  'Usage: $0 [watch] interface..., or $0 command ...',
  'Shows who is sending packets to this host, by an XDP program that only counts.',
];

const EXAMPLES: readonly Example[] = [
  ['xdpwho eth0', 'watch eth0 until Ctrl-C'],
  ['xdpwho watch --help', 'the options of a command'],
];

/** Descriptions beside the command lines, or below them where one would not fit. */
function renderExamples(examples: readonly Example[]): string {
  const width = Math.max(...examples.map(([line]) => line.length));
  const beside = examples.map(([line, text]) => `  ${line.padEnd(width)}  ${text}`);
  const lines = beside.every((each) => each.length <= HELP_COLUMNS)
    ? beside
    : examples.flatMap(([line, text]) => [`  ${line}`, `      ${text}`]);
  return ['Examples:', ...lines].join('\n');
}

/** One call for each line: yargs breaks a longer text in the middle of words. */
function addUsage(parser: Argv<GlobalOptions>, lines: readonly string[]): void {
  for (const line of lines) parser.usage(line);
}

/**
 * yargs puts groups that have a name first: the general options go behind the command's own, and in
 * the help of a verb on a line, so that it fits a screen. That an option takes no value is to be seen.
 */
function tidied(help: string, ofAll: boolean): string {
  const sections = help.replace(/\n? +\[boolean\]( \[default: false\])?$/gm, '').split('\n\n');
  const general = sections.findIndex((section) => section.startsWith(GENERAL));
  const options = sections.findIndex((section) => section.startsWith('Options:'));
  if (!ofAll && general >= 0) {
    const names = generalOptions().map(({ name, letter }) =>
      letter === undefined ? `--${name}` : `-${letter}`,
    );
    sections[general] = `${GENERAL} ${names.join(' ')}; see xdpwho --help`;
    if (options >= 0) sections.splice(general, 0, ...sections.splice(options, 1));
  }
  // A screen has 24 lines.
  return sections.join('\n\n').replace(/\n(\nGeneral options:|\nExamples:)/g, '$1');
}

/** yargs' own words for what a user can do wrong, put as ours are: what, then why. */
const STRINGS = { 'Not enough arguments following: %s': 'option %s: a value is missing' };

/** `--json` and `--ndjson` are short for `-o`; together with one that says otherwise they are refused. */
function rewriteFormats(words: readonly string[]): string[] {
  const end = words.indexOf('--');
  return words.map((word, index) => {
    const isOption = end < 0 || index < end;
    return isOption && (word === '--json' || word === '--ndjson')
      ? `--output=${word.slice(2)}`
      : word;
  });
}

/** yargs says what is unknown in a sentence; the parser's state has it as data, with the names to choose from. */
function usageError(message: string, parser: Argv<GlobalOptions>, hint: string): XdpwhoError {
  if (!message.startsWith('Unknown argument') || parser.parsed === false) {
    return new XdpwhoError('usage', message, { hint });
  }
  const { aliases, argv } = parser.parsed;
  const [, extra] = argv._;
  if (extra !== undefined) {
    return new XdpwhoError('usage', `unexpected argument: ${printable(String(extra))}`, { hint });
  }
  const name = message.replace(/^[^:]*: /, '').split(', ', 1)[0] ?? '';
  const known = Object.keys(aliases).filter((each) => each.length > 1 && !/[A-Z]/.test(each));
  const [near] = nearNames(name, known);
  return new XdpwhoError(
    'usage',
    `unknown option: ${name.length === 1 ? '-' : '--'}${printable(name)}`,
    { hint: near === undefined ? hint : `did you mean --${near}? See ${hint}` },
  );
}

function capitalize(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
