/**
 * Checks what this host can do, for `doctor`. A check is `pass` or `fail` only if it found out; if
 * it could not, it is a `warn` that says why.
 */

import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { isBpffs, isHiddenByIpNetns } from '../host/bpffs.js';
import type { Bpftool } from '../host/bpftool.js';
import { examineBpftool, type FindBpftoolOptions, isOlder } from '../host/find-bpftool.js';
import { installCommand } from '../host/install-command.js';
import {
  chargesLockedMemory,
  configuredHz,
  countPossibleCpus,
  hasKernelBtf,
  lockedMemoryLimit,
  missingCapabilities,
} from '../host/kernel.js';
import { isOfUserNamespace, rightsHint } from '../host/rights.js';
import { findTool, TOOL_DIRECTORIES } from '../host/tools.js';
import { messageOf } from '../model/errors.js';
import type { Check } from '../model/records.js';
import { ObjectFiles, type ObjectName } from '../objects/files.js';
import { quoteWord } from '../text/shell-words.js';
import { checkIterator } from './iterator.js';
import { checkLink, checkTcx } from './link.js';

interface HostOptions extends FindBpftoolOptions {
  readonly bpffs: string;
  /** Holds `el/` and `eb/`. */
  readonly objectsDirectory: string;
}

/**
 * All checks that do not need an interface. What they try, they try in namespaces of their own, which
 * are gone afterwards.
 */
export async function checkHost(options: HostOptions): Promise<Check[]> {
  const tool = await checkBpftool(options);
  return [
    checkKernel(release()),
    checkPrivileges(),
    checkLockedMemory(),
    tool.check,
    checkTools(options.bpffs),
    await checkLink(tool.bpftool, options.objectsDirectory),
    await checkTcx(tool.bpftool, options.objectsDirectory),
    await checkIterator(tool.bpftool, options.objectsDirectory),
    checkBpffs(options.bpffs),
    checkKernelBtf(),
    checkJiffies(),
    checkCpus(),
    checkObjects(options.objectsDirectory),
    checkClang(),
  ].flat();
}

type Finding = Omit<Check, 'name' | 'title'>;

/** A check that becomes a `warn` when `look` throws. */
function check(name: string, title: string, look: () => Finding): Check {
  try {
    return { name, title, ...look() };
  } catch (error) {
    return { name, title, status: 'warn', detail: `unknown: ${messageOf(error)}` };
  }
}

/** We need bpf_jiffies64 (kernel 5.6). Iterators over maps came with 5.8. We have tried kernels from 5.10 on. */
export function checkKernel(version: string): Check {
  return check('kernel', 'kernel', () => {
    if (!/^\d+\.\d+/.test(version)) return { status: 'warn', detail: `unknown: ${version}` };
    if (isOlder(version, [5, 6])) {
      return { status: 'fail', detail: `${version}: 5.10 or newer is needed` };
    }
    if (isOlder(version, [5, 10])) {
      return { status: 'warn', detail: `${version}: not tried below 5.10` };
    }
    if (isOlder(version, [5, 18])) {
      return { status: 'pass', detail: `${version}; native mode for jumbo frames comes with 5.18` };
    }
    return { status: 'pass', detail: version };
  });
}

function checkPrivileges(): Check {
  return check('privileges', 'privileges', () => {
    const missing = missingCapabilities();
    if (missing.length === 0 && isOfUserNamespace()) {
      const detail = 'root of a user namespace, which may load no BPF program';
      return { status: 'fail', detail, fix: 'run it as root of the host' };
    }
    if (missing.length === 0) return { status: 'pass', detail: 'may load and attach' };
    return { status: 'fail', detail: `${missing.join(', ')} missing`, fix: rightsHint() };
  });
}

/** No check on kernel 5.11 and newer, which do not charge maps to the limit. */
function checkLockedMemory(): Check[] {
  if (!chargesLockedMemory()) return [];
  const look = (): Finding => {
    const { bytes, mayRaise } = lockedMemoryLimit();
    if (bytes === Number.POSITIVE_INFINITY) return { status: 'pass', detail: 'no limit' };
    const limit = `limited to ${Math.round(bytes / 1024)} KiB`;
    if (mayRaise) return { status: 'pass', detail: `${limit}, which is raised when needed` };
    const detail = `${limit}: too little for the table before kernel 5.11`;
    return { status: 'warn', detail, fix: 'ulimit -l unlimited' };
  };
  return [check('locked-memory', 'locked memory', look)];
}

/** The check, and the bpftool where there is one that works. */
async function checkBpftool(
  options: FindBpftoolOptions,
): Promise<{ check: Check; bpftool: Bpftool | undefined }> {
  const about = { name: 'bpftool', title: 'bpftool' };
  try {
    const { bpftool, version, wrapper } = await examineBpftool(options);
    const found = `${bpftool.path}, version ${version}`;
    return { check: { ...about, ...judgeBpftool(found, version, wrapper) }, bpftool };
  } catch (error) {
    const fix = installCommand('bpftool');
    const check: Check = { ...about, status: 'fail', detail: messageOf(error), fix };
    return { check, bpftool: undefined };
  }
}

