/** Facts about the running kernel and this process, from files. */
import { readFileSync, statSync } from 'node:fs';
import { release } from 'node:os';
import { gunzipSync } from 'node:zlib';

/**
 * The number of CPUs in /sys/devices/system/cpu/possible. A per-CPU map has a value for each of them, whether
 * it is online or not. nproc counts fewer.
 */
export function countPossibleCpus(): number {
  return countListMembers(readFileSync('/sys/devices/system/cpu/possible', 'utf8'));
}

/** The number of members of a kernel list, "0-3,7" (Documentation/admin-guide/cputopology.rst). */
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

/** The highest number of a CPU, plus 1: of those that are possible, or of those that are there now (`present`). */
export function cpuNumberLimit(which: 'possible' | 'present' = 'possible'): number {
  const list = readFileSync(`/sys/devices/system/cpu/${which}`, 'utf8');
  return Number(list.trim().split(/[,-]/).at(-1)) + 1;
}

/** The CPUs of this host, for the size of the front table. */
export function cpuNumbers() {
  return {
    possible: countPossibleCpus(),
    limit: cpuNumberLimit(),
    present: cpuNumberLimit('present'),
  };
}

/** The highest number of a CPU that this process may run on. */
export function lastAllowedCpu(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '0';
  return Number(list.split(/[,-]/).at(-1));
}

/** CONFIG_HZ of the running kernel, or undefined if no file has its configuration. */
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

/** Whether the kernel has a file with its types (BTF). Without it, no iterator can be loaded. */
export function hasKernelBtf(): boolean {
  try {
    return statSync('/sys/kernel/btf/vmlinux').size > 0;
  } catch {
    return false;
  }
}

/**
 * Whether the kernel counts maps and programs against RLIMIT_MEMLOCK, which is 64 KiB on most hosts. Since 5.11
 * it counts them as memory of the cgroup (kernel/bpf/memalloc.c, kernel/bpf/syscall.c).
 */
export function chargesLockedMemory(version: string = release()): boolean {
  const [major = Number.NaN, minor = Number.NaN] = version.split('.').map(Number.parseFloat);
  return major < 5 || (major === 5 && minor < 11);
}

/** The hard RLIMIT_MEMLOCK of this process in bytes, and whether this process may raise it. */
export function lockedMemoryLimit(): { readonly bytes: number; readonly mayRaise: boolean } {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const [, , hard] = /^Max locked memory +(\S+) +(\S+)/m.exec(limits) ?? [];
  const bytes = hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard);
  return { bytes, mayRaise: hasCapability('CAP_SYS_RESOURCE') };
}

/** The mount points of file systems of one type in the text of /proc/self/mounts (proc(5)). */
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
 * The directories of the root cgroup and of our own cgroup in the unified hierarchy (cgroups(7)). Undefined if
 * that hierarchy is not mounted.
 */
export function cgroupPlaces(): { root: string; own: string } | undefined {
  const [root] = parseMounts(readFileSync('/proc/self/mounts', 'utf8'), 'cgroup2');
  const path = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
  if (root === undefined || path === undefined) return undefined;
  // A path that begins with "/.." is outside our cgroup namespace, and cannot be reached.
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
 * The names of the capabilities that loading and attaching need and that this process lacks. CAP_SYS_ADMIN
 * includes CAP_BPF and CAP_PERFMON (capabilities(7)).
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
