/** What `watch` and `demo` print: readings as data, and the rest as messages. */
import type { CommandContext } from '../cli/context.js';
import { type OutputContext, writeDocument, writeLines, writeRecords } from '../cli/output.js';
import { bothTableLines, nameIn, sourcesTableLines } from '../cli/sources-table.js';
import type { Grouping } from '../model/grouping.js';
import type { Order } from '../model/ranking.js';
import {
  type AttachedRecord,
  type DestinationRecord,
  type Direction,
  keyOf,
  type NewRecord,
  type Owner,
  type SourceList,
  type SourceRecord,
  type TotalsRecord,
  toDestination,
  toNew,
} from '../model/records.js';
import { ownerWords } from '../owners/words.js';
import { BothColumns } from '../table/both.js';
import type { SourceColumns } from '../table/source-columns.js';
import { SourceSet } from '../table/source-set.js';
import { printable } from '../text/text.js';
import { noteLine } from '../verbs/tracked.js';
import { pairsOf, type Reading, type WatchEvent } from '../verbs/watch.js';
import { describeAttachment } from './describe-attachment.js';

type WatchFormat = 'table' | 'ndjson' | 'json';

/** What `--new` asks for. */
export type NewChoice = 'all' | 'only' | undefined;

type ViewContext = OutputContext & Pick<CommandContext, 'color'>;

/** Columns of a table where standard output is no terminal. */
const DEFAULT_WIDTH = 80;

/** Shows the events of `watch` as data, in one format. */
interface WatchView {
  show(event: WatchEvent): Promise<void>;
  /** Called once at the end, also after an error. */
  end(): Promise<void>;
}

/** Which addresses a table of both directions shows. */
interface TableOrder {
  readonly sort: Order;
  /** 0: all. */
  readonly top: number;
  readonly group?: Grouping | undefined;
  /** What is known of an address. */
  readonly describe?: ((record: SourceRecord) => Owner) | undefined;
  readonly tellsNew?: NewChoice;
}

/** The view `none` prints no data: the caller prints the outcome in its own way. */
export function viewOf(
  format: WatchFormat | 'none',
  context: ViewContext,
  order: TableOrder = { sort: 'packets', top: 0 },
): WatchView {
  if (order.tellsNew === 'only')
    return new NewView(context, format === 'ndjson' ? format : 'table');
  switch (format) {
    case 'none':
      return { show: async () => {}, end: async () => {} };
    case 'ndjson':
      return new NdjsonView(context);
    case 'json':
      return new DocumentView(context);
    case 'table':
      return new TableView(context, order);
  }
}

/** Prints what is no data. */
export function printMessages(event: WatchEvent, context: CommandContext): void {
  if (event.kind === 'attached') {
    for (const line of describeAttachment(event.attachment, context.messages.verbose))
      context.messages.info(line);
  } else if (event.kind === 'joined') {
    const { programId, state } = event.attachment;
    context.messages.info(
      `${nameIn(event.attachment)}: reading what is attached since ${state.since}, program ${programId}`,
    );
  } else if (event.kind === 'note') {
    context.messages.info(noteLine(event));
  } else if (event.kind === 'detached') {
    context.messages.info(`${nameIn(event.record)}: detached`);
  }
}

/** Source records, or of what is sent, destination records. They are made while they are read. */
function inDirection(
  sources: SourceList | readonly SourceRecord[],
  direction: Direction,
): Iterable<SourceRecord | DestinationRecord> {
  return direction === 'sent' ? { [Symbol.iterator]: () => destinations(sources) } : sources;
}

function* destinations(sources: Iterable<SourceRecord>): Generator<DestinationRecord> {
  for (const source of sources) yield toDestination(source);
}

/** None where they were not asked for. */
function* newRecords(
  fresh: SourceList | undefined,
  direction: Direction,
  { time = '' }: TotalsRecord,
): Generator<NewRecord> {
  for (const source of fresh ?? []) yield toNew(source, direction, time);
}

class NdjsonView implements WatchView {
  readonly #context: ViewContext;

  constructor(context: ViewContext) {
    this.#context = context;
  }

