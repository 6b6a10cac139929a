/** `dump`: the counters now, of all sources or a selection, and the totals. */
import type { Attachment } from '../attachment/attachment.js';
import type { SessionContext } from '../attachment/context.js';
import { findEntry } from '../attachment/find.js';
import { Look } from '../attachment/look.js';
import { namesOf, type Target } from '../attachment/target.js';
import { XdpwhoError } from '../model/errors.js';
import type { Grouping } from '../model/grouping.js';
import { contains, type Prefix } from '../model/prefix.js';
import { type Order, Ranking } from '../model/ranking.js';
import type { SourceList, SourceRecord, TotalsRecord } from '../model/records.js';
import type { Owners } from '../owners/owners.js';
import { SourceColumns } from '../table/source-columns.js';
import { completeTotals, SourceReader } from '../table/source-reader.js';
import { SourceSet } from '../table/source-set.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';

interface DumpOptions {
  /** The number of records, the first by `sort`. 0: all. */
  readonly top: number;
  readonly sort: Order;
  /** Only sources in this prefix. The totals are still those of all packets. */
  readonly source?: Prefix | undefined;
  /** Sums, instead of single sources. */
  readonly group?: Grouping | undefined;
  /** Tells who the sources belong to. */
  readonly owners?: Owners | undefined;
  /** Makes the reading reject. */
  readonly signal?: AbortSignal | undefined;
}

export interface Dump {
  /** In order. With `group`, `source` is what the group is called: "192.0.2.0/24". */
  readonly sources: SourceList;
  readonly totals: TotalsRecord;
  /** The sum of the selected sources that `top` left out. */
  readonly rest: { readonly sources: number; readonly packets: bigint; readonly bytes: bigint };
}

/** The attachment of an interface. Rejects with a code that says why there is none to read, `not-attached` for example. */
export async function findToRead(
  session: SessionContext,
  target: Target,
  look = new Look(session.bpftool),
): Promise<Attachment> {
  const entry = await findEntry(session, target, look);
  if (entry?.attachment) return entry.attachment;
  const shown = printable(target.device);
  const names = namesOf(target);
  const stranger =
    entry?.ownership === 'stale' || entry?.ownership === 'foreign'
      ? (await look.attachedIn(target.netns)).find(({ device }) => device === target.device)
      : undefined;
  if (stranger !== undefined && stranger.programId !== entry?.pinnedId) {
    throw new XdpwhoError('not-ours', `${shown}: its program ${stranger.programId} is not ours`, {
      hint: `bpftool prog show id ${stranger.programId}`,
    });
  }
  if (entry?.ownership === 'broken') {
    throw new XdpwhoError('bad-object', `${entry.pins?.directory ?? shown}: ${entry.why}`, {
      hint: `xdpwho clean removes it, or, while it is attached, ${ownCommand('detach', names)}`,
    });
  }
  if (entry?.ownership === 'other-version') {
    throw new XdpwhoError('other-version', `${shown}: ${entry.why}`, {
      hint: `${ownCommand('attach --replace', names)}, or ${ownCommand('detach', names)}`,
    });
  }
  const why = entry?.why == null ? '' : `: ${entry.why}`;
  throw new XdpwhoError('not-attached', `${shown}: not attached${why}`, {
    hint: ownCommand('attach', names),
  });
}

