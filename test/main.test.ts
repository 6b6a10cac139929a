/** Runs the command line as a process, and looks at its output and its exit code. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import * as assert from 'uvu/assert';
import { findTool } from '../src/host/tools.js';
import { suite } from './suite.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** A bundle beside the real one, since paths are relative to it. It starts much faster than the modules. */
const CLI = join(ROOT, 'dist', `cli-under-test-${process.pid}.mjs`);
const VERBS = /^ {2}xdpwho (\w+)/gm;

/** In a network namespace with nothing in it: without a word, a command takes the interface of the default route. */
const ALONE = process.getuid?.() === 0 ? ['unshare', '--net'] : [];

interface Ended {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface StartOptions {
  /** A module as text, which Node imports before the command line. */
  readonly preload?: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly stdin?: 'pipe';
  readonly stdout?: 'pipe' | number;
}

function start(words: readonly string[], options: StartOptions = {}): ChildProcess {
  const preload =
    options.preload === undefined
      ? []
      : ['--import', `data:text/javascript,${encodeURIComponent(options.preload)}`];
  const [file = '', ...before] = [...ALONE, process.execPath, ...preload, CLI];
  return spawn(file, [...before, ...words], {
    cwd: ROOT,
    env: options.environment ?? process.env,
    stdio: [options.stdin ?? 'ignore', options.stdout ?? 'pipe', 'pipe'],
  });
}

async function end(child: ChildProcess): Promise<Ended> {
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (chunk) => {
      text[name] += chunk;
    });
  }
  await once(child, 'close');
  return { exitCode: child.exitCode, ...text };
}

function xdpwho(words: readonly string[], options: StartOptions = {}): Promise<Ended> {
  return end(start(words, options));
}

/** The lines of an error: the message and the hint. */
function errorLines({ stderr }: Ended): string[] {
  return stderr.split('\n').slice(0, -1);
}

await build({
  entryPoints: [join(ROOT, 'src/main.ts')],
  outfile: CLI,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node18.19',
  sourcemap: 'inline',
});
process.on('exit', () => rmSync(CLI, { force: true }));

const help = suite('help and version');

help('--version is the one of package.json', async () => {
  const manifest: { version: string } = JSON.parse(
    readFileSync(join(ROOT, 'package.json'), 'utf8'),
  );
  assert.equal(await xdpwho(['--version']), {
    exitCode: 0,
    stdout: `${manifest.version}\n`,
    stderr: '',
  });
});

help(
  'every verb has a help of 24 lines and 80 columns at most that ends with two examples',
  async () => {
    const whole = await xdpwho(['--help']);
    assert.is(whole.exitCode, 0);
    const list = /^Commands:\n([\s\S]*)^General options:/m.exec(whole.stdout)?.[1] ?? '';
    const verbs = [...list.matchAll(VERBS)].map((found) => found[1] ?? '');
    for (const verb of ['watch', 'doctor', 'build', 'demo']) assert.ok(verbs.includes(verb), verb);
    for (const words of [[], ...verbs.map((verb) => [verb])]) {
      const { exitCode, stdout, stderr } = await xdpwho([...words, '--help']);
      const name = words.join(' ');
      assert.equal([exitCode, stderr], [0, ''], name);
      const lines = stdout.trimEnd().split('\n');
      assert.match(
        lines[0] ?? '',
        new RegExp(`^Usage: xdpwho ${name === '' ? '\\[watch\\]' : name}`),
        name,
      );
      assert.equal(
        lines.filter((line) => line.length > 80),
        [],
        name,
      );
      assert.ok(name === '' || lines.length <= 24, `${name}: ${lines.length} lines`);
      const examples = lines.slice(lines.indexOf('Examples:') + 1);
      assert.is(examples.filter((line) => /^ {2}xdpwho /.test(line)).length, 2, name);
      assert.ok(
        examples.every((line) => /^ {2}xdpwho .+ {2}\S|^ {2}xdpwho |^ {6}\S/.test(line)),
        name,
      );
    }
  },
);

