/** What the functions of this room work with, and what an attachment can be asked to be. */
import type { Bpftool } from '../host/bpftool.js';
import { missingCapabilities } from '../host/kernel.js';
import { XdpwhoError } from '../model/errors.js';
import type { Prefix } from '../model/prefix.js';
import type { AttachMode, Reader } from '../model/records.js';
import type { Request } from './target.js';

/** What is logged besides being counted, and in how much memory. */
export interface LogOptions {
  /** Only packets from this prefix. */
  readonly source?: Prefix | undefined;
  /** One packet in so many; default 1: all. */
  readonly sample?: number | undefined;
  /** For the rings of all CPUs together; default: DEFAULT_BUFFER_BYTES, or DUMP_BUFFER_BYTES where they are read by `map dump`. */
  readonly bufferBytes?: number | undefined;
}

/** What a session works with. */
export interface SessionContext {
  readonly bpftool: Bpftool;
  /** The folder that holds `el/` and `eb/`. */
  readonly objectsDirectory: string;
}

/** How to attach. */
export interface AttachSettings {
  /** Default `auto`: native, and generic where the driver has no native mode. */
  readonly mode?: 'auto' | AttachMode | undefined;
  /** Default `auto`: the iterator, and the dump where none can be pinned. */
  readonly reader?: 'auto' | Reader | undefined;
  /** Entries of the table; default: see defaultMaxSources. */
  readonly maxSources?: number | undefined;
  /** Permissions of the file that prints the sources; default 0400. */
  readonly fileMode?: number | undefined;
  /** Also log packets; default: only count them. */
  readonly log?: LogOptions | undefined;
  /**
   * Whether it is to outlive this process: then `net attach` attaches it. Otherwise a bpf_link does,
   * where one can be had. Default false.
   */
  readonly stays?: boolean | undefined;
  /** What the record says of who holds it. */
  readonly command?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An interface, where it is, and how to attach to it. */
export interface AttachOptions extends Request, AttachSettings {}

/** Rejects with `not-permitted` where this process may not load and attach, and says what it lacks. */
export function requireCapabilities(): void {
  const missing = missingCapabilities();
  if (missing.length === 0) return;
  throw new XdpwhoError('not-permitted', `not permitted: ${missing.join(', ')} missing`, {
    hint: 'run it as root: sudo xdpwho ...',
  });
}
