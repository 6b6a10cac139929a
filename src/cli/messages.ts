/** What the command tells its user, apart from the data: lines on standard error. */
import { observeCommands } from '../host/command-log.js';
import type { XdpwhoError } from '../model/errors.js';
import { renderCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';

export interface TalkOptions {
  /** `-q`: only errors. */
  readonly quiet?: boolean | undefined;
  /** `-v`: also each command, just before it runs. */
  readonly verbose?: boolean | undefined;
}

export class Talk {
  readonly verbose: boolean;
  readonly #write: (text: string) => void;
  readonly #quiet: boolean;

  constructor(write: (text: string) => void, options: TalkOptions) {
    this.#write = write;
    this.#quiet = options.quiet === true;
    this.verbose = options.verbose === true;
    if (this.verbose) {
      observeCommands((file, args) => this.#line(`+ ${renderCommand(file, args)}`));
    }
  }

  /** One line, `what: what about it`, unless the user asked for quiet. */
  say(text: string): void {
    if (!this.#quiet) this.#line(`xdpwho: ${text}`);
  }

  /** A failure that does not end the command, and its hint: also where the user asked for quiet. */
  complain({ message, hint }: XdpwhoError): void {
    this.#line(`xdpwho: ${message}`);
    if (hint !== undefined) this.#line(`  hint: ${hint}`);
  }

  #line(text: string): void {
    this.#write(`${printable(text)}\n`);
  }
}
