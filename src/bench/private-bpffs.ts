/**
 * A bpffs that nobody else sees and that nothing can leave behind: it is mounted in a mount
 * namespace that lives as long as a shell which waits for the end of its input. When this process
 * ends in any way, the shell ends, and the kernel takes the namespace away with all that is pinned
 * in it. So it does when the shell itself is killed.
 *
 * It covers /sys/fs/bpf, where libbpf pins the maps of an object that asks for pinning by name.
 */
import { readdirSync, rmSync } from 'node:fs';
import { Bpftool } from '../host/bpftool.js';
import { requireTool, startTalkingCompanion, type TalkingCompanion } from '../host/exec.js';
import { XdpwhoError } from '../model/errors.js';

/** As processes in the namespace name it. */
const DIRECTORY = '/sys/fs/bpf';

/** Of one command, which may run a slow program many times. */
const TIME_LIMIT_MS = 120_000;

const HOLD = `
trap '' HUP INT QUIT TERM PIPE
mount -t bpf bpf ${DIRECTORY} || exit 1
echo ready
while read -r _; do :; done
`;

/** Whoever opens it must close it. */
export class PrivateBpffs {
  /** Where to pin, for `bpftool`. */
  readonly directory = DIRECTORY;
  /** Runs in the namespace. */
  readonly bpftool: Bpftool;
  readonly #companion: TalkingCompanion;

  private constructor(companion: TalkingCompanion, bpftool: Bpftool) {
    this.#companion = companion;
    const mountNamespacePath = `/proc/${companion.pid}/ns/mnt`;
    this.bpftool = new Bpftool({
      path: bpftool.path,
      mountNamespacePath,
      timeoutMs: TIME_LIMIT_MS,
    });
  }

  /** Rejects with `not-permitted` where a mount namespace cannot be had. */
  static async open(bpftool: Bpftool): Promise<PrivateBpffs> {
    const unshare = requireTool('unshare', 'install util-linux');
    const shell = [requireTool('sh'), '-c', HOLD, 'xdpwho-bpffs'];
    const companion = startTalkingCompanion(unshare, ['--mount', '--', ...shell]);
    const line = await companion.nextLine();
    if (line === 'ready') return new PrivateBpffs(companion, bpftool);
    companion.stdin.end();
    throw new XdpwhoError('not-permitted', `a private BPF file system: ${line}`, {
      hint: 'run it as root: sudo xdpwho bench',
    });
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
    this.#companion.stdin.end();
    await this.#companion.ended;
  }

  /** The path by which another mount namespace reaches it (proc(5)). */
  #outside(name: string): string {
    return `/proc/${this.#companion.pid}/root${DIRECTORY}/${name}`;
  }
}