help('-h and help do the same, and the help of all names every verb once', async () => {
  const { stdout } = await xdpwho(['--help']);
  assert.is((await xdpwho(['-h'])).stdout, stdout);
  assert.is((await xdpwho(['help'])).stdout, stdout);
  assert.ok(stdout.split('\n').length <= 30, 'fits a terminal');
});

help('output that cannot be written is an error, and a reader that left is none', async () => {
  const full = await xdpwho(['--help'], { stdout: openSync('/dev/full', 'w') });
  assert.is(full.exitCode, 1);
  assert.match(full.stderr, /^xdpwho: standard output: ENOSPC: .*\n$/);

  const child = start(['--help']);
  child.stdout?.destroy();
  const left = await end(child);
  assert.equal([left.exitCode, left.stderr], [0, '']);
});

help.run();

const usage = suite('usage errors');

/** Words, and the message and the hint that they lead to. */
const NONE_NAMED = 'no interface named, and no default route; no interface is up';
const WRONG: readonly (readonly [words: readonly string[], message: string, hint: string])[] = [
  ...(ALONE.length === 0
    ? []
    : ([
        [[], NONE_NAMED, 'xdpwho --help'],
        [['watch'], NONE_NAMED, 'xdpwho watch --help'],
      ] as const)),
  [
    ['eth0', '--intervall', '5'],
    'unknown option: --intervall',
    'did you mean --interval? See xdpwho watch --help',
  ],
  [['watch', 'eth0', '--frobnicate'], 'unknown option: --frobnicate', 'xdpwho watch --help'],
  [['doctor', '-x'], 'unknown option: -x', 'xdpwho doctor --help'],
  [['-v', 'build', 'a', 'b'], 'unexpected argument: b', 'xdpwho build --help'],
  [['eth0', '--interval'], 'option interval: a value is missing', 'xdpwho watch --help'],
  [['-i'], 'option i: a value is missing', 'xdpwho watch --help'],
  [['eth0', '--interval', '0'], '--interval 0: must be more than 0', 'xdpwho watch --help'],
  [
    ['eth0', '--interval', '-5'],
    '--interval -5: not a duration like 500ms, 10s, 2m or 1h',
    'xdpwho watch --help',
  ],
  [
    ['eth0', '--max-sources=4000000000'],
    '--max-sources 4000000000: must be at most 4000000',
    'xdpwho watch --help',
  ],
  [
    ['eth0', '--max-sources', 'abc'],
    '--max-sources abc: not a whole number',
    'xdpwho watch --help',
  ],
  [['eth0', '--count=0'], '--count 0: must be at least 1', 'xdpwho watch --help'],
  [['eth0', '--top='], '--top "": not a whole number', 'xdpwho watch --help'],
  [['eth0', '--mode', 'skb'], '--mode skb: must be auto, native or generic', 'xdpwho watch --help'],
  [
    ['eth0', '--sort', 'a\x1b[2J'],
    '--sort a\\x1b[2J: must be packets, bytes, rate or source',
    'xdpwho watch --help',
  ],
  [['doctor', '--netns', ''], '--netns: a value is missing', 'xdpwho doctor --help'],
];

for (const [words, message, hint] of WRONG) {
  usage(`${JSON.stringify(words.join(' '))} gets one line, a hint and exit code 2`, async () => {
    const ended = await xdpwho(words);
    assert.equal(errorLines(ended), [`xdpwho: ${message}`, `  hint: ${hint}`]);
    assert.equal([ended.exitCode, ended.stdout], [2, '']);
  });
}

