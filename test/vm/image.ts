/**
 * What a guest is made of, each part cached by itself: a release's kernel with the modules that are
 * needed, a release's user land with its bpftool, Node, and the project as it is now.
 */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { systemErrorCode } from '../../src/model/errors.js';
import { propertyOf, stringIn } from '../../src/model/json-values.js';
import { AMD64, type Architecture } from './architecture.js';
import { type CpioEntry, cpioArchive, treeEntries } from './cpio.js';
import { Apt, type Mirrors, unpack, VmError } from './debian.js';
import type { Release } from './releases.js';

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
/** Where the project is in a guest. */
export const GUEST_PROJECT = 'opt/xdpwho';

/** Those that test:nodes tries. */
export const NODE_VERSIONS = ['18.19.1', '20.20.2', '22.23.3', '24.21.0'] as const;

/** Bumped when what is in the cached parts changes. */
const LAYOUT = 3;
/** After this long a release is looked up again, since its kernel has had updates. */
const FRESH_MS = 30 * 24 * 60 * 60_000;

/** The user land: what `xdpwho` and the checks call, from packages as a Debian host has them. */
const PROGRAMS = {
  bpftool: ['bpftool'],
  'busybox-static': ['busybox'],
  dash: ['dash'],
  iproute2: ['ip', 'tc'],
  'libstdc++6': [],
  mount: ['mount', 'umount'],
  procps: ['ps'],
  'util-linux': ['nsenter', 'setpriv', 'setsid', 'taskset', 'prlimit', 'unshare'],
  'wireguard-tools': ['wg'],
} as const;

/** `linux-image-cloud-amd64` and what it leads to, without what makes an initramfs. */
const KERNEL_PACKAGE = /^linux-(?:image|binary|modules|base)-\d/;
/** Pairs of virtual interfaces, and a bridge, whose driver has no XDP of its own. */
const MODULES = ['veth', 'llc', 'stp', 'bridge'];
/** Other kinds of devices, with what they need of other modules: devices.ts loads those that the kernel has. */
const DEVICE_MODULES = new RegExp(
  `^(${[
    ...[
      'dummy',
      'ifb',
      'tun',
      'bonding',
      'team',
      'team_mode_.*',
      'garp',
      'mrp',
      '8021q',
      'macvlan',
    ],
    ...['ipvlan', 'vrf', 'netkit', 'udp_tunnel', 'ip6_udp_tunnel', 'vxlan', 'geneve', 'ip_tunnel'],
    ...['tunnel4', 'tunnel6', 'ipip', 'sit', 'gre', 'ip_gre', 'ip6_tunnel', 'ip6_gre', 'wireguard'],
    ...['libcurve25519.*', 'curve25519.*', 'libchacha.*', 'chacha.*', 'libpoly1305', 'poly1305.*'],
    ...['libblake2s.*', 'tls', 'sch_ingress', 'cls_matchall', 'act_mirred'],
  ].join('|')})\\.ko(\\.xz)?$`,
);

/** What is known of a cached release. */
interface ReleaseParts {
  readonly directory: string;
  readonly vmlinuz: string;
  /** As `uname -r` says it in the guest. */
  readonly kernelRelease: string;
  /** Of the package: 5.10.262-1. */
  readonly kernelVersion: string;
  readonly bpftoolVersion: string;
  /** Bytes of the cpio archives. */
  readonly kernelLayer: string;
  readonly userLayer: string;
  readonly withoutUpdates: boolean;
}

export type Progress = (line: string) => void;

/** XDG Base Directory Specification. */
function cacheDirectory(): string {
  const base = process.env.XDG_CACHE_HOME;
  return join(base?.startsWith('/') ? base : join(homedir(), '.cache'), 'xdpwho', 'vm');
}

/** Whether a release can be had without a download. */
export function isCached(release: Release, architecture: Architecture): boolean {
  return readParts(partsDirectory(release, architecture)) !== undefined;
}

function partsDirectory(release: Release, architecture: Architecture): string {
  return join(cacheDirectory(), `${release.name}-${architecture.debian}-${LAYOUT}`);
}

