/** What a guest tells the host, one JSON object a line. */
import { numberIn, propertyOf, stringIn } from '../../src/model/json-values.js';

/** One check that a guest has made. */
export interface CheckResult {
  readonly type: 'check';
  readonly name: string;
  /** Why it failed; null where it did not. */
  readonly why: string | null;
  readonly seconds: number;
}

/** Something that a check has found out, for docs/compatibility.md. */
interface Fact {
  readonly type: 'fact';
  readonly name: FactName;
  readonly value: string;
}

const FACT_NAMES = [
  'kernel',
  'bpftool',
  'kernel package',
  'bpftool package',
  'cpus',
  'mode',
  'held by',
  'reader',
  'jumbo frames',
  'without BTF',
  'log',
  'demo',
  'restriction',
] as const;
export type FactName = (typeof FACT_NAMES)[number];

/** What became of one kind of device: a row of docs/compatibility.md. */
export interface DeviceResult {
  readonly type: 'device';
  readonly name: string;
  /** The mode that `auto` took; why there is no attachment where none was made. */
  readonly mode: string;
  readonly linkType: string;
  /** The packets of the known source, of those that were sent: IPv4, IPv6. */
  readonly ipv4: string;
  readonly ipv6: string;
  /** What `--all` takes beside it. */
  readonly all: readonly string[];
}

export type Finding = CheckResult | Fact | DeviceResult;

/** What the host expects of a guest; the guest's first argument, as JSON. */
export interface Expectations {
  /** `--kernel` and `--bpftool`, and what their packages say. */
  readonly kernel: string;
  readonly kernelRelease: string;
  readonly bpftool: string;
  /** CPUs that maps have values for, and those that packets can come in on. */
  readonly possibleCpus: number;
  readonly onlineCpus: number;
}

/** A line of a guest's output, or undefined where it is none. */
export function parseFinding(line: string): Finding | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const name = stringIn(value, 'name');
  if (name === undefined) return undefined;
  if (propertyOf(value, 'type') === 'fact') {
    const known = FACT_NAMES.find((each) => each === name);
    const text = stringIn(value, 'value');
    return known === undefined || text === undefined
      ? undefined
      : { type: 'fact', name: known, value: text };
  }
  if (propertyOf(value, 'type') === 'device') {
    const text = (key: string) => stringIn(value, key) ?? '';
    const all = propertyOf(value, 'all');
    const [mode, linkType, ipv4, ipv6] = ['mode', 'linkType', 'ipv4', 'ipv6'].map(text);
    return {
      type: 'device',
      name,
      mode: mode ?? '',
      linkType: linkType ?? '',
      ipv4: ipv4 ?? '',
      ipv6: ipv6 ?? '',
      all: Array.isArray(all) ? all.map(String) : [],
    };
  }
  const seconds = numberIn(value, 'seconds');
  const why = propertyOf(value, 'why');
  if (seconds === undefined || (why !== null && typeof why !== 'string')) return undefined;
  return { type: 'check', name, why, seconds };
}

export function parseExpectations(text: string): Expectations {
  const value: unknown = JSON.parse(text);
  const kernel = stringIn(value, 'kernel');
  const kernelRelease = stringIn(value, 'kernelRelease');
  const bpftool = stringIn(value, 'bpftool');
  const possibleCpus = numberIn(value, 'possibleCpus');
  const onlineCpus = numberIn(value, 'onlineCpus');
  if (
    kernel === undefined ||
    kernelRelease === undefined ||
    bpftool === undefined ||
    possibleCpus === undefined ||
    onlineCpus === undefined
  ) {
    throw new Error(`not what a guest is to expect: ${text}`);
  }
  return { kernel, kernelRelease, bpftool, possibleCpus, onlineCpus };
}
