/**
 * Writes man/xdpwho.1 from the descriptions of the commands: `npm run docs`. The page is mdoc(7), for
 * mandoc and groff. test/man.test.ts compares the file with the commands.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { CommandDescription, Example } from '../src/cli/command.js';
import { GENERAL_OPTIONS, type OptionTable, visibleOptions } from '../src/cli/options.js';
import { loadCommands } from '../src/commands/verbs.js';
import { EXIT_STATUS } from '../src/model/errors.js';
import { wrapWords } from '../src/text/text.js';

export const MAN_PAGE = fileURLToPath(new URL('../man/xdpwho.1', import.meta.url));

/** The date of the last change to the prose below. */
const DATE = 'November 26, 2026';

const DESCRIPTION =
  "counts every packet's source address in an XDP program, before the kernel's network stack. " +
  'It never drops a packet, never touches a program of somebody else, and leaves nothing behind ' +
  'when it ends, also when it is killed.';

const FILES: readonly (readonly [path: string, what: string])[] = [
  [
    '/sys/fs/bpf/xdpwho/',
    'One directory for each attachment. It goes with it, or at a reboot; nothing else is kept.',
  ],
  [
    '/sys/fs/bpf/xdpwho/IFACE/sources',
    'Prints the table as ndjson to whoever may read it; see --file-mode.',
  ],
];

const ENVIRONMENT: readonly (readonly [variable: string, what: string])[] = [
  ['NO_COLOR', 'No colours if it has a value. The option --color goes before it.'],
  [
    'TERM',
    'The value dumb: tables below one another instead of the live view. 256color in it: as many colours.',
  ],
  [
    'LC_ALL, LC_CTYPE, LANG',
    'Bars and sparklines are block elements in a UTF-8 locale, and ASCII elsewhere.',
  ],
  ['SHELL', 'The shell that completion is for, unless one is named.'],
  [
    'TMPDIR',
    'Where copies of the BPF objects lie while they are loaded, if /run cannot be written.',
  ],
];

const KEYS: readonly (readonly [key: string, what: string])[] = [
  ['q', 'Detach and leave.'],
  ['s', 'Sort by packets, bytes, rate, source.'],
  ['p', 'Freeze the figures; counting goes on.'],
  ['g', 'Group by /24 and /64, /16 and /48, /8 and /32, off.'],
  ['/', 'Show only a prefix, or what has a text in its address or its name. Escape clears it.'],
  [
    'r',
    'Names by reverse DNS, asked for in the background. Off at first: it tells the name server who sends.',
  ],
  ['?', 'Help.'],
];

export function renderManPage(commands: readonly CommandDescription[]): string {
  const lines = [
    `.Dd ${DATE}`,
    '.Dt XDPWHO 1',
    '.Os',
    '.Sh NAME',
    '.Nm xdpwho',
    '.Nd show who is sending packets to this host',
    '.Sh SYNOPSIS',
    '.Nm',
    '.Op Cm watch',
    '.Op Ar options',
    '.Ar interface ...',
    ...commands
      .filter(({ verb }) => verb !== 'watch')
      .flatMap((command) => ['.Nm', ...synopsis(command)]),
    '.Sh DESCRIPTION',
    '.Nm',
    ...prose(DESCRIPTION),
    'It has no native code of its own in user space: it drives',
    '.Xr bpftool 8 .',
    '.Pp',
    'Data goes to standard output, messages to standard error.',
    'k, M and G are powers of 1000; bytes count from the Ethernet header on.',
    '.Sh COMMANDS',
    ...commands.flatMap(renderCommand),
    '.Sh OPTIONS OF EVERY COMMAND',
    ...optionList(GENERAL_OPTIONS),
    '.Sh LIVE VIEW',
    'On a terminal,',
    '.Cm watch',
    'takes the whole screen and these keys:',
    ...tagged(KEYS, 'Ic'),
    '.Sh ENVIRONMENT',
    ...tagged(ENVIRONMENT, 'Ev'),
    '.Sh FILES',
    ...tagged(FILES, 'Pa'),
    '.Sh EXIT STATUS',
    ...tagged(
      EXIT_STATUS.map(([codes, meaning]) => [
        codes,
        `${capitalized(meaning.replaceAll('`', ''))}.`,
      ]),
      'No',
    ),
    '.Sh SEE ALSO',
    '.Xr ip 8 ,',
    '.Xr nft 8 ,',
    '.Xr ss 8 ,',
    '.Xr tcpdump 8',
    '.Sh CAVEATS',
    'Only received packets are seen: XDP has no hook for those that are sent.',
    'A source address may be forged.',
    'An interface has room for one XDP program: where there is one already,',
    '.Nm',
    'leaves it alone and fails.',
  ];
  return `${lines.join('\n')}\n`;
}

function renderCommand(command: CommandDescription): string[] {
  const { verb, about, options, examples } = command;
  return [
    `.Ss ${verb}`,
    '.Nm',
    ...synopsis(command),
    '.Pp',
    ...prose(about.join(' ')),
    ...optionList(options),
    '.Pp',
    'Examples:',
    ...examples.flatMap(renderExample),
  ];
}

/** `watch [options] [interface ...]` */
function synopsis({ verb, arguments: list }: CommandDescription): string[] {
  return [
    `.Cm ${verb}`,
    '.Op Ar options',
    ...list.map(({ name, many, required }) => {
      const argument = `Ar ${name}${many === true ? ' ...' : ''}`;
      return required === true ? `.${argument}` : `.Op ${argument}`;
    }),
  ];
}

function optionList(table: OptionTable): string[] {
  const options = visibleOptions(table);
  if (options.length === 0) return [];
  return [
    '.Bl -tag -width Ds',
    ...options.flatMap(({ name, alias, describe, values, defaultDescription }) => {
      const long = `Fl -${escapeText(name)}${values === null ? '' : ' Ar value'}`;
      const usual = defaultDescription === undefined ? '' : ` (default: ${defaultDescription})`;
      // Words to choose from are written as they are typed.
      const text = values?.kind === 'words' ? describe : capitalized(describe);
      return [
        `.It ${alias === undefined ? '' : `Fl ${alias} , `}${long}`,
        ...prose(`${text}${usual}.`),
      ];
    }),
    '.El',
  ];
}

function tagged(rows: readonly (readonly [string, string])[], macro: string): string[] {
  return [
    '.Bl -tag -width Ds',
    ...rows.flatMap(([tag, text]) => [
      `.It ${macro} ${escapeText(tag).replace(/^\W$/, '\\&$&')}`,
      ...prose(text),
    ]),
    '.El',
  ];
}

function renderExample([line, text]: Example): string[] {
  return [
    '.Bd -literal -offset indent -compact',
    escapeText(line),
    '.Ed',
    ...prose(`${capitalized(text)}.`),
  ];
}

/** Lines of text. Each sentence begins a new line, as mdoc wants it, and none is taken for a macro. */
function prose(text: string): string[] {
  return text
    .split(/(?<=[a-z)\d]\.) /)
    .flatMap((sentence) => wrapWords(sentence, 72))
    .map((line) => escapeText(line).replace(/^[.']/, '\\&$&'));
}

function escapeText(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('`', '\\(ga')
    .replaceAll('-', '\\-')
    .replaceAll('"', '\\(dq');
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const commands = (await loadCommands()).map(({ description }) => description);
  writeFileSync(MAN_PAGE, renderManPage(commands));
}
