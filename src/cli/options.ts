/**
 * Options that several commands share: `parser.options({ ...netnsOption, ...timingOptions })`. What
 * their values may be is in src/cli/option-values.ts.
 */
import { resolve } from 'node:path';
import type { InferredOptionTypes } from 'yargs';
import type { LogOptions } from '../attachment/context.js';
import { DEFAULT_BPFFS } from '../host/bpffs.js';
import { XdpwhoError } from '../model/errors.js';
import { type Prefix, parsePrefix } from '../model/prefix.js';
import type { Order } from '../model/ranking.js';
import type { AttachMode, Reader } from '../model/records.js';
import type { ColorChoice } from '../text/color.js';
import {
  MAX_SOURCES_LIMIT,
  parseChoice,
  parseCount,
  parseDuration,
  parseFileMode,
  parseFormat,
  parseInterval,
  parseMaxSources,
  parseSize,
} from './option-values.js';

/** What yargs hands over for an option that takes a value: one text, or all of them when it is repeated. */
type Given = string | readonly string[];

const COLOR_CHOICES: readonly ColorChoice[] = ['auto', 'always', 'never'];
const MODE_CHOICES: readonly ('auto' | AttachMode)[] = ['auto', 'native', 'generic'];
const READER_CHOICES: readonly ('auto' | Reader)[] = ['auto', 'iterator', 'dump'];
const SORT_CHOICES: readonly Order[] = ['packets', 'bytes', 'rate', 'source'];

/** Options of every command; only cli.ts looks at them. */
export const globalOptions = {
  quiet: { alias: 'q', type: 'boolean', describe: 'only data and errors' },
  verbose: { alias: 'v', type: 'boolean', describe: 'print each command as it runs' },
  color: defaulted('auto', 'auto, always or never', (text) =>
    parseChoice('--color', text, COLOR_CHOICES),
  ),
  'no-color': { type: 'boolean', hidden: true },
  bpftool: valued('path of bpftool', (text) => parsePath('--bpftool', text)),
  objects: {
    ...valued('directory of compiled objects', (text) => parsePath('--objects', text)),
    hidden: true,
  },
} as const;

export type GlobalOptions = InferredOptionTypes<typeof globalOptions>;

/** `-o`, and with it `--json` for `-o json`: cli.ts rewrites them before yargs sees them. */
export function outputOption<T extends string>(formats: readonly [T, ...T[]]) {
  return {
    output: {
      alias: 'o',
      nargs: 1,
      describe: formats.join(', '),
      default: formats[0],
      defaultDescription: formats[0],
      coerce: (given: Given): T => parseFormat('--output', listOf(given), formats) ?? formats[0],
    },
  } as const;
}

/** The positional argument of a command that takes interfaces: `watch [interface..]`. */
export const interfacePositional = { type: 'string', array: true, hidden: true } as const;

export const interfaceOption = {
  iface: {
    alias: 'i',
    nargs: 1,
    describe: 'interface, in place of its bare name; repeatable',
    coerce: listOf,
  },
} as const;

/** How yargs hands over the interfaces that were named; after `--`, a name may begin with `-`. */
export interface NamedInterfaces {
  readonly interface: readonly string[] | undefined;
  readonly iface: readonly string[] | undefined;
  readonly '--'?: unknown;
}

/** The interfaces that were named, in any of the ways, each of them once. */
export function interfacesIn(options: NamedInterfaces): string[] {
  const afterDashes: readonly unknown[] = Array.isArray(options['--']) ? options['--'] : [];
  return [
    ...new Set([
      ...(options.interface ?? []),
      ...(options.iface ?? []),
      ...afterDashes.map(String),
    ]),
  ];
}

/** Likewise, for a command that cannot do without. */
export function interfacesOf(options: NamedInterfaces): string[] {
  const names = interfacesIn(options);
  if (names.length === 0) throw new XdpwhoError('usage', 'no interface named');
  return names;
}

export const netnsOption = {
  netns: valued('network namespace: name, path or process id', (text) =>
    parseText('--netns', text),
  ),
} as const;

