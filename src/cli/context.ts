/** What a command gets to work with. */
import type { Readable, Writable } from 'node:stream';
import type { Bpftool } from '../host/bpftool.js';
import type { Messages } from './messages.js';

/** A stream that may be a terminal. */
export type Output = Writable & {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
};

/** Likewise. */
export type Input = Readable & {
  readonly isTTY?: boolean | undefined;
  setRawMode?(raw: boolean): unknown;
};

/** Why a run ends early, though nothing failed: the reason of the context's `signal`. */
export class Interruption extends Error {
  /** 128 + the signal's number; 0 when nobody reads our output any more. */
  readonly exitCode: number;

  constructor(what: 'SIGHUP' | 'SIGINT' | 'SIGTERM' | 'closed output') {
    super(`ended by ${what}`);
    this.name = 'Interruption';
    this.exitCode = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143, 'closed output': 0 }[what];
  }
}

/** Whether the run is to end because nobody reads its output any more. */
export function isOutputClosed(signal: AbortSignal): boolean {
  return signal.reason instanceof Interruption && signal.reason.exitCode === 0;
}

export interface CommandContext {
  /** Keys, and a recording where `-` names it. */
  readonly stdin: Input;
  /** Data. Its errors are seen to: a closed pipe aborts `signal`. */
  readonly stdout: Output;
  readonly stderr: Output;
  /** Whether to colour what goes to `stdout`. */
  readonly color: boolean;
  /**
   * Aborted by SIGINT, SIGTERM, SIGHUP, a closed or full `stdout`, and by a bug outside of the
   * command's own promise. The command then undoes what it did and returns or rejects; the exit code
   * comes from the reason, unless the command rejects with an XdpwhoError of its own.
   */
  readonly signal: AbortSignal;
  readonly messages: Messages;
  /** Finds bpftool and looks at its version, at the first call. Rejects with `tool-missing`, or what bpftool failed of. */
  readonly bpftool: () => Promise<Bpftool>;
  /** Of this package. */
  readonly version: string;
  /** Holds `el/` and `eb/`. Absolute. */
  readonly objectsDirectory: string;
}
