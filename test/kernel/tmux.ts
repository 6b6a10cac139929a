/** A real terminal for tests: a tmux server of its own, keys in, the screen out. */
import { execa } from 'execa';
import { findTool } from '../../src/host/tools.js';

/** Why there is no terminal to test in, or undefined. For test/suite.ts. */
export const WHY_NO_TMUX = findTool('tmux') === undefined ? 'there is no tmux' : undefined;

export interface TmuxOptions {
  readonly columns: number;
  readonly rows: number;
  readonly environment?: Readonly<Record<string, string>>;
}

let terminals = 0;

export class Tmux {
  readonly #socket = `xdpwho-test-${process.pid}-${++terminals}`;

  private constructor() {}

  /** A shell in a terminal of that size. The prompt is `$ `. */
  static async start(options: TmuxOptions): Promise<Tmux> {
    const tmux = new Tmux();
    // An empty variable counts as absent: what runs the tests must not show through.
    const environment = {
      LANG: 'C.UTF-8',
      LC_ALL: '',
      NO_COLOR: '',
      PS1: '$ ',
      ...options.environment,
    };
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    const size = ['-x', String(options.columns), '-y', String(options.rows)];
    const shell = ['env', ...variables, 'bash', '--norc', '--noprofile'];
    await tmux.#run(['-f', '/dev/null', 'new-session', '-d', ...size, ...shell]);
    await tmux.#run(['set-option', '-g', 'remain-on-exit', 'on']);
    await tmux.until((screen) => screen.includes('$'), 'a prompt');
    return tmux;
  }

  /** Types a line, and Enter. */
  async type(line: string): Promise<void> {
    await this.#run(['send-keys', '-l', line]);
    await this.#run(['send-keys', 'Enter']);
  }

  /** Presses keys by tmux' names: `q`, `Escape`, `C-c`. */
  async press(...keys: readonly string[]): Promise<void> {
    await this.#run(['send-keys', ...keys]);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#run(['resize-window', '-x', String(columns), '-y', String(rows)]);
  }

  /** The visible lines. With `colors`, as escape sequences. */
  async screen(options: { readonly colors?: boolean } = {}): Promise<string> {
    return this.#run(['capture-pane', '-p', ...(options.colors === true ? ['-e'] : [])]);
  }

  /** What tmux knows of the terminal's state: `alternate_on`, `cursor_flag`, `pane_current_command`. */
  async state(variable: string): Promise<string> {
    return this.#run(['display-message', '-p', `#{${variable}}`]);
  }

  /** Waits until the screen is so, and gives it; fails after `limitMs`, which is generous and no measurement. */
  async until(holds: (screen: string) => boolean, what: string, limitMs = 20_000): Promise<string> {
    const endMs = Date.now() + limitMs;
    for (;;) {
      const screen = await this.screen();
      if (holds(screen)) return screen;
      if (Date.now() > endMs)
        throw new Error(`not within ${limitMs} ms: ${what}; there is:\n${screen}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  }

  async close(): Promise<void> {
    await execa('tmux', ['-L', this.#socket, 'kill-server'], { reject: false });
  }

  async #run(args: readonly string[]): Promise<string> {
    return (await execa('tmux', ['-L', this.#socket, ...args])).stdout;
  }
}
