/**
 * Runs the tests of README's promises, and writes what they tried and what came of it into
 * docs/reliability.md, between its two markers: node test/reliability.mjs [LOG]. With a LOG, what a
 * run of them has left in the file that RELIABILITY_LOG named, it only writes.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const DOCUMENT = 'docs/reliability.md';
const BEGIN = '<!-- results: npm run reliability -->';
const END = '<!-- end of results -->';
const FILES = [
  'death',
  'kills',
  'unseen',
  'tcx',
  'guards',
  'link-layer',
  'strangers',
  'changes',
  'counts',
  'safety',
  'leaks',
  'stopped-readers',
]
  .map((name) => `test/kernel/${name}.test.ts`)
  .concat('test/fuzz.test.ts');

const [written] = process.argv.slice(2);
try {
  writeDocument(written === undefined ? runTests() : readFileSync(written, 'utf8'));
} catch (error) {
  console.error(`reliability: ${error.message}`);
  process.exitCode = 1;
}

function runTests() {
  const directory = mkdtempSync(join(tmpdir(), 'xdpwho-reliability-'));
  const log = join(directory, 'log');
  try {
    writeFileSync(log, '');
    const pattern = `^(${FILES.join('|').replaceAll('.', '\\.')})$`;
    const { status } = spawnSync(process.execPath, ['test/run.mjs', pattern], {
      stdio: 'inherit',
      env: { ...process.env, RELIABILITY_LOG: log },
    });
    if (status !== 0) throw new Error('a test failed: the document stays as it was');
    return readFileSync(log, 'utf8');
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function writeDocument(text) {
  const trials = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
  const promises = FILES.map((file) => {
    const match = /^const PROMISE =\s*(?:'([^']*)'|"([^"]*)");$/m.exec(readFileSync(file, 'utf8'));
    return match[1] ?? match[2];
  });
  const where = `Linux ${release()}, ${cpus().length} CPUs, Node ${process.version}, ${bpftoolVersion()}, on ${new Date().toISOString().slice(0, 10)}.`;
  const sections = promises.map((promise) => {
    const rows = trials
      .filter((trial) => trial.promise === promise)
      .map(
        ({ what, times, result }) =>
          `| ${cell(what)} | ${times.toLocaleString('en')} | ${cell(result)} |`,
      );
    return [
      `### ${promise}`,
      '',
      '| tried | times | result |',
      '| --- | ---: | --- |',
      ...rows,
      '',
    ].join('\n');
  });
  const document = readFileSync(DOCUMENT, 'utf8');
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${DOCUMENT}: its markers are missing`);
  const results = `${BEGIN}\n\n${where}\n\n${sections.join('\n')}\n`;
  writeFileSync(DOCUMENT, document.slice(0, begin) + results + document.slice(end));
  console.log(`${DOCUMENT}: ${trials.length} rows`);
}

function cell(text) {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}

function bpftoolVersion() {
  const { stdout } = spawnSync('bpftool', ['version'], { encoding: 'utf8' });
  return (stdout ?? '').split('\n', 1)[0] || 'bpftool';
}
