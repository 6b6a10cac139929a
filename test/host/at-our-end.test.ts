import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { AtOurEnd } from '../../src/host/at-our-end.js';
import { requireTool } from '../../src/host/tools.js';
import { XdpwhoError } from '../../src/model/errors.js';
import { suite } from '../suite.js';

interface Context {
  directory: string;
  /** What the shells of a test write to. */
  file: string;
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = new URL('../../src/host/', import.meta.url).href;

const shell = suite<Context>('AtOurEnd');

shell.before.each((context) => {
  context.directory = mkdtempSync(join(tmpdir(), 'xdpwho-end-'));
  context.file = join(context.directory, 'written');
  writeFileSync(context.file, '');
});
shell.after.each(({ directory }) => rmSync(directory, { recursive: true, force: true }));

const written = ({ file }: Context) => readFileSync(file, 'utf8');

async function untilWritten(context: Context, text: string): Promise<void> {
  for (let turn = 0; turn < 3000 && written(context) !== text; turn++) await sleep(10);
  assert.is(written(context), text);
}

shell('runs one text at once and the other when it is told to', async (context) => {
  const started = await AtOurEnd.start({
    name: 'xdpwho-test',
    begin: 'printf %s "$2" >>"$1"',
    atEnd: 'printf %s "$3" >>"$1"',
    args: [context.file, 'a "b" $(id)', " 'c'\n"],
  });
  assert.is(written(context), 'a "b" $(id)');
  await started.finish();
  assert.is(written(context), `a "b" $(id) 'c'\n`);
  await started.finish();
  assert.is(written(context), `a "b" $(id) 'c'\n`, 'once');
});

/** Runs code with `AtOurEnd` and `run` in a process of its own, and kills that once it says so. */
async function runAndKill(code: string): Promise<void> {
  const imports = `
    const { AtOurEnd } = await import(${JSON.stringify(`${SOURCES}at-our-end.ts`)});
    const { run } = await import(${JSON.stringify(`${SOURCES}exec.ts`)});
  `;
  const text = `${imports} ${code} console.log('started'); setInterval(() => {}, 1000);`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', text];
  const child = execa(process.execPath, args, { cwd: ROOT, reject: false });
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await child;
}

shell('runs the text when the process is killed', async (context) => {
  const options = { name: 'xdpwho-test', atEnd: 'echo ended >"$1"', args: [context.file] };
  await runAndKill(`await AtOurEnd.start(${JSON.stringify(options)});`);
  await untilWritten(context, 'ended\n');
});

shell('waits for a command that shares the pipe when the process is killed', async (context) => {
  const go = join(context.directory, 'go');
  const options = { name: 'xdpwho-test', atEnd: 'echo shell >>"$1"', args: [context.file] };
  const wait = 'while [ ! -e "$2" ]; do sleep 0.02; done; echo command >>"$1"';
  const command = [requireTool('sh'), ['-c', wait, 'sh', context.file, go]];
  await runAndKill(`
    const { keepOpen } = await AtOurEnd.start(${JSON.stringify(options)});
    void run(...${JSON.stringify(command)}, { keepOpen });
  `);
  await sleep(100);
  assert.is(written(context), '');
  writeFileSync(go, '');
  await untilWritten(context, 'command\nshell\n');
});

shell('is not ended by the signals of a terminal or a service manager', async (context) => {
  const started = await AtOurEnd.start({
    name: 'xdpwho-test',
    atEnd: 'echo ended >"$1"',
    args: [context.file],
  });
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGPIPE', 'SIGTSTP'] as const) {
    process.kill(started.pid, signal);
  }
  await started.finish();
  assert.is(written(context), 'ended\n');
});

shell('is run by another program where one is named', async (context) => {
  const started = await AtOurEnd.start({
    name: 'xdpwho-test',
    begin: 'echo "$VALUE" >"$1"',
    args: [context.file],
    under: [requireTool('env'), 'VALUE=7'],
  });
  await started.finish();
  assert.is(written(context), '7\n');
});

shell('rejects with what the shell says when it cannot begin', async (context) => {
  const failure = async (begin: string, onFailure?: (line: string) => XdpwhoError) => {
    try {
      const atEnd = 'echo ended >"$1"';
      const options = { name: 'xdpwho-test', begin, atEnd, args: [context.file] };
      await AtOurEnd.start(onFailure === undefined ? options : { ...options, onFailure });
    } catch (error) {
      return error instanceof XdpwhoError ? `${error.code} ${error.message}` : error;
    }
    return 'started';
  };
  assert.is(await failure('echo no room >&2; exit 1'), 'tool-failed xdpwho-test: no room');
  const refused = (line: string) => new XdpwhoError('not-permitted', `refused: ${line}`);
  assert.is(await failure('exit 1', refused), 'not-permitted refused:');
  assert.is(written(context), '', 'what never began does not end');
});

shell.run();