/** The programs that an attachment runs besides bpftool, and the packages of util-linux and iproute2. */
function checkTools(bpffs: string): Check {
  return check('tools', 'other tools', () => {
    const needed = ['sh', 'ip', 'nsenter', ...(isBpffs(bpffs) ? [] : ['mount'])];
    const missing = needed.filter((name) => findTool(name) === undefined);
    const [first] = missing;
    if (first === undefined) return { status: 'pass', detail: needed.join(', ') };
    const fix = first === 'ip' ? installCommand('iproute2') : installCommand('util-linux');
    const detail = `${missing.join(', ')}: not found in ${TOOL_DIRECTORIES.join(' ')}`;
    return {
      status: 'fail',
      detail,
      fix: `${fix}, or link it: ln -s PATH /usr/local/sbin/${first}`,
    };
  });
}

function judgeBpftool(found: string, version: string, wrapper: string | undefined): Finding {
  if (wrapper !== undefined) {
    const detail = `${found}; ${wrapper} has none for kernel ${release()}`;
    return { status: 'warn', detail, fix: installCommand('bpftool') };
  }
  // Its libbpf cannot read the BTF of a newer kernel, which iterators need, and takes `xdp.frags`
  // for `xdp`.
  if (isOlder(version, [5, 11]) && !isOlder(release(), [5, 11])) {
    const detail =
      `${found}: too old for kernel ${release()} to pin iterators, ` +
      'and to attach in native mode for jumbo frames';
    return { status: 'warn', detail };
  }
  return { status: 'pass', detail: found };
}

export function checkBpffs(bpffs: string): Check {
  return check('bpffs', 'BPF file system', () => {
    if (isBpffs(bpffs)) return { status: 'pass', detail: `mounted at ${bpffs}` };
    if (isHiddenByIpNetns(bpffs)) {
      return {
        status: 'fail',
        detail: `${bpffs}: hidden by \`ip netns exec\``,
        fix: 'leave `ip netns exec`: xdpwho --netns NAME ...',
      };
    }
    const detail = `not mounted at ${bpffs}; xdpwho mounts it when it attaches`;
    return { status: 'warn', detail, fix: `mount -t bpf bpf ${quoteWord(bpffs)}` };
  });
}

function checkKernelBtf(): Check {
  return check('btf', 'kernel types (BTF)', () =>
    hasKernelBtf()
      ? { status: 'pass', detail: '/sys/kernel/btf/vmlinux' }
      : { status: 'warn', detail: 'none: iterators need them' },
  );
}

function checkJiffies(): Check {
  return check('jiffies', 'kernel clock', () => {
    const hz = configuredHz();
    if (hz !== undefined) return { status: 'pass', detail: `CONFIG_HZ=${hz}` };
    return {
      status: 'warn',
      detail: `unknown: neither /proc/config.gz nor /boot/config-${release()}; it is measured instead`,
    };
  });
}

function checkCpus(): Check {
  return check('cpus', 'possible CPUs', () => ({
    status: 'pass',
    detail: String(countPossibleCpus()),
  }));
}

/** The objects that an attachment needs; see ObjectName in src/objects/files.ts. */
const NEEDED_OBJECTS: readonly ObjectName[] = [
  'xdpwho.frags',
  'xdpwho',
  'sources',
  'sources.front',
  'totals',
  'totals.front',
];

export function checkObjects(directory: string): Check {
  return check('objects', 'compiled objects', () => {
    const files = new ObjectFiles(directory);
    const bad = files.isEmbedded
      ? undefined
      : NEEDED_OBJECTS.map((name) => files.path(name)).find((path) => !isBpfObject(path));
    if (bad === undefined) return { status: 'pass', detail: directory };
    const detail = `${bad}: absent, or not a BPF object`;
    return { status: 'fail', detail, fix: `xdpwho build ${quoteWord(directory)}` };
  });
}

/** Whether a file begins with the magic number of ELF and is for the machine EM_BPF, 247 (elf(5)). */
function isBpfObject(path: string): boolean {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return false;
  }
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) return false;
  return (bytes[5] === 1 ? bytes.readUInt16LE(18) : bytes.readUInt16BE(18)) === 247;
}

function checkClang(): Check {
  return check('clang', 'clang', () => {
    const clang = findTool('clang');
    if (clang !== undefined) return { status: 'pass', detail: clang };
    const detail = 'not found; only `xdpwho build` needs it';
    return { status: 'warn', detail, fix: installCommand('clang') };
  });
}
