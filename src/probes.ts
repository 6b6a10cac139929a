/**
 * What this host can do: for `doctor`, for the hints of errors and for the tests that have to skip.
 * A check says `pass` or `fail` only of what it found out; what it could not find out is a `warn`
 * that says why.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import { basename } from 'node:path';
import { Bpftool, BpftoolError, inNetns } from './bpftool.js';
import { namesIn } from './directories.js';
import { messageOf, XdpwhoError } from './errors.js';
import {
  exposedPart,
  findTool,
  isExecutableFile,
  requireTool,
  run,
  TOOL_DIRECTORIES,
} from './exec.js';
import { isHostNetns, type Netns, ownNetns, resolveInterface, resolveNetns } from './interfaces.js';
import {
  chargesLockedMemory,
  configuredHz,
  countPossibleCpus,
  hasKernelBtf,
  lockedMemoryLimit,
  missingCapabilities,
} from './kernel.js';
import { ObjectFiles, type ObjectName } from './object-files.js';
import { isBpffs, isHiddenByIpNetns, pinName, pinsAt, readState } from './pins.js';
import type { Check } from './records.js';
import { quoteWord } from './render/command.js';
import { printable } from './render/text.js';
import { propertyOf } from './unknown.js';

/** Older ones lack `iter pin`, `-n` or both. */
const OLDEST_BPFTOOL = [5, 10] as const;
/** `bpftool version` reads nothing but itself. */
const VERSION_TIMEOUT_MS = 5000;
/** Where Ubuntu keeps the bpftool of each kernel. */
const UBUNTU_TOOLS_DIRECTORY = '/usr/lib/linux-tools';

export interface FindBpftoolOptions {
  /** The one to use; default: the one in the fixed directories of src/exec.ts. */
  readonly path?: string | undefined;
}

/** Where a bpftool is looked for when none is named. */
export interface BpftoolPlaces {
  readonly path: string | undefined;
  /** Has a directory for each kernel, as Ubuntu's /usr/lib/linux-tools. */
  readonly kernelToolsDirectory: string;
}

/**
 * A bpftool that works and is new enough. Ubuntu's /usr/sbin/bpftool is a script that looks for the
 * bpftool of the running kernel and fails when that one is not installed: then any other one that is
 * installed does. Rejects with `tool-missing` where there is none, or with what it failed of.
 */
export async function findBpftool(
  options: FindBpftoolOptions = {},
  places?: BpftoolPlaces,
): Promise<Bpftool> {
  return (await examineBpftool(options, places)).bpftool;
}

interface ExaminedBpftool {
  readonly bpftool: Bpftool;
  readonly version: string;
  /** The wrapper that failed, where another one stands in for it. */
  readonly wrapper: string | undefined;
}

async function examineBpftool(
  options: FindBpftoolOptions,
  places: BpftoolPlaces = {
    path: findTool('bpftool'),
    kernelToolsDirectory: UBUNTU_TOOLS_DIRECTORY,
  },
): Promise<ExaminedBpftool> {
  const path = options.path ?? places.path ?? newestKernelTool(places.kernelToolsDirectory);
  if (path === undefined) {
    throw new XdpwhoError('tool-missing', `bpftool: not found in ${TOOL_DIRECTORIES.join(' ')}`, {
      hint: installCommand('bpftool'),
    });
  }
  if (options.path !== undefined) refuseExposed(options.path);
  try {
    return await examine(path, undefined);
  } catch (cause) {
    if (!(cause instanceof BpftoolError)) throw cause;
    const isWrapper = options.path === undefined && isScript(path);
    const other = isWrapper ? newestKernelTool(places.kernelToolsDirectory) : undefined;
    if (other !== undefined) return examine(other, path);
    const message = isWrapper
      ? `bpftool: ${path} is a wrapper, and there is no bpftool for kernel ${release()}`
      : `${path}: not a bpftool that works: ${cause.message}`;
    throw new XdpwhoError(isWrapper ? 'tool-missing' : cause.code, message, {
      hint: installCommand('bpftool'),
      cause,
    });
  }
}

/** What runs as root must not be what somebody else can write to. */
function refuseExposed(path: string): void {
  if (!isExecutableFile(path)) return;
  const part = exposedPart(path);
  if (part === undefined) return;
  throw new XdpwhoError('usage', `--bpftool ${path}: others can write to ${part}`, {
    hint: `install -m 755 ${quoteWord(path)} /usr/local/sbin/bpftool`,
  });
}

async function examine(path: string, wrapper: string | undefined): Promise<ExaminedBpftool> {
  const version = await new Bpftool({ path, timeoutMs: VERSION_TIMEOUT_MS }).version();
  if (isOlder(version, OLDEST_BPFTOOL)) {
    const oldest = OLDEST_BPFTOOL.join('.');
    throw new XdpwhoError('tool-missing', `${path}: version ${version}, ${oldest} is needed`, {
      hint: installCommand('bpftool'),
    });
  }
  return { bpftool: new Bpftool({ path }), version, wrapper };
}

