/** The parts of docs/compatibility.md that the runs write themselves; pure. */
import { stringIn } from '../../src/model/json-values.js';
import type { CheckResult, DeviceResult, FactName, Finding } from './findings.js';

/** What one guest has found out. */
export type GuestReport = readonly Finding[];

/** A document with one of its sections, `<!-- NAME -->` to `<!-- /NAME -->`, replaced. */
export function replaceSection(document: string, name: string, text: string): string {
  const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const from = document.indexOf(begin);
  const to = document.indexOf(end);
  if (from < 0 || to < from) throw new Error(`docs/compatibility.md: no section ${name}`);
  return `${document.slice(0, from + begin.length)}\n\n${text.trim()}\n\n${document.slice(to)}`;
}

/** The section of `npm run test:vm`: the guests side by side, the restrictions, the checks. */
export function renderGuests(reports: readonly GuestReport[]): string {
  const rows = reports.map((report) => {
    const fact = (name: FactName) => factOf(report, name) ?? '-';
    return [
      `${fact('kernel')} (${fact('kernel package')})`,
      `${fact('bpftool')} (${fact('bpftool package')})`,
      fact('cpus'),
      fact('mode'),
      fact('held by'),
      fact('reader'),
      fact('jumbo frames'),
      fact('without BTF'),
      fact('log'),
      fact('demo'),
    ];
  });
  const head = [
    'kernel',
    'bpftool',
    'CPUs',
    'mode',
    'run held by',
    'read by',
    'MTU 9000',
    'without BTF',
    'log',
    'demo',
  ];
  const columns = reports.map((_, index) => String(index + 1));
  const checks = checkNames(reports).map((name) => [
    name,
    ...reports.map((report) => outcomeOf(report, name)),
  ]);
  const numbered = rows.map((row, index) => [String(index + 1), ...row]);
  const legend = [
    'By the number of the guest above. `-`: left out, since a kernel in between or a bpftool of another',
    'release would make no difference (`where` in test/vm/checks.ts).',
  ];
  const paragraphs = [
    [table(['', ...head], numbered)],
    ['### Restrictions that were met'],
    restrictions(reports),
    ['### Checks'],
    legend,
    [table(['check', ...columns], checks)],
  ];
  return paragraphs.map((lines) => lines.join('\n')).join('\n\n');
}

/** Each with the guests that met it; what differs in the names of files only is one. */
function restrictions(reports: readonly GuestReport[]): string[] {
  const met = new Map<string, Set<number>>();
  reports.forEach((report, index) => {
    for (const finding of report) {
      if (finding.type !== 'fact' || finding.name !== 'restriction') continue;
      const text = finding.value.replace(/\/\S*\/(\w+\.o)/g, '$1');
      met.set(text, (met.get(text) ?? new Set()).add(index + 1));
    }
  });
  return [...met].map(([text, guests]) => `- ${text} (${[...guests].join(', ')})`);
}

function checkNames(reports: readonly GuestReport[]): string[] {
  return [...new Set(reports.flatMap((report) => checksOf(report).map(({ name }) => name)))];
}

function outcomeOf(report: GuestReport, name: string): string {
  const check = checksOf(report).find((each) => each.name === name);
  if (check === undefined) return '-';
  return check.why === null ? 'ok' : '**failed**';
}

function checksOf(report: GuestReport): CheckResult[] {
  return report.flatMap((finding) => (finding.type === 'check' ? [finding] : []));
}

function factOf(report: GuestReport, name: FactName): string | undefined {
  return report
    .flatMap((finding) => (finding.type === 'fact' && finding.name === name ? finding.value : []))
    .at(0);
}

/** The section of the devices. */
export function renderDevices(results: readonly DeviceResult[]): string {
  const rows = results.map(({ name, linkType, mode, ipv4, ipv6 }) => [
    name,
    linkType,
    mode,
    ipv4,
    ipv6,
  ]);
  return table(['device', 'link type', 'mode by `auto`', 'IPv4', 'IPv6'], rows);
}

/** The section of Debians that systemd has booted: what was tried, and what each has told, by release. */
export function renderBooted(
  tried: readonly (readonly [name: string, means: string])[],
  told: ReadonlyMap<string, unknown>,
): string {
  const releases = [...told.keys()];
  const rows = tried.map(([name, means]) => [
    name,
    means,
    ...releases.map((release) => stringIn(told.get(release), name)?.trim() || '-'),
  ]);
  return table(['tried', 'what it has to be', ...releases], rows);
}

export interface NodeReport {
  readonly version: string;
  /** The closing line of the unit tests. */
  readonly tests: string;
  readonly demo: string;
}

/** The section of `npm run test:nodes`. */
export function renderNodes(reports: readonly NodeReport[]): string {
  const rows = reports.map(({ version, tests, demo }) => [version, tests, demo]);
  return table(['Node', 'unit tests', 'demo'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
