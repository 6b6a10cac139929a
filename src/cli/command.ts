/** A command as data: its words, arguments and options. Its help, the completion and the manual are made from this. */
import type { ArgumentsCamelCase, InferredOptionTypes } from 'yargs';
import type { CommandContext } from './context.js';
import type { Argument, GENERAL_OPTIONS, GivenWords, OptionTable } from './options.js';

/** A command line, and what it does. */
export type Example = readonly [line: string, description: string];

export interface CommandDescription {
  readonly verb: string;
  /** One short line. */
  readonly describe: string;
  /** A paragraph. Help breaks it into lines. */
  readonly about: readonly string[];
  readonly arguments: readonly Argument[];
  /** Those that the command has besides the general ones, in the order of its help. */
  readonly options: OptionTable;
  readonly examples: readonly Example[];
}

type GeneralOptions = InferredOptionTypes<typeof GENERAL_OPTIONS>;

/** The values of a command's options, by their names in camel case, and of the general options. */
export type OptionValues<O extends OptionTable> = ArgumentsCamelCase<
  Omit<GeneralOptions, keyof O> & InferredOptionTypes<O>
>;

export interface Command<O extends OptionTable>
  extends Omit<CommandDescription, 'about' | 'arguments'> {
  /** Default: `describe` as a sentence. */
  readonly about?: readonly string[];
  /** Default: none. */
  readonly arguments?: readonly Argument[];
  readonly options: O;
  /** Whether what it has done stands when a signal comes afterwards. Default: false. */
  readonly changesHost?: boolean;
  /** Resolves with the exit code; rejects with an XdpwhoError. */
  readonly handler: (
    options: OptionValues<O> & GivenWords,
    context: CommandContext,
  ) => Promise<number>;
}

/** Runs a command with the options that were parsed for it. Resolves with the exit code. */
export type Run = (context: CommandContext) => Promise<number>;

/** A command whose options' types are no longer known. */
export interface AnyCommand {
  readonly description: CommandDescription;
  readonly changesHost: boolean;
  /** `words` is the whole command line. Throws an XdpwhoError `usage` with the hint `help`. */
  readonly parse: (words: readonly string[], help: string) => Run;
}

/** A command that is loaded when it is needed: a list of the verbs needs none of them. */
export interface Verb {
  readonly verb: string;
  /** The same text as in the command. */
  readonly describe: string;
  readonly load: () => Promise<AnyCommand>;
}

/** `watch [interface..]`: the verb and its arguments, as help shows them. */
export function usageOf({
  verb,
  arguments: list,
}: Pick<CommandDescription, 'verb' | 'arguments'>): string {
  const words = list.map(({ name, many, required }) => {
    const shown = many === true ? `${name}..` : name;
    return required === true ? `<${shown}>` : `[${shown}]`;
  });
  return [verb, ...words].join(' ');
}