function newestKernelTool(directory: string): string | undefined {
  const byVersion = new Intl.Collator('en', { numeric: true });
  return namesIn(directory)
    .sort((a, b) => byVersion.compare(b, a))
    .map((entry) => `${directory}/${entry}/bpftool`)
    .find(isExecutableFile);
}

function isScript(path: string): boolean {
  try {
    return readFileSync(path).subarray(0, 2).toString() === '#!';
  } catch {
    return false;
  }
}

/** Whether a dotted version is lower than `least`. False where it cannot be read as a version. */
export function isOlder(version: string, least: readonly number[]): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [index, wanted] of least.entries()) {
    const part = parts[index] ?? 0;
    if (Number.isNaN(part) || part > wanted) return false;
    if (part < wanted) return true;
  }
  return false;
}

type Tool = 'bpftool' | 'clang' | 'iproute2';

/** By the first word of os-release(5)'s ID and ID_LIKE that is among them. */
const INSTALLERS: readonly {
  readonly systems: readonly string[];
  readonly command: string;
  readonly packages: Readonly<Record<Tool, string>>;
}[] = [
  {
    systems: ['ubuntu'],
    command: 'apt install',
    packages: {
      bpftool: 'linux-tools-common linux-tools-$(uname -r)',
      clang: 'clang llvm libbpf-dev',
      iproute2: 'iproute2',
    },
  },
  {
    systems: ['debian'],
    command: 'apt install',
    packages: { bpftool: 'bpftool', clang: 'clang llvm libbpf-dev', iproute2: 'iproute2' },
  },
  {
    systems: ['fedora', 'rhel', 'centos'],
    command: 'dnf install',
    packages: { bpftool: 'bpftool', clang: 'clang llvm libbpf-devel', iproute2: 'iproute' },
  },
  {
    systems: ['suse', 'opensuse'],
    command: 'zypper install',
    packages: { bpftool: 'bpftool', clang: 'clang llvm libbpf-devel', iproute2: 'iproute2' },
  },
  {
    systems: ['alpine'],
    command: 'apk add',
    packages: { bpftool: 'bpftool', clang: 'clang llvm libbpf-dev', iproute2: 'iproute2' },
  },
];

