/**
 * The kernel's run-time statistics of BPF programs, which are off until kernel.bpf_stats_enabled is
 * set to 1, for the whole system. While it is on, each run of each program takes the time twice.
 *
 * The switch has no owner and no count. What holds here:
 * - It is put back by a shell that waits for our end, so also after SIGKILL.
 * - Runs of ours with the same /run share it: each holds a shared lock, and the one that finds
 *   itself the last puts it back, if one of them had found it off. A run whose shell was killed too
 *   leaves it on and noted; the next run puts it back.
 * - Somebody else who sets it to 1 meanwhile is not noticed, and finds it at 0 afterwards. Whoever
 *   asks by BPF_ENABLE_STATS (bpftop does) is not concerned: the kernel counts those apart.
 * - Somebody who sets it to 0 meanwhile spoils the measurement, and that is noticed.
 */
import { readFileSync } from 'node:fs';
import { AtOurEnd } from '../host/at-our-end.js';
import { requireTool } from '../host/exec.js';
import { systemErrorCode, XdpwhoError } from '../model/errors.js';

export interface StatisticsFiles {
  /** Reads 0 or 1, and takes it. */
  readonly switch: string;
  /** Made if it is not there; another one beside it, `.lock`. */
  readonly users: string;
}

const SYSTEM_FILES: StatisticsFiles = {
  switch: '/proc/sys/kernel/bpf_stats_enabled',
  users: '/run/xdpwho-statistics',
};

/**
 * Lock 8 is held while the switch is looked at and changed, lock 9 while it is used; the file of 9
 * says `ours` when the switch is to be put back. It says so before the switch is set: a shell that
 * is killed in between must not leave it on for ever.
 */
const SWITCH_ON = `
switch=$1 users=$2
exec 8>>"$users.lock" 9>>"$users" || exit 1
flock 8 && flock -s 9 || exit 1
if [ "$(cat "$switch")" = 0 ]; then
  echo ours >"$users"
  echo 1 >"$switch" || { : >"$users"; exit 1; }
fi
flock -u 8
`;

const PUT_BACK = `
flock 8
flock -u 9
if flock -n 9 && [ "$(cat "$users")" = ours ]; then
  echo 0 >"$switch"
  : >"$users"
fi
`;

/** Keeps the statistics on. Whoever opens it must close it. */
export class RunTimeStatistics {
  /** Whether they were off. */
  readonly switchedOn: boolean;
  readonly #files: StatisticsFiles;
  readonly #keeper: AtOurEnd;

  private constructor(files: StatisticsFiles, keeper: AtOurEnd, switchedOn: boolean) {
    this.#files = files;
    this.#keeper = keeper;
    this.switchedOn = switchedOn;
  }

  /** Rejects with `not-permitted` where they cannot be switched on. */
  static async open(files: StatisticsFiles = SYSTEM_FILES): Promise<RunTimeStatistics> {
    const wereOn = areOn(files);
    return new RunTimeStatistics(files, await startKeeper(files), !wereOn);
  }

  /** The shell that puts the switch back. */
  get pid(): number {
    return this.#keeper.pid;
  }

  /** Rejects when somebody has switched them off in the meantime. */
  check(): void {
    if (areOn(this.#files)) return;
    throw new XdpwhoError('failed', 'kernel.bpf_stats_enabled was switched off meanwhile', {
      hint: 'run it again',
    });
  }

  async close(): Promise<void> {
    await this.#keeper.finish();
    // What a shell that was killed should have done, another one does. With other users, neither does.
    if (areOn(this.#files) && areToPutBack(this.#files)) {
      const next = await startKeeper(this.#files);
      await next.finish();
    }
  }
}

function startKeeper(files: StatisticsFiles): Promise<AtOurEnd> {
  requireTool('flock', 'install util-linux');
  return AtOurEnd.start({
    name: 'xdpwho-statistics',
    begin: SWITCH_ON,
    atEnd: PUT_BACK,
    args: [files.switch, files.users],
    onFailure: (line) =>
      new XdpwhoError('not-permitted', `kernel.bpf_stats_enabled: ${line}`, {
        hint: 'run it as root: sudo xdpwho bench --live ...',
      }),
  });
}

function areToPutBack({ users }: StatisticsFiles): boolean {
  return readFileSync(users, 'utf8').trim() === 'ours';
}

function areOn(files: StatisticsFiles): boolean {
  try {
    return readFileSync(files.switch, 'utf8').trim() !== '0';
  } catch (cause) {
    if (systemErrorCode(cause) !== 'ENOENT') throw cause;
    throw new XdpwhoError('kernel-too-old', 'kernel.bpf_stats_enabled: not there', {
      hint: 'it came with Linux 5.1',
      cause,
    });
  }
}
