/**
 * Switches on the kernel's run-time statistics of BPF programs. They are off until
 * kernel.bpf_stats_enabled is 1, for the whole system; while it is 1, the kernel reads the clock
 * twice for each run of each program.
 *
 * The sysctl is a plain number without an owner or a count of users. So:
 * - A shell that waits for our end switches it off again, also after SIGKILL.
 * - Our runs with the same /run share it. Each holds a shared lock. The last one switches it off,
 *   if one of them had found it off. If a run's shell is killed too, the sysctl stays on, and the
 *   file says that it is to be switched off; the next run does that.
 * - We do not notice that another program sets it to 1 meanwhile; that program finds 0 afterwards.
 *   A program that uses BPF_ENABLE_STATS (as bpftop does) is not affected: the kernel counts those
 *   users separately.
 * - We notice that another program sets it to 0 meanwhile, and then reject the measurement.
 */
import { readFileSync } from 'node:fs';
import { AtOurEnd } from '../host/at-our-end.js';
import { rightsHint } from '../host/rights.js';
import { requireTool } from '../host/tools.js';
import { systemErrorCode, XdpwhoError } from '../model/errors.js';

interface StatisticsFiles {
  /** A file that reads as 0 or 1, and is set by writing either. */
  readonly switch: string;
  /** A file that says whether to switch off, and that users lock. We make it and another one, `.lock`. */
  readonly users: string;
}

const SYSTEM_FILES: StatisticsFiles = {
  switch: '/proc/sys/kernel/bpf_stats_enabled',
  users: '/run/xdpwho-statistics',
};

/**
 * The shell holds lock 8 while it reads and changes the switch, and lock 9 while the statistics are
 * used. The file of lock 9 says `ours` when we are to switch off. The shell writes that before it
 * switches on, so that the next run switches off if the shell is killed in between.
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

const SWITCH_OFF = `
flock 8
flock -u 9
if flock -n 9 && [ "$(cat "$users")" = ours ]; then
  echo 0 >"$switch"
  : >"$users"
fi
`;

/** Keeps the statistics on. The caller of `open` must close it. */
export class RunTimeStatistics {
  /** Whether they were off before. */
  readonly switchedOn: boolean;
  readonly #files: StatisticsFiles;
  readonly #keeper: AtOurEnd;

  private constructor(files: StatisticsFiles, keeper: AtOurEnd, switchedOn: boolean) {
    this.#files = files;
    this.#keeper = keeper;
    this.switchedOn = switchedOn;
  }

  /** Rejects with `not-permitted` when they cannot be switched on, `kernel-too-old` when there is no such sysctl. */
  static async open(files: StatisticsFiles = SYSTEM_FILES): Promise<RunTimeStatistics> {
    const wereOn = areOn(files);
    return new RunTimeStatistics(files, await startKeeper(files), !wereOn);
  }

  /** The process id of the shell that switches them off. */
  get pid(): number {
    return this.#keeper.pid;
  }

  /** @throws XdpwhoError `failed` when another program has switched them off meanwhile. */
  check(): void {
    if (areOn(this.#files)) return;
    throw new XdpwhoError('failed', 'kernel.bpf_stats_enabled was switched off meanwhile', {
      hint: 'run it again',
    });
  }

  async close(): Promise<void> {
    await this.#keeper.finish();
    // If our shell was killed, another one does its work. While there are other users, neither switches off.
    if (areOn(this.#files) && isOursToSwitchOff(this.#files)) {
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
    atEnd: SWITCH_OFF,
    args: [files.switch, files.users],
    onFailure: (line) =>
      new XdpwhoError('not-permitted', `kernel.bpf_stats_enabled: ${line}`, {
        hint: rightsHint('xdpwho bench --live IFACE'),
      }),
  });
}

function isOursToSwitchOff({ users }: StatisticsFiles): boolean {
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