/** The command that installs a tool on this host, or what to install. `osRelease`: the text of os-release(5). */
export function installCommand(
  tool: Tool,
  osRelease: string = readText('/etc/os-release') ?? '',
): string {
  const words = [...osRelease.matchAll(/^ID(?:_LIKE)?=(.*)$/gm)].flatMap((match) =>
    (match[1] ?? '').replaceAll(/["']/g, '').split(' '),
  );
  const installer = INSTALLERS.find(({ systems }) => systems.some((name) => words.includes(name)));
  if (installer === undefined) return `install ${tool}`;
  return `${installer.command} ${installer.packages[tool]}`;
}

export interface HostOptions extends FindBpftoolOptions {
  readonly bpffs: string;
  /** Holds `el/` and `eb/`. */
  readonly objectsDirectory: string;
}

/** Everything that does not depend on an interface. Runs bpftool once or twice, and changes nothing. */
export async function checkHost(options: HostOptions): Promise<Check[]> {
  return [
    checkKernel(release()),
    checkPrivileges(),
    checkLockedMemory(),
    await checkBpftool(options),
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

function check(name: string, title: string, look: () => Finding): Check {
  try {
    return { name, title, ...look() };
  } catch (error) {
    return { name, title, status: 'warn', detail: `unknown: ${messageOf(error)}` };
  }
}

/** bpf_jiffies64 came with 5.6, iterators over maps with 5.8; kernels from 5.10 on have been tried. */
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

export function checkPrivileges(): Check {
  return check('privileges', 'privileges', () => {
    const missing = missingCapabilities();
    if (missing.length === 0) return { status: 'pass', detail: 'may load and attach' };
    return { status: 'fail', detail: `${missing.join(', ')} missing`, fix: 'sudo xdpwho ...' };
  });
}

/** Nothing from kernel 5.11 on. */
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

async function checkBpftool(options: FindBpftoolOptions): Promise<Check> {
  const about = { name: 'bpftool', title: 'bpftool' };
  try {
    const { bpftool, version, wrapper } = await examineBpftool(options);
    const found = `${bpftool.path}, version ${version}`;
    if (wrapper !== undefined) {
      const detail = `${found}; ${wrapper} has none for kernel ${release()}`;
      return { ...about, status: 'warn', detail, fix: installCommand('bpftool') };
    }
    // Its libbpf cannot read the BTF of a newer kernel, which iterators take, and to it `xdp.frags`
    // is plain `xdp`.
    if (isOlder(version, [5, 11]) && !isOlder(release(), [5, 11])) {
      const detail =
        `${found}: too old for kernel ${release()} to pin iterators, so it reads by map dump, slower; ` +
        'and to attach in native mode for jumbo frames';
      return { ...about, status: 'warn', detail };
    }
    return { ...about, status: 'pass', detail: found };
  } catch (error) {
    const fix = installCommand('bpftool');
    return { ...about, status: 'fail', detail: messageOf(error), fix };
  }
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

/** Documentation/admin-guide/LSM/lockdown: `confidentiality` keeps BPF from reading kernel memory. */
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

/** What an attachment needs; see ObjectName in src/object-files.ts. */
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

/** elf(5): the magic number, and e_machine in the byte order of the file; EM_BPF is 247. */
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

export interface InterfaceOptions {
  readonly interface: string;
  readonly netns: string | undefined;
  readonly bpffs: string;
  /** Undefined where there is none that works: then nobody knows what is attached. */
  readonly bpftool: Bpftool | undefined;
}

/** Everything about one interface. The first check fails, and is the only one, when it is not there. */
export async function checkInterface(options: InterfaceOptions): Promise<Check[]> {
  const title = `interface ${printable(options.interface)}`;
  try {
    const netns = options.netns === undefined ? ownNetns() : resolveNetns(options.netns);
    const device = await resolveInterface(options.interface, netns);
    const link = await describeLink(device, netns);
    const where = netns.name === null ? '' : ` in network namespace ${printable(netns.name)}`;
    return [
      { name: 'interface', title, status: 'pass', detail: `${printable(device)}${where}` },
      checkDriver(link),
      checkMtu(link, release()),
      await checkAttached(device, netns, options),
    ];
  } catch (error) {
    if (!(error instanceof XdpwhoError)) throw error;
    const { message: detail, hint: fix } = error;
    return [{ name: 'interface', title, status: 'fail', detail, fix }];
  }
}

/** What iproute2 and sysfs say of a device; undefined: not known. */
export interface LinkDescription {
  readonly mtu: number | undefined;
  /** IFLA_INFO_KIND of virtual devices: veth, tun, bridge. */
  readonly kind: string | undefined;
  /** The driver of a device that is on a bus. */
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
  // sysfs shows the namespace that it was mounted in: of no use for another one.
  return netns.path === undefined ? { ...link, driver: driverOf(device) } : link;
}

/** Pure: reads `ip -d -j link show dev NAME`. */
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

/** The kernel's drivers/net: those that set XDP_SETUP_PROG in ndo_bpf, as the driver is called in sysfs. */
const NATIVE_DRIVERS = new Set(
  (
    'atlantic bnxt_en cpsw cpsw-switch dpaa2-eth ena fec fsl_dpa fsl_enetc fun hv_netvsc i40e ice ' +
    'igb igc ixgbe ixgbevf lan966x-switch mana mlx4_core mlx5_core mtk_soc_eth mvneta mvpp2 netsec ' +
    'nfp nicvf qede rvu_nicpf rvu_nicvf sfc stmmac thunder-nicvf tsnep virtio_net vif vmxnet3 gve'
  ).split(' '),
);
/** Virtual devices: with ndo_bpf, and without. */
const NATIVE_KINDS = new Set(['veth', 'tun', 'bond', 'netdevsim']);
const GENERIC_KINDS = new Set(['bridge', 'dummy', 'vlan', 'macvlan', 'ifb', 'vxlan', 'wireguard']);

/** Pure: what is known of native mode on this kind of device. */
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

/** A page of 4096 bytes less XDP_PACKET_HEADROOM (256), skb_shared_info (320) and an Ethernet header with two tags (22). */
const LARGEST_PLAIN_MTU = 3498;

/** Pure. Drivers differ by some bytes: the limit is a rule of thumb. */
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
  device: string,
  netns: Netns,
  { bpffs, bpftool }: InterfaceOptions,
): Promise<Check> {
  const about = { name: 'attached', title: 'XDP program' };
  if (bpftool === undefined) {
    return { ...about, status: 'warn', detail: 'unknown: no bpftool that works' };
  }
  try {
    const attached = (await bpftool.showNet(netns.path)).filter((each) => each.device === device);
    const [first] = attached;
    if (first === undefined) return { ...about, status: 'pass', detail: 'none attached' };
    const what = attached.map((each) => `${each.programId} in ${each.mode} mode`).join(', ');
    const ours = readState(pinsAt(bpffs, pinName(device, isHostNetns(netns) ? null : netns.inode)));
    if (attached.length === 1 && ours?.programId === first.programId) {
      return { ...about, status: 'pass', detail: `ours is attached: program ${what}` };
    }
    const fix = `look at it: bpftool prog show id ${first.programId}`;
    return { ...about, status: 'fail', detail: `held by another program: ${what}`, fix };
  } catch (error) {
    return { ...about, status: 'warn', detail: `unknown: ${messageOf(error)}` };
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
