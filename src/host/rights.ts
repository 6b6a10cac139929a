/** What to tell somebody whom the kernel has refused something for lack of rights. */
import { textOf } from './text-file.js';

/** Members of /proc that say what a process may do; undefined where one cannot be read. */
export interface RightsFacts {
  readonly euid: number | undefined;
  /** /proc/self/uid_map: user_namespaces(7). */
  readonly uidMap: string | undefined;
  /** /proc/self/status: proc_pid_status(5). */
  readonly status: string | undefined;
}

/** The hint for this process. `command`: what to run as root, with its arguments. */
export function rightsHint(command = 'xdpwho ...'): string {
  return rightsHintOf(
    {
      euid: process.geteuid?.(),
      uidMap: textOf('/proc/self/uid_map'),
      status: textOf('/proc/self/status'),
    },
    command,
  );
}

/** Whether this process is in a user namespace: there, the kernel lets nobody load a BPF program. */
export function isOfUserNamespace(): boolean {
  return isPartOfHost(textOf('/proc/self/uid_map'));
}

/** Whether the map has not all users of the host: user_namespaces(7). Undefined says nothing. */
function isPartOfHost(uidMap: string | undefined): boolean {
  return uidMap !== undefined && !/^\s*0\s+0\s+4294967295\s*$/.test(uidMap);
}

/** The hint for a process of which these are the facts. */
export function rightsHintOf({ euid, uidMap, status }: RightsFacts, command: string): string {
  if (euid !== 0) return `run it as root: sudo ${command}`;
  if (isPartOfHost(uidMap)) {
    return 'this is root of a user namespace, which may load no BPF program: run it as root of the host';
  }
  const filter = /^Seccomp:\s+2$/m.test(status ?? '')
    ? ', or a filter of system calls (seccomp) refuses bpf'
    : '';
  return `this root lacks capabilities, as in a container${filter}: run it on the host, or start the container with them`;
}
