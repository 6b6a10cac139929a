/** Standard error: what a command tells its user besides the data. */
import { observeCommands } from '../host/command-log.js';
import type { XdpwhoError } from '../model/errors.js';
import { renderCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import { hintOf } from './again.js';

interface MessageOptions {
  /** `-q`: print errors only. */
  readonly quiet?: boolean | undefined;
  /** `-v`: print each command just before it runs. */
  readonly verbose?: boolean | undefined;
}

export class Messages {
  readonly verbose: boolean;
  readonly #write: (text: string) => void;
  readonly #quiet: boolean;

  constructor(write: (text: string) => void, options: MessageOptions) {
    this.#write = write;
    this.#quiet = options.quiet === true;
    this.verbose = options.verbose === true;
    if (this.verbose) {
      observeCommands((file, args) => this.#line(`+ ${renderCommand(file, args)}`));
    }
  }

  /** Prints one line, unless the user asked for errors only. */
  info(text: string): void {
    if (!this.#quiet) this.#line(`xdpwho: ${text}`);
  }

  /** Prints an error after which the command goes on, such as that of one interface of several. */
  error(error: XdpwhoError): void {
    for (const line of errorLines(error)) this.#line(line);
  }

  #line(text: string): void {
    this.#write(`${printable(text)}\n`);
  }
}

/** An error and its hint as lines for a user. They may hold any characters. */
export function errorLines(error: Pick<XdpwhoError, 'message' | 'hint' | 'retry'>): string[] {
  const hint = hintOf(error);
  return [`xdpwho: ${error.message}`, ...(hint === undefined ? [] : [`  hint: ${hint}`])];
}