usage('two formats at once are refused, in the first place as a record', async () => {
  const ended = await xdpwho(['eth0', '-o', 'table', '--ndjson']);
  assert.equal(errorLines(ended), [
    'xdpwho: --output: table and ndjson: one format at a time',
    '  hint: xdpwho watch --help',
  ]);
  assert.equal(JSON.parse(ended.stdout), {
    type: 'error',
    code: 'usage',
    message: '--output: table and ndjson: one format at a time',
    hint: 'xdpwho watch --help',
  });
  assert.is(ended.stdout.split('\n').length, 2, 'one line');
  assert.is(ended.exitCode, 2);
});

usage('with -o json the record is a document, and without it there is none', async () => {
  const asked = await xdpwho(['watch', '--frobnicate', '--json']);
  assert.is(JSON.parse(asked.stdout).code, 'usage');
  assert.ok(asked.stdout.split('\n').length > 2, 'indented');
  // After -- it is the name of an interface.
  assert.is((await xdpwho(['watch', '--frobnicate', '--', '--json'])).stdout, '');
  for (const words of [['-o=json'], ['-qo', 'json'], ['-qo=json']]) {
    const otherwise = await xdpwho(['watch', '--frobnicate', ...words]);
    assert.is(otherwise.stdout, asked.stdout, words.join(' '));
  }
});

usage('a value that is given twice counts once, the last time', async () => {
  const ended = await xdpwho(['eth0', '--interval=abc', '--interval=5', '--count=0', '--count=x']);
  assert.equal(errorLines(ended)[0], 'xdpwho: --count x: not a whole number');
});

usage.run();

const reporting = suite('report');

reporting('a recording may come on standard input', async () => {
  const child = start(['report', '-'], { stdin: 'pipe' });
  child.stdin?.end('{"type":"totals","interface":"eth0","packets":7}\n');
  const { exitCode, stdout, stderr } = await end(child);
  assert.equal([exitCode, stderr], [0, '']);
  assert.match(stdout, 'From standard input');
});

reporting('Ctrl-C ends the wait for more of it', async () => {
  const child = start(['report', '-'], { stdin: 'pipe' });
  const ended = end(child);
  // It is more than a pipe holds, so when all of it has been written, the child reads.
  await new Promise((taken) => child.stdin?.write('\n'.repeat(2_000_000), taken));
  child.kill('SIGINT');
  assert.equal(await ended, { exitCode: 130, stdout: '', stderr: '' });
});

reporting.run();

const misspelt = suite(
  'a misspelt verb',
  process.getuid?.() === 0 && findTool('bpftool') !== undefined
    ? undefined
    : 'needs root and bpftool',
);

misspelt('is taken for an interface, and the hint says what it looks like', async () => {
  const ended = await xdpwho(['wathc', 'nosuch0', '-q']);
  assert.equal(errorLines(ended), [
    'xdpwho: wathc: no such interface',
    '  hint: did you mean: xdpwho watch nosuch0 -q',
  ]);
  assert.equal([ended.exitCode, ended.stdout], [1, '']);
});

misspelt('is not looked for where the verb is right', async () => {
  const ended = await xdpwho(['watch', 'wathc']);
  assert.is(errorLines(ended)[0], 'xdpwho: wathc: no such interface');
  assert.not.match(ended.stderr, /xdpwho watch/);
});

misspelt.run();

interface Scratch {
  directory: string;
}

const running = suite<Scratch>('a running command');

running.before.each((context) => {
  context.directory = mkdtempSync(join(tmpdir(), 'xdpwho-cli-'));
});

running.after.each(({ directory }) => {
  rmSync(directory, { recursive: true, force: true });
});

/** A bpftool that takes its time. */
const SLOW = '#!/bin/sh\nsleep 0.5\nexit 1\n';

function slowTool(directory: string): string {
  const path = join(directory, 'bpftool');
  writeFileSync(path, SLOW, { mode: 0o755 });
  return path;
}

/** Resolves once standard error contains a text. */
async function untilSaid(child: ChildProcess, text: string): Promise<void> {
  let said = '';
  for await (const [chunk] of eventsOf(child)) {
    said += String(chunk);
    if (said.includes(text)) return;
  }
}

