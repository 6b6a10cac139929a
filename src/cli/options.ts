/**
 * Every option of the command line, as data. A command chooses its own from the table and may change
 * what one of them says: `{ ...chooseOptions('netns'), count: { ...OPTIONS.count, describe: '...' } }`.
 */
import type { Options as YargsOption } from 'yargs';
import type { LogOptions } from '../attachment/context.js';
import { DEFAULT_BPFFS } from '../host/bpffs.js';
import { XdpwhoError } from '../model/errors.js';
import { OWNER_GROUPS, parseGrouping } from '../model/grouping.js';
import { type Prefix, parsePrefix } from '../model/prefix.js';
import type { Order } from '../model/ranking.js';
import type { AttachMode, Direction, Reader, XdpMode } from '../model/records.js';
import type { ColorChoice } from '../text/color.js';
import {
  MAX_SOURCES_LIMIT,
  parseChoice,
  parseCount,
  parseDuration,
  parseFileMode,
  parseFormat,
  parseInterval,
  parseListen,
  parseMaxSources,
  parsePath,
  parsePercentage,
  parseSize,
  parseText,
} from './option-values.js';

/** What may stand as a value: some words, or something that a shell can look up. */
export type Values =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'interface' | 'netns' | 'file' | 'directory' | 'text' };

/**
 * One option, in the fields of yargs: `alias` is its letter, `coerce` reads the value, `hidden` keeps
 * it out of help, completion and manual.
 */
export interface Option extends YargsOption {
  readonly alias?: string | undefined;
  /** What it does, in a few words. */
  readonly describe: string;
  /** Null: the option takes no value. */
  readonly values: Values | null;
  /** The default as help shows it. */
  readonly defaultDescription?: string;
  /** Help shows only its name where not all options fit on a screen. */
  readonly rare?: boolean;
}

/** A word that may follow the verb. */
export interface Argument {
  readonly name: string;
  readonly required?: boolean;
  /** Any number of them. Only the last argument of a command can be such. */
  readonly many?: boolean;
  readonly values: Values;
  /** Without it, help shows the argument only behind the verb. */
  readonly describe?: string;
  /** What stands for it when it is left out. */
  readonly default?: string;
}

/** By their names, without the dashes. */
export type OptionTable = { readonly [name: string]: Option };

const COLOR_CHOICES: readonly ColorChoice[] = ['auto', 'always', 'never'];
const MODE_CHOICES: readonly ('auto' | XdpMode)[] = ['auto', 'native', 'generic'];
const READER_CHOICES: readonly ('auto' | Reader)[] = ['auto', 'iterator', 'dump'];
/** A prefix of any length is one too. */
const GROUP_VALUES: Extract<Values, { readonly kind: 'words' }> = {
  kind: 'words',
  words: ['24', '24,64', ...OWNER_GROUPS],
};
/** `all` is what the option is without a value. */
const NEW_CHOICES: readonly ('all' | 'only')[] = ['all', 'only'];
const SORT_CHOICES: readonly Order[] = ['packets', 'bytes', 'rate', 'source'];

/** Options of every command. main.ts and the parser look at them, the commands hardly ever. */
export const GENERAL_OPTIONS = {
  quiet: flag('only data and errors', 'q'),
  verbose: flag('print each command as it runs', 'v'),
  color: {
    ...withDefault('auto', choice('--color', COLOR_CHOICES)),
    describe: 'auto, always or never',
  },
  'no-color': { ...flag('the same as --color never'), hidden: true },
  bpftool: valueOption('--bpftool', 'path of bpftool', 'file', parsePath),
  objects: {
    ...valueOption('--objects', 'directory of compiled objects', 'directory', parsePath),
    hidden: true,
  },
  help: flag('show this', 'h'),
  version: flag('show the version'),
};

