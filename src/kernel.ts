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

/** Start time of a process in clock ticks (proc(5), /proc/PID/stat field 22), or undefined when it is gone. */
export function processStartTicks(pid: number | 'self'): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command's name in parentheses and may hold anything.
    return stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .at(19);
  } catch {
    return undefined;
  }
}

const CAPABILITY_BITS = { CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21, CAP_PERFMON: 38, CAP_BPF: 39 };

/**
 * The capabilities that loading and attaching take and that this process lacks, by name. CAP_SYS_ADMIN
 * stands in for CAP_BPF and CAP_PERFMON (capabilities(7)).
 */
export function missingCapabilities(): string[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const has = (bit: number) => ((effective >> BigInt(bit)) & 1n) === 1n;
  if (has(CAPABILITY_BITS.CAP_SYS_ADMIN))
    return has(CAPABILITY_BITS.CAP_NET_ADMIN) ? [] : ['CAP_NET_ADMIN'];
  return (['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'] as const).filter(
    (name) => !has(CAPABILITY_BITS[name]),
  );
}