/** A release's parts, from the cache or made anew. */
export async function prepareRelease(
  release: Release,
  options: {
    readonly architecture?: Architecture;
    readonly mirrors: () => Promise<Mirrors>;
    readonly refresh: boolean;
    readonly progress: Progress;
  },
): Promise<ReleaseParts> {
  const { architecture = AMD64, mirrors, refresh, progress } = options;
  const directory = partsDirectory(release, architecture);
  const cached = readParts(directory);
  const isFresh = cached !== undefined && Date.now() - cached.madeMs < FRESH_MS;
  if (cached !== undefined && isFresh && !refresh) return cached.parts;
  const startedAt = Date.now();
  progress(`Debian ${release.name}: downloading its kernel and bpftool`);
  try {
    const isReplacing = existsSync(directory);
    await makeRelease(release, architecture, await mirrors(), { directory, isReplacing }, progress);
  } catch (error) {
    if (cached === undefined || refresh || !(error instanceof VmError)) throw error;
    progress(
      `${error.message}\nusing what was downloaded on ${new Date(cached.madeMs).toISOString().slice(0, 10)}`,
    );
    return cached.parts;
  }
  const made = readParts(directory);
  if (made === undefined) throw new VmError(`${directory}: it was removed while it was made`);
  const { kernelVersion, bpftoolVersion } = made.parts;
  progress(
    `Debian ${release.name}: kernel ${kernelVersion}, bpftool ${bpftoolVersion} (${seconds(startedAt)} s)`,
  );
  return made.parts;
}

async function makeRelease(
  release: Release,
  architecture: Architecture,
  mirrors: Mirrors,
  { directory, isReplacing }: { directory: string; isReplacing: boolean },
  progress: Progress,
): Promise<void> {
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(`${directory}.`);
  try {
    const apt = await Apt.open(join(work, 'apt'), architecture.debian, mirrors, release.suites);
    const kernel = await apt.downloadOnly(await kernelPackages(apt, architecture.kernelPackage));
    const kernelRoot = join(work, 'kernel');
    const kernelNames = await Promise.all(kernel.files.map((file) => unpack(file, kernelRoot)));
    const user = await apt.downloadWhole(Object.keys(PROGRAMS));
    if (kernel.withoutUpdates || user.withoutUpdates) {
      progress(
        `Debian ${release.name}: the mirror lacks some of its updates; using the release's own`,
      );
    }
    const userRoot = join(work, 'user');
    const userNames = [];
    for (const file of user.files) userNames.push(await unpack(file, userRoot));

    const kernelRelease = kernelReleaseIn(kernelRoot);
    const made = join(work, 'made');
    mkdirSync(made);
    writeFileSync(join(made, 'vmlinuz'), readFileSync(vmlinuzIn(kernelRoot, kernelRelease)));
    writeFileSync(
      join(made, 'kernel.cpio'),
      cpioArchive(kernelEntries(kernelRoot, kernelRelease, architecture)),
    );
    writeFileSync(join(made, 'user.cpio'), cpioArchive(userEntries(userRoot)));
    const parts = {
      kernelRelease,
      kernelVersion: kernelNames.find(({ name }) => /^linux-(?:image|binary)-/.test(name))?.version,
      bpftoolVersion: userNames.find(({ name }) => name === 'bpftool')?.version,
      withoutUpdates: kernel.withoutUpdates || user.withoutUpdates,
      madeMs: Date.now(),
    };
    writeFileSync(join(made, 'parts.json'), JSON.stringify(parts));
    putInPlace(made, directory, isReplacing);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Where there was nothing, another run may meanwhile have been quicker: its parts are as good, and it
 * may be reading them.
 */
function putInPlace(made: string, directory: string, isReplacing: boolean): void {
  if (isReplacing) rmSync(directory, { recursive: true, force: true });
  try {
    renameSync(made, directory);
  } catch (error) {
    if (!['EEXIST', 'ENOTEMPTY'].includes(systemErrorCode(error) ?? '')) throw error;
  }
}

function readParts(directory: string): { parts: ReleaseParts; madeMs: number } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(join(directory, 'parts.json'), 'utf8'));
  } catch {
    return undefined;
  }
  const kernelRelease = stringIn(value, 'kernelRelease');
  const kernelVersion = stringIn(value, 'kernelVersion');
  const bpftoolVersion = stringIn(value, 'bpftoolVersion');
  const madeMs = propertyOf(value, 'madeMs');
  if (
    kernelRelease === undefined ||
    kernelVersion === undefined ||
    bpftoolVersion === undefined ||
    typeof madeMs !== 'number'
  ) {
    return undefined;
  }
  const parts = {
    directory,
    vmlinuz: join(directory, 'vmlinuz'),
    ...{ kernelRelease, kernelVersion, bpftoolVersion },
    kernelLayer: join(directory, 'kernel.cpio'),
    userLayer: join(directory, 'user.cpio'),
    withoutUpdates: propertyOf(value, 'withoutUpdates') === true,
  };
  return { parts, madeMs };
}

