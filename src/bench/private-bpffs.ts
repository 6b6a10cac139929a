/**
 * A bpffs that no other process sees and that is never left behind. It is mounted in a mount
 * namespace of a shell that waits for our end. When the shell ends, also by SIGKILL, the kernel
 * removes the namespace and everything that is pinned in it.
 *
 * It covers /sys/fs/bpf, because libbpf pins the maps of an object there if the object says so.
 */
import { readdirSync, rmSync } from 'node:fs';
import { AtOurEnd } from '../host/at-our-end.js';
import { Bpftool } from '../host/bpftool.js';
import { requireTool } from '../host/exec.js';
import { XdpwhoError } from '../model/errors.js';

/** Its path in that mount namespace. */
const DIRECTORY = '/sys/fs/bpf';

/** For one command, which may run a slow program many times. */
const TIME_LIMIT_MS = 120_000;

/** The caller of `open` must close it. */
export class PrivateBpffs {
  /** The directory to pin in, as `bpftool` sees it. */
  readonly directory = DIRECTORY;
  /** A bpftool that runs in the mount namespace. */
  readonly bpftool: Bpftool;
  readonly #holder: AtOurEnd;

  private constructor(holder: AtOurEnd, bpftool: Bpftool) {
    this.#holder = holder;
    const mountNamespacePath = `/proc/${holder.pid}/ns/mnt`;
    this.bpftool = new Bpftool({
      path: bpftool.path,
      mountNamespacePath,
      timeoutMs: TIME_LIMIT_MS,
    });
  }

  /** Rejects with `not-permitted` where no mount namespace can be made. */
  static async open(bpftool: Bpftool): Promise<PrivateBpffs> {
    const holder = await AtOurEnd.start({
      name: 'xdpwho-bpffs',
      begin: `mount -t bpf bpf ${DIRECTORY} || exit 1`,
      under: [requireTool('unshare', 'install util-linux'), '--mount', '--'],
      onFailure: (line) =>
        new XdpwhoError('not-permitted', `a private BPF file system: ${line}`, {
          hint: 'run it as root: sudo xdpwho bench',
        }),
    });
    return new PrivateBpffs(holder, bpftool);
  }

  /** The names in a directory; `name` is relative to `directory`. */
  list(name: string): string[] {
    return readdirSync(this.#outside(name));
  }

  /** Removes a directory with the pins in it, if it exists. */
  remove(name: string): void {
    rmSync(this.#outside(name), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.#holder.finish();
  }

  /** The path to it from our own mount namespace (proc(5), /proc/PID/root). */
  #outside(name: string): string {
    return `/proc/${this.#holder.pid}/root${DIRECTORY}/${name}`;
  }
}
