/**
 * Draws one block of lines after another: over the last one on a terminal, elsewhere below it. The
 * screen stays the shell's: no other buffer, no hidden cursor, nothing to restore after SIGKILL.
 */
export interface ScreenOutput {
  write(text: string): unknown;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

const DEFAULT_COLUMNS = 80;
/** ECMA-48: erase to the end of the line, to the end of the screen. */
const ERASE_LINE = '\x1b[K';
const ERASE_BELOW = '\x1b[J';
/** Terminals that know these two show the frame in one step; the others ignore them. */
const BEGIN_FRAME = '\x1b[?2026h';
const END_FRAME = '\x1b[?2026l';

export class Screen {
  readonly #output: ScreenOutput;
  readonly #inPlace: boolean;
  #drawn: readonly number[] = [];
  #empty = true;

  /** `inPlace`: the output is a terminal that takes escape sequences, and nobody else writes to it. */
  constructor(output: ScreenOutput, inPlace: boolean) {
    this.#output = output;
    this.#inPlace = inPlace;
  }

  /** Columns that a line may have. */
  get width(): number {
    return this.#output.columns || DEFAULT_COLUMNS;
  }

  /** Lines that a block may have: one less than the terminal, for the cursor; undefined where there is no limit. */
  get height(): number | undefined {
    const rows = this.#output.rows;
    return this.#inPlace && rows ? Math.max(rows - 1, 1) : undefined;
  }

  /** Lines without their ends, none wider than `width`. What is beyond `height` is left out. */
  draw(lines: readonly string[]): void {
    if (!this.#inPlace) {
      const gap = this.#empty ? '' : '\n';
      this.#empty = false;
      this.#output.write(`${gap}${lines.map((line) => `${line}\n`).join('')}`);
      return;
    }
    const visible = lines.slice(0, this.height);
    // A narrower terminal has broken wider lines in two or cut them, nobody knows which: begin below.
    const wider = this.#drawn.some((width) => width > this.width);
    const up = wider ? 0 : this.#drawn.length;
    const back = up > 0 ? `\x1b[${up}A\r` : '\r';
    const body = visible.map((line) => `${line}${ERASE_LINE}\n`).join('');
    this.#output.write(`${BEGIN_FRAME}${back}${body}${ERASE_BELOW}${END_FRAME}`);
    this.#drawn = visible.map(visibleWidth);
  }

  /** Call it after somebody else has written to the terminal: the next block goes below that. */
  interrupt(): void {
    this.#drawn = [];
  }

  /** The last block stays; what the terminal echoed below it (`^C`) goes. */
  close(): void {
    if (this.#inPlace && this.#drawn.length > 0) this.#output.write(`\r${ERASE_BELOW}`);
    this.#drawn = [];
  }
}

/** Whether to draw in place: a terminal that takes escape sequences. */
export function drawsInPlace(isTerminal: boolean, terminalType: string | undefined): boolean {
  return isTerminal && terminalType !== 'dumb';
}

function visibleWidth(line: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape character is what it looks for
  return line.replace(/\x1b\[[\d;]*m/g, '').length;
}
