/**
 * The public records, which the commands print: one JSON object for each line in ndjson. The names
 * are snake_case because they are the names in that JSON. Counters are bigint, because the kernel
 * counts in u64; they are printed as JSON numbers with all digits.
 */

/**
 * Where the program runs: with XDP in the driver, in the kernel after the driver, or on the network
 * card; or with TCX (kernel 6.6 and newer), behind XDP, or where packets are sent.
 */
export type Mode = 'native' | 'generic' | 'offload' | 'tcx';
/** A mode of XDP that we attach in. A card runs no program of ours: it would be loaded for that card, and its maps offloaded. */
export type XdpMode = 'native' | 'generic';
/** A mode that we attach in. */
export type AttachMode = XdpMode | 'tcx';

/** Which packets of an interface are counted: those that it receives, by source; or those that it sends, by destination. */
export type Direction = 'received' | 'sent';

/** A member of the records of what is sent; those of what is received lack it. */
interface Sent {
  readonly direction?: 'sent';
}

/** An interface in words: `eth0`, or `eth0 (sent)`. */
export function nameInDirection(name: string, direction: Direction | null | undefined): string {
  return direction === 'sent' ? `${name} (sent)` : name;
}

/** What tells the attachments of a run apart. */
export function keyOf(of: { readonly interface: string; readonly direction?: Direction }): string {
  return `${of.direction ?? 'received'} ${of.interface}`;
}

/** That member. */
export function sentMember(direction: Direction): Sent {
  return direction === 'sent' ? { direction } : {};
}

/** `iterator`: a file on bpffs that prints the table when it is read. `dump`: `bpftool map dump`. */
export type Reader = 'iterator' | 'dump';

/**
 * What detaches when the process that attached ends: the kernel, by a bpf_link; or the guard, a
 * process of its own, where no link can be had. Null for an attachment that stays.
 */
export type HeldBy = 'link' | 'guard' | null;

export interface AttachedRecord extends Sent {
  readonly type: 'attached';
  readonly interface: string;
  /** The namespace as the user named it; null: the one that the command runs in. */
  readonly netns: string | null;
  readonly mode: Mode;
  readonly program_id: number;
  readonly held_by: HeldBy;
  readonly reader: Reader;
  /** The pinned iterator that prints the sources, or null if there is none. */
  readonly file: string | null;
}

/**
 * Who an address belongs to, as far as the databases, the list of networks and the name servers that
 * were named tell. What is not known is absent.
 */
export interface Owner {
  /** The number of the autonomous system. In the record of a group, all members share it. */
  readonly asn?: number;
  readonly as_name?: string;
  /** Two letters, ISO 3166-1. */
  readonly country?: string;
  /** The label of the user's own network. */
  readonly network?: string;
  /** By the hosts file or reverse DNS. */
  readonly name?: string;
}

export interface SourceRecord extends Owner {
  readonly type: 'source';
  readonly interface: string;
  /** IPv4 dotted, IPv6 as RFC 5952 writes it. Of a group: a prefix, `AS64500`, a country, a network's label, or `unknown`. */
  readonly source: string;
  readonly packets: bigint;
  /** Bytes of the frames from the Ethernet header on, as the XDP program sees them. */
  readonly bytes: bigint;
  /** Milliseconds since the source's last packet. */
  readonly idle_ms: number;
  /** The mean over the last interval. Only in `watch`. */
  readonly packets_per_second?: number;
  readonly bytes_per_second?: number;
}

/** What is sent to one address: a source record, but for two members. */
export interface DestinationRecord extends Omit<SourceRecord, 'type' | 'source'> {
  readonly type: 'destination';
  /** IPv4 dotted, IPv6 as RFC 5952 writes it. */
  readonly destination: string;
}

/** A source record of what is sent as the record that it is for others. */
export function toDestination(record: SourceRecord): DestinationRecord {
  const { type: _, interface: device, source: destination, ...figures } = record;
  return { type: 'destination', interface: device, destination, ...figures };
}

