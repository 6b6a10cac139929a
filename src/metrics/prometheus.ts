/**
 * Prints metrics of a dump in two text formats. Pure. The textfile collector of node_exporter reads
 * the format of Prometheus (0.0.4). In OpenMetrics 1.0 the TYPE line of a counter has no `_total`,
 * there are units, and the text ends with a mark. We print no time stamps, because the textfile
 * collector refuses them.
 */

import type { OwnerGroup } from '../model/grouping.js';
import type { SourceList, SourceRecord, TotalsRecord } from '../model/records.js';
import { printable } from '../text/text.js';

export interface Metrics {
  readonly interface: string;
  /** Null: the namespace that the command runs in. */
  readonly netns: string | null;
  readonly mode: string;
  readonly version: string;
  readonly maxSources: number;
  readonly sources: SourceList;
  /** Whose sums the sources are; undefined: each is an address, or a prefix. */
  readonly group?: OwnerGroup | undefined;
  readonly totals: TotalsRecord;
  /** The sums of the selected sources that `top` left out. */
  readonly rest: { readonly sources: number; readonly packets: bigint; readonly bytes: bigint };
}

export type MetricsFormat = 'prometheus' | 'openmetrics';

interface Family {
  /** Without the suffix `_total` or `_info`. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'info';
  readonly unit?: 'bytes' | 'packets';
  readonly help: string;
  readonly samples: (metrics: Metrics) => readonly Sample[];
}

type Labels = Readonly<Record<string, string>>;
type Sample = readonly [labels: Labels, value: bigint | number];

const FAMILIES: readonly Family[] = [
  {
    name: 'xdpwho_source_packets',
    type: 'counter',
    unit: 'packets',
    help: 'Packets by source: an address, or the group that it belongs to.',
    samples: ({ sources, group }) =>
      [...sources].map((source): Sample => [labelsOf(source, group), source.packets]),
  },
  {
    name: 'xdpwho_source_bytes',
    type: 'counter',
    unit: 'bytes',
    help: 'Bytes by source, from the Ethernet header on.',
    samples: ({ sources, group }) =>
      [...sources].map((source): Sample => [labelsOf(source, group), source.bytes]),
  },
  {
    name: 'xdpwho_packets',
    type: 'counter',
    unit: 'packets',
    help: 'Packets that the program has seen, by what they were.',
    samples: ({ totals }) => [
      [{ kind: 'ipv4' }, totals.ipv4],
      [{ kind: 'ipv6' }, totals.ipv6],
      [{ kind: 'other' }, totals.other],
      [{ kind: 'malformed' }, totals.malformed],
    ],
  },
  {
    name: 'xdpwho_bytes',
    type: 'counter',
    unit: 'bytes',
    help: 'Bytes that the program has seen.',
    samples: ({ totals }) => [[{}, totals.bytes]],
  },
  {
    name: 'xdpwho_untracked_packets',
    type: 'gauge',
    help: 'Packets of sources that are not in the table any more.',
    samples: ({ totals }) => [[{}, totals.untracked]],
  },
  {
    name: 'xdpwho_sources',
    type: 'gauge',
    help: 'Sources in the table.',
    samples: ({ totals }) => [[{}, totals.sources]],
  },
  {
    name: 'xdpwho_sources_limit',
    type: 'gauge',
    help: 'Sources that the table has room for.',
    samples: ({ maxSources }) => [[{}, maxSources]],
  },
  {
    name: 'xdpwho_sources_omitted',
    type: 'gauge',
    help: 'Sources beyond the first ones, which have no series here, so that labels stay few.',
    samples: ({ rest, group }) => [[labelsOfRest(group), rest.sources]],
  },
  // Gauges: they shrink when a source gets a series of its own, or goes from a full table.
  {
    name: 'xdpwho_omitted_packets',
    type: 'gauge',
    help: 'Packets of the sources that have no series here.',
    samples: ({ rest, group }) => [[labelsOfRest(group), rest.packets]],
  },
  {
    name: 'xdpwho_omitted_bytes',
    type: 'gauge',
    help: 'Bytes of the sources that have no series here.',
    samples: ({ rest, group }) => [[labelsOfRest(group), rest.bytes]],
  },
  {
    name: 'xdpwho',
    type: 'info',
    help: 'How it is attached; always 1.',
    samples: ({ mode, version }) => [[{ mode, version }, 1]],
  },
];

/** The labels that stand for `source`; the same ones in all series of a family. */
function labelsOf({ source, asn, as_name }: SourceRecord, group: OwnerGroup | undefined): Labels {
  if (group === undefined) return { source };
  if (group !== 'owner') return { [group]: source };
  return { asn: asn === undefined ? source : String(asn), as_name: as_name ?? source };
}

/** `other` stands for what is left out. It is in gauges, because it shrinks where a group comes into the first ones. */
function labelsOfRest(group: OwnerGroup | undefined): Labels {
  if (group === undefined) return {};
  return group === 'owner' ? { asn: OTHER, as_name: OTHER } : { [group]: OTHER };
}

const OTHER = 'other';

const SUFFIXES = { counter: '_total', gauge: '', info: '_info' } as const;

/** Returns lines, without line ends. Each family comes once with the samples of all interfaces, as both formats require. */
export function renderMetrics(all: readonly Metrics[], format: MetricsFormat): string[] {
  const open = format === 'openmetrics';
  const lines = FAMILIES.flatMap((family) => {
    const sample = `${family.name}${SUFFIXES[family.type]}`;
    const titled = open ? family.name : sample;
    // 0.0.4 has no type `info`.
    const type = family.type === 'info' && !open ? 'gauge' : family.type;
    return [
      `# HELP ${titled} ${escapeHelp(family.help, open)}`,
      `# TYPE ${titled} ${type}`,
      ...(open && family.unit !== undefined ? [`# UNIT ${titled} ${family.unit}`] : []),
      ...all.flatMap((metrics) =>
        family.samples(metrics).map(([labels, value]) => {
          const netns = metrics.netns === null ? {} : { netns: metrics.netns };
          const allLabels = { device: metrics.interface, ...netns, ...labels };
          return `${sample}{${renderLabels(allLabels)}} ${value}`;
        }),
      ),
    ];
  });
  return open ? [...lines, '# EOF'] : lines;
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([name, value]) => `${name}="${escapeLabel(value)}"`)
    .join(',');
}

/** The formats escape only a line end, a quote and a backslash. Other control characters are printed as in a table, because the text may go to a terminal. */
function escapeLabel(value: string): string {
  const escaped = (character: string) => (character === '\n' ? '\\n' : `\\${character}`);
  return value
    .split('\n')
    .map(printable)
    .join('\n')
    .replace(/[\\"\n]/g, escaped);
}

/** Only OpenMetrics escapes quotes in HELP. */
function escapeHelp(text: string, open: boolean): string {
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
  return open ? escaped.replaceAll('"', '\\"') : escaped;
}
