/** `dump`: the counters now. */
import type { Attachment } from '../attachment.js';
import { type Dump, dump, dumpLines } from '../dump.js';
import { XdpwhoError } from '../errors.js';
import { resolveInterface } from '../interfaces.js';
import { findEntry } from '../inventory.js';
import { parseGrouping, parsePrefix } from '../prefix.js';
import type { TotalsRecord } from '../records.js';
import { renderDocument } from '../render/json.js';
import { type MetricsFormat, renderMetrics } from '../render/prometheus.js';
import { renderSourcesTable } from '../render/sources-table.js';
import { printable } from '../render/text.js';
import { requestedNetns, type SessionContext } from '../session.js';
import { describeForJson } from './attach.js';
import { defineCommand } from './command-line.js';
import type { CommandContext } from './context.js';
import {
  bpffsOption,
  dryRunOption,
  interfaceOption,
  interfacePositional,
  interfacesOf,
  netnsOption,
  outputOption,
  rankingOptions,
  textOption,
} from './options.js';
import { write, writeRecords } from './printing.js';
import { sessionContext } from './session-context.js';

type Format = 'table' | 'ndjson' | 'json' | MetricsFormat;

/** Labels of a metric cost their reader memory for as long as it keeps history. */
const METRICS_TOP = 100;
/** Where standard output is no terminal. */
const DEFAULT_WIDTH = 120;

export const dumpCommand = defineCommand({
  command: 'dump [interface..]',
  describe: 'the counters now',
  builder: (parser) =>
    parser.positional('interface', interfacePositional).options({
      ...interfaceOption,
      ...outputOption<Format>(['table', 'ndjson', 'json', 'prometheus', 'openmetrics']),
      ...rankingOptions,
      source: textOption('only sources in this prefix', (text) => parsePrefix(text)),
      group: textOption('sum by prefix: 24, or 24,64 for IPv4,IPv6', (text) => parseGrouping(text)),
      ...netnsOption,
      ...bpffsOption,
      ...dryRunOption,
    }),
  examples: [
    ['xdpwho dump eth0 --top 10', 'who sent most since it was attached'],
    ['xdpwho dump eth0 --group 24,64 -o ndjson', 'by network, for jq'],
  ],
  handler: async (options, context) => {
    const session = await sessionContext(context);
    const attachments: Attachment[] = [];
    for (const name of interfacesOf(options)) attachments.push(await find(session, name, options));
    if (options.dryRun) {
      const files = attachments.map((each) => `cat ${each.record.file ?? each.pins.sourcesMap}\n`);
      await write(context, files.join(''));
      return 0;
    }
    const { output, source, group, sort } = options;
    const plain = options.top === undefined && source === undefined && group === undefined;
    const dumps: { readonly attachment: Attachment; readonly dump: Dump }[] = [];
    for (const attachment of attachments) {
      if (output === 'ndjson' && plain && sort === undefined && attachment.reader === 'iterator') {
        await handOn(session, attachment, context);
        continue;
      }
      const top = options.top ?? (isMetrics(output) ? METRICS_TOP : 0);
      const result = await dump(session, attachment, {
        top,
        sort: sort ?? 'packets',
        source,
        group,
      });
      if (output === 'ndjson') await writeRecords(context, [...result.sources, result.totals]);
      else dumps.push({ attachment, dump: result });
    }
    await print(output, dumps, context);
    return 0;
  },
});

/** The attachment of an interface, by a name that it has; one that holds no program of ours is `not-attached`. */
async function find(
  session: SessionContext,
  name: string,
  options: { readonly netns: string | undefined; readonly bpffs: string | undefined },
): Promise<Attachment> {
  const device = await resolveInterface(name, requestedNetns(options));
  const entry = await findEntry(session, { ...options, interface: device });
  if (entry?.attachment) return entry.attachment;
  const shown = printable(device);
  if (entry?.ownership === 'foreign') {
    throw new XdpwhoError('not-ours', `${shown}: its program ${entry.programId} is not ours`, {
      hint: `bpftool prog show id ${entry.programId}`,
    });
  }
  if (entry?.ownership === 'broken') {
    throw new XdpwhoError('bad-object', `${entry.pins?.directory ?? shown}: ${entry.why}`, {
      hint: 'xdpwho clean removes it',
    });
  }
  const why = entry?.why == null ? '' : `: ${entry.why}`;
  throw new XdpwhoError('not-attached', `${shown}: not attached${why}`, {
    hint: `xdpwho attach ${shown}`,
  });
}

/** The kernel's lines as they are: no parsing, no sorting, memory of a few chunks. */
async function handOn(
  session: SessionContext,
  attachment: Attachment,
  context: CommandContext,
): Promise<void> {
  const lines = dumpLines(session, attachment);
  let totals: TotalsRecord | undefined;
  for (;;) {
    const { done, value } = await lines.next();
    if (context.signal.aborted) return;
    if (done === true) {
      totals = value;
      break;
    }
    await write(context, value);
  }
  await writeRecords(context, [totals]);
}

async function print(
  format: Format,
  dumps: readonly { readonly attachment: Attachment; readonly dump: Dump }[],
  context: CommandContext,
): Promise<void> {
  if (isMetrics(format)) {
    const metrics = dumps.map(({ attachment, dump: { sources, totals, rest } }) => ({
      interface: attachment.interface,
      netns: attachment.netns.name,
      mode: attachment.mode,
      version: context.version,
      maxSources: attachment.state.maxSources,
      sources,
      totals,
      rest,
    }));
    await write(context, `${renderMetrics(metrics, format).join('\n')}\n`);
  } else if (format === 'json') {
    const interfaces = dumps.map(({ attachment, dump: { sources, totals } }) => ({
      ...describeForJson(attachment),
      sources,
      totals,
    }));
    await write(context, `${renderDocument({ changed: false, interfaces })}\n`);
  } else if (format === 'table') {
    const blocks = dumps.map(({ attachment, dump: { sources, totals, rest } }) => [
      ...(dumps.length > 1 ? [`${printable(attachment.interface)}:`] : []),
      ...renderSourcesTable(sources, totals, {
        width: context.stdout.columns ?? DEFAULT_WIDTH,
        color: context.color,
        hidden: rest.sources,
        rates: false,
      }),
    ]);
    await write(context, `${blocks.map((block) => block.join('\n')).join('\n\n')}\n`);
  }
}

function isMetrics(format: Format): format is MetricsFormat {
  return format === 'prometheus' || format === 'openmetrics';
}
