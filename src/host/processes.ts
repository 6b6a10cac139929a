import { readFileSync, readlinkSync } from 'node:fs';
import { namesIn } from './directories.js';

/** include/linux/proc_ns.h: PROC_PID_INIT_INO, the inode of the host's own pid namespace. */
export const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';

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

/** Whether a pid namespace has processes, or may have: only the host's own shows those of all others. */
export function mayHaveProcesses(pidNamespace: string): boolean {
  // With the option hidepid of proc(5), processes of others are not shown.
  const seesAll = pidNamespaceOf('self') === INITIAL_PID_NAMESPACE && statusOf('1') !== '';
  if (!seesAll) return true;
  const pids = namesIn('/proc').filter((entry) => /^\d+$/.test(entry));
  return pids.some((pid) => {
    const theirs = pidNamespaceOf(pid);
    return theirs === undefined ? isInAnother(statusOf(pid)) : theirs === pidNamespace;
  });
}

/** The pid namespace of a process; undefined for one that is gone, or that may not be traced. */
export function pidNamespaceOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

/** The time namespace of a process; undefined for one that is gone, and on kernels before 5.6. */
export function timeNamespaceOf(pid: number | 'self'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/time`);
  } catch {
    return undefined;
  }
}

/** Whether a process that lives has a number in more than one pid namespace (proc(5), NSpid). */
function isInAnother(status: string): boolean {
  return /^NSpid:\s*\d+\s+\d/m.test(status) && !/^State:\s*[ZX]/m.test(status);
}

export function statusOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return '';
  }
}
