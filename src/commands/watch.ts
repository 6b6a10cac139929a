/** `watch`: attach, show sources live, detach. */
import type { Attachment } from '../attachment/attachment.js';
import { estimatedSourceBytes } from '../attachment/defaults.js';
import type { LogState } from '../attachment/record.js';
import { type CommandContext, isOutputClosed } from '../cli/context.js';
import { chooseOptions, INTERFACES, interfacesOf, outputOption } from '../cli/options.js';
import { write, writeCommands, writeDocument, writeRecords } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { renderSourcesTable } from '../cli/sources-table.js';
import { endingOf } from '../host/abort.js';
import { countPossibleCpus } from '../host/kernel.js';
import { LiveView } from '../live/view.js';
import type { AttachedRecord } from '../model/records.js';
import { SEGMENT_RECORDS } from '../objects/layout.js';
import { ringBytes } from '../objects/ring-size.js';
import { takesEscapes } from '../text/color.js';
import { formatCount } from '../text/figures.js';
import { printable } from '../text/text.js';
import { planWatch } from '../verbs/dry-run.js';
import { type Reading, type WatchEvent, type WatchOptions, watch } from '../verbs/watch.js';
import { sessionContext } from './session-context.js';

type Format = 'table' | 'ndjson' | 'json';

/** Sources in a table, unless asked otherwise. */
const DEFAULT_TOP = 20;
/** Columns of a table where standard output is no terminal. */
const DEFAULT_WIDTH = 80;

export const watchCommand = defineCommand({
  verb: 'watch',
  arguments: INTERFACES,
  describe: 'attach, show sources live until Ctrl-C, detach',
  about: [
    'Attaches, shows sources live until Ctrl-C (or q; ? shows the keys), detaches.',
    'k, M and G are powers of 1000. The table has room for 65,536 sources, or fewer',
    'where the CPUs are so many that it would take more than 64 MiB.',
  ],
  options: {
    ...chooseOptions('iface'),
    ...outputOption('table', 'ndjson', 'json'),
    ...chooseOptions('interval', 'duration', 'count', 'top', 'sort', 'netns'),
    ...chooseOptions('mode', 'reader', 'max-sources', 'bpffs', 'dry-run'),
  },
  examples: [
    ['xdpwho eth0', 'who is sending, once a second'],
    ['xdpwho watch eth0 eth1 -o ndjson --duration 1m', 'two interfaces, for jq'],
  ],
  handler: async (options, context) => {
    const interfaces = interfacesOf(options);
    const session = await sessionContext(context);
    const { mode, reader, maxSources, netns, bpffs } = options;
    const shared = { mode, reader, maxSources, netns, bpffs };
    if (options.dryRun) {
      for (const name of interfaces) {
        const plan = await planWatch(session, {
          ...shared,
          interface: name,
          command: 'watch',
        });
        await writeCommands(context, plan);
      }
      return 0;
    }
    const ending = endingOf(context.signal);
    const sort = options.sort ?? 'packets';
    const live = options.output === 'table' && isLive(context);
    const plainView = viewOf(options.output, context);
    const showPlain = async (event: WatchEvent) => {
      tell(event, context);
      await plainView.show(event);
    };
    const view = live
      ? new LiveView(context, session, {
          interfaces: interfaces.length,
          sort,
          top: options.top ?? 0,
          onQuit: ending.end,
          showAfterwards: showPlain,
        })
      : { show: showPlain, end: async () => {} };
    const watching: WatchOptions = {
      ...shared,
      interfaces,
      command: 'watch',
      signal: ending.signal,
      intervalMs: options.interval,
      durationMs: options.duration,
      count: options.count,
      // The live view chooses and sorts for itself, anew at every key.
      top: live ? 0 : (options.top ?? (options.output === 'table' ? DEFAULT_TOP : 0)),
      sort: live ? 'none' : sort,
    };
    try {
      for await (const event of watch(session, watching)) {
        // Nobody reads any more: leaving the loop detaches.
        if (isOutputClosed(context.signal)) break;
        await view.show(event);
      }
    } finally {
      ending.release();
      await view.end();
      await plainView.end();
    }
    return 0;
  },
});

/** A terminal that takes escape sequences; the commands that -v prints would stand in the middle of it. */
function isLive({ stdout, messages }: CommandContext): boolean {
  return takesEscapes(stdout.isTTY, process.env) && !messages.verbose;
}

/** Shows events in one of the formats. */
export interface WatchView {
  show(event: WatchEvent): Promise<void>;
  /** However it ended. */
  end(): Promise<void>;
}

