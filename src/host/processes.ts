/** Facts about processes, from /proc. */
import { readFileSync, readlinkSync } from 'node:fs';
import { namesIn } from './directories.js';
import { textOf } from './text-file.js';

/** The pid namespace of the host (include/linux/proc_ns.h: PROC_PID_INIT_INO). */
export const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';

/** The start time of a process in clock ticks since boot (proc(5), /proc/PID/stat field 22). Undefined if there is no such process. */
export function processStartTicks(pid: number | 'self'): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the name of the command in parentheses. It may contain spaces and parentheses.
    return stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .at(19);
  } catch {
    return undefined;
  }
}

/** Whether a pid namespace may have processes. False only if we can see all processes of the host and none is in it. */
export function mayHaveProcesses(pidNamespace: string): boolean {
  // Only the pid namespace of the host shows all processes. The option hidepid of proc(5) hides some.
  const seesAll = pidNamespaceOf('self') === INITIAL_PID_NAMESPACE && statusOf('1') !== '';
  if (!seesAll) return true;
  const pids = namesIn('/proc').filter((entry) => /^\d+$/.test(entry));
  return pids.some((pid) => {
    const namespace = pidNamespaceOf(pid);
    return namespace === undefined ? isInAnother(statusOf(pid)) : namespace === pidNamespace;
  });
}

/** What is known of a process that another one was told of. */
interface KnownProcess {
  readonly pid: number;
  /** Of which the pid is; undefined: it is not known, and taken for ours. */
  readonly pidNamespace?: string | undefined;
  /** Undefined: it is not known. */
  readonly startTicks?: string | undefined;
  /** Undefined: it is not known. */
  readonly timeNamespace?: string | undefined;
}

/** Whether a process may still run. A pid of another pid namespace says nothing here: then any process there counts. */
export function isRunning({ pid, pidNamespace, startTicks, timeNamespace }: KnownProcess): boolean {
  const own = pidNamespaceOf('self');
  if (pidNamespace !== undefined && pidNamespace !== own) return mayHaveProcesses(pidNamespace);
  const present = processStartTicks(pid);
  if (present === undefined) return false;
  if (startTicks === undefined || present === startTicks) return true;
  // A time namespace shifts the time of the start (time_namespaces(7)): then the process itself has to do.
  const itsNamespace = timeNamespaceOf(pid);
  return (
    itsNamespace !== timeNamespaceOf('self') && (timeNamespace ?? itsNamespace) === itsNamespace
  );
}

/** The pid namespace of a process. Undefined if there is no such process, or if we may not trace it. */
export function pidNamespaceOf(pid: string): string | undefined {
  return namespaceOf(pid, 'pid');
}

/** The time namespace of a process; undefined for one that is gone, and on kernels before 5.6. */
export function timeNamespaceOf(pid: number | 'self'): string | undefined {
  return namespaceOf(pid, 'time');
}

function namespaceOf(pid: number | string, kind: 'pid' | 'time'): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/${kind}`);
  } catch {
    return undefined;
  }
}

/** Whether a running process is in another pid namespace too: then NSpid has several numbers (proc(5)). */
function isInAnother(status: string): boolean {
  return /^NSpid:\s*\d+\s+\d/m.test(status) && !/^State:\s*[ZX]/m.test(status);
}

/** The text of /proc/PID/status. Empty if there is no such process, or if it is hidden. */
function statusOf(pid: string): string {
  return textOf(`/proc/${pid}/status`) ?? '';
}
