/**
 * A shell that runs a fixed text when this process ends, whatever ends it: a return, an exception,
 * SIGKILL, a closed terminal. The shell reads a pipe. Only this process, and the commands that share the
 * pipe (see `keepOpen`), have its other end, and the kernel closes that end with the process.
 *
 * The shell runs in a session of its own and ignores the signals with which a terminal or a service manager
 * ends a group of processes, because they would end it together with us. SIGKILL ends it.
 */
import type { Writable } from 'node:stream';
import { XdpwhoError } from '../model/errors.js';
import { type Companion, startCompanion } from './exec.js';
import { requireTool } from './tools.js';

interface AtOurEndOptions {
  /** The name of the shell in `ps`, and in the messages that it prints. */
  readonly name: string;
  /** Text of sh that runs at once. If it exits, `start` rejects. Default: none. */
  readonly begin?: string;
  /** Text of sh that runs at our end. Nobody sees what it prints. Default: none. */
  readonly atEnd?: string;
  /** The positional parameters of both texts. */
  readonly args?: readonly string[];
  /** A program and its arguments that run the shell: `/usr/bin/unshare --mount --`. */
  readonly under?: readonly string[];
  /** Makes the error of `start` from the line that the shell printed before it exited, or ''. */
  readonly onFailure?: (line: string) => XdpwhoError;
}

/** Whoever starts one must call `finish`; if this process dies before, the text runs all the same. */
export class AtOurEnd {
  readonly #companion: Companion;

  private constructor(companion: Companion) {
    this.#companion = companion;
  }

  /**
   * Resolves once `begin` has run and the shell waits.
   * @throws XdpwhoError what `onFailure` makes, by default `tool-failed`, when the shell exits first.
   */
  static async start(options: AtOurEndOptions): Promise<AtOurEnd> {
    const { name, begin = '', atEnd = '', args = [], under = [] } = options;
    const { onFailure = (line) => new XdpwhoError('tool-failed', `${name}: ${line}`) } = options;
    const [file = '', ...words] = [...under, requireTool('sh'), '-c', textOf(begin, atEnd), name];
    const companion = startCompanion(file, [...words, ...args]);
    const line = await companion.nextLine();
    if (line === 'ready') return new AtOurEnd(companion);
    companion.stdin.end();
    await companion.ended;
    throw onFailure(line ?? '');
  }

  get pid(): number {
    return this.#companion.pid;
  }

  /** Our end of the pipe. If we die while a command shares it, the shell waits for that command's end. */
  get keepOpen(): Writable {
    return this.#companion.stdin;
  }

  /** Makes the shell run the text now, and resolves when it has ended. May be called twice. */
  async finish(): Promise<void> {
    this.#companion.stdin.end();
    await this.#companion.ended;
  }
}

function textOf(begin: string, atEnd: string): string {
  return `
trap '' HUP INT QUIT TERM PIPE TSTP TTIN TTOU
${begin}
echo ready
exec >/dev/null 2>&1
while read -r _; do :; done
${atEnd}
`;
}
