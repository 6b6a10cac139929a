/**
 * A strict parser of the two text formats of metrics, for the tests: Prometheus accepts what it accepts.
 * It knows only what we print: counters, gauges and infos, without time stamps.
 */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** As it was written. */
  readonly value: string;
}

interface Family {
  readonly name: string;
  readonly type: string;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SUFFIX = { counter: '_total', gauge: '', info: '_info' } as const;

/** Throws an error at the first text that the format does not allow. */
export function parseMetrics(text: string, format: 'prometheus' | 'openmetrics'): Sample[] {
  const open = format === 'openmetrics';
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const lines = text.slice(0, -1).split('\n');
  if (open && lines.pop() !== '# EOF') throw new Error('the last line is not # EOF');
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  const samples: Sample[] = [];
  let help: string | undefined;
  let family: Family | undefined;
  for (const line of lines) {
    const fail = (why: string) => new Error(`${why}: ${line}`);
    const comment = /^# (HELP|TYPE|UNIT) (\S+) (.+)$/.exec(line);
    if (comment !== null) {
      const [, keyword, name = '', rest = ''] = comment;
      if (!NAME.test(name)) throw fail('no name');
      if (keyword === 'HELP') {
        if (families.has(name)) throw fail('a family twice');
        if (/\\[^\\n"]|\\$/.test(rest.replaceAll('\\\\', ''))) throw fail('a bad escape');
        if (open && /(^|[^\\])"/.test(rest)) throw fail('a bare quote');
        help = name;
        family = undefined;
      } else if (keyword === 'TYPE') {
        if (help !== name) throw fail('TYPE without its HELP');
        if (!(open ? /^(counter|gauge|info)$/ : /^(counter|gauge)$/).test(rest)) {
          throw fail('an unknown type');
        }
        if (!open && rest === 'counter' && !name.endsWith('_total')) throw fail('no _total');
        if (open && /_(total|info)$/.test(name)) throw fail('a suffix in the name of a family');
        family = { name, type: rest };
        families.set(name, family);
      } else {
        if (!open) throw fail('a unit, which only OpenMetrics has');
        if (family?.name !== name) throw fail('UNIT without its TYPE');
        if (!name.endsWith(`_${rest}`)) throw fail('a name that does not end with its unit');
      }
      continue;
    }
    if (line.startsWith('#')) throw fail('an unknown comment');
    const sample = parseSample(line, fail);
    if (family === undefined) throw fail('a sample before its TYPE');
    const suffix = family.type === 'info' || family.type === 'counter' ? SUFFIX[family.type] : '';
    if (sample.name !== family.name + (open ? suffix : '')) throw fail('a sample of no family');
    if (family.type === 'counter' && sample.value.startsWith('-')) throw fail('below zero');
    const identity = `${sample.name} ${JSON.stringify(Object.entries(sample.labels).sort())}`;
    if (seen.has(identity)) throw fail('a sample twice');
    seen.add(identity);
    samples.push(sample);
  }
  return samples;
}

function parseSample(line: string, fail: (why: string) => Error): Sample {
  const head = /^([^{\s]+)(\{)?/.exec(line);
  const name = head?.[1] ?? '';
  if (!NAME.test(name)) throw fail('no name');
  const labels: Record<string, string> = {};
  let at = name.length;
  if (head?.[2] !== undefined) {
    const label = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|\}(?= ))/y;
    label.lastIndex = name.length + 1;
    for (let end = ','; end === ','; at = label.lastIndex) {
      const match = label.exec(line);
      if (match === null) throw fail('bad labels');
      const [, key = '', value = '', separator = ''] = match;
      if (Object.hasOwn(labels, key)) throw fail('a label twice');
      labels[key] = value.replace(/\\(.)/g, (_, escaped) => (escaped === 'n' ? '\n' : escaped));
      end = separator;
    }
  }
  const value = /^ (-?\d+)$/.exec(line.slice(at))?.[1];
  if (value === undefined) throw fail('no value, or a time stamp');
  return { name, labels, value };
}