/** `none`: for those who show the outcome in a way of their own. */
export function viewOf(format: Format | 'none', context: CommandContext): WatchView {
  switch (format) {
    case 'none':
      return { show: async () => {}, end: async () => {} };
    case 'ndjson':
      return new NdjsonView(context);
    case 'json':
      return new DocumentView(context);
    case 'table':
      return new TableView(context);
  }
}

/** Says on standard error what is not data. */
export function tell(event: WatchEvent, context: CommandContext): void {
  if (event.kind === 'attached') {
    for (const line of describeAttachment(event.attachment)) context.messages.info(line);
  } else if (event.kind === 'joined') {
    const { interface: name, programId, state } = event.attachment;
    context.messages.info(
      `${name}: reading what is attached since ${state.since}, program ${programId}`,
    );
  } else if (event.kind === 'note') {
    context.messages.info(`${event.interface}: ${event.text}`);
  } else if (event.kind === 'detached') {
    context.messages.info(`${event.record.interface}: detached`);
  }
}

/** What was made, and every restriction that came with it. */
export function describeAttachment(attachment: Attachment): string[] {
  const { interface: name, mode, programId, reader, state, notes } = attachment;
  const bytes = state.maxSources * estimatedSourceBytes(countPossibleCpus());
  const table = `up to ${state.maxSources} sources (${formatCount(BigInt(bytes))}B)`;
  const log = state.log === null ? '' : `, ${describeLog(state.log)}`;
  return [
    ...notes.map((note) => `${name}: ${note}`),
    `${name}: attached in ${mode} mode, program ${programId}, ${table}${log}, read by ${reader}`,
  ];
}

/** How much is kept, and of what. */
export function describeLog({ source, sample, segments, cpus }: LogState): string {
  const packets = formatCount(BigInt(segments * SEGMENT_RECORDS));
  const bytes = formatCount(BigInt(ringBytes(segments, cpus)));
  return [
    `log of ${packets} packets for each CPU (${bytes}B)`,
    ...(source === null ? [] : [`only from ${source}`]),
    ...(sample === 1 ? [] : [`one in ${sample}`]),
  ].join(', ');
}

class NdjsonView implements WatchView {
  readonly #context: CommandContext;

  constructor(context: CommandContext) {
    this.#context = context;
  }

  async show(event: WatchEvent): Promise<void> {
    switch (event.kind) {
      case 'attached':
      case 'joined':
        await writeRecords(this.#context, [event.attachment.record]);
        break;
      case 'readings':
        for (const { sources, totals } of event.readings) {
          await writeRecords(this.#context, [...sources, totals]);
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

/** One document when it ends: what was attached, and the last reading of each interface. */
class DocumentView implements WatchView {
  readonly #context: CommandContext;
  readonly #attached: AttachedRecord[] = [];
  readonly #readings = new Map<string, Reading>();

  constructor(context: CommandContext) {
    this.#context = context;
  }

  async show(event: WatchEvent): Promise<void> {
    if (event.kind === 'attached' || event.kind === 'joined')
      this.#attached.push(event.attachment.record);
    if (event.kind !== 'readings') return;
    for (const reading of event.readings) this.#readings.set(reading.interface, reading);
  }

  async end(): Promise<void> {
    if (this.#attached.length === 0) return;
    const interfaces = this.#attached.map(({ type: _, ...attached }) => {
      const { sources = [], totals = null } = this.#readings.get(attached.interface) ?? {};
      return { ...attached, sources, totals };
    });
    await writeDocument(this.#context, { interfaces });
  }
}

/** A table of each interface for each reading, one below the other. */
class TableView implements WatchView {
  readonly #context: CommandContext;
  #isFirst = true;

  constructor(context: CommandContext) {
    this.#context = context;
  }

  async show(event: WatchEvent): Promise<void> {
    if (event.kind !== 'readings') return;
    const { readings, final } = event;
    const { stdout, color } = this.#context;
    for (const { interface: name, sources, totals } of readings) {
      const lines = [
        ...(readings.length > 1 || final ? [`${printable(name)}${final ? ', in all' : ''}:`] : []),
        ...renderSourcesTable(sources, totals, {
          width: stdout.columns || DEFAULT_WIDTH,
          color,
          hidden: totals.sources - sources.length,
          rates: !final,
        }),
      ];
      await write(this.#context, `${this.#isFirst ? '' : '\n'}${lines.join('\n')}\n`);
      this.#isFirst = false;
    }
  }

  async end(): Promise<void> {}
}
