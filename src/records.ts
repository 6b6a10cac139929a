/**
 * The public records: what every command prints, one JSON object each in ndjson. The names are
 * snake_case because they are the format itself. Counters are bigint, since the kernel counts in
 * u64; they are printed as JSON numbers with every digit.
 */

/** The driver's own hook, the kernel's general one after the driver, or the network card. */
export type Mode = 'native' | 'generic' | 'offload';

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
  readonly packets_per_second?: number;
  readonly bytes_per_second?: number;
}

export interface DetachedRecord {
  readonly type: 'detached';
  readonly interface: string;
  readonly program_id: number;
}

export interface ErrorRecord {
  readonly type: 'error';
  readonly code: string;
  readonly message: string;
  readonly hint: string | null;
}

export type AnyRecord = AttachedRecord | SourceRecord | TotalsRecord | DetachedRecord | ErrorRecord;

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