/** A source that this run has not seen before. Of what is sent, it has `destination` in place of `source`. */
export interface NewRecord extends Sent, Owner {
  readonly type: 'new';
  readonly interface: string;
  readonly source?: string;
  readonly destination?: string;
  /** When it was read: ISO 8601, UTC. */
  readonly time: string;
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** The record of a source that is new. */
export function toNew(record: SourceRecord, direction: Direction, time: string): NewRecord {
  const { type: _, interface: device, source, idle_ms: __, ...rest } = record;
  const address = direction === 'sent' ? { direction, destination: source } : { source };
  return { type: 'new', interface: device, ...address, time, ...rest };
}

/** Sources in an order. They may be made one by one while they are read. Of what is sent, `source` is the destination. */
export interface SourceList extends Iterable<SourceRecord> {
  readonly length: number;
}

export interface TotalsRecord extends Sent {
  readonly type: 'totals';
  readonly interface: string;
  /** The number of sources in the table. */
  readonly sources: number;
  /** ipv4 + ipv6 + other + malformed. */
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly ipv4: bigint;
  readonly ipv6: bigint;
  /** Neither IPv4 nor IPv6 (ARP, LLDP, more than two VLAN tags). */
  readonly other: bigint;
  /** Packets that are shorter than the header that they announce, or whose header contradicts itself. */
  readonly malformed: bigint;
  /**
   * Packets of sources that the full table has evicted. Together with the packets of all sources
   * they are ipv4 + ipv6, exactly once no more packets come. Packets that come while the table is
   * read are not among them.
   */
  readonly untracked: bigint;
  /** When the totals were read: ISO 8601, UTC. Only in `watch`. */
  readonly time?: string;
  /**
   * Packets with a source since this `log` began: printed + sampled_out + filtered_out + lost. Only
   * in `log`; a buffer of several packets (TCX) is one here. With --count, packets after the last printed one are not counted.
   */
  readonly seen?: bigint;
  readonly printed?: bigint;
  /** Packets left out by --sample, and by --source. */
  readonly sampled_out?: bigint;
  readonly filtered_out?: bigint;
  /** Packets overwritten in the ring before they were read. */
  readonly lost?: bigint;
  readonly packets_per_second?: number;
  readonly bytes_per_second?: number;
}

export interface PacketRecord {
  readonly type: 'packet';
  readonly interface: string;
  /** When the program saw the packet: ISO 8601, UTC, with microseconds. */
  readonly time: string;
  /** IPv4 dotted, IPv6 as RFC 5952 writes it. */
  readonly source: string;
  /** Bytes from the Ethernet header on; of all packets, where there are several. */
  readonly length: number;
  /** The CPU that received it, or sent it. */
  readonly cpu: number;
  /** How many packets on the wire this is; only where the kernel hands them over as one (TCX). */
  readonly packets?: number;
}

/** A packet that is sent: a packet record with its destination in place of its source. */
export interface SentPacketRecord extends Omit<PacketRecord, 'source'> {
  readonly direction: 'sent';
  readonly destination: string;
}

/** Packets that are missing from the log here, because they came faster than they were read. */
export interface LostRecord extends Sent {
  readonly type: 'lost';
  readonly interface: string;
  readonly count: bigint;
}

export interface DetachedRecord extends Sent {
  readonly type: 'detached';
  readonly interface: string;
  /** Null if the attachment was never completed. */
  readonly program_id: number | null;
}

/**
 * Whose the program on an interface is.
 * - `ours`: attached and pinned by us.
 * - `foreground`: the same, and a running xdpwho will detach it.
 * - `stale`: our pins, but the program is not attached, or its interface, namespace or run is gone.
 * - `broken`: a directory among ours with something else in it.
 * - `other-version`: attached by another version of xdpwho.
 * - `foreign`: a program that is not ours.
 */
export type Ownership = 'ours' | 'foreground' | 'stale' | 'broken' | 'other-version' | 'foreign';

/** One interface in `status`. A member that is unknown or does not apply is null. */
export interface StatusRecord {
  readonly type: 'status';
  readonly interface: string;
  readonly netns: string | null;
  readonly ownership: Ownership | 'none';
  /** Null where nothing is attached, or it is not ours. */
  readonly direction: Direction | null;
  readonly why: string | null;
  readonly mode: Mode | null;
  readonly program_id: number | null;
  readonly program_name: string | null;
  readonly reader: Reader | null;
  readonly file: string | null;
  /** Why there is no file, or who may not read it. */
  readonly file_note: string | null;
  /** Why it is in this mode, or what that costs on this device; null where there is nothing to say. */
  readonly mode_note: string | null;
  /** ISO 8601, UTC. */
  readonly since: string | null;
  /** The options that were asked for. */
  readonly options: AttachmentOptions | null;
  /** The number of sources in the table, which holds `options.max_sources`. */
  readonly sources: number | null;
  readonly packets: bigint | null;
  readonly bytes: bigint | null;
  readonly holder: { readonly pid: number; readonly command: string } | null;
  readonly held_by: HeldBy;
  /** The bpf_link, for `bpftool link`; null where `net attach` has attached. */
  readonly link_id: number | null;
}

interface AttachmentOptions {
  readonly mode: string;
  readonly reader: string;
  readonly max_sources: number;
  /** Octal. */
  readonly file_mode: string;
  /** Null if packets are only counted. */
  readonly log: LogSettings | null;
}

export interface LogSettings {
  /** Only packets from this prefix are logged; null: all are. */
  readonly source: string | null;
  /** One of this many packets is logged. */
  readonly sample: number;
  /** The size of the rings of all CPUs together. */
  readonly buffer_bytes: number;
}

/** Something that `clean` has found. */
export interface CleanedRecord {
  readonly type: 'cleaned';
  readonly interface: string;
  readonly netns: string | null;
  readonly directory: string | null;
  readonly why: string | null;
  /** Why it was not removed; null if it was. */
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
  | DestinationRecord
  | NewRecord
  | TotalsRecord
  | PacketRecord
  | SentPacketRecord
  | LostRecord
  | DetachedRecord
  | StatusRecord
  | CleanedRecord
  | ErrorRecord;

export type CheckStatus = 'pass' | 'warn' | 'fail';

/** One check of `doctor`. */
export interface Check {
  /** A stable word. */
  readonly name: string;
  readonly title: string;
  /** `warn` also if the check could not find out. */
  readonly status: CheckStatus;
  /** What the check found, or why it found nothing. */
  readonly detail: string;
  /** The command or the step that fixes it, if there is one. */
  readonly fix?: string | undefined;
}