/** Reads the table once. The memory grows with the number of sources in the result, 56 bytes each, and not with the table. */
export async function dump(
  context: SessionContext,
  attachment: Attachment,
  options: DumpOptions,
): Promise<Dump> {
  const reader = new SourceReader(context, attachment);
  const { top, sort, group, owners } = options;
  const ranking = top === 0 ? undefined : new Ranking(sort, top);
  const columns =
    ranking === undefined || group !== undefined
      ? new SourceColumns(attachment.interface, group)
      : undefined;
  const table = { sources: 0, packets: 0n };
  const selected = { sources: 0, packets: 0n, bytes: 0n };
  const select = (record: SourceRecord) => {
    selected.sources++;
    selected.packets += record.packets;
    selected.bytes += record.bytes;
    ranking?.add(record);
  };
  const before = await reader.totals();
  for await (const batch of reader.sources(options.signal)) {
    for (const record of batch) {
      table.sources++;
      table.packets += record.packets;
      if (options.source !== undefined && !contains(options.source, record.source)) continue;
      if (group !== undefined) columns?.addToGroup(record);
      else if (columns !== undefined) columns.add(record);
      else select(record);
    }
  }
  const totals = completeTotals(
    attachment.interface,
    before,
    await reader.totals(),
    table,
    attachment.direction,
  );
  const named = (sources: SourceList) =>
    (group === undefined ? owners?.describe(sources) : undefined) ?? sources;
  if (ranking === undefined) {
    const sources = columns?.list(sort) ?? [];
    return { sources: named(sources), totals, rest: selected };
  }
  for (const record of columns?.list('none') ?? []) select(record);
  const sources = ranking.result();
  for (const record of sources) {
    selected.sources--;
    selected.packets -= record.packets;
    selected.bytes -= record.bytes;
  }
  return { sources: named(sources), totals, rest: selected };
}

/**
 * Yields the whole table as the lines that the kernel prints, in the order of the table, each source once.
 * This is the fast way if nothing is selected or sorted. Returns the totals.
 */
export async function* dumpLines(
  context: SessionContext,
  attachment: Attachment,
  signal?: AbortSignal,
): AsyncGenerator<string, TotalsRecord, void> {
  const reader = new SourceReader(context, attachment);
  const seen = new SourceSet();
  const table = { sources: 0, packets: 0n };
  const before = await reader.totals();
  for await (const lines of reader.lines(signal)) {
    const part = examineLines(lines, seen);
    table.sources += part.sources;
    table.packets += part.packets;
    yield part.text;
  }
  return completeTotals(
    attachment.interface,
    before,
    await reader.totals(),
    table,
    attachment.direction,
  );
}

/** One of them occurs once in a line, because the quotes in the name of the interface, which comes before it, are escaped. */
const ADDRESS_LABEL = /","(?:source|destination)":"/;
const PACKETS_LABEL = '","packets":';
/** A double holds the sum of a chunk exactly if no count has more digits than this. */
const SAFE_DIGITS = 12;

/** Removes the lines of sources that `seen` has already. Returns the other lines, their number and the sum of their packets. */
export function examineLines(
  lines: string,
  seen: SourceSet,
): { text: string; sources: number; packets: bigint } {
  // All lines begin with the same text.
  const label = ADDRESS_LABEL.exec(lines);
  const prefix = label === null ? 0 : label.index + label[0].length;
  let text = '';
  let from = 0;
  let sources = 0;
  let small = 0;
  let large = 0n;
  for (let start = 0; start < lines.length; ) {
    const end = lines.indexOf('\n', start) + 1 || lines.length;
    const sourceEnd = lines.indexOf('"', start + prefix);
    const digits = sourceEnd + PACKETS_LABEL.length;
    if (label === null || !lines.startsWith(PACKETS_LABEL, sourceEnd) || digits >= end) {
      throw unexpectedLine(lines.slice(start, end));
    }
    if (seen.add(lines, start + prefix, sourceEnd) < 0) {
      text += lines.slice(from, start);
      from = end;
    } else {
      sources++;
      const digitsEnd = lines.indexOf(',', digits);
      const count = lines.slice(digits, digitsEnd);
      if (count.length <= SAFE_DIGITS) small += Number(count);
      else large += BigInt(count);
    }
    start = end;
  }
  return { text: text + lines.slice(from), sources, packets: large + BigInt(small) };
}

function unexpectedLine(line: string): XdpwhoError {
  return new XdpwhoError(
    'bad-output',
    `a line of the sources file is not as expected: ${line.slice(0, 120)}`,
    {
      hint: 'was it attached by another version? xdpwho status',
    },
  );
}
