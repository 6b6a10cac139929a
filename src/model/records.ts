/**
 * The public records: what every command prints, one JSON object each in ndjson. The names are
 * snake_case because they are the format itself. Counters are bigint, since the kernel counts in
 * u64; they are printed as JSON numbers with every digit.
 */

/** The driver's own hook, the kernel's general one after the driver, or the network card. */
export type Mode = 'native' | 'generic' | 'offload';
/** A mode that we attach in. A card runs no program of ours: it would be loaded for that card, and its maps offloaded. */
export type AttachMode = Exclude<Mode, 'offload'>;

/** `iterator`: a file in bpffs that the kernel prints into. `dump`: `bpftool map dump`. */
export type Reader = 'iterator' | 'dump';

export interface AttachedRecord {
  readonly type: 'attached';
  readonly interface: string;
  /** The namespace as the user named it; null for the one that the command runs in. */
  readonly netns: string | null;
  readonly mode: Mode;
  readonly program_id: number;
  readonly reader: Reader;
  /** The pinned iterator that prints the sources, or null where there is none. */
  readonly file: string | null;
}

export interface SourceRecord {
  readonly type: 'source';
  readonly interface: string;
  /** IPv4 dotted, IPv6 as RFC 5952 writes it. */
  readonly source: string;
  readonly packets: bigint;
  /** Frame bytes from the Ethernet header on, as the XDP program sees them. */
  readonly bytes: bigint;
  /** Milliseconds since the source's last packet. */
  readonly idle_ms: number;
  /** Over the last interval; only in `watch`. */
  readonly packets_per_second?: number;
  readonly bytes_per_second?: number;
}

export interface TotalsRecord {
  readonly type: 'totals';
  readonly interface: string;
  /** Sources in the table. */
  readonly sources: number;
  /** ipv4 + ipv6 + other + malformed. */
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly ipv4: bigint;
  readonly ipv6: bigint;
  /** Neither IPv4 nor IPv6 (ARP, LLDP, more than two VLAN tags). */
  readonly other: bigint;
  /** Shorter than the header that it announces, or a header that contradicts itself. */
  readonly malformed: bigint;
  /**
   * Packets of sources that the full table has evicted: with the sum over the sources, ipv4 + ipv6.
   * Exactly, once packets have stopped; those that come while the table is read are not in it.
   */
  readonly untracked: bigint;
  /** When it was read, ISO 8601 in UTC; only in `watch`. */
  readonly time?: string;
  /**
   * Only in `log`, and since this `log` began: packets with a source, which is printed + sampled_out
   * + filtered_out + lost. With --count, those after the last one that was printed are left out.
   */
  readonly seen?: bigint;
  readonly printed?: bigint;
  /** Left out by --sample and by --source. */
  readonly sampled_out?: bigint;
  readonly filtered_out?: bigint;
  /** Overwritten in the ring before they were read. */
  readonly lost?: bigint;
  readonly packets_per_second?: number;
  readonly bytes_per_second?: number;
}

export interface PacketRecord {
  readonly type: 'packet';
  readonly interface: string;
  /** When the program saw it: ISO 8601, UTC, microseconds. */
  readonly time: string;
  /** IPv4 dotted, IPv6 as RFC 5952 writes it. */
  readonly source: string;
  /** Bytes from the Ethernet header on. */
  readonly length: number;
  /** The CPU that took it in. */
  readonly cpu: number;
}

/** Packets missing from the log at this place: they came faster than they were read. */
export interface LostRecord {
  readonly type: 'lost';
  readonly interface: string;
  readonly count: bigint;
}

export interface DetachedRecord {
  readonly type: 'detached';
  readonly interface: string;
  /** Null where an attachment had been begun and not finished. */
  readonly program_id: number | null;
}

/**
 * `ours`: attached and pinned by us. `foreground`: likewise, and a running xdpwho ends it.
 * `stale`: our pins, but the program is not attached, or its interface, namespace or run is gone.
 * `broken`: a directory among ours that holds something else. `other-version`: attached by another
 * version of xdpwho. `foreign`: somebody else's program.
 */
export type Ownership = 'ours' | 'foreground' | 'stale' | 'broken' | 'other-version' | 'foreign';

/** One interface in `status`. What is not known, or does not apply, is null. */
export interface StatusRecord {
  readonly type: 'status';
  readonly interface: string;
  readonly netns: string | null;
  readonly ownership: Ownership | 'none';
  readonly why: string | null;
  readonly mode: Mode | null;
  readonly program_id: number | null;
  readonly program_name: string | null;
  readonly reader: Reader | null;
  readonly file: string | null;
  /** Why there is no file, or who cannot read it. */
  readonly file_note: string | null;
  /** What it costs that `auto` did not get native mode. */
  readonly mode_note: string | null;
  /** ISO 8601, UTC. */
  readonly since: string | null;
  /** As they were asked for. */
  readonly options: AttachmentOptions | null;
  /** Sources in the table, of `options.max_sources`. */
  readonly sources: number | null;
  readonly packets: bigint | null;
  readonly bytes: bigint | null;
  readonly holder: { readonly pid: number; readonly command: string } | null;
}

export interface AttachmentOptions {
  readonly mode: string;
  readonly reader: string;
  readonly max_sources: number;
  /** Octal. */
  readonly file_mode: string;
  /** Null where packets are only counted. */
  readonly log: LogSettings | null;
}

export interface LogSettings {
  /** The prefix that sources are to be in, or null for all. */
  readonly source: string | null;
  /** One packet in so many is logged. */
  readonly sample: number;
  /** Of the rings of all CPUs together. */
  readonly buffer_bytes: number;
}

/** What `clean` has found. */
export interface CleanedRecord {
  readonly type: 'cleaned';
  readonly interface: string;
  readonly netns: string | null;
  readonly directory: string | null;
  readonly why: string | null;
  /** Null when it has been removed, or else why not. */
  readonly kept: string | null;
}

export interface ErrorRecord {
  readonly type: 'error';
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

export type AnyRecord =
  | AttachedRecord
  | SourceRecord
  | TotalsRecord
  | PacketRecord
  | LostRecord
  | DetachedRecord
  | StatusRecord
  | CleanedRecord
  | ErrorRecord;

export type CheckStatus = 'pass' | 'warn' | 'fail';

/** One thing that `doctor` looked at. */
export interface Check {
  /** A stable word. */
  readonly name: string;
  readonly title: string;
  /** `warn` also where it could not be found out. */
  readonly status: CheckStatus;
  /** What was found, or why nothing was. */
  readonly detail: string;
  /** The command or the step that mends it, where there is one. */
  readonly fix?: string | undefined;
}
