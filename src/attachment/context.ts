/** The context of the functions in this folder, and the options of an attachment. */
import type { Bpftool } from '../host/bpftool.js';
import { missingCapabilities } from '../host/kernel.js';
import { rightsHint } from '../host/rights.js';
import { XdpwhoError } from '../model/errors.js';
import type { Prefix } from '../model/prefix.js';
import type { AttachMode, Reader } from '../model/records.js';
import type { Request } from './target.js';

/** Which packets are logged, and in how much memory. */
export interface LogOptions {
  /** Only packets from this prefix. */
  readonly source?: Prefix | undefined;
  /** Log one packet out of this many. Default 1: all. */
  readonly sample?: number | undefined;
  /** For the rings of all CPUs together. Default: DEFAULT_BUFFER_BYTES, or with `map dump` DUMP_BUFFER_BYTES. */
  readonly bufferBytes?: number | undefined;
}

/** What every function needs to reach the kernel. */
export interface SessionContext {
  readonly bpftool: Bpftool;
  /** The folder that holds `el/` and `eb/`. */
  readonly objectsDirectory: string;
}

/** How to attach. */
export interface AttachSettings {
  /** Default `auto`: native mode, or generic mode if the driver has no native mode, or what does least harm. What is sent is always `tcx`. */
  readonly mode?: 'auto' | AttachMode | undefined;
  /** Whether `auto` may take TCX, which ends with this process in any case. Default false. */
  readonly mayTakeTcx?: boolean | undefined;
  /** Default `auto`: the iterator, or `map dump` if no iterator can be pinned. */
  readonly reader?: 'auto' | Reader | undefined;
  /** Entries of the table. Default: see defaultMaxSources. */
  readonly maxSources?: number | undefined;
  /** Permissions of the file that prints the sources. Default 0400. */
  readonly fileMode?: number | undefined;
  /** Also log packets. Default: only count them. */
  readonly log?: LogOptions | undefined;
  /**
   * Whether it is to outlive this process: then `net attach` attaches it. Otherwise a bpf_link does,
   * where one can be had. Default false.
   */
  readonly stays?: boolean | undefined;
  /** The name of the verb, which the record keeps for messages to other runs. */
  readonly command?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An interface, where it is, and how to attach to it. */
export interface AttachOptions extends Request, AttachSettings {}

/** Throws `not-permitted`, with the missing capabilities, if this process may not load and attach. */
export function requireCapabilities(): void {
  const missing = missingCapabilities();
  if (missing.length === 0) return;
  throw new XdpwhoError('not-permitted', `not permitted: ${missing.join(', ')} missing`, {
    hint: rightsHint(),
  });
}