async function* eventsOf(child: ChildProcess): AsyncGenerator<unknown[]> {
  while (child.stderr !== null) yield once(child.stderr, 'data');
}

for (const [name, exitCode] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const) {
  running(
    `ends with ${exitCode} after ${name}, and the same one again changes nothing`,
    async ({ directory }) => {
      const child = start(['doctor', '-v', '--bpftool', slowTool(directory)]);
      await untilSaid(child, '-j version');
      const ended = end(child);
      child.kill(name);
      child.kill(name);
      const { stderr, ...rest } = await ended;
      assert.is(rest.exitCode, exitCode);
      assert.not.match(stderr, /xdpwho:|^ {4}at /m);
    },
  );
}

running('ends at once at a second signal, with what it runs', async ({ directory }) => {
  const path = join(directory, 'bpftool');
  const pids = join(directory, 'pids');
  // The run would end of itself after the time limit of `bpftool version`, with the code of SIGINT.
  writeFileSync(path, `#!/bin/sh\nsleep 600 &\necho $$ $! >${pids}\nwait\n`, { mode: 0o755 });
  const child = start(['doctor', '-v', '--bpftool', path]);
  await untilSaid(child, '-j version');
  await until(() => existsSync(pids) && readFileSync(pids, 'utf8').endsWith('\n'));
  const ended = end(child);
  child.kill('SIGINT');
  // The first one that comes more than half a second after the SIGINT counts.
  const again = setInterval(() => child.kill('SIGTERM'), 100);
  const { stdout, stderr, exitCode } = await ended;
  clearInterval(again);
  assert.equal([exitCode, stdout, stderr], [143, '', '']);
  const group = readFileSync(pids, 'utf8').trim().split(' ');
  assert.is(group.length, 2);
  await until(() => group.every(hasEnded));
});

