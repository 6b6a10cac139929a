/**
 * The kinds of failure and the exit code of each. The words are stable, because scripts match on
 * them: `-o json` prints them in an `error` record.
 */
export const EXIT_CODES = {
  failed: 1,
  usage: 2,
  'not-attached': 3,
  'not-ours': 4,
  'interface-busy': 4,
  held: 1,
  'options-differ': 1,
  'other-version': 1,
  'tool-missing': 5,
  'mode-unsupported': 5,
  'device-unsupported': 5,
  'bpffs-missing': 5,
  'kernel-too-old': 5,
  'not-permitted': 77,
  'no-such-interface': 1,
  'interface-gone': 1,
  'mtu-too-large': 1,
  'verifier-rejected': 1,
  'bad-object': 1,
  'bad-database': 1,
  'bad-output': 1,
  'tool-failed': 1,
  timeout: 1,
} as const satisfies Record<string, number>;

/** What each exit code means, for the README, the manual and the head of a script; test/man.test.ts compares them. */
export const EXIT_STATUS: readonly (readonly [codes: string, meaning: string])[] = [
  ['0', 'done, or already so; also when nobody reads the output any more'],
  ['1', 'failed'],
  ['2', 'the command line is wrong'],
  [
    '3',
    'not attached (`status`, `dump`, `log --last`, `bench --live`); or detached by somebody else meanwhile, or attached anew, or what held it ended and its place taken',
  ],
  ['4', "the interface holds somebody else's program"],
  ['5', 'a tool or a feature of the kernel is missing'],
  ['77', 'not permitted'],
  [
    '129, 130, 143',
    'ended by SIGHUP, SIGINT, SIGTERM, after a clean detach; of `attach` and `detach` only where the work was taken back. A second signal, half a second or more after the first, ends it at once; what it attached is detached all the same',
  ],
];

/** A stable kebab-case word for one kind of failure. */
export type ErrorCode = keyof typeof EXIT_CODES;

/** `--mode auto`; a flag has no value. */
export interface Retry {
  readonly option: string;
  readonly value?: string | undefined;
  /** Options with a value that it excludes. */
  readonly without?: readonly string[] | undefined;
}

interface XdpwhoErrorOptions {
  /** A command that fixes it, or the next thing to check. One line. */
  readonly hint?: string | undefined;
  /** An option with which the same command would do. The command line puts that command before the hint. */
  readonly retry?: Retry | undefined;
  /** What a tool printed, in several lines. It is shown below the message. */
  readonly detail?: string | undefined;
  readonly cause?: unknown;
}

/**
 * A failure that a user can cause or meet. `message` is one line, `what: why`, without the program's
 * name. Any other error that is thrown is a bug of ours.
 */
export class XdpwhoError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retry: Retry | undefined;
  readonly detail: string | undefined;

  constructor(code: ErrorCode, message: string, options: XdpwhoErrorOptions = {}) {
    super(oneLine(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'XdpwhoError';
    this.code = code;
    this.hint = options.hint;
    this.retry = options.retry;
    this.detail = options.detail;
  }

  get exitCode(): number {
    return EXIT_CODES[this.code];
  }
}

/** Whether `error` is an XdpwhoError with this code. */
export function hasErrorCode(error: unknown, code: ErrorCode): error is XdpwhoError {
  return error instanceof XdpwhoError && error.code === code;
}

/** The message of a caught value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` of a Node system error ("ENOENT"), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

function oneLine(text: string): string {
  return text.replace(/\s*\n\s*/g, '; ').trim();
}

/** The error, with the interface that it is about before its message, if that does not name it. */
export function naming(name: string, error: unknown): unknown {
  if (!(error instanceof XdpwhoError) || error.message.split(/[\s:,()/@]+/).includes(name)) {
    return error;
  }
  const { code, message, hint, retry, detail } = error;
  return new XdpwhoError(code, `${name}: ${message}`, { hint, retry, detail, cause: error });
}
