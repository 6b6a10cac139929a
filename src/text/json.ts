/** JSON with bigint. Counters are u64, and JSON.stringify throws at a bigint; here it prints every digit. Pure. */
import type { AnyRecord } from '../model/records.js';

/** A record as one line, without the line end. */
export function stringifyRecord(record: AnyRecord): string {
  return stringify(record, '', '');
}

/** A document of several lines, indented by two blanks. It takes what JSON.stringify takes, and bigint. */
export function renderDocument(value: unknown): string {
  return stringify(value, '\n', '  ');
}

/** A JSON string that is safe for a terminal: JSON itself allows DEL and the C1 control characters unescaped. */
export function quoteJson(text: string): string {
  return JSON.stringify(text).replace(
    /\p{Cc}/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** `lineEnd` is a line break and the indentation of the value. If it is empty, everything is on one line. */
function stringify(value: unknown, lineEnd: string, indent: string): string {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string') return quoteJson(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const inner = lineEnd + indent;
  const colon = indent === '' ? ':' : ': ';
  if (Array.isArray(value)) {
    const items = value.map((item) => stringify(item, inner, indent));
    return enclose('[', items, ']', inner, lineEnd);
  }
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .map(([key, member]) => JSON.stringify(key) + colon + stringify(member, inner, indent));
  return enclose('{', members, '}', inner, lineEnd);
}

function enclose(
  open: string,
  parts: readonly string[],
  close: string,
  inner: string,
  outer: string,
): string {
  if (parts.length === 0) return open + close;
  return open + inner + parts.join(`,${inner}`) + outer + close;
}
