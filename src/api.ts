/**
 * The verbs for programs: the functions that the commands use, with bpftool and the BPF objects
 * found for them.
 *
 * All of them need what the command needs: root or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, bpftool
 * 5.10 and a kernel 5.10. What goes wrong for a reason that lies outside of the program is an
 * XdpwhoError with a stable `code`; nothing prints, exits or handles signals.
 */

import type { Attachment } from './attachment/attachment.js';
import type { AttachOptions, SessionContext } from './attachment/context.js';
import { open } from './attachment/open.js';
import { type Request, resolveTarget } from './attachment/target.js';
import { findBpftool } from './host/find-bpftool.js';
import { parseGrouping } from './model/grouping.js';
import { parsePrefix } from './model/prefix.js';
import type { Order } from './model/ranking.js';
import {
  type DestinationRecord,
  type SourceRecord,
  type StatusRecord,
  toDestination,
} from './model/records.js';
import { ownObjectsDirectory } from './objects/files.js';
import { groupingOf, type OwnerSources, Owners } from './owners/owners.js';
import {
  attachToStay as attachAllToStay,
  type StayOptions,
  type StayOutcome,
} from './verbs/attach.js';
import { detach as detachFrom } from './verbs/detach.js';
import { dump as dumpTable, findToRead, type Dump as ListedDump } from './verbs/dump.js';
import { type LogEvent, type LogRunOptions, log as logPackets } from './verbs/log.js';
import { type StatusOptions, status as statusOf } from './verbs/status.js';
import {
  type WatchEvent as ListedEvent,
  type Reading as ListedReading,
  type WatchOptions as ListedWatchOptions,
  watch as watchInterfaces,
} from './verbs/watch.js';

export interface SessionOptions {
  /** Path of bpftool; default: the one in the system's directories. */
  readonly bpftool?: string | undefined;
  /** The folder with `el/` and `eb/`; default: the objects that come with the package. */
  readonly objectsDirectory?: string | undefined;
}

/** What the verbs work with. Rejects with `tool-missing` where there is no bpftool that works. */
export async function openSession(options: SessionOptions = {}): Promise<SessionContext> {
  return {
    bpftool: await findBpftool({ path: options.bpftool }),
    objectsDirectory: options.objectsDirectory ?? ownObjectsDirectory(),
  };
}

/** Each verb takes one; default: a session of its own, opened at its first use and kept. */
export interface WithSession {
  readonly session?: SessionContext | undefined;
}

let shared: Promise<SessionContext> | undefined;

async function sessionOf({ session }: WithSession): Promise<SessionContext> {
  if (session !== undefined) return session;
  shared ??= openSession();
  try {
    return await shared;
  } catch (error) {
    // It may be installed by the next time.
    shared = undefined;
    throw error;
  }
}

/**
 * Attaches to one interface. The caller ends it: `await using`, or `attachment.close()`;
 * `attachment.keep()` lets it stay instead. Should this process die before that, in whatever way, the
 * kernel detaches, or, where no link can be had (`attachment.record.held_by`), a guard does. While a
 * link holds the interface, the kernel refuses every other XDP program there.
 *
 * Rejects with `interface-busy` where somebody else's program is, with `held` where xdpwho is.
 */
export async function attach(options: AttachOptions & WithSession): Promise<Attachment> {
  return open(await sessionOf(options), await resolveTarget(options), options);
}

/**
 * Attaches to each interface and leaves it attached, also when this process ends, as the command
 * `attach` does: what is attached already with the same options stays as it is, and is not
 * `changed`. Nobody has to close the attachments; `detach` ends them.
 *
 * Unless `keepGoing`, a failure takes back what this call attached or replaced, and rejects; with
 * it, the outcomes tell. Rejects with `options-differ` where xdpwho is attached with other options
 * and `replace` is not set.
 */
export async function attachToStay(
  requests: readonly StayOptions[],
  options: { readonly keepGoing?: boolean | undefined } & WithSession = {},
): Promise<StayOutcome[]> {
  return attachAllToStay(await sessionOf(options), requests, options.keepGoing ?? false);
}

/** One reading of one interface in one direction. */
export interface Reading extends Omit<ListedReading, 'sources' | 'columns' | 'fresh'> {
  /** In the order of `sort`, at most `top`. Empty in a reading of what is sent. */
  readonly sources: readonly SourceRecord[];
  /** The same of what is sent. Empty in a reading of what is received. */
  readonly destinations: readonly DestinationRecord[];
  /** With `tellsNew`: the sources that this call has not seen before; of what is sent, `source` is the destination. */
  readonly fresh?: readonly SourceRecord[];
}

/** What `watch` yields. */
export type WatchEvent =
  | Exclude<ListedEvent, { readonly kind: 'readings' }>
  | { readonly kind: 'readings'; readonly readings: readonly Reading[]; readonly final: boolean };

