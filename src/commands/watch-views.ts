/** What `watch` and `demo` print: readings as data, and the rest as messages. */
import type { CommandContext } from '../cli/context.js';
import { type OutputContext, writeDocument, writeLines, writeRecords } from '../cli/output.js';
import { bothTableLines, nameIn, sourcesTableLines } from '../cli/sources-table.js';
import type { Order } from '../model/ranking.js';
import {
  type AttachedRecord,
  type DestinationRecord,
  type Direction,
  keyOf,
  type SourceList,
  type SourceRecord,
  toDestination,
} from '../model/records.js';
import { BothColumns } from '../table/both.js';
import { printable } from '../text/text.js';
import { pairsOf, type Reading, type WatchEvent } from '../verbs/watch.js';
import { describeAttachment } from './describe-attachment.js';

type WatchFormat = 'table' | 'ndjson' | 'json';

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
}

/** The view `none` prints no data: the caller prints the outcome in its own way. */
export function viewOf(
  format: WatchFormat | 'none',
  context: ViewContext,
  order: TableOrder = { sort: 'packets', top: 0 },
): WatchView {
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
    context.messages.info(`${event.interface}: ${event.text}`);
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
        for (const { sources, totals, direction } of event.readings) {
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
    for (const [{ sources, totals, columns }, other] of tables) {
      const options = { width, color, rates: !final };
      const lines =
        columns === undefined || other?.columns === undefined
          ? sourcesTableLines(sources, totals, {
              ...options,
              hidden: totals.sources - sources.length,
            })
          : bothTableLines(BothColumns.of(columns, other.columns), [totals, other.totals], {
              ...options,
              ...this.#order,
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

  async end(): Promise<void> {}
}
