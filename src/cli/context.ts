/** What main.ts gives to a command: streams, the signal to end, bpftool. */
import type { Readable, Writable } from 'node:stream';
import type { Bpftool } from '../host/bpftool.js';
import type { Messages } from './messages.js';

/** A stream that may be a terminal. */
export type Output = Writable & {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
};

/** A stream of keys or data, which may be a terminal. */
export type Input = Readable & {
  readonly isTTY?: boolean | undefined;
  setRawMode?(raw: boolean): unknown;
};

/** The reason of the context's `signal` where nothing failed: a signal to the process, or a closed output. */
export class Interruption extends Error {
  /** 128 + the signal's number, or 0 for a closed output. */
  readonly exitCode: number;

  constructor(what: 'SIGHUP' | 'SIGINT' | 'SIGTERM' | 'closed output') {
    super(`ended by ${what}`);
    this.name = 'Interruption';
    this.exitCode = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143, 'closed output': 0 }[what];
  }
}

/** The exit code of a run that goes on until it is ended: that of the signal, or 0. */
export function endingExitCode(signal: AbortSignal): number {
  return signal.reason instanceof Interruption ? signal.reason.exitCode : 0;
}

/** Whether the run is to end because the reader of its output has gone. */
export function isOutputClosed(signal: AbortSignal): boolean {
  return signal.reason instanceof Interruption && signal.reason.exitCode === 0;
}

export interface CommandContext {
  /** Keys, or a recording that is named `-`. */
  readonly stdin: Input;
  /** For data. main.ts handles its errors: a closed pipe aborts `signal`. */
  readonly stdout: Output;
  readonly stderr: Output;
  /** Whether text for `stdout` is coloured. */
  readonly color: boolean;
  /**
   * Aborts at SIGINT, SIGTERM, SIGHUP, a closed or full `stdout`, and at an error that no promise
   * of the command carries. A command that has not done its work then takes back what it did and rejects with
   * the reason, or with an AbortError: the exit code is that of the reason. One that has done its work returns as
   * always. One that runs until it is ended returns `endingExitCode`.
   */
  readonly signal: AbortSignal;
  readonly messages: Messages;
  /** Finds bpftool and checks its version, once. Rejects with `tool-missing`, or with the failure of bpftool. */
  readonly bpftool: () => Promise<Bpftool>;
  /** The version of this package. */
  readonly version: string;
  /** The absolute path of the directory that holds `el/` and `eb/`. */
  readonly objectsDirectory: string;
}
