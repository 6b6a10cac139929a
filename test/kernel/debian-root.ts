/**
 * A minimal Debian in a directory: made once by mmdebstrap and kept in ~/.cache/xdpwho, unpacked for
 * each that needs one. What runs in it has mounts and processes of its own and sees this host's kernel.
 */
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname } from 'node:path';
import { execa } from 'execa';
import { findTool } from '../../src/host/tools.js';
import { WHY_NOT } from './lab.js';

const SUITE = 'bookworm';
const BASE = `${homedir()}/.cache/xdpwho/${SUITE}.tar`;

/** Why there can be none here, or undefined. For test/suite.ts. */
export const WHY_NO_ROOT =
  WHY_NOT ?? (findTool('mmdebstrap') === undefined ? 'needs mmdebstrap' : undefined);

const ENTER = `
root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
for each in $shared; do
  mkdir -p "$root$each"
  mount --rbind "$each" "$root$each"
done
exec chroot "$root" env -i HOME=/root DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
`;

export class DebianRoot {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  static async create(): Promise<DebianRoot> {
    if (!existsSync(BASE)) await makeBase();
    const root = new DebianRoot(mkdtempSync('/tmp/xdpwho-debian-'));
    await execa('tar', ['-xf', BASE, '-C', root.path]);
    for (const file of ['/etc/resolv.conf', '/etc/hosts']) {
      await execa('cp', ['-L', file, `${root.path}${file}`]);
    }
    return root;
  }

  /** What is put before a command to run it in here, in a shell too: directories in `$shared` are the same inside. */
  entrance(): string[] {
    const inside = ['sh', '-c', ENTER, 'enter', this.path];
    return ['unshare', '--mount', '--pid', '--fork', '--kill-child', ...inside];
  }

  /** Runs a command in it; never rejects. */
  run(...command: readonly string[]) {
    const [file = '', ...args] = this.entrance();
    return execa(file, [...args, ...command], {
      reject: false,
      timeout: 300_000,
      all: true,
    });
  }

  /** Likewise, and rejects with all that it printed when it fails. */
  async must(...command: readonly string[]): Promise<string> {
    const ran = await this.run(...command);
    if (ran.exitCode !== 0) throw new Error(`${command.join(' ')}: ${ran.exitCode}\n${ran.all}`);
    return ran.stdout;
  }

  close(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

async function makeBase(): Promise<void> {
  mkdirSync(dirname(BASE), { recursive: true });
  const part = `${BASE}.${process.pid}.tar`;
  const small = ['--dpkgopt=path-exclude=/usr/share/doc/*', '--aptopt=Acquire::Languages "none"'];
  await execa('mmdebstrap', ['--variant=apt', ...small, SUITE, part]);
  renameSync(part, BASE);
}