/** Undefined when not given: to attach, that is /sys/fs/bpf; to find, every bpffs that has our pins. */
export const bpffsOption = {
  bpffs: {
    ...valued('where the BPF file system is', (text) => parsePath('--bpffs', text)),
    defaultDescription: DEFAULT_BPFFS,
  },
} as const;

export const fileModeOption = {
  'file-mode': {
    ...valued('mode of the file that prints the sources', (text) =>
      parseFileMode('--file-mode', text),
    ),
    defaultDescription: '0400',
  },
} as const;

/** An option of one command, with a value that `parse` reads. */
export function textOption<T>(describe: string, parse: (text: string) => T) {
  return valued(describe, parse);
}

export const attachOptions = {
  mode: defaulted('auto', MODE_CHOICES.join(', '), (text) =>
    parseChoice('--mode', text, MODE_CHOICES),
  ),
  reader: defaulted('auto', READER_CHOICES.join(', '), (text) =>
    parseChoice('--reader', text, READER_CHOICES),
  ),
  'max-sources': {
    ...valued(`size of the table, 1 to ${MAX_SOURCES_LIMIT}`, (text) =>
      parseMaxSources('--max-sources', text),
    ),
    defaultDescription: '65536, in 64 MiB',
  },
} as const;

/** What is logged, and in how much memory. */
export const logOptions = {
  source: valued('log only sources in this prefix', (text) => parsePrefix(text)),
  sample: valued('log one packet in N', (text) => parseCount('--sample', text, 0xffff_ffff)),
  buffer: {
    ...valued('log memory, all CPUs: 512K, 32M', (text) => parseSize('--buffer', text)),
    defaultDescription: '32M; 1M by dump',
  },
} as const;

interface GivenLogOptions {
  readonly source?: Prefix | undefined;
  readonly sample?: number | undefined;
  readonly buffer?: number | undefined;
}

/** What the options of the log ask for. */
export function logRequest({ source, sample, buffer }: GivenLogOptions): LogOptions {
  return { source, sample, bufferBytes: buffer };
}

export function refuseWithoutLog(options: GivenLogOptions): undefined {
  for (const name of ['source', 'sample', 'buffer'] as const) {
    if (options[name] === undefined) continue;
    throw new XdpwhoError('usage', `--${name}: only with --log`, {
      hint: 'xdpwho attach --log ..., or xdpwho log ...',
    });
  }
  return undefined;
}

export const rankingOptions = {
  top: valued('show only the first N sources', (text) => parseCount('--top', text)),
  sort: {
    ...valued(SORT_CHOICES.join(', '), (text) => parseChoice('--sort', text, SORT_CHOICES)),
    defaultDescription: 'packets',
  },
} as const;

export const timingOptions = {
  interval: defaulted('1s', 'time between readings: 500ms, 10s, 2m', (text) =>
    parseInterval('--interval', text),
  ),
  duration: valued('end after this time: 90s, 10m, 1h', (text) =>
    parseDuration('--duration', text),
  ),
  count: valued('end after N readings', (text) => parseCount('--count', text)),
} as const;

export const dryRunOption = {
  'dry-run': {
    alias: 'n',
    type: 'boolean',
    default: false,
    describe: 'only print the commands',
  },
} as const;

/** An option with a value, of which the last one counts. yargs calls `coerce` only when it was given. */
function valued<T>(describe: string, parse: (text: string) => T) {
  return { describe, nargs: 1, coerce: (given: Given): T => parse(listOf(given).at(-1) ?? '') };
}

function defaulted<T>(text: string, describe: string, parse: (text: string) => T) {
  return { ...valued(describe, parse), default: text, defaultDescription: text };
}

function listOf(given: Given): readonly string[] {
  return typeof given === 'string' ? [given] : given;
}

function parseText(option: string, text: string): string {
  if (text === '') throw new XdpwhoError('usage', `${option}: a value is missing`);
  return text;
}

/** Absolute: the commands that get it run in another directory. */
export function parsePath(option: string, text: string): string {
  return resolve(parseText(option, text));
}