export type WatchOptions = Omit<ListedWatchOptions, 'columns' | 'group' | 'owners'> &
  WithOwners & {
    /** Sums by prefix: "24", or "24,64" for IPv4 and IPv6; or by "owner", "country", "network". */
    readonly group?: string | undefined;
  };

/** Options of `watch` that have a default here. */
type WatchDefaults = 'intervalMs' | 'top' | 'sort';

/**
 * Attaches to interfaces, or joins what `attach` left there, and yields events: `readings` with the
 * sources and the totals of each interface, every `intervalMs` (1000). `top` (0: all) and `sort`
 * (packets) choose the sources. `signal`, `durationMs` and `count` end it, and so does leaving the
 * loop; what this call attached is detached by then. The last readings are `final`: exact, since
 * nothing is counted any more.
 */
export async function* watch(
  options: Omit<WatchOptions, WatchDefaults> &
    Partial<Pick<WatchOptions, WatchDefaults>> &
    WithSession,
): AsyncGenerator<WatchEvent, void, void> {
  const session = await sessionOf(options);
  const owners = openOwners(options);
  const asked = options.group === undefined ? undefined : parseGrouping(options.group);
  const group = groupingOf(asked, owners);
  const defaults = { intervalMs: 1000, top: 0, sort: 'packets' } as const;
  try {
    const events = watchInterfaces(session, { ...defaults, ...options, group, owners });
    for await (const event of events) {
      if (event.kind !== 'readings') yield event;
      else {
        const { readings, final } = event;
        yield { kind: 'readings', readings: readings.map(toListed), final };
      }
    }
  } finally {
    owners?.close();
  }
}

function toListed({ sources, fresh, ...reading }: ListedReading): Reading {
  const listed = fresh === undefined ? reading : { ...reading, fresh: [...fresh] };
  return reading.direction === 'sent'
    ? { ...listed, sources: [], destinations: [...sources].map(toDestination) }
    : { ...listed, sources: [...sources], destinations: [] };
}

/**
 * Attaches to interfaces, or joins what `attach --log` left there, and yields events: `packets` have
 * one record for each packet, in the order of time, valid until the next event is asked for; `lost`
 * tells how many there was no room for. It ends as `watch` does, and detaches likewise.
 */
export async function* log(
  options: Omit<LogRunOptions, 'log'> & Partial<Pick<LogRunOptions, 'log'>> & WithSession,
): AsyncGenerator<LogEvent, void, void> {
  const session = await sessionOf(options);
  yield* logPackets(session, { log: {}, ...options });
}

export interface DumpSelection {
  /** Default 0: all. */
  readonly top?: number | undefined;
  /** Default `packets`. */
  readonly sort?: Exclude<Order, 'rate'> | undefined;
  /** Only sources in this prefix: "198.51.100.0/24". */
  readonly source?: string | undefined;
  /** Sums by prefix: "24", or "24,64" for IPv4 and IPv6; or by "owner", "country", "network". */
  readonly group?: string | undefined;
}

/** Who addresses belong to: then records have `asn`, `as_name`, `country`, `network` and `name`, where they are known. */
export interface WithOwners {
  /** Default: nothing is looked up. `{}`: in the databases of the system. */
  readonly owners?: OwnerSources | undefined;
}

/** The counters at one moment. */
export interface Dump extends Omit<ListedDump, 'sources'> {
  /** In order. With `group`, `source` is what the group is called: "192.0.2.0/24". */
  readonly sources: readonly SourceRecord[];
}

/**
 * The counters of an attached interface now. Rejects with `not-attached` where nothing of ours is
 * attached, with `usage` for a prefix that is none, and with `bad-database` for a file that is none.
 */
export async function dump(
  options: Request & DumpSelection & WithOwners & WithSession,
): Promise<Dump> {
  const { top = 0, sort = 'packets', source, group } = options;
  const session = await sessionOf(options);
  const owners = openOwners(options);
  try {
    const selection = {
      top,
      sort,
      source: source === undefined ? undefined : parsePrefix(source),
      group: group === undefined ? undefined : groupingOf(parseGrouping(group), owners),
      owners,
    };
    const attachment = await findToRead(session, await resolveTarget(options));
    const result = await dumpTable(session, attachment, selection);
    owners?.lookUp(result.sources);
    await owners?.settle();
    return { ...result, sources: [...result.sources] };
  } finally {
    owners?.close();
  }
}

function openOwners({ owners }: WithOwners): Owners | undefined {
  return owners === undefined ? undefined : Owners.open(owners);
}

/** What is attached, in which mode, whose it is: see StatusRecord. */
export async function status(options: StatusOptions & WithSession = {}): Promise<StatusRecord[]> {
  return statusOf(await sessionOf(options), options);
}

/**
 * Detaches what `attach` and `keep` left on an interface, and removes its counters. False when there
 * is nothing of ours. Rejects with `not-ours` for somebody else's program, which stays.
 */
export async function detach(options: Request & WithSession): Promise<boolean> {
  return detachFrom(await sessionOf(options), options);
}
