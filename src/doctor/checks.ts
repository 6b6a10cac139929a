/**
 * Checks what this host can do, for `doctor`. A check is `pass` or `fail` only if it found out; if
 * it could not, it is a `warn` that says why.
 */

import { readFileSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import { basename } from 'node:path';
import { readState } from '../attachment/record.js';
import { resolveTarget, type Target } from '../attachment/target.js';
import { isBpffs, isHiddenByIpNetns } from '../host/bpffs.js';
import type { Bpftool } from '../host/bpftool.js';
import { inNetns } from '../host/bpftool-arguments.js';
import { findTool, requireTool, run } from '../host/exec.js';
import {
  examineBpftool,
  type FindBpftoolOptions,
  installCommand,
  isOlder,
  readText,
} from '../host/find-bpftool.js';
import {
  chargesLockedMemory,
  configuredHz,
  countPossibleCpus,
  hasKernelBtf,
  lockedMemoryLimit,
  missingCapabilities,
} from '../host/kernel.js';
import type { Netns } from '../host/netns.js';
import { messageOf, XdpwhoError } from '../model/errors.js';
import { propertyOf } from '../model/json-values.js';
import type { Check } from '../model/records.js';
import { ObjectFiles, type ObjectName } from '../objects/files.js';
import { quoteWord } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import { checkLink } from './link.js';

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
    await checkLink(tool.bpftool, options.objectsDirectory),
    checkBpffs(options.bpffs),
    checkKernelBtf(),
    checkLockdown(),
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
    if (missing.length === 0) return { status: 'pass', detail: 'may load and attach' };
    return { status: 'fail', detail: `${missing.join(', ')} missing`, fix: 'sudo xdpwho ...' };
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

function judgeBpftool(found: string, version: string, wrapper: string | undefined): Finding {
  if (wrapper !== undefined) {
    const detail = `${found}; ${wrapper} has none for kernel ${release()}`;
    return { status: 'warn', detail, fix: installCommand('bpftool') };
  }
  // Its libbpf cannot read the BTF of a newer kernel, which iterators need, and takes `xdp.frags`
  // for `xdp`.
  if (isOlder(version, [5, 11]) && !isOlder(release(), [5, 11])) {
    const detail =
      `${found}: too old for kernel ${release()} to pin iterators, so it reads by map dump, slower; ` +
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
      : { status: 'warn', detail: 'none: no iterator, tables are read by map dump, slower' },
  );
}

/** The lockdown level `confidentiality` forbids BPF to read kernel memory (include/linux/security.h, LOCKDOWN_BPF_READ_KERNEL). */
function checkLockdown(): Check[] {
  const text = readText('/sys/kernel/security/lockdown');
  const level = /\[(\w+)\]/.exec(text ?? '')?.[1];
  if (level === undefined || level === 'none') return [];
  const status = level === 'confidentiality' ? 'warn' : 'pass';
  const detail = status === 'warn' ? `${level}: iterators may be refused` : level;
  return [{ name: 'lockdown', title: 'kernel lockdown', status, detail }];
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
const NEEDED_OBJECTS: readonly ObjectName[] = ['xdpwho.frags', 'xdpwho', 'sources', 'totals'];

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

interface InterfaceOptions {
  readonly interface: string;
  readonly netns: string | undefined;
  readonly bpffs: string;
  /** Undefined if none works. Then the check of what is attached is a `warn`. */
  readonly bpftool: Bpftool | undefined;
}

/** All checks of one interface. If the interface does not exist, there is only one check, which fails. */
export async function checkInterface(options: InterfaceOptions): Promise<Check[]> {
  const title = `interface ${printable(options.interface)}`;
  try {
    const target = await resolveTarget(options);
    const { device, netns } = target;
    const link = await describeLink(device, netns);
    const where = netns.name === null ? '' : ` in network namespace ${printable(netns.name)}`;
    return [
      { name: 'interface', title, status: 'pass', detail: `${printable(device)}${where}` },
      checkDriver(link),
      checkMtu(link, release()),
      await checkAttached(target, options.bpftool),
    ];
  } catch (error) {
    if (!(error instanceof XdpwhoError)) throw error;
    const { message: detail, hint: fix } = error;
    return [{ name: 'interface', title, status: 'fail', detail, fix }];
  }
}

/** A device as iproute2 and sysfs describe it. Undefined members are unknown. */
export interface LinkDescription {
  readonly mtu: number | undefined;
  /** The kind of a virtual device (IFLA_INFO_KIND): veth, tun, bridge. */
  readonly kind: string | undefined;
  /** The driver of a device on a bus. */
  readonly driver: string | undefined;
  readonly isLoopback: boolean;
}

async function describeLink(device: string, netns: Netns): Promise<LinkDescription> {
  const command = inNetns(netns.path, {
    file: requireTool('ip', installCommand('iproute2')),
    args: ['-d', '-j', 'link', 'show', 'dev', device],
  });
  const result = await run(command.file, command.args);
  const link = parseLinkDescription(result.stdout);
  // sysfs shows the devices of the namespace that it was mounted in, so it does not help for another.
  return netns.path === undefined ? { ...link, driver: driverOf(device) } : link;
}

/** Parses the output of `ip -d -j link show dev NAME`. Pure. */
export function parseLinkDescription(json: string): LinkDescription {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    value = undefined;
  }
  const link: unknown = Array.isArray(value) ? value[0] : undefined;
  const mtu = propertyOf(link, 'mtu');
  const kind = propertyOf(propertyOf(link, 'linkinfo'), 'info_kind');
  return {
    mtu: typeof mtu === 'number' ? mtu : undefined,
    kind: typeof kind === 'string' ? kind : undefined,
    driver: undefined,
    isLoopback: propertyOf(link, 'link_type') === 'loopback',
  };
}

function driverOf(device: string): string | undefined {
  try {
    return basename(readlinkSync(`/sys/class/net/${device}/device/driver`));
  } catch {
    return undefined;
  }
}

/** Drivers that handle XDP_SETUP_PROG in ndo_bpf (drivers/net of the kernel), by their names in sysfs. */
const NATIVE_DRIVERS = new Set(
  (
    'atlantic bnxt_en cpsw cpsw-switch dpaa2-eth ena fec fsl_dpa fsl_enetc fun hv_netvsc i40e ice ' +
    'igb igc ixgbe ixgbevf lan966x-switch mana mlx4_core mlx5_core mtk_soc_eth mvneta mvpp2 netsec ' +
    'nfp nicvf qede rvu_nicpf rvu_nicvf sfc stmmac thunder-nicvf tsnep virtio_net vif vmxnet3 gve'
  ).split(' '),
);
/** Kinds of virtual devices with ndo_bpf, and without. */
const NATIVE_KINDS = new Set(['veth', 'tun', 'bond', 'netdevsim']);
const GENERIC_KINDS = new Set(['bridge', 'dummy', 'vlan', 'macvlan', 'ifb', 'vxlan', 'wireguard']);

/** Whether this kind of device has native mode, as far as we know. Pure. */
export function checkDriver(link: LinkDescription): Check {
  return check('driver', 'driver', () => {
    const name = link.driver ?? link.kind ?? (link.isLoopback ? 'loopback' : undefined);
    if (name === undefined)
      return { status: 'warn', detail: 'unknown: neither sysfs nor ip names it' };
    const shown = printable(name);
    const isNative =
      link.driver === undefined ? NATIVE_KINDS.has(name) : NATIVE_DRIVERS.has(link.driver);
    if (isNative) return { status: 'pass', detail: `${shown}, which has native mode` };
    if (isGenericOnly(link)) {
      return { status: 'warn', detail: `${shown}, which has generic mode only, slower` };
    }
    return {
      status: 'warn',
      detail: `${shown}; whether it has native mode is unknown until tried`,
    };
  });
}

function isGenericOnly({ driver, kind, isLoopback }: LinkDescription): boolean {
  return driver === undefined && (isLoopback || GENERIC_KINDS.has(kind ?? ''));
}

/** A page of 4096 bytes minus XDP_PACKET_HEADROOM (256), skb_shared_info (320) and an Ethernet header with two tags (22). */
const LARGEST_PLAIN_MTU = 3498;

/** Whether the MTU is small enough for native mode. The limit is approximate, because drivers differ by some bytes. Pure. */
export function checkMtu(link: LinkDescription, kernel: string): Check {
  return check('mtu', 'MTU', () => {
    const { mtu } = link;
    if (mtu === undefined) return { status: 'warn', detail: 'unknown: ip does not say' };
    if (mtu <= LARGEST_PLAIN_MTU || isGenericOnly(link)) {
      return { status: 'pass', detail: String(mtu) };
    }
    if (isOlder(kernel, [5, 18])) {
      const detail = `${mtu}: too large for native mode before kernel 5.18; generic mode takes it, slower`;
      return { status: 'warn', detail };
    }
    return { status: 'pass', detail: `${mtu}: native mode where the driver takes several buffers` };
  });
}

async function checkAttached(
  { device, netns, pins }: Target,
  bpftool: Bpftool | undefined,
): Promise<Check> {
  const about = { name: 'attached', title: 'XDP program' };
  if (bpftool === undefined) {
    return { ...about, status: 'warn', detail: 'unknown: no bpftool that works' };
  }
  try {
    const attached = (await bpftool.showNet(netns.path)).filter(
      (attachment) => attachment.device === device,
    );
    const [first] = attached;
    if (first === undefined) return { ...about, status: 'pass', detail: 'none attached' };
    const what = attached.map(({ programId, mode }) => `${programId} in ${mode} mode`).join(', ');
    const ours = readState(pins);
    if (attached.length === 1 && ours?.programId === first.programId) {
      return { ...about, status: 'pass', detail: `ours is attached: program ${what}` };
    }
    const fix = `look at it: bpftool prog show id ${first.programId}`;
    return { ...about, status: 'fail', detail: `held by another program: ${what}`, fix };
  } catch (error) {
    return { ...about, status: 'warn', detail: `unknown: ${messageOf(error)}` };
  }
}
