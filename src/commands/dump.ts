/** `dump`: the counters now. */

import type { Attachment } from '../attachment/attachment.js';
import type { SessionContext } from '../attachment/context.js';
import { Look } from '../attachment/look.js';
import { resolveTargets } from '../attachment/target.js';
import type { CommandContext } from '../cli/context.js';
import { chooseOptions, INTERFACES, interfacesOf, OPTIONS, outputOption } from '../cli/options.js';
import { write, writeCommands, writeDocument, writeLines, writeRecords } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { sourcesTableLines } from '../cli/sources-table.js';
import { METRICS_TOP, metricsOf } from '../metrics/metrics.js';
import { type MetricsFormat, renderMetrics } from '../metrics/prometheus.js';
import { XdpwhoError } from '../model/errors.js';
import type { Grouping, OwnerGroup } from '../model/grouping.js';
import type { Prefix } from '../model/prefix.js';
import type { Order } from '../model/ranking.js';
import type { TotalsRecord } from '../model/records.js';
import { groupingOf, type Owners } from '../owners/owners.js';
import { printable } from '../text/text.js';
import { type Dump, dump, dumpLines, findToRead } from '../verbs/dump.js';
import { describeForJson } from '../verbs/status.js';
import { ownersOf } from './owners-of.js';
import { sessionContext } from './session-context.js';

type Format = 'table' | 'ndjson' | 'json' | MetricsFormat;

/** Columns of a table where standard output is no terminal. */
const DEFAULT_WIDTH = 120;

export const dumpCommand = defineCommand({
  verb: 'dump',
  arguments: INTERFACES,
  describe: 'the counters now',
  about: [
    'The counters now. Counters only grow: nothing that can be done through bpftool reads and zeroes',
    'them without losing the packets of the moment in between. attach --replace begins anew.',
    `In metrics, the first ${METRICS_TOP} sources are labels, unless --top says otherwise; the rest is in xdpwho_omitted_packets.`,
  ],
  options: {
    ...chooseOptions('iface'),
    ...outputOption('table', 'ndjson', 'json', 'prometheus', 'openmetrics'),
    ...chooseOptions('top', 'sort'),
    source: { ...OPTIONS.source, describe: 'only sources in this prefix' },
    ...chooseOptions('group', 'geo', 'networks', 'resolve', 'netns', 'bpffs', 'dry-run'),
  },
  examples: [
    ['xdpwho dump eth0 --top 10', 'who sent most since it was attached'],
    ['xdpwho dump eth0 --group 24,64 -o ndjson', 'by network, for jq'],
  ],
  handler: async (options, context) => {
    const { sort, ...others } = options;
    if (sort === 'rate') {
      throw new XdpwhoError('usage', '--sort rate: a dump is one reading, and has no rates', {
        hint: 'xdpwho watch --sort rate',
      });
    }
    const names = interfacesOf(options);
    const session = await sessionContext(context);
    const attachments: Attachment[] = [];
    const look = new Look(session.bpftool);
    for (const target of await resolveTargets(names, options)) {
      attachments.push(await findToRead(session, target, look));
    }
    if (options.dryRun) {
      const { planReading } = await import('../verbs/dry-run.js');
      const commands = attachments.flatMap((each) => planReading(session, each));
      await writeCommands(context, commands);
      return 0;
    }
    const owners = ownersOf(options, context);
    try {
      await dumpAll(session, attachments, owners, { ...others, sort }, context);
    } finally {
      owners?.close();
    }
    return 0;
  },
});

interface Selection {
  readonly output: Format;
  readonly top: number | undefined;
  readonly sort: Exclude<Order, 'rate'> | undefined;
  readonly source: Prefix | undefined;
  readonly group: Grouping | OwnerGroup | undefined;
}

async function dumpAll(
  session: SessionContext,
  attachments: readonly Attachment[],
  owners: Owners | undefined,
  options: Selection,
  context: CommandContext,
): Promise<void> {
  const { output, source, sort } = options;
  const group = groupingOf(options.group, owners);
  const plain =
    options.top === undefined &&
    source === undefined &&
    group === undefined &&
    owners === undefined;
  const dumps: { readonly attachment: Attachment; readonly dump: Dump }[] = [];
  for (const attachment of attachments) {
    if (output === 'ndjson' && plain && sort === undefined && hasOwnLines(attachment)) {
      await copyLines(session, attachment, context);
      continue;
    }
    const top = options.top ?? (isMetrics(output) ? METRICS_TOP : 0);
    const result = await dump(session, attachment, {
      signal: context.signal,
      top,
      sort: sort ?? 'packets',
      source,
      group,
      owners,
    });
    owners?.lookUp(result.sources);
    await owners?.settle(context.signal);
    if (output === 'ndjson') {
      await writeRecords(context, result.sources);
      await writeRecords(context, [result.totals]);
    } else dumps.push({ attachment, dump: result });
  }
  await print(output, dumps, group, context);
}

/** Whether the kernel prints the lines, and with the present name of the interface: the name at the time of attaching is part of the iterator. */
function hasOwnLines({ reader, state, attachedAs }: Attachment): boolean {
  return reader === 'iterator' && state.interface === attachedAs;
}

/** Copies the kernel's lines without parsing or sorting them. A table of any size needs the memory of a few chunks. */
async function copyLines(
  session: SessionContext,
  attachment: Attachment,
  context: CommandContext,
): Promise<void> {
  const lines = dumpLines(session, attachment, context.signal);
  let totals: TotalsRecord | undefined;
  for (;;) {
    const { done, value } = await lines.next();
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
  group: Grouping | undefined,
  context: CommandContext,
): Promise<void> {
  if (isMetrics(format)) {
    const metrics = dumps.map(({ attachment, dump }) =>
      metricsOf(attachment, dump, context.version, group),
    );
    await write(context, `${renderMetrics(metrics, format).join('\n')}\n`);
  } else if (format === 'json') {
    const interfaces = dumps.map(({ attachment, dump: { sources, totals, rest } }) => ({
      ...describeForJson(attachment),
      sources,
      totals,
      omitted: rest,
    }));
    await writeDocument(context, { changed: false, interfaces });
  } else if (format === 'table') {
    for (const [index, { attachment, dump }] of dumps.entries()) {
      const { sources, totals, rest } = dump;
      await writeLines(context, [
        ...(index > 0 ? [''] : []),
        ...(dumps.length > 1 ? [`${printable(attachment.interface)}:`] : []),
      ]);
      const lines = sourcesTableLines(sources, totals, {
        width: context.stdout.columns || DEFAULT_WIDTH,
        color: context.color,
        hidden: rest.sources,
        rates: false,
      });
      await writeLines(context, lines);
    }
  }
}

function isMetrics(format: Format): format is MetricsFormat {
  return format === 'prometheus' || format === 'openmetrics';
}