export const OPTIONS = {
  ...GENERAL_OPTIONS,

  // Which interface, and where.
  iface: rare({
    ...valueOption(
      '--iface',
      'interface, in place of its bare name; repeatable',
      'interface',
      parseText,
    ),
    alias: 'i',
    coerce: listOf,
  }),
  netns: valueOption('--netns', 'network namespace: name, path or process id', 'netns', parseText),
  /** Undefined when it is not given: `attach` then takes the default, the others search every bpffs that holds our pins. */
  bpffs: rare({
    ...valueOption('--bpffs', 'where the BPF file system is', 'directory', parsePath),
    defaultDescription: DEFAULT_BPFFS,
  }),
  all: flag('everything of ours, in every namespace'),

  // How to attach.
  sent: flag('what the interface sends, by destination'),
  both: flag('what it receives and what it sends, by address'),
  beside: rare(flag("count behind a stranger's XDP program")),
  mode: rare(withDefault('auto', choice('--mode', MODE_CHOICES))),
  reader: rare(withDefault('auto', choice('--reader', READER_CHOICES))),
  'max-sources': rare({
    ...valueOption(
      '--max-sources',
      `size of the table, 1 to ${MAX_SOURCES_LIMIT}`,
      'text',
      parseMaxSources,
    ),
    defaultDescription: '65536, in 80 MiB',
  }),
  'file-mode': {
    ...valueOption(
      '--file-mode',
      'mode of the file that prints the sources',
      'text',
      parseFileMode,
    ),
    defaultDescription: '0400',
  },
  replace: flag('attach anew where the options differ; counts are lost'),
  'keep-going': flag('one failure does not take back the others'),
  'dry-run': rare(flag('only print the commands', 'n')),

  // What to log, and in how much memory.
  log: flag('also keep the last packets, for `xdpwho log`'),
  source: valueOption('--source', 'log only sources in this prefix', 'text', (_, text) =>
    parsePrefix(text),
  ),
  sample: valueOption('--sample', 'log one packet in N', 'text', (option, text) =>
    parseCount(option, text, 0xffff_ffff),
  ),
  buffer: {
    ...valueOption('--buffer', 'log memory, all CPUs: 512K, 32M', 'text', parseSize),
    defaultDescription: '32M; 1M by dump',
  },
  last: valueOption(
    '--last',
    'only the last N packets that `attach --log` has kept',
    'text',
    (option, text) => parseCount(option, text, 0xffff_fffe),
  ),
  totals: valueOption(
    '--totals',
    'account for all packets at this interval',
    'text',
    parseInterval,
  ),

  // When to read, and when to end.
  interval: withDefault(
    '1s',
    valueOption('--interval', 'time between readings: 500ms, 10s, 2m', 'text', parseInterval),
  ),
  duration: valueOption('--duration', 'end after this time: 90s, 10m, 1h', 'text', parseDuration),
  count: valueOption('--count', 'end after N readings', 'text', parseWholeNumber),

  // Which sources to show.
  top: valueOption('--top', 'show only the first N sources', 'text', parseWholeNumber),
  sort: { ...choice('--sort', SORT_CHOICES), defaultDescription: 'packets' },
  group: {
    ...valueOption(
      '--group',
      'sum by prefix (24, or 24,64), owner, country or network',
      'text',
      (_, text) => parseGrouping(text),
    ),
    values: GROUP_VALUES,
  },
  new: {
    ...choice('--new', NEW_CHOICES),
    describe: 'tell sources that are new in this run; `--new only`: these',
  },

  // Who they belong to.
  geo: {
    ...valueOption('--geo', 'MaxMind DB of owners and countries; repeatable', 'file', parsePath),
    coerce: (given: Given) => listOf(given).map((path) => parsePath('--geo', path)),
  },
  networks: valueOption(
    '--networks',
    'own networks: `192.0.2.0/24 office` a line',
    'file',
    parsePath,
  ),
  resolve: flag('names by reverse DNS, which tells the server who sends'),
  owners: flag('who each packet belongs to'),

  // Of `serve` alone.
  listen: withDefault(
    '127.0.0.1:9927',
    valueOption('--listen', 'address and port', 'text', parseListen),
  ),

  // Of `bench` alone.
  object: valueOption('--object', 'a compiled XDP program, instead of our own', 'file', parsePath),
  program: valueOption('--program', 'which program of the object', 'text', (_, text) => text),
  packets: valueOption(
    '--packets',
    'directory of frames: one raw frame per file',
    'directory',
    parsePath,
  ),
  rounds: valueOption('--rounds', 'how often each is measured', 'text', (option, text) =>
    parseCount(option, text, 10_000),
  ),
  compare: valueOption(
    '--compare',
    'compare with what -o json has saved in this file',
    'file',
    parsePath,
  ),
  threshold: valueOption('--threshold', 'how much slower is slower', 'text', parsePercentage),
  live: valueOption(
    '--live',
    'measure the program on this interface',
    'interface',
    (_, text) => text,
  ),
};

type OptionName = keyof typeof OPTIONS;

/** Some options of the table, in this order. The overload keeps the type of each. */
export function chooseOptions<K extends OptionName>(
  ...names: readonly K[]
): Pick<typeof OPTIONS, K>;
export function chooseOptions(...names: readonly OptionName[]): Partial<typeof OPTIONS> {
  const chosen: Partial<typeof OPTIONS> = {};
  for (const name of names) Object.assign(chosen, { [name]: OPTIONS[name] });
  return chosen;
}

/** The options that help, completion and manual show, each with its name. */
export function visibleOptions(table: OptionTable): (Option & { readonly name: string })[] {
  return Object.entries(table)
    .filter(([, { hidden }]) => hidden !== true)
    .map(([name, option]) => ({ ...option, name }));
}

