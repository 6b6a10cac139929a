/**
 * Runs the tests: node test/run.mjs [unit | kernel | bench | vm | vm-more | FILE | DIRECTORY | PATTERN]...
 *
 * Each argument is a stage (default: the first four in turn); a failing stage is the last one.
 * Every file has a process of its own, TEST_JOBS of them at a time (2), TEST_LIMIT_S seconds at most
 * (1200).
 *
 * uvu's own command line exits 0 when a hook throws, `.run()` is forgotten, `.only` is left in, or
 * nothing matches. Here all of these fail. The last line is `N passed, N failed, N skipped`.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The stages that need a kernel, and their folders; every other test is of the stage `unit`. */
const STAGES = {
  kernel: 'test/kernel/',
  bench: 'test/benchmarks/',
  vm: 'test/vm/',
  'vm-more': 'test/vm-more/',
};

const self = fileURLToPath(import.meta.url);
const root = dirname(dirname(self));
const jobs = Number(process.env.TEST_JOBS ?? 2);
const limitS = Number(process.env.TEST_LIMIT_S ?? 1200);
const skipsFail = process.env.CI === 'true' && process.getuid?.() === 0;

if (process.send) await runFile(process.argv[2]);
else process.exit(await runStages(process.argv.slice(2)));

/** A directory where a shell finds `xdpwho`, as hints name it. The caller removes it. */
function makeBin() {
  const bin = mkdtempSync(join(tmpdir(), 'xdpwho-bin-'));
  symlinkSync(join(root, 'bin/xdpwho.js'), join(bin, 'xdpwho'));
  return bin;
}

async function runStages(args) {
  const total = { passed: 0, failed: 0, skipped: 0 };
  const running = new Set();
  let endedBy = 0;
  const bin = makeBin();
  process.env.PATH = `${bin}:${process.env.PATH}`;
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      endedBy = 128 + constants.signals[signal];
      for (const child of running) kill(child, signal);
    });
  }
  for (const stage of args.length > 0 ? args : ['unit', 'kernel', 'bench', 'vm']) {
    const files = select(stage);
    if (files.length === 0) {
      console.log(`FAIL: no test file matches ${JSON.stringify(stage)}\n`);
      total.failed += 1;
    }
    const lane = async () => {
      for (let file = files.shift(); file !== undefined && !endedBy; file = files.shift()) {
        const counts = await startFile(file, running);
        for (const key of Object.keys(total)) total[key] += counts[key];
      }
    };
    await Promise.all(Array.from({ length: jobs }, lane));
    if (total.failed > 0 || endedBy) break;
  }
  rmSync(bin, { recursive: true });
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return endedBy || Number(total.failed > 0);
}

function select(stage) {
  const found = statSync(stage, { throwIfNoEntry: false });
  if (found?.isFile()) return [resolve(stage)];
  if (found?.isDirectory()) return testsIn(resolve(stage));
  const files = testsIn(join(root, 'test')).filter((file) => !file.includes('/fixtures/'));
  const paths = Object.values(STAGES);
  const isOf = (path, file) => relative(root, file).startsWith(path);
  if (stage === 'unit') return files.filter((file) => !paths.some((path) => isOf(path, file)));
  if (Object.hasOwn(STAGES, stage)) return files.filter((file) => isOf(STAGES[stage], file));
  const pattern = new RegExp(stage);
  return files.filter((file) => pattern.test(relative(root, file)));
}

function testsIn(directory) {
  const names = readdirSync(directory, { recursive: true }).filter((name) =>
    name.endsWith('.test.ts'),
  );
  return names.sort().map((name) => join(directory, name));
}

