/** What bpftool says when it fails, and what that means. */
import { type ErrorCode, XdpwhoError } from '../model/errors.js';
import type { RunResult } from './exec.js';
import { chargesLockedMemory } from './kernel.js';

/** What bpftool says when it fails. `errno` is its word ("EBUSY") where it is known. */
export class BpftoolError extends XdpwhoError {
  readonly errno: string | undefined;
  /** What is pinned there is something else, such as a map where a program was asked for. */
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
      hint: hintOf(errno),
    });
    this.name = 'BpftoolError';
    this.errno = errno;
    // src/common.c, open_obj_pinned_any.
    this.isOtherKind = reported?.startsWith('incorrect object type') === true;
  }
}

/** Without EPERM: 255 is also what bpftool ends with when it has no errno to tell. */
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

/** What tells an errno, the first one that is found: libbpf's words, or since 1.8 the errno's name after a `-`. */
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
  ['ENOMEM', 'Cannot allocate memory', '-ENOMEM'],
  ['E2BIG', 'Argument list too long', '-E2BIG'],
];

/** The words decide; where there are none, `net` verbs exit with 256 - errno (src/net.c, src/main.c). */
function errnoOf(result: RunResult, text: string, verb: string): string | undefined {
  const byWords = ERRNO_WORDS.find(([, ...words]) =>
    words.some((each) => text.includes(each)),
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

function hintOf(errno: string | undefined): string | undefined {
  if (errno !== 'EPERM') return undefined;
  // Root may lack CAP_SYS_RESOURCE, in a container for one, and then bpftool cannot raise it.
  return process.geteuid?.() === 0 && chargesLockedMemory()
    ? 'raise the limit on locked memory: ulimit -l unlimited'
    : 'run it as root: sudo xdpwho ...';
}

/**
 * p_err may have printed two objects in a row (src/common.c), and escapes nothing in the names that
 * it quotes: so this does not parse the whole, and takes text that is no JSON as it is.
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
  const line = useful.find((each) => each.includes('Kernel error message')) ?? useful.at(0);
  return (line ?? lines.at(-1))?.replace(/^libbpf: (Kernel error message: )?/, '').slice(0, 200);
}