  async show(event: WatchEvent): Promise<void> {
    switch (event.kind) {
      case 'attached':
      case 'joined':
        await writeRecords(this.#context, [event.attachment.record]);
        break;
      case 'readings':
        for (const { sources, totals, direction, fresh } of event.readings) {
          await writeRecords(this.#context, newRecords(fresh, direction, totals));
          await writeRecords(this.#context, inDirection(sources, direction));
          await writeRecords(this.#context, [totals]);
        }
        break;
      case 'detached':
        await writeRecords(this.#context, [event.record]);
        break;
      case 'note':
        break;
    }
  }

  async end(): Promise<void> {}
}

/** Prints one document at the end: what was attached, and the last reading of each interface. */
class DocumentView implements WatchView {
  readonly #context: ViewContext;
  readonly #attached: AttachedRecord[] = [];
  readonly #readings = new Map<string, Reading>();

  constructor(context: ViewContext) {
    this.#context = context;
  }

  async show(event: WatchEvent): Promise<void> {
    if (event.kind === 'attached' || event.kind === 'joined')
      this.#attached.push(event.attachment.record);
    if (event.kind !== 'readings') return;
    for (const reading of event.readings) this.#readings.set(keyOf(reading), reading);
  }

  async end(): Promise<void> {
    if (this.#attached.length === 0) return;
    const interfaces = this.#attached.map(({ type: _, ...attached }) => {
      const { direction = 'received' } = attached;
      const { sources = [], totals = null } = this.#readings.get(keyOf(attached)) ?? {};
      const records = inDirection(sources, direction);
      return direction === 'sent'
        ? { ...attached, destinations: records, totals }
        : { ...attached, sources: records, totals };
    });
    await writeDocument(this.#context, { interfaces });
  }
}

/** Prints a table of each interface for each reading, one below the other. */
class TableView implements WatchView {
  readonly #context: ViewContext;
  readonly #order: TableOrder;
  #isFirst = true;

  constructor(context: ViewContext, order: TableOrder) {
    this.#context = context;
    this.#order = order;
  }

  async show(event: WatchEvent): Promise<void> {
    if (event.kind !== 'readings') return;
    const { readings, final } = event;
    const { stdout, color } = this.#context;
    const width = stdout.columns || DEFAULT_WIDTH;
    const tables = pairsOf(readings);
    for (const [{ sources, hidden, totals, columns, fresh }, other] of tables) {
      const options = { width, color, rates: !final };
      const lines =
        columns === undefined || other?.columns === undefined
          ? sourcesTableLines(sources, totals, {
              ...options,
              hidden,
              isNew: membershipIn([fresh]),
            })
          : bothTableLines(this.#sumsOf(columns, other.columns), [totals, other.totals], {
              ...options,
              ...this.#order,
              isNew: membershipIn([fresh, other.fresh]),
            });
      const name = other === undefined ? nameIn(totals) : printable(totals.interface);
      await writeLines(this.#context, [
        ...(this.#isFirst ? [] : ['']),
        ...(tables.length > 1 || final ? [`${name}${final ? ', in all' : ''}:`] : []),
      ]);
      await writeLines(this.#context, lines);
      this.#isFirst = false;
    }
  }

  #sumsOf(received: SourceColumns, sent: SourceColumns): BothColumns {
    const { group } = this.#order;
    const both = BothColumns.of(received, sent);
    return group === undefined ? both : both.grouped(group, () => () => true);
  }

  async end(): Promise<void> {}
}

/** Whether a source is in one of the lists; undefined where there are no lists. */
function membershipIn(lists: readonly (SourceList | undefined)[]) {
  if (lists.every((list) => list === undefined)) return undefined;
  const set = new SourceSet();
  for (const list of lists) for (const { source } of list ?? []) set.add(source);
  return (source: string) => set.find(source) !== undefined;
}

/** Prints the sources that are new, and nothing else: records, or a line for each. */
class NewView implements WatchView {
  readonly #context: ViewContext;
  readonly #format: 'table' | 'ndjson';

  constructor(context: ViewContext, format: 'table' | 'ndjson') {
    this.#context = context;
    this.#format = format;
  }

  async show(event: WatchEvent): Promise<void> {
    if (event.kind !== 'readings') return;
    for (const { fresh, direction, totals } of event.readings) {
      const records = newRecords(fresh, direction, totals);
      if (this.#format === 'ndjson') await writeRecords(this.#context, records);
      else await writeLines(this.#context, newLines(records));
    }
  }

  async end(): Promise<void> {}
}

/** `2026-11-27T14:00:00.000Z eth0 198.51.100.7 AS64500 Example DE`, as `log` prints packets. */
function* newLines(records: Iterable<NewRecord>): Generator<string> {
  for (const { time, interface: device, source, destination, ...owner } of records) {
    const address = source ?? `> ${destination}`;
    yield [time, printable(device), address, ownerWords(owner)].join(' ').trimEnd();
  }
}
