/**
 * The guard: a shell of a few hundred kilobytes, in a session of its own, that reads a pipe whose
 * other end only this process holds (and, while they run, the commands that change something). It
 * ends what is left of an attachment: when it is told to, and when the pipe closes because this process
 * has died, SIGKILL and a closed terminal included. Both are the same code (guard.sh, end.sh).
 *
 * The pins outlive every process, so something must outlive us too. A bpf_link detaches by itself;
 * `bpftool net attach` leaves an attachment that outlives its maker (netlink), which the guard detaches.
 */
import { rmdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { announceCommand, isObserved } from '../host/command-log.js';
import { type Companion, startCompanion } from '../host/exec.js';
import { cgroupPlaces } from '../host/kernel.js';
import { currentPath, NETNS_DIRECTORY, type Netns } from '../host/netns.js';
import { packageText } from '../host/package-files.js';
import { processStartTicks } from '../host/processes.js';
import { findTool, requireTool } from '../host/tools.js';
import { XdpwhoError } from '../model/errors.js';
import { printable } from '../text/text.js';
import type { Pins } from './pin-paths.js';

/**
 * To detach takes CAP_NET_ADMIN; to look, where unprivileged users are kept from bpf(2), CAP_BPF
 * (39, by number for older libcap-ng); to follow an interface into the namespace of another
 * process CAP_SYS_ADMIN (setns(2)) and CAP_SYS_PTRACE (namespaces(7)); to remove a cgroup below
 * the hierarchy's root, which the kernel closes even to root's own writing, CAP_DAC_OVERRIDE.
 */
const RIGHTS = '--bounding-set=-all,+net_admin,+cap_39,+sys_admin,+sys_ptrace,+dac_override';

/** How often in a row a guard that ends at once is replaced: one that cannot run must not be tried for ever. */
const MAX_REPLACEMENTS = 10;
const AT_ONCE_MS = 10_000;
const PAUSE_MS = 1000;
/** How long an answer may take. A guard that is stopped, or whose bpftool hangs, gives none. */
const ANSWER_MS = 10_000;
const MAX_TRIES = 2;

export interface GuardOptions {
  /** Absolute path of bpftool. */
  readonly bpftool: string;
  /** Where the program is, or was last. */
  readonly netns: Netns;
  readonly pins: Pins;
  /** Of the record in the directory; '' for a directory that is to be removed as it is. */
  readonly token: string;
  /** What the paths of our temporary folders begin with; they are removed when this process dies. */
  readonly scratchPrefix?: string | undefined;
}

/** What has become of a program that was to be detached: it was not attached anywhere, or is not now. */
export type DetachOutcome = 'detached' | 'nowhere';

/** One guard for one attachment. It must be ready before the directory is claimed. */
export class Guard {
  readonly #options: GuardOptions;
  readonly #cgroup: { readonly group: string; readonly home: string } | undefined;
  #companion: Companion;
  #programId: number | undefined;
  #holder: string | undefined;
  #released = false;
  #replacements = 0;
  #isLost = false;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#cgroup = options.token === '' ? undefined : guardCgroup(options.token);
    this.#companion = this.#start();
  }

  /** Whether it has been ended so often that it is not started any more: then nothing detaches should this process die. */
  get isLost(): boolean {
    return this.#isLost;
  }

  get pid(): number {
    return this.#companion.pid;
  }

  /** Our end of the pipe. A command that changes something shares it, so that the guard waits for that command's end. */
  get keepOpen(): Companion['stdin'] {
    return this.#companion.stdin;
  }

  /** Resolves once the guard waits on its pipe; rejects with `tool-failed` where no guard can be had. */
  async ready(): Promise<void> {
    let said = '';
    for (let line = await this.#companion.nextLine(); line !== 'ready'; ) {
      const failed = this.#companion;
      if (line !== undefined) {
        said = line;
        line = await failed.nextLine();
        continue;
      }
      await failed.ended;
      // `#replace` awaits the same promise and was registered first, so this is already the new guard.
      if (this.#companion !== failed) {
        line = await this.#companion.nextLine();
        continue;
      }
      const why = said === '' ? '' : `: ${said.replace(/^[\w-]+: (\d+: )?/, '')}`;
      throw new XdpwhoError('tool-failed', `the guard that is to detach does not start${why}`, {
        hint: 'xdpwho doctor; or the limit of processes: ulimit -u, and pids.max of the service or container',
      });
    }
  }

  /** Tells which program to detach. To be called before that program is attached. */
  async watch(programId: number): Promise<void> {
    this.#programId = programId;
    await this.#tell(`program ${programId}\n`);
  }

  /** Tells which process holds the link: it is ended when this process dies, should it be stopped and not see that. */
  async knowHolder(pid: number): Promise<void> {
    this.#holder = `holder ${pid} ${processStartTicks(pid) ?? ''}\n`;
    await this.#tell(this.#holder);
  }

  /**
   * Detaches the program wherever it is attached, if there is one yet. Rejects with `tool-failed`
   * where it may still be attached; the guard then stays.
   */
  async detach(): Promise<DetachOutcome> {
    if (this.#programId === undefined) return 'nowhere';
    const answer = await this.#ask('detach');
    if (answer === 'detached' || answer === 'nowhere') return answer;
    const [, devices, said = ''] = /^attached (.*?) ?\t(.*)$/.exec(answer) ?? [];
    const words = devices === undefined ? answer.replace(/^failed /, '') : said;
    // With -j or in a wrapper, success is said by `null`.
    const why = words === 'null' ? '' : words.replace(/^Error: /, '');
    const where = devices === undefined ? '' : `${printable(devices.replaceAll(' ', ', '))}: `;
    const state = devices === undefined ? 'may still be attached' : 'is still attached';
    const message = `${where}program ${this.#programId} ${state}${why === '' ? '' : `: ${why}`}`;
    throw new XdpwhoError('tool-failed', message, { hint: 'bpftool net show' });
  }

  /**
   * Removes the pins, or all that is in their directory. False where something is left: xdpwho did not
   * make it. Rejects with `tool-failed` where the program turns out to be attached still.
   */
  async remove(all = false): Promise<boolean> {
    const answer = await this.#ask(all ? 'remove all' : 'remove');
    if (answer !== 'unseen') return answer === 'removed';
    throw new XdpwhoError(
      'tool-failed',
      `program ${this.#programId} is still attached, in a network namespace that cannot be seen from here; its pins stay`,
      { hint: `bpftool prog show id ${this.#programId}` },
    );
  }

  /** Ends the guard without its doing anything more; the attachment is gone, or is to stay. */
  async release(): Promise<void> {
    this.#released = true;
    this.#companion.stdin.end('keep\n');
    await this.#endWithin(ANSWER_MS);
    if (this.#cgroup !== undefined) removeCgroup(this.#cgroup.group);
  }

  /** Leaves the rest to the guard: it goes on trying, as if this process had died. */
  leave(): void {
    this.#released = true;
    this.#companion.stdin.end('leave\n');
  }

  /**
   * The answer to a word. A guard that has died, or does not answer in time, is replaced once: what
   * it does is safe to do again.
   */
  async #ask(word: string): Promise<string> {
    for (let tries = 1; ; tries++) {
      const companion = this.#companion;
      await withinTime(this.#tell(`${word}\n`), ANSWER_MS);
      const answer = await withinTime(answerOf(companion), ANSWER_MS);
      if (answer !== undefined) return answer;
      if (tries === MAX_TRIES) {
        throw new XdpwhoError('timeout', 'the guard that is to detach gives no answer', {
          hint: 'xdpwho clean',
        });
      }
      companion.kill();
      await companion.ended;
      // `#replace` has started another one, unless it has done so too often.
      if (this.#companion !== companion) continue;
      this.#companion = this.#start();
      await this.#tellAll();
    }
  }

  async #endWithin(ms: number): Promise<void> {
    const { ended, kill } = this.#companion;
    await withinTime(ended, ms);
    kill();
    await ended;
  }

  /** What a new guard has to know. */
  async #tellAll(): Promise<void> {
    if (this.#programId !== undefined) await this.watch(this.#programId);
    if (this.#holder !== undefined) await this.#tell(this.#holder);
  }

  /** Resolves when the guard's end of the pipe has it, or the guard is no more. */
  async #tell(words: string): Promise<void> {
    await new Promise<void>((done) => {
      this.#companion.stdin.write(words, () => done());
    });
  }

  #start(): Companion {
    const { bpftool, netns, pins, token, scratchPrefix = '' } = this.#options;
    const { group = '', home = '' } = this.#cgroup ?? {};
    const sh = requireTool('sh');
    const nsenter = requireTool('nsenter', 'install util-linux');
    const startedMs = performance.now();
    const companion = startCompanion(sh, [
      ...['-c', packageText('attachment/guard-start.sh'), 'xdpwho-guard'],
      ...[pathInto(netns), group, findTool('setpriv') ?? '', RIGHTS],
      ...[sh, '-c', guardScript(), 'xdpwho-guard', bpftool, nsenter, NETNS_DIRECTORY],
      ...[pins.directory, token, scratchPrefix, group, home],
    ]);
    if (isObserved()) companion.stdin.write('verbose\n');
    void companion.ended.then(() => this.#replace(performance.now() - startedMs));
    return companion;
  }

  /** A guard that somebody ended is replaced; until then this process is all that detaches. */
  async #replace(livedMs: number): Promise<void> {
    if (livedMs > AT_ONCE_MS) this.#replacements = 0;
    while (!this.#released && this.#replacements < MAX_REPLACEMENTS) {
      this.#replacements++;
      try {
        this.#companion = this.#start();
      } catch (error) {
        if (!(error instanceof XdpwhoError)) throw error;
        // Out of descriptors or processes, which may pass.
        await sleep(PAUSE_MS, undefined, { ref: false });
        continue;
      }
      await this.#tellAll();
      return;
    }
    this.#isLost = !this.#released;
  }
}

/** What a guard runs. */
export function guardScript(): string {
  return `${packageText('attachment/end.sh')}${packageText('attachment/guard.sh')}`;
}

/** A guard that was started anew says that it is ready first; a verbose one tells what it runs. */
async function answerOf(companion: Companion): Promise<string | undefined> {
  for (;;) {
    const line = await companion.nextLine();
    if (line?.startsWith('+ ')) {
      const [file = '', ...args] = line.slice(2).split(' ');
      announceCommand(file, args);
    } else if (line !== 'ready') return line;
  }
}

/** What a promise gives, or undefined after so many milliseconds. */
async function withinTime<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const waiting = new AbortController();
  const limit = sleep(ms, undefined, { signal: waiting.signal }).catch(() => undefined);
  try {
    return await Promise.race([promise, limit]);
  } finally {
    waiting.abort();
  }
}

/** The namespace's name or process may have gone while it lives on; where it has gone too, our own does. */
function pathInto(netns: Netns): string {
  return currentPath(netns) ?? '/proc/self/ns/net';
}

/** Removes the cgroup of a guard that was killed in it; one in which a guard still is stays. */
function removeCgroup(group: string): void {
  try {
    rmdirSync(group);
  } catch {
    // It is not there, which is the usual case, or not empty.
  }
}

function guardCgroup(token: string): { group: string; home: string } | undefined {
  const places = cgroupPlaces();
  return places && { group: `${places.root}/xdpwho-${token}`, home: places.own };
}
