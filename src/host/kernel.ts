/** What the running kernel says of itself in files. */
import { readFileSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { gunzipSync } from 'node:zlib';

/**
 * The number of possible CPUs: the members of the list in /sys/devices/system/cpu/possible. A
 * per-CPU map has a value for each of them, online or not; nproc counts other ones.
 */
export function countPossibleCpus(): number {
  return countListMembers(readFileSync('/sys/devices/system/cpu/possible', 'utf8'));
}

/** Members of a kernel list ("0-3,7"); see Documentation/admin-guide/cputopology.rst. */
export function countListMembers(list: string): number {
  return list
    .trim()
    .split(',')
    .map((part) => {
      const [first = Number.NaN, last = first] = part.split('-').map(Number);
      return last - first + 1;
    })
    .reduce((sum, count) => sum + count, 0);
}

/** What every CPU's number is below: one more than the last member of the same list. */
export function cpuNumberLimit(): number {
  const list = readFileSync('/sys/devices/system/cpu/possible', 'utf8');
  return Number(list.trim().split(/[,-]/).at(-1)) + 1;
}

/** CONFIG_HZ of the running kernel, or undefined where its configuration is not published. */
export function configuredHz(): number | undefined {
  const text = kernelConfiguration();
  const match = /^CONFIG_HZ=(\d+)$/m.exec(text ?? '');
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

function kernelConfiguration(): string | undefined {
  try {
    return gunzipSync(readFileSync('/proc/config.gz')).toString();
  } catch {
    try {
      return readFileSync(`/boot/config-${release()}`, 'utf8');
    } catch {
      return undefined;
    }
  }
}

/** Whether the kernel publishes its own types, without which no iterator can be loaded. */
export function hasKernelBtf(): boolean {
  try {
    return statSync('/sys/kernel/btf/vmlinux').size > 0;
  } catch {
    return false;
  }
}

/**
 * Whether the kernel charges maps and programs to RLIMIT_MEMLOCK, 64 KiB on most hosts. From 5.11 on
 * it charges them to the cgroup's memory (kernel/bpf/memalloc.c, kernel/bpf/syscall.c).
 */
export function chargesLockedMemory(version: string = release()): boolean {
  const [major = Number.NaN, minor = Number.NaN] = version.split('.').map(Number.parseFloat);
  return major < 5 || (major === 5 && minor < 11);
}

/** RLIMIT_MEMLOCK of this process in bytes, and whether it may be raised. */
export function lockedMemoryLimit(): { readonly bytes: number; readonly mayRaise: boolean } {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const [, , hard] = /^Max locked memory +(\S+) +(\S+)/m.exec(limits) ?? [];
  const bytes = hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  return { bytes, mayRaise: hasCapability('CAP_SYS_RESOURCE') };
}

/** Where file systems of a type are mounted, by the text of /proc/self/mounts (proc(5)). */
export function parseMounts(text: string, type: string): string[] {
  return text
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields[2] === type)
    .map((fields) => unescapeMount(fields[1] ?? ''));
}

/** The kernel writes white space and backslashes in mount points as octal. */
function unescapeMount(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/**
 * The directories of the unified hierarchy's root and of our own cgroup (cgroups(7)); undefined
 * where that hierarchy is not mounted.
 */
export function cgroupPlaces(): { root: string; own: string } | undefined {
  const [root] = parseMounts(readFileSync('/proc/self/mounts', 'utf8'), 'cgroup2');
  const path = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
  if (root === undefined || path === undefined) return undefined;
  // Beginning with "/..", it is outside of our cgroup namespace, where no path leads to it.
  return { root, own: path.startsWith('/..') ? root : `${root}${path}` };
}

const CAPABILITY_BITS = {
  CAP_NET_ADMIN: 12,
  CAP_SYS_ADMIN: 21,
  CAP_SYS_RESOURCE: 24,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
};

/**
 * The capabilities that loading and attaching take and that this process lacks, by name. CAP_SYS_ADMIN
 * stands in for CAP_BPF and CAP_PERFMON (capabilities(7)).
 */
export function missingCapabilities(): string[] {
  if (hasCapability('CAP_SYS_ADMIN')) {
    return hasCapability('CAP_NET_ADMIN') ? [] : ['CAP_NET_ADMIN'];
  }
  return (['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'] as const).filter(
    (name) => !hasCapability(name),
  );
}

function hasCapability(name: keyof typeof CAPABILITY_BITS): boolean {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return ((effective >> BigInt(CAPABILITY_BITS[name])) & 1n) === 1n;
}
