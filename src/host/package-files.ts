/** The files that come with the program. */
import { existsSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** This module is `src/host/package-files.ts`, `dist/host/package-files.js`, or part of a bundle in `dist/`. */
const HERE = dirname(fileURLToPath(import.meta.url));

/** The folder of package.json. The program that is one file has none: it carries all that it needs. */
const ROOT = findRoot(HERE) ?? HERE;

/** The absolute path of a file of the package, `bpf/xdpwho.h` for example. */
export function packageFile(path: string): string {
  return join(ROOT, path);
}

/** The absolute path of a file beside the modules: in `src/`, or in `dist/` where that is what runs. */
export function moduleFile(path: string): string {
  const [folder = ''] = relative(ROOT, HERE).split(sep);
  return join(ROOT, folder, path);
}

function findRoot(directory: string): string | undefined {
  if (existsSync(join(directory, 'package.json'))) return directory;
  const parent = dirname(directory);
  return parent === directory ? undefined : findRoot(parent);
}
