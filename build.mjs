/**
 * Builds dist/: the library's modules and types (tsc), the command with all that it needs (esbuild), and the BPF
 * objects for both byte orders (clang, through src/objects/compile.ts). Stamped, for setup.mjs.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { bundle } from './packaging/bundle.mjs';
import { buildStamp } from './setup.mjs';

process.chdir(fileURLToPath(new URL('.', import.meta.url)));
const { build } = await import('esbuild').catch(() => {
  console.error('build: esbuild is not there: npm ci --include=dev');
  process.exit(1);
});
// Of what is read now: a file that changes from here on asks for another build.
const stamp = buildStamp();
await step('dist/, emptied', () => rmSync('dist', { recursive: true, force: true }));

await step('types and library: dist/*.js, dist/*.d.ts', () => {
  const tsc = spawnSync(
    process.execPath,
    ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'],
    { encoding: 'utf8' },
  );
  if (tsc.status !== 0) throw new Error(tsc.error?.message ?? `tsc:\n${tsc.stdout}${tsc.stderr}`);
});

await step('command: dist/main.cjs', () =>
  build({ ...bundle, entryPoints: ['src/main.ts'], outfile: 'dist/main.cjs' }),
);

await step('shell: dist/*/*.sh', () => {
  const isShell = (path) => statSync(path).isDirectory() || path.endsWith('.sh');
  cpSync('src', 'dist', { recursive: true, filter: isShell });
});

await step('BPF objects: dist/bpf/{el,eb}', async () => {
  // Beside the other modules, so that paths relative to import.meta.url hold.
  const file = 'dist/compile-for-build.cjs';
  await build({ ...bundle, entryPoints: ['src/objects/compile.ts'], outfile: file });
  try {
    const { compileObjects } = await import(new URL(file, import.meta.url).href);
    await compileObjects({ outputDirectory: 'dist/bpf' });
  } finally {
    rmSync(file);
  }
});

writeFileSync('dist/.stamp', stamp);

/** One line with its time; a failure is one line, what the tool said, and exit 1. */
async function step(name, run) {
  const startedAt = Date.now();
  try {
    await run();
  } catch (error) {
    console.error(`build: ${name}: failed: ${error.message.trimEnd()}`);
    process.exit(1);
  }
  console.error(`build: ${name} ... ${((Date.now() - startedAt) / 1000).toFixed(1)} s`);
}
