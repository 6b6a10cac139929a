/**
 * A bpffs that no other process sees and that is never left behind. It is mounted in a mount
 * namespace of a shell that waits for our end. When the shell ends, also by SIGKILL, the kernel
 * removes the namespace and everything that is pinned in it.
 *
 * It covers /sys/fs/bpf, because libbpf pins the maps of an object there if the object says so.
 */
import { readdirSync, rmSync } from 'node:fs';
import { XdpwhoError } from '../model/errors.js';
import { AtOurEnd } from './at-our-end.js';
import { Bpftool } from './bpftool.js';
import { requireTool } from './tools.js';

/** Its path in that mount namespace. */
const DIRECTORY = '/sys/fs/bpf';

/** For one command, which may run a slow program many times. */
const TIME_LIMIT_MS = 120_000;

export interface PrivateBpffsOptions {
  /** The words of the command that needs it, for the hint of an error: "bench". */
  readonly command: string;
  /** Whether it gets a network namespace of its own as well, with nothing in it but `lo`. Default false. */
  readonly ownNetns?: boolean;
}

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

  /** Rejects with `not-permitted` where no mount or network namespace can be made. */
  static async open(
    bpftool: Bpftool,
    { command, ownNetns = false }: PrivateBpffsOptions,
  ): Promise<PrivateBpffs> {
    const namespaces = ['--mount', ...(ownNetns ? ['--net'] : [])];
    const holder = await AtOurEnd.start({
      name: 'xdpwho-bpffs',
      begin: `mount -t bpf bpf ${DIRECTORY} || exit 1`,
      under: [requireTool('unshare', 'install util-linux'), ...namespaces, '--'],
      onFailure: (line) =>
        new XdpwhoError('not-permitted', `a private BPF file system: ${line}`, {
          hint: `run it as root: sudo xdpwho ${command}`,
        }),
    });
    return new PrivateBpffs(holder, bpftool);
  }

  /** The path into the network namespace of the shell that holds it: our own, or one of its own. */
  get netnsPath(): string {
    return `/proc/${this.#holder.pid}/ns/net`;
  }

  /** The path to it from every other mount namespace, for as long as it is open (proc(5), /proc/PID/root). */
  outside(name: string): string {
    return `/proc/${this.#holder.pid}/root${DIRECTORY}/${name}`;
  }

  /** The names in a directory; `name` is relative to `directory`. */
  list(name: string): string[] {
    return readdirSync(this.outside(name));
  }

  /** Removes a directory with the pins in it, if it exists. */
  remove(name: string): void {
    rmSync(this.outside(name), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.#holder.finish();
  }
}
