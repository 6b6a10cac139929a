/** What esbuild makes one file of the command with: for dist/ and for the file that needs nothing beside it. */
import { readFileSync } from 'node:fs';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));

/** execa and yargs are partly CommonJS: their `require` of Node's modules has to exist in the bundle. */
const banner = `import { createRequire as xdpwhoRequire } from 'node:module';
const require = xdpwhoRequire(import.meta.url);`;

/** @type {import('esbuild').BuildOptions} */
export const bundle = {
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node18.19',
  banner: { js: banner },
  define: { XDPWHO_VERSION: JSON.stringify(version) },
  logLevel: 'silent',
};
