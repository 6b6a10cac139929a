/**
 * A bpftool batch that stays open: one process that reads commands from our pipe, and keeps what they
 * leave open until its input ends. Only this process holds the other end of the pipe, so the batch
 * ends when this process does, in whatever way; it is in a session of its own, so that a terminal's
 * Ctrl-C does not end it before that.
 */
import { type Bpftool, batchLine, batchWords, bpftoolArguments, inNetns } from '../bpftool.js';
import { announceCommand } from '../command-channel.js';
import { XdpwhoError } from '../errors.js';
import { type AnsweringCompanion, startAnsweringCompanion } from '../exec.js';

/** For the end of its input to be read, and what it holds to be let go. */
const CLOSING_LIMIT_MS = 5000;

/** Whoever opens it must close it. */
export class OpenBatch {
  readonly pid: number;
  /** Settles when the process has ended; never rejects. What it held is then gone. */
  readonly ended: Promise<void>;
  readonly #companion: AnsweringCompanion;

  /** Starts bpftool in the namespace at `netnsPath`. Throws `tool-missing` or `failed` if it cannot be. */
  constructor(bpftool: Bpftool, netnsPath: string | undefined) {
    const own = { file: bpftool.path, args: bpftoolArguments.openBatch() };
    const command = inNetns(netnsPath, own);
    this.#companion = startAnsweringCompanion(command.file, command.args);
    this.pid = this.#companion.pid;
    this.ended = this.#companion.ended;
  }

  /**
   * Sends commands of `bpftoolArguments`. The last of them must be a `prog run`; gives what the program
   * returned, 32 bits. The others print nothing. Rejects with `tool-failed` when one of them fails,
   * which ends the batch, and with `timeout` when `limit` is aborted first.
   */
  async run(commands: readonly (readonly string[])[], limit: AbortSignal): Promise<number> {
    for (const args of commands) {
      const words = batchWords(args);
      const line = batchLine(words);
      announceCommand(words[0] ?? '', words.slice(1));
      this.#companion.stdin.write(`${line}\n`);
    }
    for (;;) {
      const line = await within(limit, this.#companion.lines.next());
      if (line.done === true) throw await this.#failure(limit);
      const returned = /^Return value: (\d+)/.exec(line.value)?.[1];
      if (returned !== undefined) return Number(returned);
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

  /** What bpftool says of the command that it ended with; its end comes after the end of what it prints. */
  async #failure(limit: AbortSignal): Promise<XdpwhoError> {
    await within(limit, this.ended);
    const lines = this.#companion.complaint().split('\n');
    const reason = lines.find((line) => line.startsWith('Error: ')) ?? lines.find(Boolean);
    const why = reason?.replace(/^Error: /, '').slice(0, 200) ?? 'it ended without a word';
    return new XdpwhoError('tool-failed', `bpftool batch: ${why}`, { hint: 'xdpwho doctor' });
  }
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
