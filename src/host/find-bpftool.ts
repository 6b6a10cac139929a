/** Finding the bpftool to use, and checking it. */
import { closeSync, openSync, readSync } from 'node:fs';
import { release } from 'node:os';
import { XdpwhoError } from '../model/errors.js';
import { quoteWord } from '../text/shell-words.js';
import { Bpftool } from './bpftool.js';
import { BpftoolError } from './bpftool-error.js';
import { namesIn } from './directories.js';
import { installCommand } from './install-command.js';
import { exposedPart, findTool, isExecutableFile, TOOL_DIRECTORIES } from './tools.js';

/** Older ones lack `iter pin`, `-n` or both. */
const OLDEST_BPFTOOL = [5, 10] as const;

/** Short, because `bpftool version` does no work. */
const VERSION_TIMEOUT_MS = 5000;

/** Ubuntu's directory with a bpftool for each kernel. */
const UBUNTU_TOOLS_DIRECTORY = '/usr/lib/linux-tools';

export interface FindBpftoolOptions {
  /** The bpftool to use. Default: the first in TOOL_DIRECTORIES. */
  readonly path?: string | undefined;
}

/** Where to look for a bpftool if the user names none. */
interface SearchedPaths {
  /** The bpftool in TOOL_DIRECTORIES. */
  readonly path: string | undefined;
  /** A directory like Ubuntu's /usr/lib/linux-tools. */
  readonly kernelToolsDirectory: string;
}

/**
 * The bpftool to use. Rejects with `tool-missing` if there is none, or with the failure of a script. It does
 * not ask a program for its version, because that is one more process for each command: explainFailure
 * asks after a failure. It runs a script, because Ubuntu's script may fail, see examineBpftool.
 */
export async function findBpftool(
  options: FindBpftoolOptions = {},
  searched: SearchedPaths = usualPaths(),
): Promise<Bpftool> {
  const path = options.path ?? searched.path;
  if (path === undefined || !isExecutableFile(path) || isScript(path)) {
    return (await examineBpftool(options, searched)).bpftool;
  }
  if (options.path !== undefined) refuseExposed(options.path);
  return new Bpftool({ path });
}

/** The error to report after a command failed with `error`: another one if bpftool itself is too old or does not work. */
export async function explainFailure(bpftool: Bpftool, error: unknown): Promise<unknown> {
  const failure =
    error instanceof XdpwhoError && error.cause instanceof BpftoolError ? error.cause : error;
  if (!(failure instanceof BpftoolError) || failure.code !== 'tool-failed') return error;
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
  /** Ubuntu's script, if it failed and another bpftool is used instead. */
  readonly wrapper: string | undefined;
}

function usualPaths(): SearchedPaths {
  return { path: findTool('bpftool'), kernelToolsDirectory: UBUNTU_TOOLS_DIRECTORY };
}

/**
 * Finds a bpftool and runs it, to see that it works and is new enough. Ubuntu's /usr/sbin/bpftool is a script
 * that starts the bpftool of the running kernel and fails if that is not installed. Then the newest one
 * of another kernel is used. Rejects with `tool-missing` if there is none, or with the failure.
 */
export async function examineBpftool(
  options: FindBpftoolOptions,
  searched: SearchedPaths = usualPaths(),
): Promise<ExaminedBpftool> {
  const path = options.path ?? searched.path ?? newestKernelTool(searched.kernelToolsDirectory);
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
    const other = isWrapper ? newestKernelTool(searched.kernelToolsDirectory) : undefined;
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

/** We run it as root, so no other user may be able to change it. */
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

/** Whether a version like "7.1.0" is lower than `least`. False if it is not a version. */
export function isOlder(version: string, least: readonly number[]): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [index, wanted] of least.entries()) {
    const part = parts[index] ?? 0;
    if (Number.isNaN(part) || part > wanted) return false;
    if (part < wanted) return true;
  }
  return false;
}
