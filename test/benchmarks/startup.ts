/**
 * How long `xdpwho --help` takes beside an empty script on the same Node: `npm run bench:startup`.
 * Measured in pairs, since what else the machine does changes from one second to the next.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../dist/main.cjs', import.meta.url));
const PAIRS = Number(process.argv[2] ?? 31);

const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-startup-'));
const empty = join(scratch, 'empty.mjs');
writeFileSync(empty, '');
const pairs = Array.from({ length: PAIRS + 1 }, () => {
  const bareMs = startMs([empty]);
  const helpMs = startMs([CLI, '--help']);
  return { bareMs, helpMs, ratio: helpMs / bareMs };
}).slice(1);
rmSync(scratch, { recursive: true });

const [bare, help, ratio] = (['bareMs', 'helpMs', 'ratio'] as const).map((figure) =>
  median(pairs.map((pair) => pair[figure])),
);
console.log(
  `node ${process.version}: empty ${bare?.toFixed(0)} ms, --help ${help?.toFixed(0)} ms, ` +
    `ratio ${ratio?.toFixed(2)} (medians of ${PAIRS} pairs)`,
);

function startMs(args: readonly string[]): number {
  const startedAt = performance.now();
  const { status } = spawnSync(process.execPath, args, { stdio: 'ignore' });
  if (status !== 0) throw new Error(`${args.join(' ')}: exit ${status}`);
  return performance.now() - startedAt;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
