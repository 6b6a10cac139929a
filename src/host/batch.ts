/**
 * A bpftool batch that stays open: one process that reads commands from our pipe, and keeps what they
 * leave open until its input ends. Only this process holds the other end of the pipe, so the batch
 * ends when this process does, in whatever way; it is in a session of its own, so that a terminal's
 * Ctrl-C does not end it before that.
 */
import { XdpwhoError } from '../model/errors.js';
import type { Bpftool } from './bpftool.js';
import { batchLine, batchWords, bpftoolArguments, inNetns } from './bpftool-arguments.js';
import { announceCommand } from './command-log.js';
import { type Companion, startCompanion } from './exec.js';

/** For the end of its input to be read, and what it holds to be let go. */
const CLOSING_LIMIT_MS = 5000;

/** How many lines are kept of what it says of a failure. */
const MAX_LINES = 100;

/** Whoever opens it must close it. */
export class OpenBatch {
  readonly pid: number;
  /** Resolves when the process has ended, with the signal that ended it or null. What it held is then gone. Never rejects. */
  readonly ended: Promise<NodeJS.Signals | null>;
  readonly #companion: Companion;

  /** Starts bpftool in the namespace at `netnsPath`. Throws `tool-missing` or `failed` if it cannot be. */
  constructor(bpftool: Bpftool, netnsPath: string | undefined) {
    const own = { file: bpftool.path, args: bpftoolArguments.openBatch() };
    const command = inNetns(netnsPath, own);
    announceCommand(command.file, command.args);
    this.#companion = startCompanion(command.file, command.args);
    this.pid = this.#companion.pid;
    this.ended = this.#companion.ended;
  }

  /**
   * Sends commands of `bpftoolArguments`. The last of them must be a `prog run`; gives what the program
   * returned, 32 bits. The others print nothing. Rejects with `tool-failed` when one of them fails,
   * which ends the batch, and with `timeout` when `limit` is aborted first.
   */
  async run(commands: readonly (readonly string[])[], limit: AbortSignal): Promise<number> {
    const lines = commands.map(batchLine);
    if (lines.includes(undefined)) {
      throw new XdpwhoError('failed', 'bpftool batch: a path has a character that it cannot read');
    }
    for (const [index, args] of commands.entries()) {
      const [verb = '', ...words] = batchWords(args);
      announceCommand(verb, words);
      this.#companion.stdin.write(`${lines[index]}\n`);
    }
    const said: string[] = [];
    for (;;) {
      const line = await within(limit, this.#companion.nextLine());
      if (line === undefined) throw failureOf(said);
      const returned = /^Return value: (\d+)/.exec(line)?.[1];
      if (returned !== undefined) return Number(returned);
      if (said.length < MAX_LINES) said.push(line);
    }
  }

  /** For when nothing more is to be run: what it prints at its end is lost, and one descriptor is left here. */
  listenNoMore(): void {
    this.#companion.closeOutput();
  }

  /** Ends the input, and waits until the process has ended; it is killed where it does not in five seconds. */
  async close(): Promise<void> {
    this.#companion.stdin.end();
    const timer = setTimeout(this.#companion.kill, CLOSING_LIMIT_MS);
    await this.ended;
    clearTimeout(timer);
  }

  /** Ends the process at once. */
  async kill(): Promise<void> {
    this.#companion.stdin.destroy();
    this.#companion.kill();
    await this.ended;
  }
}

/** What bpftool says of the command that it ended with. */
function failureOf(lines: readonly string[]): XdpwhoError {
  const reason = lines.find((line) => line.startsWith('Error: ')) ?? lines.find(Boolean);
  const why = reason?.replace(/^Error: /, '').slice(0, 200) ?? 'it ended without a word';
  return new XdpwhoError('tool-failed', `bpftool batch: ${why}`, { hint: 'xdpwho doctor' });
}

/** Rejects with `timeout` as soon as `limit` is aborted. */
async function within<T>(limit: AbortSignal, work: Promise<T>): Promise<T> {
  let late = () => {};
  const aborted = new Promise<never>((_, reject) => {
    late = () =>
      reject(
        new XdpwhoError('timeout', 'bpftool batch: no answer within the time limit', {
          hint: 'xdpwho doctor',
        }),
      );
    if (limit.aborted) late();
    else limit.addEventListener('abort', late);
  });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    limit.removeEventListener('abort', late);
  }
}
