/**
 * A terminal taken over for a while: the alternate screen, raw keys, redrawing, and everything put
 * back however it ends, but for SIGKILL. The only module besides cli.ts that handles signals: those
 * that stop the process, and those that would end it with the screen still taken.
 */
import { emitKeypressEvents } from 'node:readline';
import type { Input, Output } from '../cli/context.js';

export interface TerminalHandlers {
  /** A character as it is, or the name of another key: `return`, `escape`, `up`. */
  readonly onKey: (key: string) => void;
  /** The size has changed, or what was drawn is lost. */
  readonly onRedraw: () => void;
}

/** xterm's private modes 1049 (the alternate screen) and 25 (the cursor), which all others have taken over. */
const TAKE = '\x1b[?1049h\x1b[?25l';
const PUT_BACK = '\x1b[?25h\x1b[?1049l';
/** ECMA-48: to the first line; erase to the end of the line, to the end of the screen. */
const HOME = '\x1b[H';
const ERASE_LINE = '\x1b[K';
const ERASE_BELOW = '\x1b[J';
/** Synchronised output: terminals that know these two show a frame in one step; the others ignore them. */
const BEGIN_FRAME = '\x1b[?2026h';
const END_FRAME = '\x1b[?2026l';

/** What ends a process by default and is not among those that cli.ts handles. */
const DEADLY = ['SIGQUIT', 'SIGALRM', 'SIGUSR2', 'SIGXCPU'] as const;

export class Terminal {
  readonly #input: Input;
  readonly #output: Output;
  readonly #handlers: TerminalHandlers;
  #taken = false;

  /** `input` may be something else than a terminal: then there are no keys. */
  constructor(input: Input, output: Output, handlers: TerminalHandlers) {
    this.#input = input;
    this.#output = output;
    this.#handlers = handlers;
  }

  get taken(): boolean {
    return this.#taken;
  }

  get width(): number {
    return this.#output.columns || 80;
  }

  get height(): number {
    return this.#output.rows || 24;
  }

  take(): void {
    if (this.#taken) return;
    emitKeypressEvents(this.#input);
    this.#input.on('keypress', this.#onKeypress);
    this.#input.on('error', this.#ignore);
    this.#output.on('resize', this.#handlers.onRedraw);
    process.on('exit', this.#putBack);
    process.on('SIGTSTP', this.#stop);
    process.on('SIGCONT', this.#continue);
    for (const signal of DEADLY) process.on(signal, this.#die);
    this.#show();
  }

  /** The screen and the keyboard are the shell's again. May be called twice. */
  release(): void {
    this.#putBack();
    this.#input.off('keypress', this.#onKeypress);
    this.#output.off('resize', this.#handlers.onRedraw);
    process.off('exit', this.#putBack);
    process.off('SIGTSTP', this.#stop);
    process.off('SIGCONT', this.#continue);
    for (const signal of DEADLY) process.off(signal, this.#die);
  }

  /** Lines without their ends, no more and no wider than the terminal. */
  draw(lines: readonly string[]): void {
    // A terminal that does not keep up gets the next frame instead.
    if (!this.#taken || this.#output.writableNeedDrain) return;
    const body = lines.map((line) => `${line}${ERASE_LINE}`).join('\r\n');
    this.#output.write(`${BEGIN_FRAME}${HOME}${body}${ERASE_BELOW}${END_FRAME}`);
  }

  #show(): void {
    this.#taken = true;
    if (this.#input.isTTY === true) {
      this.#input.setRawMode?.(true);
      this.#input.resume();
    }
    this.#output.write(TAKE);
  }

  readonly #putBack = (): void => {
    if (!this.#taken) return;
    this.#taken = false;
    this.#output.write(PUT_BACK);
    if (this.#input.isTTY !== true) return;
    this.#input.setRawMode?.(false);
    this.#input.pause();
  };

  readonly #onKeypress = (text: string | undefined, key: Keypress): void => {
    // In raw mode the terminal makes no signals of these.
    if (key.ctrl === true && key.name === 'c') process.kill(process.pid, 'SIGINT');
    else if (key.ctrl === true && key.name === 'z') process.kill(0, 'SIGTSTP');
    else if (key.ctrl === true && key.name === 'l') this.#handlers.onRedraw();
    // readline calls a lone escape a meta key.
    else if (key.ctrl === true || (key.meta === true && key.name !== 'escape')) return;
    else this.#handlers.onKey(isCharacter(text) ? text : (key.name ?? ''));
  };

  /** Stops as it would have without us: by the signal's default action. */
  readonly #stop = (): void => {
    this.#putBack();
    process.off('SIGTSTP', this.#stop);
    process.kill(process.pid, 'SIGTSTP');
    process.on('SIGTSTP', this.#stop);
  };

  /** Also after SIGSTOP, when the shell has changed the terminal's modes behind our back. */
  readonly #continue = (): void => {
    this.#putBack();
    this.#show();
    this.#handlers.onRedraw();
  };

  readonly #die = (signal: NodeJS.Signals): void => {
    this.release();
    process.kill(process.pid, signal);
  };

  readonly #ignore = (): void => {};
}

/** What node:readline tells of a key. */
interface Keypress {
  readonly name?: string | undefined;
  readonly ctrl?: boolean | undefined;
  readonly meta?: boolean | undefined;
}

function isCharacter(text: string | undefined): text is string {
  return text !== undefined && /^[\x21-\x7e]$/.test(text);
}
