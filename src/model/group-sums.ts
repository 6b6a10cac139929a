/** Sums of sources by prefix. Pure. */
import { type Grouping, groupOf } from './prefix.js';
import type { SourceRecord } from './records.js';

/** Identifies a source, or a group, of an interface: neither has a space in it. */
export function sourceId({
  interface: device,
  source,
}: Pick<SourceRecord, 'interface' | 'source'>): string {
  return `${source} ${device}`;
}

/** The source with that identity. */
export function sourceOfId(id: string): Pick<SourceRecord, 'interface' | 'source'> {
  const [source = '', device = ''] = id.split(' ');
  return { interface: device, source };
}

/** A copy of the record with its group in place of the source: "192.0.2.0/24". */
function inGroup(record: SourceRecord, grouping: Grouping): SourceRecord {
  return { ...record, source: groupOf(record.source, grouping) };
}

/**
 * Adds up the sources of each prefix and interface. A group's `idle_ms` is the shortest of its
 * members; it has a rate if one of them has.
 */
export class GroupSums {
  readonly #grouping: Grouping;
  readonly #groups = new Map<string, SourceRecord>();

  constructor(grouping: Grouping) {
    this.#grouping = grouping;
  }

  get size(): number {
    return this.#groups.size;
  }

  add(record: SourceRecord): void {
    const member = inGroup(record, this.#grouping);
    const id = sourceId(member);
    const group = this.#groups.get(id);
    this.#groups.set(id, group === undefined ? member : sum(group, member));
  }

  /** The sums; `source` is the prefix. */
  records(): Iterable<SourceRecord> {
    return this.#groups.values();
  }
}

function sum(group: SourceRecord, member: SourceRecord): SourceRecord {
  const packetRate = sumOf(group.packets_per_second, member.packets_per_second);
  const byteRate = sumOf(group.bytes_per_second, member.bytes_per_second);
  return {
    ...member,
    packets: group.packets + member.packets,
    bytes: group.bytes + member.bytes,
    idle_ms: Math.min(group.idle_ms, member.idle_ms),
    ...(packetRate === undefined ? {} : { packets_per_second: packetRate }),
    ...(byteRate === undefined ? {} : { bytes_per_second: byteRate }),
  };
}

function sumOf(one: number | undefined, two: number | undefined): number | undefined {
  return one === undefined || two === undefined ? (one ?? two) : one + two;
}