/** Waits for a condition; fails after a time that is generous and no measurement. */
async function until(condition: () => boolean): Promise<void> {
  const endMs = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > endMs) assert.unreachable(`not within 30 s: ${condition}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** A process that nobody waits for stays as a zombie when it has ended. */
function hasEnded(pid: string): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return true;
  }
}

running('-v prints each command before it runs, on standard error', async ({ directory }) => {
  const path = slowTool(directory);
  const { stdout, stderr } = await xdpwho(['doctor', '-v', '--bpftool', path]);
  const lines = stderr.trimEnd().split('\n');
  assert.ok(lines.includes(`+ ${path} -j version`), stderr);
  assert.ok(
    lines.every((line) => line.startsWith('+ ')),
    stderr,
  );
  assert.match(stdout, /^FAIL {2}bpftool/m);
});

running(
  'doctor -o json is one document with the checks, and says what failed',
  async ({ directory }) => {
    const ended = await xdpwho(['doctor', '--json', '--bpftool', join(directory, 'none')]);
    assert.is(ended.exitCode, 1);
    assert.is(ended.stderr, '');
    const document: {
      ok: boolean;
      checks: { name: string; status: string; fix: string | null }[];
    } = JSON.parse(ended.stdout);
    assert.is(document.ok, false);
    const bpftool = document.checks.find((check) => check.name === 'bpftool');
    assert.is(bpftool?.status, 'fail');
    assert.ok(document.checks.every((check) => check.status !== 'fail' || check.fix !== null));
  },
);

running('a bug is one line with exit code 1, and a stack under -v only', async () => {
  const preload = 'process.stdout.write = () => { throw new TypeError("boom\\nboom"); };';
  const ended = await xdpwho(['--version'], { preload });
  assert.is(ended.exitCode, 1);
  assert.equal(errorLines(ended), ['xdpwho: internal error: TypeError: boom boom, please report']);
  const verbose = await xdpwho(['doctor', '-v', '--bpftool', '/nowhere'], { preload });
  assert.is(verbose.exitCode, 1);
  assert.match(
    verbose.stderr,
    /^xdpwho: internal error: TypeError: boom boom, please report\nTypeError: boom/m,
  );
});

running('a bug outside of the command ends it in order', async ({ directory }) => {
  const preload = `const timer = setInterval(() => {
    if (process.listenerCount('uncaughtException') === 0) return;
    clearInterval(timer);
    throw new RangeError('late');
  }, 10);`;
  const ended = await xdpwho(['doctor', '--bpftool', slowTool(directory)], { preload });
  assert.is(ended.exitCode, 1);
  assert.equal(errorLines(ended), ['xdpwho: internal error: RangeError: late, please report']);
});

running('an error after the work ends the process as it ends every program of Node', async () => {
  const preload = "process.once('beforeExit', () => { throw new RangeError('after the work'); });";
  const ended = await xdpwho(['--version'], { preload });
  assert.is(ended.exitCode, 1);
  assert.match(ended.stderr, /RangeError: after the work/);
});

running('colour is for terminals, and for those who insist', async ({ directory }) => {
  const words = ['doctor', '--bpftool', join(directory, 'none')];
  const escapeCode = '\x1b[';
  const environment = { ...process.env, FORCE_COLOR: '1' };
  assert.not.ok((await xdpwho(words, { environment })).stdout.includes(escapeCode));
  const always = await xdpwho([...words, '--color', 'always'], { environment });
  assert.ok(always.stdout.includes(escapeCode));
  const both = await xdpwho([...words, '--color', 'always', '--no-color'], { environment });
  assert.not.ok(both.stdout.includes(escapeCode));
});

running.run();

const building = suite<Scratch>(
  'build',
  findTool('clang') === undefined ? 'there is no clang' : undefined,
);

building.before.each((context) => {
  context.directory = mkdtempSync(join(tmpdir(), 'xdpwho-build-'));
});

building.after.each(({ directory }) => {
  rmSync(directory, { recursive: true, force: true });
});

building('makes every object for both byte orders, and -v prints how', async ({ directory }) => {
  const { exitCode, stdout, stderr } = await xdpwho(['build', directory, '-v']);
  assert.equal([exitCode, stdout], [0, '']);
  const names = readdirSync(join(directory, 'el'));
  for (const name of ['xdpwho.frags.o', 'xdpwho.o', 'sources.o', 'totals.o']) {
    assert.ok(names.includes(name), name);
  }
  assert.equal(readdirSync(join(directory, 'eb')), names);
  const lines = stderr.trimEnd().split('\n');
  assert.is(lines.at(-1), `xdpwho: ${directory}: ${2 * names.length} objects compiled`);
  assert.ok(lines.slice(0, -1).every((line) => line.startsWith('+ /')));
  for (const byteOrder of ['el', 'eb']) {
    for (const name of names) {
      const output = join(directory, byteOrder, name);
      assert.ok(
        lines.some((line) => line.includes(`-target bpf${byteOrder} `) && line.endsWith(output)),
        output,
      );
    }
  }
});

building("passes clang's own message on", async ({ directory }) => {
  const source = join(directory, 'source');
  cpSync(join(ROOT, 'bpf'), source, { recursive: true });
  appendFileSync(join(source, 'totals.bpf.c'), 'int wrong = ;\n');
  const ended = await xdpwho(['build', join(directory, 'out'), '--source', source]);
  assert.equal([ended.exitCode, ended.stdout], [1, '']);
  assert.match(ended.stderr, /^xdpwho: clang: totals\.bpf\.c: /);
  assert.match(ended.stderr, /totals\.bpf\.c:\d+:\d+: error: expected expression/);
});

building('a directory that cannot be made is one line', async ({ directory }) => {
  writeFileSync(join(directory, 'file'), '');
  const ended = await xdpwho(['build', join(directory, 'file', 'below')]);
  assert.is(ended.exitCode, 1);
  assert.match(ended.stderr, /^xdpwho: .+\/file\/below: .+\n {2}hint: .+\n$/);
});

building.run();
