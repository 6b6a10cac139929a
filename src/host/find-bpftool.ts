import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { release } from 'node:os';
import { XdpwhoError } from '../model/errors.js';
import { quoteWord } from '../text/shell-words.js';
import { Bpftool } from './bpftool.js';
import { BpftoolError } from './bpftool-error.js';
import { namesIn } from './directories.js';
import { exposedPart, findTool, isExecutableFile, TOOL_DIRECTORIES } from './exec.js';

/** Older ones lack `iter pin`, `-n` or both. */
const OLDEST_BPFTOOL = [5, 10] as const;

/** `bpftool version` reads nothing but itself. */
const VERSION_TIMEOUT_MS = 5000;

/** Where Ubuntu keeps the bpftool of each kernel. */
const UBUNTU_TOOLS_DIRECTORY = '/usr/lib/linux-tools';

export interface FindBpftoolOptions {
  /** The one to use; default: the one in the fixed directories of src/host/exec.ts. */
  readonly path?: string | undefined;
}

/** Where a bpftool is looked for when none is named. */
export interface BpftoolPlaces {
  readonly path: string | undefined;
  /** Has a directory for each kernel, as Ubuntu's /usr/lib/linux-tools. */
  readonly kernelToolsDirectory: string;
}

/**
 * The bpftool to use. Rejects with `tool-missing` where there is none, or with what it failed of. A
 * program is not asked for its version: that costs a start for each command, and `explainFailure`
 * asks after a failure. Only a script is, because it may be Ubuntu's, see examineBpftool.
 */
export async function findBpftool(
  options: FindBpftoolOptions = {},
  places: BpftoolPlaces = usualPlaces(),
): Promise<Bpftool> {
  const path = options.path ?? places.path;
  if (path === undefined || !isExecutableFile(path) || isScript(path)) {
    return (await examineBpftool(options, places)).bpftool;
  }
  if (options.path !== undefined) refuseExposed(options.path);
  return new Bpftool({ path });
}

/** The error of a command that failed: another one where bpftool itself is too old, or does not work. */
export async function explainFailure(bpftool: Bpftool, error: unknown): Promise<unknown> {
  if (!(error instanceof BpftoolError) || error.code !== 'tool-failed') return error;
  try {
    await examine(bpftool.path, undefined);
    return error;
  } catch (cause) {
    return cause;
  }
}

interface ExaminedBpftool {
  readonly bpftool: Bpftool;
  readonly version: string;
  /** The wrapper that failed, where another one stands in for it. */
  readonly wrapper: string | undefined;
}

function usualPlaces(): BpftoolPlaces {
  return { path: findTool('bpftool'), kernelToolsDirectory: UBUNTU_TOOLS_DIRECTORY };
}

/**
 * A bpftool that works and is new enough. Ubuntu's /usr/sbin/bpftool is a script that looks for the
 * bpftool of the running kernel and fails when that one is not installed: then any other one that is
 * installed does. Rejects with `tool-missing` where there is none, or with what it failed of.
 */
export async function examineBpftool(
  options: FindBpftoolOptions,
  places: BpftoolPlaces = usualPlaces(),
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
  const beginning = Buffer.alloc(2);
  try {
    const file = openSync(path, 'r');
    try {
      readSync(file, beginning);
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
  return beginning.toString() === '#!';
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

export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
