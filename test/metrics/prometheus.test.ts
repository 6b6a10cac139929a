import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { type Metrics, renderMetrics } from '../../src/metrics/prometheus.js';
import { suite } from '../suite.js';
import { parseMetrics } from './text-format.js';

const FORMATS = ['prometheus', 'openmetrics'] as const;

const METRICS: Metrics = {
  interface: 'eth0',
  netns: null,
  mode: 'native',
  version: '1.2.3',
  maxSources: 1000,
  sources: [
    {
      type: 'source',
      interface: 'eth0',
      source: '192.0.2.1',
      packets: 18446744073709551615n,
      bytes: 12n,
      idle_ms: 1,
    },
  ],
  totals: {
    type: 'totals',
    interface: 'eth0',
    sources: 41,
    packets: 10n,
    bytes: 640n,
    ipv4: 4n,
    ipv6: 3n,
    other: 2n,
    malformed: 1n,
    untracked: 6n,
  },
  rest: { sources: 40, packets: 5n, bytes: 7n },
};

function text(all: readonly Metrics[], format: (typeof FORMATS)[number]): string {
  return `${renderMetrics(all, format).join('\n')}\n`;
}

const rendering = suite('renderMetrics');

rendering('counters keep every digit, and what has no series of its own is a gauge', () => {
  for (const format of FORMATS) {
    const lines = text([METRICS], format).split('\n');
    const expected = [
      'xdpwho_source_packets_total{device="eth0",source="192.0.2.1"} 18446744073709551615',
      'xdpwho_source_bytes_total{device="eth0",source="192.0.2.1"} 12',
      'xdpwho_packets_total{device="eth0",kind="ipv4"} 4',
      'xdpwho_packets_total{device="eth0",kind="malformed"} 1',
      'xdpwho_bytes_total{device="eth0"} 640',
      'xdpwho_untracked_packets{device="eth0"} 6',
      'xdpwho_sources{device="eth0"} 41',
      'xdpwho_sources_limit{device="eth0"} 1000',
      'xdpwho_sources_omitted{device="eth0"} 40',
      'xdpwho_omitted_packets{device="eth0"} 5',
      'xdpwho_omitted_bytes{device="eth0"} 7',
      'xdpwho_info{device="eth0",mode="native",version="1.2.3"} 1',
    ];
    for (const line of expected) assert.ok(lines.includes(line), `${format}: ${line}`);
  }
});

rendering('each format names types, units and its end as it must', () => {
  const prometheus = text([METRICS], 'prometheus');
  assert.match(prometheus, '# TYPE xdpwho_source_packets_total counter\n');
  assert.match(prometheus, '# TYPE xdpwho_info gauge\n');
  assert.not.match(prometheus, '# UNIT');
  assert.not.match(prometheus, '# EOF');
  const open = text([METRICS], 'openmetrics');
  assert.match(
    open,
    '# TYPE xdpwho_source_packets counter\n# UNIT xdpwho_source_packets packets\n',
  );
  assert.match(open, '# TYPE xdpwho info\n');
  assert.ok(open.endsWith('\n# EOF\n'));
});

rendering('no counter has the sum of sources that come and go', () => {
  const samples = parseMetrics(text([METRICS], 'prometheus'), 'prometheus');
  const counters = samples.filter(({ name }) => name.startsWith('xdpwho_source_'));
  assert.equal([...new Set(counters.map(({ labels }) => labels['source']))], ['192.0.2.1']);
});

rendering('a family stands once, with the samples of all interfaces', () => {
  const all = [METRICS, { ...METRICS, netns: 'blue' }, { ...METRICS, interface: 'eth1' }];
  for (const format of FORMATS) {
    const samples = parseMetrics(text(all, format), format);
    assert.is(samples.length, 3 * parseMetrics(text([METRICS], format), format).length);
    assert.equal(
      samples
        .filter(({ name }) => name === 'xdpwho_sources')
        .map(({ labels }) => [labels['device'], labels['netns']]),
      [
        ['eth0', undefined],
        ['eth0', 'blue'],
        ['eth1', undefined],
      ],
    );
  }
});

rendering('no name of an interface or a namespace breaks out of its label', () => {
  const name = fc.string({ unit: fc.constantFrom('"', '\\', '\n', 'n', '}', '{', ' ', '=', 'é') });
  const property = fc.property(name, name, fc.constantFrom(...FORMATS), (device, netns, format) => {
    const metrics = { ...METRICS, interface: device, netns };
    for (const { labels } of parseMetrics(text([metrics], format), format)) {
      assert.equal([labels['device'], labels['netns']], [device, netns]);
    }
  });
  fc.assert(property);
});

rendering.run();

const parsing = suite('parseMetrics of the tests');

parsing('refuses what Prometheus refuses', () => {
  const good = text([METRICS], 'openmetrics');
  const changed = (from: string | RegExp, to: string) => {
    const other = good.replace(from, to);
    assert.is.not(other, good);
    return other;
  };
  for (const [bad, why] of [
    [changed('# EOF\n', ''), /EOF/],
    [good.slice(0, -1), /no end/],
    [changed('device="eth0"', 'device="et"h0"'), /bad labels/],
    [changed('device="eth0"', 'device="et\\h0"'), /bad labels/],
    [changed('device="eth0",', 'device="eth0",device="eth1",'), /label twice/],
    [changed(/(xdpwho_bytes_total.*\n)/, '$1$1'), /sample twice/],
    [changed('} 640', '} 640 1700000000'), /time stamp/],
    [changed('_packets packets', '_packets bytes'), /its unit/],
    [changed('# TYPE xdpwho_sources gauge\n', ''), /before its TYPE/],
    [changed('counter', 'histogram'), /unknown type/],
    [changed('Packets by', 'Packets \\by'), /bad escape/],
  ] as const) {
    assert.throws(
      () => parseMetrics(bad, 'openmetrics'),
      (error: Error) => why.test(error.message),
    );
  }
  assert.throws(() => parseMetrics(good, 'prometheus'));
});

parsing.run();
