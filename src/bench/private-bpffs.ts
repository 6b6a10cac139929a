/**
 * A bpffs that nobody else sees and that nothing can leave behind: it is mounted in a mount
 * namespace that lives as long as a shell which waits for the end of its input. When this process
 * ends in any way, the shell ends, and the kernel takes the namespace away with all that is pinned
 * in it. So it does when the shell itself is killed.
 *
 * It covers /sys/fs/bpf, where libbpf pins the maps of an object that asks for pinning by name.
 */
import { readdirSync, rmSync } from 'node:fs';
import { AtOurEnd } from '../host/at-our-end.js';
import { Bpftool } from '../host/bpftool.js';
import { requireTool } from '../host/exec.js';
import { XdpwhoError } from '../model/errors.js';

/** As processes in the namespace name it. */
const DIRECTORY = '/sys/fs/bpf';

/** Of one command, which may run a slow program many times. */
const TIME_LIMIT_MS = 120_000;

/** Whoever opens it must close it. */
export class PrivateBpffs {
  /** Where to pin, for `bpftool`. */
  readonly directory = DIRECTORY;
  /** Runs in the namespace. */
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

  /** Names in a directory of it, given below `directory`. */
  list(name: string): string[] {
    return readdirSync(this.#outside(name));
  }

  /** Unpins what is in a directory of it, and the directory. It may be absent. */
  remove(name: string): void {
    rmSync(this.#outside(name), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.#holder.finish();
  }

  /** The path by which another mount namespace reaches it (proc(5)). */
  #outside(name: string): string {
    return `/proc/${this.#holder.pid}/root${DIRECTORY}/${name}`;
  }
}