/** Runs one file in a process group of its own, so that what it leaves running ends with it. */
function startFile(file, running) {
  const name = relative(root, file);
  const counts = { passed: 0, failed: 0, skipped: 0 };
  let leftToGuest = 0;
  const problems = [];
  const startedAt = Date.now();
  let output = '';
  let done = false;

  const child = fork(self, [file], {
    cwd: root,
    execArgv: ['--import', 'tsx'],
    detached: true,
    silent: true,
  });
  running.add(child);
  let force;
  const limit = setTimeout(() => {
    problems.push(`more than ${limitS} s (TEST_LIMIT_S)`);
    kill(child, 'SIGTERM');
    force = setTimeout(kill, 5000, child, 'SIGKILL');
  }, limitS * 1000);
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  child.on('message', (message) => {
    for (const key of Object.keys(counts)) counts[key] += message[key] ?? 0;
    problems.push(...(message.problems ?? []));
    leftToGuest += message.leftToGuest ?? 0;
    done ||= message.done === true;
  });

  return new Promise((resolve) => {
    child.on('exit', () => {
      clearTimeout(limit);
      clearTimeout(force);
      kill(child, 'SIGKILL');
      running.delete(child);
      // A daemon that left the group may hold the pipes open for ever.
      setTimeout(() => child.emit('close'), 2000).unref();
    });
    child.once('close', () => {
      const how = child.signalCode ?? `exit ${child.exitCode}`;
      if (!done) problems.push(`the process ended (${how}) before its tests did`);
      const unexcused = counts.skipped - leftToGuest;
      if (skipsFail && unexcused > 0 && /(^|\/)(kernel|benchmarks|vm|vm-more)\//.test(name)) {
        problems.push(`${unexcused} skipped: with CI=true, as root, every kernel test has to run`);
      }
      if (problems.length > 0) counts.failed ||= 1;
      const failures = problems.map((problem) => `FAIL: ${name}: ${problem}\n`).join('');
      const seconds = ((Date.now() - startedAt) / 1000).toFixed(1);
      console.log(`${name}  ${seconds} s\n${output.trimEnd()}\n${failures}`);
      resolve(counts);
    });
  });
}

/** Signals the whole group of a file's process, which may be gone. */
function kill(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** In the process of one file. A suite's run() gives [failures as text or true, passed, skipped, total]. */
async function runFile(file) {
  process.on('disconnect', () => process.exit(1));
  process.channel.unref();
  globalThis.UVU_DEFER = 1;
  globalThis.UVU_INDEX = 0;
  globalThis.UVU_QUEUE = [[]];
  globalThis.TEST_NOTES = { skipped: [], hooks: [], waiting: new Set() };
  const { skipped: named, hooks, waiting } = globalThis.TEST_NOTES;
  const problems = [];

  await import(pathToFileURL(file).href);
  const suites = globalThis.UVU_QUEUE[0];
  if (suites.length === 0 && waiting.size === 0) problems.push('no suite: .run() is missing');
  for (const suite of waiting) problems.push(`${suite}: .run() is missing`);
  if (/^\s*[\w$]+\.only\(/m.test(readFileSync(file, 'utf8'))) problems.push('a leftover .only');

  let skips = 0;
  for (const run of suites) {
    try {
      const [errors, passed, skipped, total] = await run();
      if (errors !== true) process.stdout.write(errors);
      process.send({ passed, skipped, failed: total - passed });
      skips += skipped;
      if (errors === true && passed < total && hooks.length === 0) {
        problems.push('a hook threw, and uvu keeps the error to itself (test/suite.ts shows it)');
      }
    } catch (error) {
      problems.push(`an after hook threw: ${error?.stack ?? error}`);
    }
  }
  if (skips > named.length)
    problems.push(`${skips - named.length} skipped without a name and a reason`);
  for (const { suite, name, why } of named) console.log(`skipped: ${suite}: ${name}: ${why}`);
  problems.push(...hooks.map(({ suite, hook, error }) => `${suite}: ${hook} threw: ${error}`));
  const leftToGuest = named.filter(({ inGuest }) => inGuest).length;
  process.send({ done: true, problems, leftToGuest }, () => process.exit());
}
