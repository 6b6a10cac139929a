/**
 * npm run test:nodes: the unit tests and the demo on every Node that is supported, from npm's own
 * packages of it. Writes its section of docs/compatibility.md. The last line is
 * `N passed, N failed, N skipped`.
 */
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { propertyOf } from '../src/model/json-values.js';
import { NODE_VERSIONS, PROJECT, prepareNode } from './vm/image.js';
import { type NodeReport, renderNodes, replaceSection } from './vm/report.js';
import { start } from './vm/run.js';

const CLOSING_LINE = /^(\d+) passed, (\d+) failed, (\d+) skipped$/m;

async function main(): Promise<number> {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const reports: NodeReport[] = [];
  for (const version of NODE_VERSIONS) {
    const node = await prepareNode(version, (line) => console.log(line));
    // The cache may be in a home that other users cannot enter, and some tests run as one.
    const directory = mkdtempSync(join(tmpdir(), 'xdpwho-node-'));
    chmodSync(directory, 0o755);
    const program = join(directory, 'node');
    copyFileSync(node.program, program);
    const tests = await runTests(program);
    for (const key of ['passed', 'failed', 'skipped'] as const) total[key] += tests[key];
    const demo = await runDemo(program);
    rmSync(directory, { recursive: true });
    if (demo === 'exact') total.passed++;
    else if (demo.startsWith('not run')) total.skipped++;
    else total.failed++;
    const line = `${tests.passed} passed, ${tests.failed} failed, ${tests.skipped} skipped`;
    console.log(`Node ${version}: unit tests: ${line}; demo: ${demo}`);
    reports.push({ version, tests: line, demo });
  }
  if (total.failed === 0) {
    const file = join(PROJECT, 'docs/compatibility.md');
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, replaceSection(text, 'test:nodes', renderNodes(reports)));
  }
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed > 0 ? 1 : 0;
}

async function runTests(program: string) {
  const result = await execa(program, [join(PROJECT, 'test/run.mjs'), 'unit'], {
    cwd: PROJECT,
    reject: false,
    all: true,
    stdin: 'ignore',
    maxBuffer: 1e8,
  });
  const [, passed, failed, skipped] = CLOSING_LINE.exec(result.stdout) ?? [];
  if (result.exitCode !== 0) console.log(result.all);
  return {
    passed: Number(passed ?? 0),
    // Without its line it did not get as far.
    failed: Number(failed ?? 1) || Number(result.exitCode !== 0),
    skipped: Number(skipped ?? 0),
  };
}

async function runDemo(program: string): Promise<string> {
  if (process.getuid?.() !== 0) return 'not run: needs root';
  const args = [join(PROJECT, 'bin/xdpwho.js'), 'demo', '-o', 'json'];
  const { stdout, stderr, exitCode } = await execa(program, args, {
    reject: false,
    stdin: 'ignore',
  });
  if (exitCode === 0 && propertyOf(JSON.parse(stdout), 'exact') === true) return 'exact';
  console.log(`${stdout}\n${stderr}`);
  return `failed, exit code ${exitCode}`;
}

start(main());