async function kernelPackages(apt: Apt, meta: string): Promise<string[]> {
  const found = new Set<string>();
  for (const queue = [meta]; queue.length > 0; ) {
    const next = queue.pop() ?? '';
    for (const name of await apt.dependencies(next)) {
      if (!KERNEL_PACKAGE.test(name) || found.has(name)) continue;
      found.add(name);
      queue.push(name);
    }
  }
  if (found.size === 0) throw new VmError(`${meta}: no such package, or it leads to no kernel`);
  return [...found];
}

function kernelReleaseIn(root: string): string {
  const names = ['lib/modules', 'usr/lib/modules'].flatMap((path) => entriesOf(join(root, path)));
  const [name] = names;
  if (name === undefined) throw new VmError('the kernel package holds no modules');
  return name;
}

/** Debian 14's packages have all of the kernel in its modules' directory. */
function vmlinuzIn(root: string, kernelRelease: string): string {
  const path = [
    `boot/vmlinuz-${kernelRelease}`,
    `usr/lib/modules/${kernelRelease}/vmlinuz`,
    `lib/modules/${kernelRelease}/vmlinuz`,
  ]
    .map((each) => join(root, each))
    .find((each) => existsSync(each));
  if (path === undefined) throw new VmError(`the kernel package ${kernelRelease} holds no kernel`);
  return path;
}

/** The modules, in the order in which they can be loaded, and the configuration where Debian has it. */
function kernelEntries(
  root: string,
  kernelRelease: string,
  architecture: Architecture,
): CpioEntry[] {
  const files = readdirSync(root, { recursive: true }).map(String).sort();
  const modules = [...architecture.modules, ...MODULES].map((name, index): CpioEntry => {
    const file = files.find((each) => new RegExp(`^${name}\\.ko(\\.xz)?$`).test(basename(each)));
    if (file === undefined) throw new VmError(`kernel ${kernelRelease}: no module ${name}`);
    const content = readFileSync(join(root, file));
    return { kind: 'file', path: `modules/${index}-${basename(file)}`, mode: 0o644, content };
  });
  for (const file of files) {
    if (!DEVICE_MODULES.test(basename(file))) continue;
    const content = readFileSync(join(root, file));
    const path = `modules-of-devices/${basename(file)}`;
    modules.push({ kind: 'file', path, mode: 0o644, content });
  }
  const config = [`boot/config-${kernelRelease}`, `usr/lib/modules/${kernelRelease}/config`]
    .map((each) => join(root, each))
    .find((each) => existsSync(each));
  if (config === undefined) return modules;
  const content = readFileSync(config);
  return [...modules, { kind: 'file', path: `boot/config-${kernelRelease}`, mode: 0o644, content }];
}

