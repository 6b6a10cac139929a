/**
 * Interfaces and network namespaces. The names of our own namespace come from /proc/self/net/dev,
 * which follows the process; /sys/class/net shows the namespace that sysfs was mounted in, which
 * under `nsenter --net` is another one.
 */
import { readFileSync, readlinkSync, statfsSync, statSync } from 'node:fs';
import { inNetns } from './bpftool.js';
import { namesIn } from './directories.js';
import { XdpwhoError } from './errors.js';
import { findTool, run } from './exec.js';
import { INITIAL_PID_NAMESPACE } from './kernel.js';
import { nearNames } from './near-names.js';
import { printable } from './render/text.js';
import { parseToolJson, propertyOf } from './unknown.js';

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

/** Names of the interfaces in a namespace. Reads a file for our own, runs `ip` for another. */
export async function listInterfaces(netns: Netns): Promise<string[]> {
  if (netns.path === undefined) return ownInterfaces();
  return (await showLinks(netns)).map((link) => link.name);
}

/** What iproute2 says of an interface. */
export interface Link {
  readonly name: string;
  readonly ifindex: number;
  readonly mtu: number;
  readonly alternativeNames: readonly string[];
}

/** Every interface of a namespace, or the one with this name or alternative name. Needs iproute2. */
export async function showLinks(netns: Netns, name?: string): Promise<Link[]> {
  const ip = findTool('ip');
  if (ip === undefined) {
    throw new XdpwhoError('tool-missing', 'ip: not found', { hint: 'install iproute2' });
  }
  const args = ['-j', 'link', 'show', ...(name === undefined ? [] : ['dev', name])];
  const command = inNetns(netns.path, { file: ip, args });
  const result = await run(command.file, command.args);
  if (!result.failed) return parseLinks(result.stdout);
  if (/not permitted|Permission denied/.test(result.stderr)) {
    throw new XdpwhoError('not-permitted', result.stderr, {
      hint: 'run it as root: sudo xdpwho ...',
    });
  }
  return [];
}

/**
 * The interface's own name for a name or alternative name. An absent one is an error that names
 * the near ones.
 */
export async function resolveInterface(name: string, netns: Netns): Promise<string> {
  const fault = nameFault(name);
  if (fault !== undefined) {
    throw new XdpwhoError('no-such-interface', `${printable(name)}: ${fault}`, {
      hint: 'ip link show',
    });
  }
  const names = await listInterfaces(netns);
  if (names.includes(name)) return name;
  const resolved = findTool('ip') === undefined ? [] : await showLinks(netns, name);
  const link = resolved.find((each) => each.alternativeNames.includes(name));
  if (link !== undefined) return link.name;
  throw absent(name, netns, names);
}

function absent(name: string, netns: Netns, names: readonly string[]): XdpwhoError {
  const near = nearNames(name, names);
  const where = netns.name === null ? '' : ` in network namespace ${printable(netns.name)}`;
  const among = near.length > 0 ? `did you mean ${near.join(' or ')}?` : undefined;
  const message = `${printable(name)}: no such interface${where}`;
  return new XdpwhoError('no-such-interface', message, {
    hint:
      among ?? (names.length > 0 ? `there are: ${names.slice(0, 12).join(' ')}` : 'ip link show'),
  });
}

/** Why the kernel would never have an interface of this name (net/core/dev.c dev_valid_name), or undefined. */
export function nameFault(name: string): string | undefined {
  if (name === '') return 'an empty name is no interface';
  // An alternative name may be longer (ALTIFNAMSIZ, 127 bytes).
  if (Buffer.byteLength(name) > 127) return 'longer than any interface name';
  if (name === '.' || name === '..' || /[/:\s\0]/.test(name)) return 'not a name of an interface';
  return undefined;
}

/** Interface names in the text of /proc/net/dev: two lines of headings, then `name: figures`. */
export function parseProcNetDev(text: string): string[] {
  return text
    .split('\n')
    .slice(2)
    .flatMap((line) => {
      const end = line.lastIndexOf(':');
      return end < 0 ? [] : [line.slice(0, end).trim()];
    });
}

function ownInterfaces(): string[] {
  return parseProcNetDev(readFileSync('/proc/self/net/dev', 'utf8'));
}

function parseLinks(json: string): Link[] {
  let value: unknown;
  try {
    value = parseToolJson(json);
  } catch {
    return [];
  }
  return Array.isArray(value) ? value.flatMap(linkOf) : [];
}

function linkOf(value: unknown): Link[] {
  const name = propertyOf(value, 'ifname');
  const ifindex = propertyOf(value, 'ifindex');
  const mtu = propertyOf(value, 'mtu');
  const alternatives = propertyOf(value, 'altnames');
  if (typeof name !== 'string' || typeof ifindex !== 'number') return [];
  return [
    {
      name,
      ifindex,
      mtu: typeof mtu === 'number' ? mtu : 0,
      alternativeNames: Array.isArray(alternatives)
        ? alternatives.filter((each) => typeof each === 'string')
        : [],
    },
  ];
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
