/** From words to a command and its options: the only module that makes a yargs parser. */
import yargs, { type ArgumentsCamelCase, type Argv } from 'yargs';
import { XdpwhoError } from '../errors.js';
import { nearNames } from '../interfaces.js';
import { printable } from '../render/text.js';
import type { CommandContext } from './context.js';
import { type GlobalOptions, globalOptions } from './options.js';

type Example = readonly [line: string, description: string];

/** One verb. `O`: its options, with those of every command. */
export interface Command<O> {
  /** The verb and its positional arguments as yargs writes them: `watch [interface..]`. */
  readonly command: string;
  /** One short line. */
  readonly describe: string;
  /** More about it, for its own help: lines of at most 80 columns. */
  readonly about?: readonly string[] | undefined;
  readonly builder: (parser: Argv<GlobalOptions>) => Argv<O>;
  /** Command lines, and what each does. Help ends with them. */
  readonly examples: readonly Example[];
  /** Resolves with the exit code; rejects with an XdpwhoError. */
  readonly handler: (options: ArgumentsCamelCase<O>, context: CommandContext) => Promise<number>;
}

/** Runs a command with the options that it has been given already. */
export type Run = (context: CommandContext) => Promise<number>;

/** A command of any options. */
export interface AnyCommand {
  readonly verb: string;
  readonly describe: string;
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
    verb,
    describe,
    addTo: (parser, aliases, select) => {
      parser.command<O>({
        command: [command.command, ...aliases],
        describe,
        builder: (inner: Argv<GlobalOptions>) => {
          addUsage(inner, [`Usage: $0 ${command.command}`, '', ...about]);
          inner.epilogue(renderExamples(examples));
          // The usage line says it already.
          return command.builder(inner).hide('interface');
        },
        handler: (options) => select((context) => command.handler(options, context)),
      });
    },
  };
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

export interface CommandLineOptions {
  readonly commands: readonly AnyCommand[];
  /** The one that runs when no verb is given. */
  readonly defaultCommand: AnyCommand;
  readonly version: string;
}

/** Throws an XdpwhoError `usage` with a hint. */
export function parseCommandLine(
  words: readonly string[],
  { commands, defaultCommand, version }: CommandLineOptions,
): Invocation {
  let run: Run | undefined;
  // The help of the whole is about the verbs, not about the options of the default one.
  const helpOfAll = words.length === 1 && ['-h', '--help', 'help'].includes(words[0] ?? '');
  const verb = commands.find((each) => words.includes(each.verb)) ?? defaultCommand;
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
    .help('help', 'show this')
    .alias('help', 'h')
    .version('version', 'show the version', version)
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
  for (const command of commands) {
    const aliases = command === defaultCommand && !helpOfAll ? ['$0'] : [];
    command.addTo(parser, aliases, (selected) => {
      run = selected;
    });
  }

  let text = '';
  const options = parser.parseSync(rewriteFormats(words), {}, (_error, _options, output) => {
    text = output;
  });
  if (text !== '') return { kind: 'text', text: `${generalLast(text)}\n` };
  if (run === undefined) throw usageError('no command', parser, help);
  return { kind: 'command', run, named: options._.length > 0, words, options, help };
}

const HELP_COLUMNS = 80;
const GENERAL = 'General options:';
const USAGE = [
  'Usage: $0 [watch] interface...',
  '       $0 command ...',
  '',
  "Shows who is sending packets to this host: counts every packet's source address",
  'in an XDP program, and leaves nothing behind when it ends.',
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

/** yargs puts groups that have a name first: the general options go behind the command's own. */
function generalLast(help: string): string {
  const sections = help.split('\n\n');
  const general = sections.findIndex((section) => section.startsWith(GENERAL));
  const options = sections.findIndex((section) => section.startsWith('Options:'));
  if (general < 0 || options < 0) return help;
  return sections
    .map((section, index) =>
      index === general ? sections[options] : index === options ? sections[general] : section,
    )
    .join('\n\n');
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
