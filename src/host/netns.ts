/** Network namespaces, found by name, by path, by process id or by inode. */
import { existsSync, readFileSync, statfsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { XdpwhoError } from '../model/errors.js';
import { namesIn } from './directories.js';
import { INITIAL_PID_NAMESPACE, pidNamespaceOf } from './processes.js';

/** include/uapi/linux/magic.h: NSFS_MAGIC. */
export const NSFS_MAGIC = 0x6e736673;

export const NETNS_DIRECTORY = '/run/netns';

/** A network namespace. */
export interface Netns {
  /** The name, path or process id that the user gave. Null for our own namespace. */
  readonly name: string | null;
  /** The path for nsenter. Undefined for our own namespace. */
  readonly path: string | undefined;
  /** The inode number in nsfs. It identifies the namespace as long as it exists. */
  readonly inode: number;
}

/** The namespace that this process runs in. */
export function ownNetns(): Netns {
  return { name: null, path: undefined, inode: statSync('/proc/self/ns/net').ino };
}

/** A namespace by its name (`ip netns`), path or process id. The path is made absolute, because commands run in another directory. */
export function resolveNetns(name: string): Netns {
  if (name === '') throw new XdpwhoError('usage', 'an empty name is no network namespace');
  const path = name.includes('/') ? resolve(name) : namedPath(name);
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

/** Only the first network namespace of a kernel has this setting (net/core/sysctl_net_core.c, net_core_table). */
const SETTING_OF_FIRST_NETNS = '/proc/sys/net/core/netdev_max_backlog';

/** Whether `netns` is the namespace of the host: that of process 1, if we run in the pid namespace of the host. */
export function isHostNetns(netns: Netns): boolean {
  if (pidNamespaceOf('self') !== INITIAL_PID_NAMESPACE) return false;
  const ofProcess1 = inodeOf('/proc/1/ns/net');
  if (ofProcess1 !== undefined) return ofProcess1 === netns.inode;
  // A user may not look at process 1. It is in the first namespace, and so are we if we see its settings.
  return netns.inode === ownNetns().inode && existsSync(SETTING_OF_FIRST_NETNS);
}

/** Whether a path leads to a namespace now. A path of a process ends with the process. */
function isNetns(path: string): boolean {
  try {
    return statfsSync(path).type === NSFS_MAGIC;
  } catch {
    return false;
  }
}

/**
 * A path that leads into a namespace now: one that a search finds, or the one that it was named by.
 * Undefined for our own, which needs no search. Null where there is no such path.
 */
export function currentPath(
  { path, inode }: Netns,
  search: () => ReadonlyMap<number, string | undefined> = netnsPathsByInode,
): string | undefined | null {
  if (inode === ownNetns().inode) return undefined;
  const found = search().get(inode);
  if (found !== undefined) return found;
  return path !== undefined && isNetns(path) && inodeOf(path) === inode ? path : null;
}

/**
 * One path into every namespace that can be found, by its inode. Our own comes first, with undefined.
 * A bpftool process is passed over: one that holds a link is in the namespace only for that, and must not
 * make a deleted namespace look used.
 */
export function netnsPathsByInode(): ReadonlyMap<number, string | undefined> {
  const named = namesIn(NETNS_DIRECTORY).map((name) => `${NETNS_DIRECTORY}/${name}`);
  const pids = namesIn('/proc').filter((name) => /^\d+$/.test(name));
  const paths = new Map<number, string | undefined>([[ownNetns().inode, undefined]]);
  for (const path of [...named, ...pids.map((pid) => `/proc/${pid}/ns/net`)]) {
    const inode = inodeOf(path);
    if (inode !== undefined && !paths.has(inode) && !isBpftool(path)) paths.set(inode, path);
  }
  return paths;
}

/** Whether the path of a namespace is that of a process of bpftool's. */
function isBpftool(path: string): boolean {
  const process = /^\/proc\/\d+/.exec(path)?.[0];
  if (process === undefined) return false;
  try {
    return readFileSync(`${process}/comm`, 'utf8') === 'bpftool\n';
  } catch {
    return false;
  }
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
