/** The BPF file system: whether it is mounted, whether we can trust it, and how it gets our directory. */
import { lstatSync, mkdirSync, readFileSync, type Stats, statfsSync, statSync } from 'node:fs';
import { messageOf, systemErrorCode, XdpwhoError } from '../model/errors.js';
import { quoteWord } from '../text/shell-words.js';
import type { CommandLine } from './bpftool-arguments.js';
import { rightsHint } from './rights.js';
import { findTool, requireTool } from './tools.js';

/** include/uapi/linux/magic.h: BPF_FS_MAGIC. */
export const BPF_FS_MAGIC = 0xcafe4a11;

/** The usual bpffs: systemd mounts it here. */
export const DEFAULT_BPFFS = '/sys/fs/bpf';

/** The directory of all pin directories on a bpffs. Pure. */
export function pinsRoot(bpffs: string): string {
  return `${bpffs.replace(/\/+$/, '')}/xdpwho`;
}

/** Whether `path` lies on a bpffs. */
export function isBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === BPF_FS_MAGIC;
  } catch {
    return false;
  }
}

/** Whether our directory exists on this bpffs and belongs to root or to our user, so that nobody else can write to it. */
export function isTrusted(bpffs: string): boolean {
  try {
    const root = lstatSync(pinsRoot(bpffs));
    return root.isDirectory() && isOnlyOurs(root) && isBpffs(pinsRoot(bpffs));
  } catch {
    return false;
  }
}

/** The first directory above `file` that other users cannot enter, or undefined. */
export function unreachableDirectory(file: string): string | undefined {
  const parts = file.split('/').slice(1, -1);
  return parts
    .map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)
    .find((directory) => (statSync(directory).mode & 0o001) === 0);
}

/** The command that mounts a bpffs. */
export async function mountCommand(bpffs: string): Promise<{ file: string; args: string[] }> {
  // exec.ts loads execa, which takes 10 ms. The start of every command loads this file, and mounts nothing.
  return { file: requireTool('mount', 'install util-linux'), args: mountArguments(bpffs) };
}

/** The arguments of `mount`. Pure. */
export function mountArguments(bpffs: string): string[] {
  // Users who may read a file in a bpffs of our own must be able to enter it. Its directories stay closed.
  const mode = bpffs === DEFAULT_BPFFS ? '0700' : '0711';
  return ['-t', 'bpf', '-o', `mode=${mode},nosuid,nodev,noexec`, 'bpf', bpffs];
}

/**
 * Mounts the bpffs if it is not mounted yet, and makes our directory on it. Rejects with `bad-object` if
 * something else has the name of that directory, or if it belongs to another user.
 */
export async function prepareBpffs(bpffs: string): Promise<void> {
  if (!isBpffs(bpffs)) await mountBpffs(bpffs);
  try {
    mkdirSync(pinsRoot(bpffs), { mode: 0o700 });
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw bpffsFailure(pinsRoot(bpffs), error);
  }
  const root = lstatSync(pinsRoot(bpffs), { throwIfNoEntry: false });
  // A process that removes the last attachment also removes this directory. `claim` makes it again.
  if (root === undefined) return;
  if (!root.isDirectory() || root.dev !== statSync(bpffs).dev) {
    throw new XdpwhoError('bad-object', `${pinsRoot(bpffs)}: not a directory of a bpffs`, {
      hint: `remove it: rm ${pinsRoot(bpffs)}`,
    });
  }
  // On some hosts every user can write to the bpffs. We must not run what another user put into our directory.
  if (!isOnlyOurs(root)) {
    const why =
      (root.mode & 0o002) === 0 ? `belongs to user ${root.uid}` : 'others can write to it';
    throw new XdpwhoError('bad-object', `${pinsRoot(bpffs)}: ${why}`, {
      hint: `look at it: ls -lR ${pinsRoot(bpffs)}`,
    });
  }
}

