/** Why a bpftool command failed: the errno, our error code and the hint, from what it printed. */
import { type ErrorCode, XdpwhoError } from '../model/errors.js';
import { DEFAULT_BPFFS, remountHint } from './bpffs.js';
import type { RunResult } from './exec.js';
import { chargesLockedMemory } from './kernel.js';
import { rightsHint } from './rights.js';

/** The failure of a bpftool command. */
export class BpftoolError extends XdpwhoError {
  /** The name of the kernel's error, "EBUSY", if it can be told. */
  readonly errno: string | undefined;
  /** The pin is an object of another type: a map, for example, and not a program. */
  readonly isOtherKind: boolean;

  constructor(verb: string, result: RunResult) {
    const reported = reportedError(result.stdout);
    const detail = lastLine(result.stderr);
    const errno = errnoOf(result, `${reported ?? ''}\n${result.stderr}`, verb);
    const why = [reported, detail].filter((text) => text !== undefined && text !== '').join(': ');
    const status =
      result.signal === undefined
        ? `status ${result.exitCode ?? '?'}`
        : `ended by ${result.signal}`;
    super(codeOf(errno, result), `bpftool ${verb}: ${why === '' ? status : why}`, {
      hint: hintOf(errno, `${reported ?? ''} ${detail ?? ''}`),
    });
    this.name = 'BpftoolError';
    this.errno = errno;
    // src/common.c, open_obj_pinned_any.
    this.isOtherKind = reported?.startsWith('incorrect object type') === true;
  }
}

/** Without EPERM: bpftool also exits with 255 (-1) when it has no errno. */
const ERRNO_NUMBERS: Readonly<Record<number, string>> = {
  2: 'ENOENT',
  13: 'EACCES',
  16: 'EBUSY',
  17: 'EEXIST',
  19: 'ENODEV',
  22: 'EINVAL',
  34: 'ERANGE',
  95: 'EOPNOTSUPP',
};

/** Texts that tell an errno; the first match counts. They are strerror's words, or since libbpf 1.8 the name after a `-`. */
export const ERRNO_WORDS: readonly (readonly [errno: string, ...words: string[]])[] = [
  ['ENODEV', 'invalid devname', 'No such device'],
  ['EPERM', 'Operation not permitted', '-EPERM'],
  ['EACCES', 'Permission denied', '-EACCES'],
  ['EBUSY', 'Device or resource busy', '-EBUSY'],
  ['EEXIST', 'File exists', 'already exists', '-EEXIST'],
  ['ERANGE', 'Numerical result out of range', '-ERANGE'],
  ['EOPNOTSUPP', 'Operation not supported', '-EOPNOTSUPP'],
  ['EROFS', 'Read-only file system', '-EROFS'],
  ['ENOENT', 'No such file or directory', '-ENOENT'],
  ['EINVAL', 'Invalid argument', '-EINVAL'],
  ['ENOSPC', 'No space left on device', '-ENOSPC'],
  ['ENOMEM', 'Cannot allocate memory', '-ENOMEM'],
  ['E2BIG', 'Argument list too long', '-E2BIG'],
];

/** From the text. If no word matches, from the exit status of a `net` verb, which is 256 - errno (bpftool src/net.c, src/main.c). */
function errnoOf(result: RunResult, text: string, verb: string): string | undefined {
  const byWords = ERRNO_WORDS.find(([, ...words]) =>
    words.some((word) => text.includes(word)),
  )?.[0];
  if (byWords !== undefined || !verb.startsWith('net ')) return byWords;
  return ERRNO_NUMBERS[256 - (result.exitCode ?? 0)];
}

function codeOf(errno: string | undefined, result: RunResult): ErrorCode {
  if (errno === 'EPERM') return 'not-permitted';
  if (errno === 'ENODEV') return 'no-such-interface';
  if (/BPF program is too large|processed \d+ insns|R\d+ .*(invalid|pointer)/.test(result.stderr)) {
    return 'verifier-rejected';
  }
  return 'tool-failed';
}

function hintOf(errno: string | undefined, text: string): string | undefined {
  if (errno === 'EROFS') return remountHint(/\/[^\s)]*/.exec(text)?.[0] ?? DEFAULT_BPFFS);
  if (errno !== 'EPERM') return undefined;
  // Root may lack CAP_SYS_RESOURCE, for example in a container. Then bpftool cannot raise the limit.
  return process.geteuid?.() === 0 && chargesLockedMemory()
    ? 'raise the limit on locked memory: ulimit -l unlimited'
    : rightsHint();
}

/**
 * The text of the first error object. bpftool may print two of them in a row, and does not escape the names
 * in them (src/common.c p_err). So this does not parse the whole output, and returns a text that is not
 * valid JSON as it is.
 */
function reportedError(stdout: string): string | undefined {
  const text = /\{"error":"((?:[^"\\]|\\.)*)"/.exec(stdout)?.[1];
  if (text === undefined) return /^\{"error":"(.*)"\}$/m.exec(stdout)?.[1];
  try {
    return String(JSON.parse(`"${text}"`));
  } catch {
    return text;
  }
}

function lastLine(stderr: string): string | undefined {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const useful = lines.filter((line) => /error|failed|denied|permitted|large/i.test(line));
  const line = useful.find((text) => text.includes('Kernel error message')) ?? useful.at(0);
  return (line ?? lines.at(-1))?.replace(/^libbpf: (Kernel error message: )?/, '').slice(0, 200);
}
