/** Reads the values of options. Each function throws an XdpwhoError `usage` for a value that is not valid. */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { XdpwhoError } from '../model/errors.js';

/** The most entries of a table. For more the kernel would need gigabytes. */
export const MAX_SOURCES_LIMIT = 4_000_000;
const SHORTEST_INTERVAL_MS = 100;
/** A timer of Node holds at most 2^31 - 1 ms, which is a little less than 25 days. */
const LONGEST_DURATION_MS = 24 * 24 * 60 * 60 * 1000;

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  '': 1000,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds in `500ms`, `10s`, `2m`, `1h` or a plain number of seconds; more than 0, at most 24 days. */
export function parseDuration(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|)$/.exec(text);
  const unit = MS_PER_UNIT[match?.[2] ?? 'none'];
  if (match === null || unit === undefined) {
    throw bad(option, text, 'not a duration like 500ms, 10s, 2m or 1h');
  }
  const durationMs = Math.round(Number(match[1]) * unit);
  if (durationMs < 1) throw bad(option, text, 'must be more than 0');
  if (durationMs > LONGEST_DURATION_MS) throw bad(option, text, 'must be at most 24 days (576h)');
  return durationMs;
}

/** A duration of 100 ms or more. */
export function parseInterval(option: string, text: string): number {
  const intervalMs = parseDuration(option, text);
  if (intervalMs < SHORTEST_INTERVAL_MS) {
    throw bad(option, text, `must be at least ${SHORTEST_INTERVAL_MS}ms`);
  }
  return intervalMs;
}

/** A whole number from 1 to `limit`. */
export function parseCount(
  option: string,
  text: string,
  limit: number = Number.MAX_SAFE_INTEGER,
): number {
  if (!/^[+-]?\d+$/.test(text)) throw bad(option, text, 'not a whole number');
  const count = Number(text);
  if (count < 1) throw bad(option, text, 'must be at least 1');
  if (count > limit) throw bad(option, text, `must be at most ${limit}`);
  return count;
}

/** A percentage: `15%` is 0.15. More than 0, at most 1000%. */
export function parsePercentage(option: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)%$/.exec(text);
  const percent = Number(match?.[1]);
  if (match === null) throw bad(option, text, 'not a percentage like 15%');
  if (percent <= 0 || percent > 1000)
    throw bad(option, text, 'must be more than 0% and at most 1000%');
  return percent / 100;
}

/** The size of the table: a whole number from 1 to 4,000,000. */
export function parseMaxSources(option: string, text: string): number {
  return parseCount(option, text, MAX_SOURCES_LIMIT);
}

const BYTES_PER_UNIT: Readonly<Record<string, number>> = {
  '': 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
};

/** Bytes in `64K`, `32M`, `1G` or a plain number; units are powers of 1024. At most 64G. */
export function parseSize(option: string, text: string): number {
  const match = /^(\d+)([KMG]?)(?:i?B)?$/i.exec(text);
  const unit = BYTES_PER_UNIT[match?.[2]?.toUpperCase() ?? 'none'];
  if (match === null || unit === undefined) throw bad(option, text, 'not a size like 512K or 32M');
  const bytes = Number(match[1]) * unit;
  if (bytes < 1) throw bad(option, text, 'must be more than 0');
  if (bytes > 64 * 1024 ** 3) throw bad(option, text, 'must be at most 64G');
  return bytes;
}

/** File permissions in octal. They allow to read and nothing else: 0400, 0444. */
export function parseFileMode(option: string, text: string): number {
  const mode = /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : Number.NaN;
  if ((mode & 0o444) === mode && mode >= 0o400) return mode;
  throw new XdpwhoError(
    'usage',
    `${option} ${text}: permissions to read only, such as 0400 or 0444`,
  );
}

/** An address and a port to listen on. */
export interface Listen {
  /** An address, never a name: a name can stand for several addresses. */
  readonly host: string;
  readonly port: number;
}

/** `127.0.0.1:9927` or `[::1]:9927`. The address is needed: some programs take a lone port for this host only, others for all addresses. */
export function parseListen(option: string, text: string): Listen {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const [, bracketed, plain, digits] = match ?? [];
  const host = bracketed ?? plain ?? '';
  const port = Number(digits);
  if (isIP(host) !== (bracketed === undefined ? 4 : 6)) {
    throw bad(option, text, 'not an address and a port, such as 127.0.0.1:9927 or [::1]:9927');
  }
  if (port < 1 || port > 65_535) throw bad(option, text, 'a port is from 1 to 65535');
  return { host, port };
}

/** Any text but an empty one. */
export function parseText(option: string, text: string): string {
  if (text === '') throw new XdpwhoError('usage', `${option}: a value is missing`);
  return text;
}

/** An absolute path: the programs that get it run in another directory. */
export function parsePath(option: string, text: string): string {
  return resolve(parseText(option, text));
}

/** One word of `choices`. */
export function parseChoice<T extends string>(
  option: string,
  text: string,
  choices: readonly T[],
): T {
  const choice = choices.find((each) => each === text);
  if (choice === undefined) throw bad(option, text, `must be ${eitherOf(choices)}`);
  return choice;
}

/** One word of `choices`, or undefined where there is no text. Two different words contradict each other. */
export function parseFormat<T extends string>(
  option: string,
  texts: readonly string[],
  choices: readonly T[],
): T | undefined {
  const [format, other] = new Set(texts.map((text) => parseChoice(option, text, choices)));
  if (other !== undefined) {
    throw new XdpwhoError('usage', `${option}: ${format} and ${other}: one format at a time`);
  }
  return format;
}

function eitherOf(choices: readonly string[]): string {
  if (choices.length < 2) return choices.join('');
  return `${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}`;
}

function bad(option: string, text: string, why: string): XdpwhoError {
  const shown = text === '' ? '""' : text.length > 40 ? `${text.slice(0, 40)}...` : text;
  return new XdpwhoError('usage', `${option} ${shown}: ${why}`);
}
