/** The help of a command, and the help of all of them, from their descriptions. Pure. */
import { alignColumns } from '../text/columns.js';
import { wrapWords } from '../text/text.js';
import { type CommandDescription, type Example, usageOf } from './command.js';
import { GENERAL_OPTIONS, type Option, type OptionTable, visibleOptions } from './options.js';

const COLUMNS = 80;

const EXAMPLES: readonly Example[] = [
  ['xdpwho eth0', 'watch eth0 until Ctrl-C'],
  ['xdpwho watch --help', 'the options of a command'],
];

/** Lists the verbs and the general options. */
export function renderHelp(
  verbs: readonly Pick<CommandDescription, 'verb' | 'describe'>[],
): string {
  return textOf([
    'Usage: xdpwho [watch] [interface...], or xdpwho command ...',
    'Shows who is sending packets to this host, by an XDP program that only counts.',
    '',
    'Commands:',
    ...alignColumns(verbs.map(({ verb, describe }) => [`  xdpwho ${verb}`, describe])),
    'General options:',
    ...optionLines(GENERAL_OPTIONS),
    ...exampleLines(EXAMPLES),
  ]);
}

/** What a screen shows. */
const LINES = 24;

/**
 * Has at most 24 lines. The general options are on one of them, and where the others do not fit, so are those that
 * few people need.
 */
export function renderCommandHelp(command: CommandDescription): string {
  const lines = commandHelpLines(command, () => true);
  if (lines.length <= LINES) return textOf(lines);
  return textOf(commandHelpLines(command, ({ rare }) => rare !== true));
}

function commandHelpLines(
  command: CommandDescription,
  isShown: (option: Option) => boolean,
): string[] {
  const positionals = command.arguments.filter(({ describe }) => describe !== undefined);
  const general = visibleOptions(GENERAL_OPTIONS).map(({ name, alias }) =>
    alias === undefined ? `--${name}` : `-${alias}`,
  );
  const options = visibleOptions(command.options);
  const others = options.filter((option) => !isShown(option)).map(({ name }) => `--${name}`);
  return [
    `Usage: xdpwho ${usageOf(command)}`,
    ...wrapWords(command.about.join(' '), COLUMNS),
    ...(positionals.length === 0
      ? []
      : [
          'Positionals:',
          ...describedLines(
            positionals.map((each) => [`  ${each.name}`, each.describe ?? '', each.default]),
          ),
        ]),
    ...(options.length === 0 ? [] : ['Options:', ...optionLines(command.options, isShown)]),
    ...(others.length === 0 ? [] : wrapWords(`In the manual: ${others.join(' ')}`, COLUMNS)),
    `General options: ${general.join(' ')}; see xdpwho --help`,
    ...exampleLines(command.examples),
  ];
}

function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join('');
}

function optionLines(
  options: OptionTable,
  isShown: (option: Option) => boolean = () => true,
): string[] {
  const shown = visibleOptions(options).filter(isShown);
  return describedLines(
    shown.map(({ name, alias, describe, defaultDescription }) => [
      `  ${alias === undefined ? '   ' : `-${alias},`} --${name}`,
      describe,
      defaultDescription,
    ]),
  );
}

/** Defaults stand at the right margin. */
function describedLines(
  rows: readonly (readonly [label: string, describe: string, usual: string | undefined])[],
): string[] {
  const lines = alignColumns(rows.map(([label, describe]) => [label, describe]));
  return lines.map((line, index) => {
    const usual = rows[index]?.[2];
    if (usual === undefined) return line;
    const shown = `[default: ${usual}]`;
    return `${line.padEnd(COLUMNS - shown.length - 1)} ${shown}`;
  });
}

/** Each description stands beside its command line, or all of them below where one would not fit. */
function exampleLines(examples: readonly Example[]): string[] {
  const beside = alignColumns(examples.map(([line, text]) => [`  ${line}`, text]));
  const lines = beside.every((line) => line.length <= COLUMNS)
    ? beside
    : examples.flatMap(([line, text]) => [`  ${line}`, `      ${text}`]);
  return ['Examples:', ...lines];
}