/** The programs by name, every shared library that came along, and the directories of a merged /usr. */
function userEntries(root: string): CpioEntry[] {
  const entries = new Map<string, CpioEntry>();
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    entries.set(name, { kind: 'link', path: name, target: `usr/${name}` });
  }
  const wanted = new Set<string>(Object.values(PROGRAMS).flat());
  for (const { path, file } of mergedFiles(root)) {
    const isProgram = /^usr\/s?bin\/[^/]+$/.test(path) && wanted.has(basename(path));
    const isLibrary = /^usr\/lib(64|\/[^/]+-linux-gnu[^/]*)?\/[^/]+\.so(\.[\w.]+)?$/.test(path);
    if (!isProgram && !isLibrary) continue;
    const stat = lstatSync(file);
    const target = stat.isSymbolicLink() ? readlinkSync(file) : undefined;
    entries.set(
      path,
      target === undefined
        ? { kind: 'file', path, mode: stat.mode & 0o777, content: readFileSync(file) }
        : { kind: 'link', path, target },
    );
  }
  entries.set('usr/bin/sh', { kind: 'link', path: 'usr/bin/sh', target: 'dash' });
  const missing = [...wanted].filter(
    (name) => !entries.has(`usr/bin/${name}`) && !entries.has(`usr/sbin/${name}`),
  );
  if (missing.length > 0) throw new VmError(`the packages hold no ${missing.join(', no ')}`);
  return [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Files and links below `root`, with the paths that they have where /bin is /usr/bin. */
function* mergedFiles(root: string): Generator<{ path: string; file: string }> {
  for (const path of readdirSync(root, { recursive: true }).map(String)) {
    const file = join(root, path);
    if (lstatSync(file).isDirectory()) continue;
    yield { path: path.replace(/^(bin|sbin|lib|lib64)\//, 'usr/$1/'), file };
  }
}

/** The Node of a version, from npm's packages of it: the path of its program, and its layer. */
export async function prepareNode(
  version: string,
  progress: Progress,
  architecture: Architecture = AMD64,
): Promise<{ program: string; layer: string }> {
  const directory = join(cacheDirectory(), `node-${version}-${architecture.npm}`);
  const parts = { program: join(directory, 'bin/node'), layer: join(directory, 'node.cpio') };
  if (existsSync(directory)) return parts;
  const startedAt = Date.now();
  progress(`Node ${version}: downloading`);
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(`${directory}.`);
  try {
    const name = `node-linux-${architecture.npm}@${version}`;
    const npm = process.env.npm_execpath ?? '';
    const [file, ...first] =
      basename(npm) === 'npm-cli.js' ? [process.execPath, npm] : (['npm'] as const);
    const packed = await execa(file, [...first, 'pack', '--loglevel=error', name], {
      cwd: work,
      reject: false,
      stdin: 'ignore',
    });
    const archive = entriesOf(work).find((each) => each.endsWith('.tgz'));
    if (packed.failed || archive === undefined) {
      throw new VmError(
        `npm pack ${name}: failed: ${npmReason(packed.stderr) ?? packed.shortMessage}`,
      );
    }
    await execa('tar', ['-xzf', archive, 'package/bin/node'], { cwd: work });
    const content = readFileSync(join(work, 'package/bin/node'));
    const layer = cpioArchive([{ kind: 'file', path: 'usr/bin/node', mode: 0o755, content }]);
    writeFileSync(join(work, 'package/node.cpio'), layer);
    putInPlace(join(work, 'package'), directory, false);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  progress(`Node ${version} (${seconds(startedAt)} s)`);
  return parts;
}

/** The line among npm's that says what went wrong. */
function npmReason(stderr: string): string | undefined {
  return /^npm (?:error|ERR!) (?!code |errno |syscall |type |A complete log)(.+)$/m.exec(
    stderr,
  )?.[1];
}

/** The built project, and whatever else a run takes along. */
export function projectLayer(more: readonly CpioEntry[]): Buffer {
  const entries: CpioEntry[] = [
    {
      kind: 'link',
      path: 'usr/local/bin/xdpwho',
      target: `/${GUEST_PROJECT}/bin/xdpwho.js`,
    },
    { kind: 'link', path: 'root/xdpwho', target: `/${GUEST_PROJECT}` },
  ];
  for (const name of ['bin', 'dist/bpf']) {
    entries.push(...treeEntries(join(PROJECT, name), `${GUEST_PROJECT}/${name}`));
  }
  for (const name of ['package.json', 'dist/main.cjs']) {
    const content = readFileSync(join(PROJECT, name));
    entries.push({ kind: 'file', path: `${GUEST_PROJECT}/${name}`, mode: 0o644, content });
  }
  return cpioArchive([...entries, ...more]);
}

/** None where it is not there. With `recursive`, also what is in folders, by its path from there. */
function entriesOf(directory: string, recursive = false): string[] {
  try {
    return readdirSync(directory, { recursive, encoding: 'utf8' });
  } catch {
    return [];
  }
}

function seconds(startedAt: number): string {
  return ((Date.now() - startedAt) / 1000).toFixed(1);
}
