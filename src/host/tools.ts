/** Where the programs are that we run. This is not part of exec.ts, so that the start of the command does not load execa. */
import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import { XdpwhoError } from '../model/errors.js';

/**
 * The directories of tools, in the order of the search. The user's PATH is not searched. The last ones are those of
 * NixOS and Guix, which have none of the others but /bin/sh.
 */
export const TOOL_DIRECTORIES = [
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/sbin',
  '/usr/bin',
  '/sbin',
  '/bin',
  '/run/current-system/sw/bin',
  '/run/current-system/profile/sbin',
  '/run/current-system/profile/bin',
] as const;

/** The absolute path of a tool in the fixed directories, or undefined. */
export function findTool(name: string): string | undefined {
  return TOOL_DIRECTORIES.map((directory) => `${directory}/${name}`).find(isExecutableFile);
}

/** Like findTool, but throws `tool-missing` with a hint if there is no such tool. */
export function requireTool(name: string, hint?: string): string {
  const path = findTool(name);
  if (path === undefined) {
    throw new XdpwhoError('tool-missing', `${name}: not found in ${TOOL_DIRECTORIES.join(' ')}`, {
      hint: hint ?? 'xdpwho doctor',
    });
  }
  return path;
}

/** Whether `path` is absolute and leads to a regular file that we may execute. */
export function isExecutableFile(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return isAbsolute(path) && statSync(path).isFile();
  } catch {
    return false;
  }
}

/**
 * Looks for a way in which another user than root and us could replace a program. Returns the file, or the
 * first directory above it or above the target of its link, that such a user can write to.
 */
export function exposedPart(path: string): string | undefined {
  for (const start of new Set([path, realpathSync(path)])) {
    for (let part = start, height = 0; ; part = dirname(part), height++) {
      const { uid, gid, mode } = statSync(part);
      const others = (mode & 0o002) !== 0;
      const group = (mode & 0o020) !== 0 && gid !== 0 && gid !== process.getegid?.();
      // In a sticky directory only the owner of an entry replaces it, but anybody can have put a program there.
      const sticky = (mode & 0o1000) !== 0 && height > 1;
      if ((uid !== 0 && uid !== process.geteuid?.()) || ((others || group) && !sticky)) return part;
      if (part === dirname(part)) break;
    }
  }
  return undefined;
}