/** `-o` with the formats of one command. Without it the first is taken. `--json` is short for `-o json`. */
export function outputOption<T extends string>(...formats: readonly [T, ...T[]]) {
  const words: Values = { kind: 'words', words: formats };
  return {
    output: {
      alias: 'o',
      describe: formats.join(', '),
      nargs: 1,
      values: words,
      coerce: (given: Given): T => parseFormat('--output', listOf(given), formats) ?? formats[0],
      default: formats[0],
      defaultDescription: formats[0],
    },
  };
}

/** What yargs hands over for an option with a value: one text, or all of them when it is repeated. */
type Given = string | readonly string[];

function flag(describe: string, letter?: string) {
  return { alias: letter, describe, type: 'boolean', default: false, values: null } as const;
}

/** See Option. */
function rare<O extends object>(option: O) {
  return { ...option, rare: true };
}

/** An option with a value. When it is repeated, the last one counts. `read` gets the option's name for its errors. */
export function valueOption<T>(
  option: string,
  describe: string,
  kind: Exclude<Values['kind'], 'words'>,
  read: (option: string, text: string) => T,
) {
  const values: Values = { kind };
  const coerce = (given: Given): T => read(option, listOf(given).at(-1) ?? '');
  return { describe, nargs: 1, values, coerce };
}

function choice<T extends string>(option: string, words: readonly T[]) {
  const values: Values = { kind: 'words', words };
  const coerce = (given: Given): T => parseChoice(option, listOf(given).at(-1) ?? '', words);
  return { describe: words.join(', '), nargs: 1, values, coerce };
}

/** yargs gives the default to `coerce` as well, so the value is never undefined. */
function withDefault<O extends object>(text: string, option: O) {
  return { ...option, default: text, defaultDescription: text };
}

function parseWholeNumber(option: string, text: string): number {
  return parseCount(option, text);
}

function listOf(given: Given): readonly string[] {
  return typeof given === 'string' ? [given] : given;
}

interface GivenHook {
  readonly mode: 'auto' | XdpMode;
  readonly sent: boolean;
  readonly beside: boolean;
  readonly both?: boolean;
}

/** Where a run in the foreground attaches. Throws an XdpwhoError `usage` for options that exclude each other. */
export function hookRequest({ mode, sent, beside, both = false }: GivenHook): {
  readonly directions: readonly Direction[];
  readonly mode: 'auto' | AttachMode;
} {
  const refuse = (one: string, other: string) => {
    throw new XdpwhoError('usage', `${one} and ${other}: one or the other`);
  };
  if (sent && both) refuse('--sent', '--both');
  if (sent && beside) refuse('--sent', '--beside');
  if (sent && mode !== 'auto') refuse('--sent', '--mode');
  if (beside && mode !== 'auto') refuse('--beside', '--mode');
  const directions: Direction[] = both ? ['received', 'sent'] : [sent ? 'sent' : 'received'];
  return { directions, mode: beside ? 'tcx' : mode };
}

/** The arguments of a command that takes interfaces. */
export const INTERFACES: readonly Argument[] = [
  { name: 'interface', many: true, values: { kind: 'interface' } },
];

/** The words of the command line that are neither the verb nor an option nor the value of one. */
export interface GivenWords {
  readonly words: readonly string[];
}

/** Where a command line names interfaces. A bare name may begin with `-` only after `--`. */
interface NamedInterfaces extends GivenWords {
  readonly iface: readonly string[] | undefined;
}

/** The interfaces that were named, each of them once. */
export function interfacesIn({ words, iface }: NamedInterfaces): string[] {
  return [...new Set([...words, ...(iface ?? [])])];
}

/** The same for a command that needs one. Throws an XdpwhoError `usage` where there is none. */
export function interfacesOf(options: NamedInterfaces): string[] {
  const names = interfacesIn(options);
  if (names.length === 0) throw new XdpwhoError('usage', 'no interface named');
  return names;
}

interface GivenLogOptions {
  readonly source?: Prefix | undefined;
  readonly sample?: number | undefined;
  readonly buffer?: number | undefined;
}

/** The options of the log, as an attachment takes them. */
export function logRequest({ source, sample, buffer }: GivenLogOptions): LogOptions {
  return { source, sample, bufferBytes: buffer };
}

/** Throws an XdpwhoError `usage` where an option of the log was given. */
export function refuseWithoutLog(options: GivenLogOptions): undefined {
  for (const name of ['source', 'sample', 'buffer'] as const) {
    if (options[name] === undefined) continue;
    throw new XdpwhoError('usage', `--${name}: only with --log`, {
      hint: 'xdpwho attach --log ..., or xdpwho log ...',
    });
  }
  return undefined;
}
