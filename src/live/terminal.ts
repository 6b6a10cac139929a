/**
 * Takes over a terminal for a while: the alternate screen, raw keys, drawing. It restores everything
 * whatever ends the process, except for SIGKILL. So it handles the signals that stop the process and
 * those that would end it; main.ts handles SIGINT, SIGTERM and SIGHUP, and releases the terminal.
 */
import { emitKeypressEvents } from 'node:readline';
import type { Input, Output } from '../cli/context.js';

interface TerminalHandlers {
  /** Called with the character, or with the name of another key: `return`, `escape`, `up`. */
  readonly onKey: (key: string) => void;
  /** Called when the size has changed or what was drawn is lost. */
  readonly onRedraw: () => void;
}

/** Private modes 1049 (the alternate screen) and 25 (the cursor) of xterm, which other terminals have too. */
const TAKE = '\x1b[?1049h\x1b[?25l';
const PUT_BACK = '\x1b[?25h\x1b[?1049l';
/** ECMA-48: move to the first line; erase to the end of the line; erase to the end of the screen. */
const HOME = '\x1b[H';
const ERASE_LINE = '\x1b[K';
const ERASE_BELOW = '\x1b[J';
/** Synchronised output: terminals that know these two codes show a frame in one step; others ignore them. */
const BEGIN_FRAME = '\x1b[?2026h';
const END_FRAME = '\x1b[?2026l';

/** Signals that end a process by default and that main.ts does not handle. */
const DEADLY = ['SIGQUIT', 'SIGALRM', 'SIGUSR2', 'SIGXCPU'] as const;

export class Terminal {
  readonly #input: Input;
  readonly #output: Output;
  readonly #handlers: TerminalHandlers;
  #taken = false;

  /** Keys come only from a terminal: what comes from a pipe or a file is for somebody else. */
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
    if (this.#input.isTTY === true) {
      emitKeypressEvents(this.#input);
      this.#input.on('keypress', this.#onKeypress);
      this.#input.on('error', this.#ignore);
    }
    this.#output.on('resize', this.#handlers.onRedraw);
    process.on('exit', this.#putBack);
    process.on('SIGTSTP', this.#stop);
    process.on('SIGCONT', this.#continue);
    for (const signal of DEADLY) process.on(signal, this.#die);
    this.#show();
  }

  /** Gives the screen and the keyboard back. May be called twice. */
  release(): void {
    this.#putBack();
    this.#input.off('keypress', this.#onKeypress);
    this.#output.off('resize', this.#handlers.onRedraw);
    process.off('exit', this.#putBack);
    process.off('SIGTSTP', this.#stop);
    process.off('SIGCONT', this.#continue);
    for (const signal of DEADLY) process.off(signal, this.#die);
  }

  /** Draws lines, without line ends. There must be no more of them, and none wider, than the terminal has room for. */
  draw(lines: readonly string[]): void {
    // If the terminal is slow, this frame is dropped; the next one replaces it.
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
    // In raw mode the terminal sends these keys as characters, not as signals.
    if (key.ctrl === true && key.name === 'c') process.kill(process.pid, 'SIGINT');
    else if (key.ctrl === true && key.name === 'z') process.kill(0, 'SIGTSTP');
    else if (key.ctrl === true && key.name === 'l') this.#handlers.onRedraw();
    // node:readline reports the escape key alone as a meta key.
    else if (key.ctrl === true || (key.meta === true && key.name !== 'escape')) return;
    else this.#handlers.onKey(isCharacter(text) ? text : (key.name ?? ''));
  };

  /** Restores the terminal, then stops the process by the default action of the signal. */
  readonly #stop = (): void => {
    this.#putBack();
    process.off('SIGTSTP', this.#stop);
    process.kill(process.pid, 'SIGTSTP');
    process.on('SIGTSTP', this.#stop);
  };

  /** Takes the terminal again. The shell has changed its modes, also after a SIGSTOP, which we do not see. */
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

/** A key as node:readline reports it. */
interface Keypress {
  readonly name?: string | undefined;
  readonly ctrl?: boolean | undefined;
  readonly meta?: boolean | undefined;
}

function isCharacter(text: string | undefined): text is string {
  return text !== undefined && /^[\x21-\x7e]$/.test(text);
}
