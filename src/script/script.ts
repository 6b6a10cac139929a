/**
 * Makes a POSIX shell script of one verb, for a host without Node. The script runs the commands that xdpwho would
 * run. Its fixed part is in the *.sh files of this folder. The command lines, the names, the record and the
 * constants come from the functions that the command itself uses.
 */
import { gzipSync } from 'node:zlib';
import {
  DEFAULT_FILE_MODE,
  DEFAULT_MAX_SOURCES,
  DEFAULT_TABLE_BYTES,
  ELEMENT_OVERHEAD_BYTES,
} from '../attachment/defaults.js';
import { FRONT_LINK_PREFIX } from '../attachment/front-pin.js';
import { LINK_LAYER_OF_TYPE } from '../attachment/link-layer.js';
import { frontShape, jsonContent, mapPins, mapShapes } from '../attachment/load.js';
import { OTHER_ERRNOS, WHY_GENERIC } from '../attachment/mode.js';
import { NATIVE_COSTS } from '../attachment/native-cost.js';
import { pinName, pinsIn } from '../attachment/pin-paths.js';
import { type AttachmentState, STATE_VERSION } from '../attachment/record.js';
import { SCRATCH_PREFIX } from '../attachment/scratch.js';
import { OWN_PROGRAM_PATTERN, PROGRAM_NAME } from '../attachment/whose.js';
import { BPF_FS_MAGIC, DEFAULT_BPFFS, mountArguments } from '../host/bpffs.js';
import { bpftoolArguments } from '../host/bpftool-arguments.js';
import { ERRNO_WORDS } from '../host/bpftool-error.js';
import { LINK_TYPES } from '../host/devices.js';
import { NETNS_DIRECTORY, NSFS_MAGIC } from '../host/netns.js';
import { packageText } from '../host/package-files.js';
import { INITIAL_PID_NAMESPACE } from '../host/processes.js';
import { TOOL_DIRECTORIES } from '../host/tools.js';
import { EXIT_CODES, EXIT_STATUS } from '../model/errors.js';
import type { XdpMode } from '../model/records.js';
import { ObjectFiles, type ObjectName } from '../objects/files.js';
import { FRONT_BYTES, FRONT_PIN_NAME, MOST_CPUS, MOST_LINES } from '../objects/front.js';
import { USUAL_HZ } from '../objects/jiffies.js';
import { FRONT_LINE, LOG_SEGMENT, SOURCE_VALUE, TOTALS } from '../objects/layout.js';
import { constantRange, maxEntriesRange, nameOffsets } from '../objects/patch.js';
import { quoteJson } from '../text/json.js';
import { quoteWord, renderCommand } from '../text/shell-words.js';
import { printable, wrapWords } from '../text/text.js';
import type { StayOptions } from '../verbs/attach.js';

export const SCRIPT_VERBS = ['attach', 'detach', 'status'] as const;
type ScriptVerb = (typeof SCRIPT_VERBS)[number];

/** The options of the verb. */
export interface ScriptOptions
  extends Pick<StayOptions, 'mode' | 'reader' | 'maxSources' | 'fileMode' | 'replace'> {
  readonly verb: ScriptVerb;
  /** The interface's own name. */
  readonly interface: string;
  /** A name, path or process id on the host where the script runs. */
  readonly netns?: string | undefined;
  readonly bpffs?: string | undefined;
  /** Print only data and errors. */
  readonly quiet?: boolean | undefined;
}

/** What the script is made from. */
interface ScriptOrigin {
  readonly version: string;
  /** The folder of the compiled objects for both byte orders. */
  readonly objectsDirectory: string;
}

const END = 'attachment/end.sh';
/** The files that a script is made of, in order. */
const PARTS: Readonly<Record<ScriptVerb, readonly string[]>> = {
  attach: [
    'running',
    'target',
    END,
    'looking',
    'ending',
    'device',
    'objects',
    'describing',
    'attach',
    'main',
  ],
  detach: ['running', 'target', END, 'looking', 'ending', 'detach', 'main'],
  status: ['running', 'target', END, 'looking', 'describing', 'status', 'main'],
};

