/**
 * Metrics of a dump, in the two text formats. Prometheus' own (0.0.4) is what node_exporter's
 * textfile collector takes; OpenMetrics 1.0 names counters without `_total` in its TYPE lines, has
 * units, and ends with a mark. Neither has time stamps: the textfile collector refuses them.
 */

import type { SourceRecord, TotalsRecord } from '../model/records.js';
import { printable } from '../text/text.js';

export interface Metrics {
  readonly interface: string;
  /** Null for the namespace that the command runs in. */
  readonly netns: string | null;
  readonly mode: string;
  readonly version: string;
  readonly maxSources: number;
  readonly sources: readonly SourceRecord[];
  readonly totals: TotalsRecord;
  /** Selected sources that `top` cut off. */
  readonly rest: { readonly sources: number; readonly packets: bigint; readonly bytes: bigint };
}

export type MetricsFormat = 'prometheus' | 'openmetrics';

interface Family {
  /** Without `_total` or `_info`. */
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'info';
  readonly unit?: 'bytes' | 'packets';
  readonly help: string;
  readonly samples: (metrics: Metrics) => readonly Sample[];
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: bigint | number];

/** The label value of what `top` cut off; no address looks like it. */
const OTHER = 'other';

const FAMILIES: readonly Family[] = [
  {
    name: 'xdpwho_source_packets',
    type: 'counter',
    unit: 'packets',
    help: `Packets by source address; "${OTHER}" is the sum of the sources beyond the first ones.`,
    samples: ({ sources, rest }) => [
      ...sources.map((each): Sample => [{ source: each.source }, each.packets]),
      [{ source: OTHER }, rest.packets],
    ],
  },
  {
    name: 'xdpwho_source_bytes',
    type: 'counter',
    unit: 'bytes',
    help: 'Bytes by source address, from the Ethernet header on.',
    samples: ({ sources, rest }) => [
      ...sources.map((each): Sample => [{ source: each.source }, each.bytes]),
      [{ source: OTHER }, rest.bytes],
    ],
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
    help: `Sources that are only in "${OTHER}" here, so that labels stay few.`,
    samples: ({ rest }) => [[{}, rest.sources]],
  },
  {
    name: 'xdpwho',
    type: 'info',
    help: 'How it is attached; always 1.',
    samples: ({ mode, version }) => [[{ mode, version }, 1]],
  },
];

const SUFFIXES = { counter: '_total', gauge: '', info: '_info' } as const;

/** Lines without their ends: every family once, with the samples of all interfaces, as both formats demand. */
export function renderMetrics(all: readonly Metrics[], format: MetricsFormat): string[] {
  const open = format === 'openmetrics';
  const lines = FAMILIES.flatMap((family) => {
    const sample = `${family.name}${SUFFIXES[family.type]}`;
    const titled = open ? family.name : sample;
    // 0.0.4 knows no other type for it.
    const type = family.type === 'info' && !open ? 'gauge' : family.type;
    return [
      `# HELP ${titled} ${escapeHelp(family.help, open)}`,
      `# TYPE ${titled} ${type}`,
      ...(open && family.unit !== undefined ? [`# UNIT ${titled} ${family.unit}`] : []),
      ...all.flatMap((metrics) =>
        family.samples(metrics).map(([labels, value]) => {
          const netns = metrics.netns === null ? {} : { netns: metrics.netns };
          const all = { device: metrics.interface, ...netns, ...labels };
          return `${sample}{${renderLabels(all)}} ${value}`;
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

/** The formats have no escape for other control characters, and the text may go to a terminal: they are as in a table. */
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
