/** Reading directories that another process may remove at any moment. */
import { lstatSync, readdirSync } from 'node:fs';

/** The names in a directory. Empty if it does not exist or may not be read. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** Whether `path` is a directory. A link to one is not. */
export function isDirectory(path: string): boolean {
  try {
    return lstatSync(path).isDirectory();
  } catch {
    return false;
  }
}