/** Whether a directory is of root or of us, and not everybody can put something into it: a group may. */
function isOnlyOurs({ uid, mode }: Stats): boolean {
  return (uid === 0 || uid === process.geteuid?.()) && (mode & 0o002) === 0;
}

async function mountBpffs(bpffs: string): Promise<void> {
  refuseIfHidden(bpffs);
  try {
    if (bpffs !== DEFAULT_BPFFS) mkdirSync(bpffs, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw bpffsFailure(bpffs, error);
  }
  const { run } = await import('./exec.js');
  const command = await once(await mountCommand(bpffs), bpffs);
  const result = await run(command.file, command.args);
  if (result.failed) {
    throw new XdpwhoError('bpffs-missing', `${bpffs}: no bpffs there: ${result.stderr}`, {
      hint: `mount -t bpf bpf ${bpffs}`,
    });
  }
}

/**
 * A command that mounts, unless another process has done so by the time that the lock is had: two
 * mounts would lie one over the other, and what is pinned in the lower one would be hidden.
 */
async function once(mount: CommandLine, bpffs: string): Promise<CommandLine> {
  const flock = findTool('flock');
  if (flock === undefined) return mount;
  const unlessMounted = `[ "$(stat -f -c %t "$1")" = ${BPF_FS_MAGIC.toString(16)} ] || { shift; exec "$@"; }`;
  const shell = [requireTool('sh'), '-c', unlessMounted, 'sh', bpffs, mount.file, ...mount.args];
  return { file: flock, args: [MOUNT_LOCK, ...shell] };
}

/** Held while a bpffs is mounted. Only root can, and only root can write to /run. */
const MOUNT_LOCK = '/run/xdpwho-mount.lock';

/** Throws `bpffs-missing` inside `ip netns exec`, which hides the host's /sys/fs/bpf. */
export function refuseIfHidden(bpffs: string): void {
  if (!isHiddenByIpNetns(bpffs)) return;
  throw new XdpwhoError('bpffs-missing', `${bpffs}: hidden by \`ip netns exec\``, {
    hint: 'leave `ip netns exec` and name the namespace: xdpwho --netns NAME ...',
  });
}

/** Inside `ip netns exec`, another sysfs is mounted over /sys, with the name of the namespace as its device (ip-netns(8)). */
export function isHiddenByIpNetns(bpffs: string): boolean {
  if (!bpffs.startsWith('/sys/')) return false;
  const mounts = readFileSync('/proc/self/mounts', 'utf8').trim().split('\n');
  const sys = mounts.map((line) => line.split(' ')).filter((fields) => fields[1] === '/sys');
  return sys.at(-1)?.[2] === 'sysfs' && sys.at(-1)?.[0] !== 'sysfs' && sys.at(-1)?.[0] !== 'none';
}

/** The command that makes the bpffs of a path of ours writable. */
export function remountHint(path: string): string {
  const bpffs = path.replace(/\/xdpwho(\/.*)?$/, '');
  return `mount -o remount,rw ${quoteWord(bpffs)}`;
}

export function bpffsFailure(path: string, error: unknown): XdpwhoError {
  const code = systemErrorCode(error);
  if (code === 'EACCES' || code === 'EPERM') {
    return new XdpwhoError('not-permitted', `${path}: permission denied`, {
      hint: rightsHint(),
      cause: error,
    });
  }
  if (code === 'EROFS') {
    return new XdpwhoError('bpffs-missing', `${path}: the bpffs is mounted read-only`, {
      hint: remountHint(path),
      cause: error,
    });
  }
  return new XdpwhoError('bpffs-missing', `${path}: ${messageOf(error)}`, {
    hint: 'xdpwho doctor',
    cause: error,
  });
}

/** Whether a pin is there no more. What cannot be looked at is not said to be gone. */
export function isGone(path: string): boolean {
  try {
    lstatSync(path);
    return false;
  } catch (error) {
    return systemErrorCode(error) === 'ENOENT';
  }
}
