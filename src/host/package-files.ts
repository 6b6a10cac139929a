/** The files that come with the package. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** This module is `src/host/package-files.ts`, `dist/host/package-files.js`, or part of `dist/main.cjs`. */
const HERE = dirname(fileURLToPath(import.meta.url));

/** The folder of package.json. A single file, as packaging/package.mjs makes it, has none and needs none. */
const ROOT = findRoot(HERE) ?? HERE;

/** The absolute path of a file of the package, `bpf/xdpwho.h` for example. */
export function packageFile(path: string): string {
  return join(ROOT, path);
}

/** packaging/bundle.mjs writes the texts into the command, by path. */
declare const XDPWHO_TEXTS: Readonly<Record<string, string>>;

/** The text of a file beside the modules, `script/main.sh` for example. The library reads it from `dist/`. */
export function packageText(path: string): string {
  if (typeof XDPWHO_TEXTS === 'object') return XDPWHO_TEXTS[path] ?? '';
  const [folder = ''] = relative(ROOT, HERE).split(sep);
  return readFileSync(join(ROOT, folder, path), 'utf8');
}

function findRoot(directory: string): string | undefined {
  if (existsSync(join(directory, 'package.json'))) return directory;
  const parent = dirname(directory);
  return parent === directory ? undefined : findRoot(parent);
}