/** Returns the script. Throws `bad-object` if an object is missing or is not one of ours. */
export function renderScript(options: ScriptOptions, origin: ScriptOrigin): string {
  const sections = [
    header(options, origin),
    settings(options),
    constants(),
    commands(options.bpffs ?? DEFAULT_BPFFS),
    record(),
    ...(options.verb === 'attach' ? [objects(origin.objectsDirectory)] : []),
    ...PARTS[options.verb].map((part) =>
      packageText(part.includes('/') ? part : `script/${part}.sh`),
    ),
  ];
  return `${sections.map((section) => section.trim()).join('\n\n')}\n`;
}

/** The table of the manual, but for what a command line alone can be. */
function exitCodes(): string[] {
  return EXIT_STATUS.filter(([codes]) => codes !== '2').flatMap(([codes, meaning]) =>
    wrapWords(`#   ${codes}  ${meaning.replaceAll('`', '')}`, 100, '#      '),
  );
}

function header(options: ScriptOptions, { version }: ScriptOrigin): string {
  const { verb } = options;
  const needs =
    'bpftool, and base64, dd, gzip, mktemp, mount, od, readlink, sed, stat: coreutils or busybox';
  // A line break in a name would end the comment.
  return `#!/bin/sh
# xdpwho ${version}: ${printable(commandOf(options))}
#
# Does on this host what \`xdpwho ${verb}\` would do, without xdpwho: as root, sh FILE, or from afar,
# ssh root@HOST sh < FILE. Needs ${needs};
# nsenter (util-linux) for another network namespace. Prints one JSON document; talk and errors go to
# standard error. Exit codes:
${exitCodes().join('\n')}
# SPDX-License-Identifier: MIT AND (GPL-2.0-only OR MIT)`;
}

/** The command line that makes this script. */
function commandOf(options: ScriptOptions): string {
  const { netns, bpffs, mode, reader, maxSources, fileMode } = options;
  const values: [option: string, value: string | undefined][] = [
    ['--netns', netns],
    ['--bpffs', bpffs],
    ['--mode', mode === 'auto' ? undefined : mode],
    ['--reader', reader === 'auto' ? undefined : reader],
    ['--max-sources', maxSources?.toString()],
    ['--file-mode', fileMode?.toString(8)],
  ];
  const given = values.flatMap(([option, value]) => (value === undefined ? [] : [option, value]));
  const switches = [
    ...(options.replace === true ? ['--replace'] : []),
    ...(options.quiet === true ? ['-q'] : []),
  ];
  const words = ['script', options.verb, ...given, ...switches, '--', options.interface];
  return renderCommand('xdpwho', words);
}

/** The options. Only here do texts of the user become part of the script. */
function settings(options: ScriptOptions): string {
  const { netns, bpffs = DEFAULT_BPFFS, fileMode = DEFAULT_FILE_MODE } = options;
  const values: Record<string, string> = {
    verb: options.verb,
    interface: options.interface,
    interface_json: jsonContent(options.interface),
    interface_shown: printable(options.interface),
    pin_name: pinName(options.interface, null),
    netns: netns ?? '',
    netns_shown: printable(netns ?? ''),
    netns_json: netns === undefined ? 'null' : quoteJson(netns),
    bpffs: bpffs,
    bpffs_shown: printable(bpffs),
    mode: options.mode ?? 'auto',
    reader: options.reader ?? 'auto',
    max_sources: options.maxSources === undefined ? '' : String(options.maxSources),
    front_lines: '0',
    file_mode: fileMode.toString(8).padStart(4, '0'),
    shared: String((fileMode & 0o077) !== 0),
    replace: String(options.replace === true),
    quiet: String(options.quiet === true),
  };
  return `# What was asked for.\n${assignments(values)}`;
}

function constants(): string {
  const values = {
    default_bpffs: DEFAULT_BPFFS,
    tool_directories: TOOL_DIRECTORIES.join(':'),
    netns_directory: NETNS_DIRECTORY,
    scratch_prefix: SCRATCH_PREFIX,
    bpffs_magic: BPF_FS_MAGIC.toString(16),
    nsfs_magic: NSFS_MAGIC.toString(16),
    initial_pid_namespace: INITIAL_PID_NAMESPACE,
    program_name: PROGRAM_NAME,
    own_program: OWN_PROGRAM_PATTERN,
    state_version: String(STATE_VERSION),
    largest_default: String(DEFAULT_MAX_SOURCES),
    table_bytes: String(DEFAULT_TABLE_BYTES),
    element_bytes: String(ELEMENT_OVERHEAD_BYTES),
    value_bytes: String(SOURCE_VALUE.size),
    most_lines: String(MOST_LINES),
    most_front_cpus: String(MOST_CPUS),
    front_bytes: String(FRONT_BYTES),
    line_bytes: String(FRONT_LINE.size),
    front_link_prefix: FRONT_LINK_PREFIX,
    segment_bytes: String(LOG_SEGMENT.size),
    bytes_offset: String(TOTALS.bytes),
    ipv4_offset: String(TOTALS.ipv4),
    ipv6_offset: String(TOTALS.ipv6),
    other_offset: String(TOTALS.other),
    malformed_offset: String(TOTALS.malformed),
    why_generic_veth: WHY_GENERIC.veth,
    why_generic_bond: WHY_GENERIC.emptyBond,
  };
  const codes = Object.entries(EXIT_CODES).map(([code, exit]) => `${code}) echo ${exit} ;;`);
  const errnos = ERRNO_WORDS.map(
    ([errno, ...words]) =>
      `${words.map((word) => `*${quoteWord(word)}*`).join(' | ')}) echo ${errno} ;;`,
  );
  return [
    assignments(values),
    caseFunction('code_of', '$1', codes),
    caseFunction('errno_in', '$1', errnos),
    caseFunction('is_mode_errno', '$1', [`'' | ${[...OTHER_ERRNOS].join(' | ')}) return 1 ;;`]),
    caseFunction('link_layer_of', '$1', echoing(LINK_LAYER_OF_TYPE)),
    caseFunction('link_type_of_number', '$1', echoing(LINK_TYPES)),
    caseFunction('native_cost', '$1:$2', echoing(NATIVE_COSTS)),
    nearestHz(),
  ].join('\n');
}

/** The same as nearestHz in src/objects/jiffies.ts: the limit between two values is the root of their product. */
function nearestHz(): string {
  const lines = USUAL_HZ.slice(0, -1).map((hz, index) => {
    const limit = hz * (USUAL_HZ[index + 1] ?? hz);
    return `if [ $(($1 * $1)) -lt ${limit} ]; then echo ${hz}; return; fi`;
  });
  return shellFunction('nearest_hz', [...lines, `echo ${USUAL_HZ.at(-1)}`]);
}

/** The command lines, as functions. A word that begins with `$` is a variable of the script. */
function commands(bpffs: string): string {
  const pins = pinsIn('$directory');
  const bpftool = (args: readonly string[]) => `"$bpftool" ${args.map(shellWord).join(' ')}`;
  const attach = (mode: XdpMode) =>
    `in_netns "$at" ${bpftool(bpftoolArguments.attach(mode, pins.program, '$interface'))} $overwrite`;
  // end.sh reads the plain output.
  const showNet = bpftoolArguments.showNet().filter((word) => word !== '-j');
  const mount = [...mountArguments(bpffs).slice(0, -1), '$bpffs'];
  const maps = mapPins(pins, WITHOUT_FRONT);
  const withFront = { ...maps, front: pins.frontMap };
  const shapes = [...mapShapes(WITHOUT_FRONT), frontShape(FRONT_ENTRIES)];
  const creating = shapes.map((shape) => {
    const pin = withFront[shape.name as keyof typeof withFront] ?? '';
    const line = bpftool(bpftoolArguments.createMap(pin, shape))
      .replace(` ${MAX_SOURCES} `, ' "$max_sources" ')
      .replace(` ${FRONT_ENTRIES} `, ' "$front_entries" ');
    return [`create_${shape.name}`, line];
  });
  const lines = {
    bpftool_version: `"$1" ${bpftoolArguments.version().join(' ')}`,
    show_program: bpftool(bpftoolArguments.showProgram(pinsIn('$1').program)),
    show_program_by_id: bpftool(bpftoolArguments.showProgramById('$id_there')),
    ...Object.fromEntries(creating),
    load_program: bpftool(bpftoolArguments.loadProgram('$1', pins.program, maps)),
    load_with_front: bpftool(bpftoolArguments.loadProgram('$1', pins.program, withFront)),
    load_clock: bpftool(bpftoolArguments.loadProgram('$scratch/clock.o', pins.clock)),
    run_clock: bpftool(bpftoolArguments.runProgram(pins.clock, '$scratch/frame', 1)),
    pin_sources: bpftool(
      bpftoolArguments.pinIterator('$scratch/$1.o', pins.sourcesFile, pins.sourcesMap),
    ),
    pin_totals: bpftool(
      bpftoolArguments.pinIterator('$scratch/$1.o', pins.totalsFile, pins.totalsMap),
    ),
    dump_sources: bpftool(bpftoolArguments.dumpMap(pins.sourcesMap)),
    dump_totals: bpftool(bpftoolArguments.dumpMap(pins.totalsMap)),
    show_net: `in_netns "$1" ${bpftool(showNet)}`,
    attach_native: attach('native'),
    attach_generic: attach('generic'),
    mount_bpffs: `mount ${mount.map(shellWord).join(' ')}`,
  };
  return Object.entries(lines)
    .map(([name, line]) => `${name}() { ${line}; }`)
    .join('\n');
}

/** Stands for the number of sources, which depends on the host. */
const MAX_SOURCES = -1;
/** Stands for the number of lines of the front table. */
const FRONT_ENTRIES = -2;

/** The tables of what the script attaches where there is no front table. */
const WITHOUT_FRONT = { maxSources: MAX_SOURCES, frontLines: 0, log: null };

/** The functions that make the record of the attachment, and read members of it. */
function record(): string {
  /** The value of each member: a variable of the script, in quotes if it is a text. */
  const members: Record<Exclude<keyof AttachmentState, 'direction'>, string> = {
    version: '$state_version',
    token: '"$token"',
    interface: '"$interface_json"',
    netns: '$netns_json',
    netnsInode: '$netns_inode',
    netnsPath: '$netns_path_json',
    mode: '$mode_used',
    programId: '$program_id',
    reader: '$reader_used',
    readerNote: '$reader_note',
    maxSources: '$max_sources',
    frontLines: '$front_lines',
    modeAsked: '"$mode"',
    readerAsked: '"$reader"',
    fileMode: '$((file_mode))',
    log: 'null',
    modeNote: '$mode_note',
    linkId: 'null',
    linkPid: 'null',
    since: '"$since"',
    holder: '$holder',
  };
  const formats = Object.entries(members).map(
    ([key, value]) => `"${key}":${value.startsWith('"') ? '"%s"' : '%s'}`,
  );
  const values = Object.values(members).map((value) => `"${value.replaceAll('"', '')}"`);
  const keys = Object.keys(members);
  /** A function that prints the JSON of a member: up to the key of the next member. */
  const reading = (name: string, key: keyof AttachmentState) => {
    const next = keys[keys.indexOf(key) + 1];
    const pattern = `s/.*"${key}":\\(.*\\),"${next}":.*/\\1/p`;
    return `${name}() { printf '%s\\n' "$state" | sed -n '${pattern}'; }`;
  };
  return [
    '# The record of an attachment: the target of a link in bpffs.',
    shellFunction('record', [`printf '{${formats.join(',')}}' \\`, `  ${values.join(' ')}`]),
    reading('reader_note_of', 'readerNote'),
    reading('log_of', 'log'),
    reading('mode_note_of', 'modeNote'),
  ].join('\n');
}

/** Every object for both byte orders, and the ranges of the constants in it. */
function objects(directory: string): string {
  const files = new ObjectFiles(directory);
  const names: readonly ObjectName[] = [
    ...(['xdpwho.frags', 'xdpwho', 'sources', 'sources.front', 'totals'] as const),
    ...(['totals.front', 'clock'] as const),
  ];
  const orders = ['el', 'eb'] as const;
  const all = orders.flatMap((order) =>
    names.map((name) => ({ order, name, image: files.read(name, order) })),
  );
  const ranges = all.flatMap(({ order, name, image }) =>
    rangesIn(name, image).map(([value, { offset, size }]) => {
      return `${order}/${name}/${value}) echo ${offset} ${size} ;;`;
    }),
  );
  const images = all.map(({ order, name, image }) => {
    return `${order}/${name}) cat <<'END'\n${base64Lines(gzipSync(image, { level: 9 }))}\nEND\n;;`;
  });
  return [
    '# Constants of the objects: the offset in the file, and the size.',
    caseFunction('constant_range', '$byte_order/$1/$2', ranges),
    '# The offsets of the name of the front table in its iterators.',
    caseFunction(
      'front_name_offsets',
      '$byte_order/$1',
      all
        .filter(({ name }) => name.endsWith('.front'))
        .map(({ order, name, image }) => {
          return `${order}/${name}) echo ${nameOffsets(image, FRONT_PIN_NAME).join(' ')} ;;`;
        }),
    ),
    '# The compiled BPF objects (gzip, base64), for both byte orders.',
    `object() {\ncase $byte_order/$1 in\n${images.join('\n')}\nesac\n}`,
  ].join('\n');
}

const FRONT_CONSTANTS = [
  ...(['front_lines', 'front_totals', 'front_seeds', 'jiffies_per_second'] as const),
];
const ITERATOR_CONSTANTS = ['possible_cpus', 'interface_json'] as const;

function rangesIn(name: ObjectName, image: Uint8Array) {
  const constant = (key: string) => [key, constantRange(image, key)] as const;
  switch (name) {
    case 'sources':
      return [...ITERATOR_CONSTANTS, 'jiffies_per_second'].map(constant);
    case 'sources.front':
      return [
        ...[...ITERATOR_CONSTANTS, ...FRONT_CONSTANTS].map(constant),
        ['front_entries', maxEntriesRange(image, FRONT_PIN_NAME)] as const,
      ];
    case 'totals.front':
      return [
        ...ITERATOR_CONSTANTS.map(constant),
        ['front_entries', maxEntriesRange(image, FRONT_PIN_NAME)] as const,
      ];
    case 'totals':
      return ITERATOR_CONSTANTS.map(constant);
    case 'xdpwho.frags':
    case 'xdpwho':
      return ['link_layer', ...FRONT_CONSTANTS].map(constant);
    default:
      return [];
  }
}

function base64Lines(bytes: Uint8Array): string {
  const text = Buffer.from(bytes).toString('base64');
  return (text.match(/.{1,100}/g) ?? []).join('\n');
}

function assignments(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${value === '' ? '' : quoteWord(value)}`)
    .join('\n');
}

function caseFunction(name: string, subject: string, cases: readonly string[]): string {
  const body = cases.map((line) => `  ${line}`);
  return shellFunction(name, [`case ${subject} in`, ...body, 'esac']);
}

/** The cases of a function that prints a value. */
function echoing(values: Readonly<Record<string, string | number>>): string[] {
  return Object.entries(values).map(
    ([key, value]) => `${quoteWord(key)}) echo ${quoteWord(String(value))} ;;`,
  );
}

function shellFunction(name: string, lines: readonly string[]): string {
  return `${name}() {\n${lines.map((line) => `  ${line}`).join('\n')}\n}`;
}

function shellWord(word: string): string {
  return word.startsWith('$') ? `"${word}"` : quoteWord(word);
}
