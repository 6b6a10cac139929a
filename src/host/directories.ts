/** Looking into directories that others may remove at any moment. */
import { lstatSync, readdirSync } from 'node:fs';

/** The names in a directory; none where it is not there or may not be read. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Not through a link. */
export function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch {
    return false;
  }
}
