import { readlinkSync, statfsSync, statSync } from 'node:fs';
import { XdpwhoError } from '../model/errors.js';
import { namesIn } from './directories.js';
import { INITIAL_PID_NAMESPACE } from './processes.js';

/** include/uapi/linux/magic.h: NSFS_MAGIC. */
export const NSFS_MAGIC = 0x6e736673;

export const NETNS_DIRECTORY = '/run/netns';

/** A network namespace. */
export interface Netns {
  /** As the user named it; null for the one that we run in. */
  readonly name: string | null;
  /** What nsenter is given; undefined for the one that we run in. */
  readonly path: string | undefined;
  /** Inode number in nsfs, which identifies it while it lives. */
  readonly inode: number;
}

/** The namespace that this process runs in. */
export function ownNetns(): Netns {
  return { name: null, path: undefined, inode: statSync('/proc/self/ns/net').ino };
}

/** A namespace by name (`ip netns`), path or process id. */
export function resolveNetns(name: string): Netns {
  const path = name.includes('/') ? name : namedPath(name);
  try {
    if (statfsSync(path).type !== NSFS_MAGIC) {
      throw new XdpwhoError('usage', `${name}: not a network namespace`, { hint: 'ip netns list' });
    }
    return { name, path, inode: statSync(path).ino };
  } catch (error) {
    if (error instanceof XdpwhoError) throw error;
    throw new XdpwhoError('no-such-interface', `${name}: no such network namespace`, {
      hint: 'ip netns list',
      cause: error,
    });
  }
}

function namedPath(name: string): string {
  const named = `${NETNS_DIRECTORY}/${name}`;
  return /^\d+$/.test(name) && !exists(named) ? `/proc/${name}/ns/net` : named;
}

/** Whether `netns` is the host's own: the one of process 1, seen from the host's own pid namespace. */
export function isHostNetns(netns: Netns): boolean {
  try {
    if (readlinkSync('/proc/self/ns/pid') !== INITIAL_PID_NAMESPACE) return false;
    return statSync('/proc/1/ns/net').ino === netns.inode;
  } catch {
    return false;
  }
}

/** Whether a path leads to a namespace. That of a process does so only while the process lives. */
export function isNetns(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    return false;
  }
}

/**
 * Paths by which the namespace with this inode can be entered: our own (undefined), those that
 * `ip netns` made, those of processes. Null when nothing leads to it any more.
 */
export function findNetnsPath(inode: number): string | undefined | null {
  if (ownNetns().inode === inode) return undefined;
  return netnsPaths().find((path) => inodeOf(path) === inode) ?? null;
}

/** A path into every namespace but our own that can be found, one path each. */
export function otherNetnsPaths(): string[] {
  const seen = new Set([ownNetns().inode]);
  return netnsPaths().filter((path) => {
    const inode = inodeOf(path);
    if (inode === undefined || seen.has(inode)) return false;
    seen.add(inode);
    return true;
  });
}

function netnsPaths(): string[] {
  const named = namesIn(NETNS_DIRECTORY).map((entry) => `${NETNS_DIRECTORY}/${entry}`);
  const processes = namesIn('/proc').filter((entry) => /^\d+$/.test(entry));
  return [...named, ...processes.map((pid) => `/proc/${pid}/ns/net`)];
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}

function exists(path: string): boolean {
  return inodeOf(path) !== undefined;
}
