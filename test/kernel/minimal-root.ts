/**
 * A root directory with busybox, bpftool and their libraries, and nothing else: no Node, no
 * coreutils. What runs in it sees this host's kernel and the lab's bpffs.
 */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { execa } from 'execa';
import { requireTool } from '../../src/host/tools.js';
import type { Lab } from './lab.js';

const ENTER = `
root=$1 bpffs=$2 masked=$3
shift 3
mount --bind "$root" "$root"
mkdir -p "$root$bpffs"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount --bind "$bpffs" "$root$bpffs"
[ -z "$masked" ] || mount --bind /dev/null "$root$masked"
exec chroot "$root" /bin/busybox env -i "$@"
`;

const LINK =
  'cd "$1"; for each in $(busybox --list); do [ -e "$each" ] || ln -s busybox "$each"; done';

export class MinimalRoot {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<MinimalRoot> {
    const root = new MinimalRoot(mkdtempSync('/tmp/xdpwho-root-'));
    for (const directory of [
      'bin',
      'usr/sbin',
      'usr/local/sbin',
      'proc',
      'sys',
      'dev',
      'run',
      'tmp',
    ]) {
      mkdirSync(`${root.path}/${directory}`, { recursive: true });
    }
    await root.#add(requireTool('busybox'), '/bin/busybox');
    await root.#add(requireTool('bpftool'), '/usr/sbin/bpftool');
    await execa(`${root.path}/bin/busybox`, ['sh', '-c', LINK, 'link', `${root.path}/bin`]);
    return root;
  }

  async #add(program: string, path: string): Promise<void> {
    cpSync(program, `${this.path}${path}`, { dereference: true });
    const { stdout } = await execa('ldd', [program], { reject: false });
    for (const [, library = ''] of stdout.matchAll(/(\/\S+) \(0x/g)) {
      mkdirSync(dirname(`${this.path}${library}`), { recursive: true });
      cpSync(library, `${this.path}${library}`, { dereference: true });
    }
  }

  /** Puts a script before bpftool, which \`"$real" "$@"\` runs. */
  wrapBpftool(text: string): void {
    const path = `${this.path}/usr/local/sbin/bpftool`;
    writeFileSync(path, `#!/bin/sh\nreal=/usr/sbin/bpftool\n${text}\n`);
    chmodSync(path, 0o755);
  }

  unwrapBpftool(): void {
    rmSync(`${this.path}/usr/local/sbin/bpftool`, { force: true });
  }

  /** Runs a script in it that comes on standard input, in the receiving namespace of the lab. */
  start(lab: Lab, script: string, options: { masked?: string } = {}) {
    const inside = ['-c', ENTER, 'enter', this.path, lab.bpffs, options.masked ?? '', 'sh'];
    const unshared = ['unshare', '--mount', '--propagation', 'private', 'sh', ...inside];
    return execa('nsenter', [`--net=/run/netns/${lab.netns}`, '--', ...unshared], {
      input: script,
      reject: false,
      timeout: 120_000,
    });
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
