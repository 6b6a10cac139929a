/** JSON with bigint. Counters are u64, and JSON.stringify throws at a bigint; here it prints every digit. Pure. */
import type { AnyRecord } from '../model/records.js';

/** A record as one line, without the line end. */
export function stringifyRecord(record: AnyRecord): string {
  return stringify(record, '', '');
}

/** A document of several lines, indented by two blanks. It takes what JSON.stringify takes, bigint, and iterables as arrays. */
export function renderDocument(value: unknown): string {
  return [...documentPieces(value)].join('');
}

/** The same in pieces, in order. An iterable may be too long for one text. */
export function* documentPieces(value: unknown, lineEnd = '\n'): Generator<string, void, void> {
  const inner = `${lineEnd}  `;
  if (typeof value === 'object' && value !== null && isList(value)) {
    yield* enclosed('[', itemPieces(value, inner), ']', inner, lineEnd);
  } else if (typeof value === 'object' && value !== null && holdsList(value)) {
    yield* enclosed('{', memberPieces(value, inner), '}', inner, lineEnd);
  } else yield stringify(value, lineEnd, '  ');
}

/** The pieces of each element, one list for each. */
function* itemPieces(items: Iterable<unknown>, inner: string) {
  for (const item of items) {
    const isSmall = typeof item !== 'object' || item === null || !(isList(item) || holdsList(item));
    yield isSmall ? [stringify(item, inner, '  ')] : documentPieces(item, inner);
  }
}

function* memberPieces(value: object, inner: string) {
  for (const [key, member] of Object.entries(value)) {
    if (member !== undefined) yield afterKey(key, member, inner);
  }
}

function* afterKey(key: string, member: unknown, inner: string): Generator<string, void, void> {
  yield `${quoteJson(key)}: `;
  yield* documentPieces(member, inner);
}

function* enclosed(
  open: string,
  parts: Iterable<Iterable<string>>,
  close: string,
  inner: string,
  outer: string,
): Generator<string, void, void> {
  let isFirst = true;
  for (const part of parts) {
    yield isFirst ? open + inner : `,${inner}`;
    yield* part;
    isFirst = false;
  }
  yield isFirst ? open + close : outer + close;
}

/** Whether a member is a list: an object without one is small, and faster as one text. */
function holdsList(value: object): boolean {
  return Object.values(value).some(
    (member) => typeof member === 'object' && member !== null && isList(member),
  );
}

function isList(value: object): value is Iterable<unknown> {
  return Symbol.iterator in value;
}

/** A JSON string that is safe for a terminal: JSON itself allows DEL and the C1 control characters unescaped. */
export function quoteJson(text: string): string {
  // Almost every text is of these characters, which stand for themselves.
  if (/^[ !#-[\]-~]*$/.test(text)) return `"${text}"`;
  return JSON.stringify(text).replace(
    /\p{Cc}/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** As JSON writes it: what is no number there is null. */
function numberText(value: number): string {
  return Number.isFinite(value) ? String(value) : 'null';
}

/** `lineEnd` is a line break and the indentation of the value. If it is empty, everything is on one line. */
function stringify(value: unknown, lineEnd: string, indent: string): string {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string') return quoteJson(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const inner = lineEnd + indent;
  const colon = indent === '' ? ':' : ': ';
  let text = '';
  if (Array.isArray(value)) {
    for (const item of value) {
      text += `${text === '' ? inner : `,${inner}`}${stringify(item, inner, indent)}`;
    }
    return text === '' ? '[]' : `[${text}${lineEnd}]`;
  }
  // Not by Object.entries, which makes an array for each member.
  for (const key of Object.keys(value)) {
    const member: unknown = Reflect.get(value, key);
    if (member === undefined) continue;
    const separator = text === '' ? inner : `,${inner}`;
    const shown =
      typeof member === 'number' ? numberText(member) : stringify(member, inner, indent);
    text += separator + quoteJson(key) + colon + shown;
  }
  return text === '' ? '{}' : `{${text}${lineEnd}}`;
}
