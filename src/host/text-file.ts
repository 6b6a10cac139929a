import { readFileSync } from 'node:fs';

/** The text of a file, as /proc and /sys have many. Undefined where it is not there or may not be read. */
export function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
