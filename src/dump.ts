/** The counters now: a selection of the table, and the totals. */
import type { Attachment } from './attachment.js';
import { contains, type Grouping, groupOf, type Prefix } from './prefix.js';
import { type Order, Ranking } from './ranking.js';
import type { SourceRecord, TotalsRecord } from './records.js';
import type { SessionContext } from './session.js';
import { completeTotals, SourceReader } from './sources.js';

export interface DumpOptions {
  /** Records at most, the first ones by `sort`; 0 for all. */
  readonly top: number;
  readonly sort: Order;
  /** Only these sources; the totals stay those of all packets. */
  readonly source?: Prefix | undefined;
  /** Sums by prefix instead of single sources. */
  readonly group?: Grouping | undefined;
}

export interface Dump {
  /** In order. With `group`, `source` is a prefix: "192.0.2.0/24". */
  readonly sources: readonly SourceRecord[];
  readonly totals: TotalsRecord;
  /** What was selected but cut by `top`. */
  readonly rest: { readonly sources: number; readonly packets: bigint; readonly bytes: bigint };
}

/** Reads the table once. In memory that grows with what is kept, and not with the table. */
export async function dump(
  context: SessionContext,
  attachment: Attachment,
  options: DumpOptions,
): Promise<Dump> {
  const reader = new SourceReader(context, attachment);
  const ranking = new Ranking(options.sort, options.top);
  const groups = new Map<string, SourceRecord>();
  const table = { sources: 0, packets: 0n };
  const selected = { sources: 0, packets: 0n, bytes: 0n };
  const select = (record: SourceRecord) => {
    selected.sources++;
    selected.packets += record.packets;
    selected.bytes += record.bytes;
    ranking.add(record);
  };
  const before = await reader.totals();
  for await (const batch of reader.sources()) {
    for (const record of batch) {
      table.sources++;
      table.packets += record.packets;
      if (options.source !== undefined && !contains(options.source, record.source)) continue;
      if (options.group === undefined) select(record);
      else addToGroup(groups, record, options.group);
    }
  }
  for (const record of groups.values()) select(record);
  const totals = completeTotals(attachment.interface, before, await reader.totals(), table);
  const sources = ranking.result();
  for (const record of sources) {
    selected.sources--;
    selected.packets -= record.packets;
    selected.bytes -= record.bytes;
  }
  return { sources, totals, rest: selected };
}

/**
 * The whole table as the kernel's own lines, in the table's order, untouched but for the interface's
 * name: the fast way where nothing is to be chosen or sorted. Returns the totals.
 */
export async function* dumpLines(
  context: SessionContext,
  attachment: Attachment,
): AsyncGenerator<string, TotalsRecord, void> {
  const reader = new SourceReader(context, attachment);
  const table = { sources: 0, packets: 0n };
  const before = await reader.totals();
  for await (const lines of reader.lines()) {
    yield lines;
    const sum = sumPackets(lines);
    table.sources += sum.sources;
    table.packets += sum.packets;
  }
  return completeTotals(attachment.interface, before, await reader.totals(), table);
}

const PACKETS = /,"packets":(\d+),"bytes":/g;
/** 2^53 holds the sum of a chunk as long as no single count has more digits than this. */
const SAFE_DIGITS = 12;

/** Sources and their packets in whole lines. */
export function sumPackets(lines: string): { sources: number; packets: bigint } {
  let sources = 0;
  let small = 0;
  let large = 0n;
  for (const [, digits = ''] of lines.matchAll(PACKETS)) {
    sources++;
    if (digits.length <= SAFE_DIGITS) small += Number(digits);
    else large += BigInt(digits);
  }
  return { sources, packets: large + BigInt(small) };
}

function addToGroup(
  groups: Map<string, SourceRecord>,
  record: SourceRecord,
  grouping: Grouping,
): void {
  const source = groupOf(record.source, grouping);
  const there = groups.get(source);
  groups.set(source, {
    ...record,
    source,
    packets: record.packets + (there?.packets ?? 0n),
    bytes: record.bytes + (there?.bytes ?? 0n),
    idle_ms: Math.min(record.idle_ms, there?.idle_ms ?? record.idle_ms),
  });
}
