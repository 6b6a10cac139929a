/** The options with which esbuild makes the command: for dist/, and for the file that needs nothing beside it. */
import { readdirSync, readFileSync } from 'node:fs';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

/** The shell texts in src/, by path: src/host/package-files.ts reads them. */
const src = new URL('../src/', import.meta.url);
const texts = readdirSync(src, { recursive: true })
  .filter((path) => path.endsWith('.sh'))
  .sort()
  .map((path) => [path, readFileSync(new URL(path, src), 'utf8')]);

/**
 * One CommonJS file. Node starts it faster than ES modules, of which it reads one file after the other
 * through an asynchronous loader. esbuild runs a module that is imported dynamically only when it is asked for.
 *
 * @type {import('esbuild').BuildOptions}
 */
export const bundle = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node18.19',
  banner: { js: "const xdpwhoUrl = require('node:url').pathToFileURL(__filename).href;" },
  define: {
    XDPWHO_VERSION: JSON.stringify(version),
    XDPWHO_TEXTS: JSON.stringify(Object.fromEntries(texts)),
    'import.meta.url': 'xdpwhoUrl',
  },
  logLevel: 'silent',
};
