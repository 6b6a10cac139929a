import { cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { endianness } from 'node:os';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { type ErrorCode, EXIT_CODES } from '../../src/model/errors.js';
import { propertyOf } from '../../src/model/json-values.js';
import { suite } from '../suite.js';
import { CLI, Lab, OBJECTS_DIRECTORY, recordsIn, WHY_NOT } from './lab.js';

interface Context {
  lab: Lab;
}

interface Outcome {
  readonly exitCode?: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** One line with the cause, one with a hint, the exit code of its kind, and no trace of a stack. */
function refused(result: Outcome, code: ErrorCode, message: RegExp, hint?: RegExp): void {
  const { exitCode, stderr } = result;
  const lines = stderr.trimEnd().split('\n');
  assert.match(lines[0] ?? '', message, stderr);
  assert.match(lines[0] ?? '', /^xdpwho: /, stderr);
  assert.match(lines[1] ?? '', hint ?? /./, stderr);
  assert.match(lines[1] ?? '', /^ {2}hint: \S/, stderr);
  assert.is(lines.length, 2, stderr);
  assert.is(exitCode, EXIT_CODES[code], stderr);
}

function inLab(name: string) {
  const test = suite<Context>(name, WHY_NOT);
  test.before(async (context) => {
    context.lab = await Lab.create();
  });
  test.after(async ({ lab }) => {
    await lab?.close();
  });
  return test;
}

const names = inLab('an interface that cannot be watched');

for (const [what, name, message, hint] of [
  ['absent', 'nosuch0', /nosuch0: no such interface in network namespace/, /there are: .*eth0/],
  ['misspelt', 'eht0', /eht0: no such interface/, /did you mean eth0\?/],
  ['half typed', 'eth', /eth: no such interface/, /did you mean eth0\?/],
  ['with a slash', 'a/b', /a\/b: not a name of an interface/],
  ['with a path', '../../etc/passwd', /not a name of an interface/],
  ['two dots', '..', /\.\.: not a name of an interface/],
  ['with blanks', 'eth0 eth1', /eth0 eth1: not a name of an interface/],
  ['empty', '', /an empty name is no interface/],
  ['with a percent sign', '%s%n', /%s%n: no such interface/],
  ['with quotes', `e'"\``, /e'"`: no such interface/],
  ['with a command', '$(touch /tmp/xdpwho-was-here)', /not a name|no such interface/],
  ['of 16 characters', 'abcdefghijklmnop', /abcdefghijklmnop: no such interface/],
  ['of 200 characters', 'x'.repeat(200), /longer than any interface name/],
  ['with escape sequences', 'eth\u001b[31m0', /eth\\x1b\[31m0: no such interface/],
] as const) {
  names(`${what}: says so, and makes nothing`, async ({ lab }) => {
    for (const words of [
      ['watch', name],
      ['watch', '-i', name],
    ]) {
      refused(await lab.run(words), 'no-such-interface', message, hint);
    }
    assert.equal(await lab.traces(), []);
  });
}

names('that begins with a dash: is an option, unless it is marked as a name', async ({ lab }) => {
  refused(await lab.run(['watch', '-x']), 'usage', /-x/);
  const own = ['--netns', lab.netns, '--bpffs', lab.bpffs];
  for (const words of [
    ['watch', ...own, '--', '-x'],
    ['watch', ...own, '--iface=-x'],
  ]) {
    refused(await lab.run(words, { bare: true }), 'no-such-interface', /-x: no such interface/);
  }
});

names('in a namespace that is none', async ({ lab }) => {
  const own = ['--bpffs', lab.bpffs];
  for (const [netns, code, message] of [
    ['nosuchns', 'no-such-interface', /nosuchns: no such network namespace/],
    ['/etc/passwd', 'usage', /\/etc\/passwd: not a network namespace/],
    ['4194305', 'no-such-interface', /4194305: no such network namespace/],
    ['$(id)', 'no-such-interface', /no such network namespace/],
  ] as const) {
    const result = await lab.run(['watch', 'eth0', '--netns', netns, ...own], { bare: true });
    refused(result, code, message, /ip netns list/);
  }
});

names('tells programs of it by a record as well', async ({ lab }) => {
  for (const format of ['ndjson', 'json']) {
    const { stdout } = await lab.run(['watch', 'eht0', '-o', format]);
    const record: unknown = JSON.parse(stdout);
    assert.is(propertyOf(record, 'type'), 'error');
    assert.is(propertyOf(record, 'code'), 'no-such-interface');
    assert.match(String(propertyOf(record, 'message')), /^eht0: /);
    assert.match(String(propertyOf(record, 'hint')), /eth0/);
  }
});

names.run();

const usage = inLab('an option that makes no sense');

for (const [words, message] of [
  [['--max-sources', '0'], /--max-sources 0: must be at least 1/],
  [['--max-sources', 'abc'], /--max-sources abc: not a whole number/],
  [['--max-sources', '4000000000'], /--max-sources 4000000000: must be at most 4000000/],
  [['--max-sources', '1e5'], /--max-sources 1e5: not a whole number/],
  [['--max-sources', ''], /--max-sources/],
  [['--max-sources=-1'], /--max-sources -1: must be at least 1/],
  [['--interval', '0'], /--interval 0: must be/],
  [['--interval=-1s'], /--interval -1s: not a duration/],
  [['--interval', '1ms'], /--interval 1ms: must be at least 100ms/],
  [['--interval', 'soon'], /--interval soon: not a duration/],
  [['--duration', '0'], /--duration 0: must be more than 0/],
  [['--duration', '25d'], /--duration 25d: not a duration/],
  [['--count', '0'], /--count 0: must be at least 1/],
  [['--count', '1.5'], /--count 1.5: not a whole number/],
  [['--top', 'x'], /--top x: not a whole number/],
  [['--sort', 'name'], /--sort name: must be packets, bytes, rate or source/],
  [['--mode', 'skb'], /--mode skb: must be auto, native or generic/],
  [['--reader', 'cat'], /--reader cat: must be auto, iterator or dump/],
  [['-o', 'xml'], /--output xml: must be table, ndjson or json/],
  [['-o', 'json', '-o', 'ndjson'], /--output: json and ndjson: one format at a time/],
  [['--json', '--ndjson'], /one format at a time/],
  [['--json', '-o', 'table'], /one format at a time/],
  [['--color', 'blue'], /--color blue: must be auto, always or never/],
  [['--bogus'], /unknown option: --bogus/],
  [['--intervall', '1s'], /unknown option: --intervall/],
  [['-Z'], /unknown option: -Z/],
  [['--interval'], /a value is missing/],
] as const) {
  usage(`${words.join(' ')}: says why`, async ({ lab }) => {
    const own = ['--netns', lab.netns, '--bpffs', lab.bpffs];
    const result = await lab.run(['watch', 'eth0', ...own, ...words], { bare: true });
    refused({ ...result, stdout: '' }, 'usage', message);
  });
}

usage('no interface at all: says so', async ({ lab }) => {
  refused(await lab.run(['watch']), 'usage', /no interface named/, /xdpwho watch --help/);
});

usage('a misspelt verb: is taken for an interface, and the verb is suggested', async ({ lab }) => {
  refused(await lab.run(['wacth']), 'no-such-interface', /wacth: /, /did you mean: xdpwho watch/);
});

usage('none of them has left anything', async ({ lab }) => {
  assert.equal(await lab.traces(), []);
});

usage.run();

const tool = inLab('a bpftool that');

function fake(lab: Lab, text: string): string {
  const path = `${lab.scratch}/bpftool-${Math.random().toString(36).slice(2)}`;
  writeFileSync(path, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  return path;
}

for (const [what, text, code, message] of [
  ['is too old', `echo '{"version":"5.9.0"}'`, 'tool-missing', /version 5.9.0, 5.10 is needed/],
  ['fails', 'echo broken >&2; exit 2', 'tool-failed', /bpftool version: broken/],
  ['fails without a word', 'exit 2', 'tool-failed', /bpftool version: status 2/],
  ['crashes', 'kill -SEGV $$', 'tool-failed', /bpftool version: .*SIGSEGV/],
  ['hangs', 'exec sleep 60', 'timeout', /bpftool version: no answer within the time limit/],
  ['prints garbage', 'head -c 4096 /dev/urandom', 'bad-output', /bpftool version: not JSON/],
  ['prints nothing', 'exit 0', 'bad-output', /bpftool version: unexpected output/],
  [
    'prints an error object with status 0',
    `echo '{"error":"can not"}'`,
    'tool-failed',
    /bpftool version: can not/,
  ],
] as const) {
  tool(`${what}: is told about, and nothing is made`, async ({ lab }) => {
    const result = await lab.run(['watch', 'eth0', '--bpftool', fake(lab, text)]);
    assert.is(result.exitCode, EXIT_CODES[code], result.stderr);
    assert.match(result.stderr.split('\n')[0] ?? '', message);
    assert.match(result.stderr, /^xdpwho: /);
    assert.ok(result.stderr.trimEnd().split('\n').length <= 2, result.stderr);
    assert.equal(await lab.traces(), []);
  });
}

tool('is not there: is told about, with how to get it', async ({ lab }) => {
  for (const path of ['/nonexistent/bpftool', '/etc/passwd', '/etc']) {
    const result = await lab.run(['watch', 'eth0', '--bpftool', path]);
    refused(result, 'tool-missing', /not there or not executable/);
  }
});

tool.run();

const privileges = inLab('without privileges');

/** In the namespace already: to enter it takes a capability too. */
function unprivileged(lab: Lab, setpriv: readonly string[], args: readonly string[]) {
  const words = [process.execPath, CLI, ...args, '--bpffs', lab.bpffs];
  const inside = [`--net=/run/netns/${lab.netns}`, '--', 'setpriv', ...setpriv, '--', ...words];
  return execa('nsenter', inside, { reject: false });
}

/** Capabilities are taken from root by name, so that files and namespaces can still be seen. */
const without = (...capabilities: string[]) => {
  const list = capabilities.map((each) => `-${each}`).join(',');
  return ['--bounding-set', list, '--inh-caps', list];
};

for (const [lacking, named] of [
  [['net_admin'], ['CAP_NET_ADMIN']],
  [
    ['sys_admin', 'bpf', 'net_admin', 'perfmon'],
    ['CAP_BPF', 'CAP_NET_ADMIN', 'CAP_PERFMON'],
  ],
  [['sys_admin', 'perfmon'], ['CAP_PERFMON']],
  [['sys_admin', 'bpf'], ['CAP_BPF']],
] as const) {
  privileges(`${lacking.join(', ')}: names what is missing, exit 77`, async ({ lab }) => {
    const result = await unprivileged(lab, without(...lacking), ['watch', 'eth0', '-o', 'ndjson']);
    refused(result, 'not-permitted', /not permitted/, /root lacks capabilities, as in a container/);
    for (const name of named) assert.ok(result.stderr.includes(name), result.stderr);
    const all = result.stderr.match(/CAP_\w+/g) ?? [];
    assert.equal([...new Set(all)].sort(), [...named].sort());
    assert.is(recordsIn(result.stdout).at(-1)?.code, 'not-permitted');
    assert.equal(await lab.traces(), []);
  });
}

privileges('to enter a namespace: says so, exit 77', async ({ lab }) => {
  const words = [process.execPath, CLI, 'watch', 'eth0', '--netns', lab.netns];
  const setpriv = [...without('sys_admin'), '--', ...words, '--bpffs', lab.bpffs];
  const result = await execa('setpriv', setpriv, { reject: false });
  refused(result, 'not-permitted', /not permitted/i, /root lacks capabilities, as in a container/);
  assert.equal(await lab.traces(), []);
});

privileges('as an ordinary user: exit 77', async ({ lab }) => {
  const user = ['--reuid', '65534', '--regid', '65534', '--clear-groups'];
  const result = await unprivileged(lab, user, ['watch', 'eth0']);
  assert.is(result.exitCode, 77, result.stderr);
  assert.match(result.stderr, /^xdpwho: .*(not permitted|permission denied)/);
  assert.ok(result.stderr.trimEnd().split('\n').length <= 2, result.stderr);
});

privileges.run();

const objects = inLab('compiled objects that');

const ORDER = endianness() === 'LE' ? 'el' : 'eb';
const OTHER_ORDER = ORDER === 'el' ? 'eb' : 'el';

for (const [what, damage, message] of [
  [
    'are missing',
    (directory: string) => rmSync(`${directory}/${ORDER}/xdpwho.frags.o`),
    /xdpwho\.frags\.o: no such file/,
  ],
  [
    'are cut short',
    (directory: string) => truncateSync(`${directory}/${ORDER}/xdpwho.frags.o`, 1000),
    /xdpwho\.frags\.o: /,
  ],
  [
    'are empty',
    (directory: string) => truncateSync(`${directory}/${ORDER}/xdpwho.frags.o`, 0),
    /xdpwho\.frags\.o: /,
  ],
  [
    'are for another machine',
    (directory: string) => cpSync(process.execPath, `${directory}/${ORDER}/xdpwho.frags.o`),
    /xdpwho\.frags\.o: .*not for BPF/,
  ],
  [
    'are text',
    (directory: string) => writeFileSync(`${directory}/${ORDER}/xdpwho.frags.o`, 'int main;\n'),
    /xdpwho\.frags\.o: .*no ELF file/,
  ],
  [
    'are another program',
    (directory: string) => {
      cpSync(`${directory}/${ORDER}/sources.o`, `${directory}/${ORDER}/xdpwho.frags.o`);
    },
    /xdpwho\.frags\.o: .*it has no constant/,
  ],
  [
    'lack the iterator',
    (directory: string) => {
      for (const name of ['sources', 'sources.front']) {
        rmSync(`${directory}/${ORDER}/${name}.o`);
      }
    },
    /sources(\.front)?\.o: no such file/,
  ],
  [
    'are directories',
    (directory: string) => {
      rmSync(`${directory}/${ORDER}/xdpwho.frags.o`);
      mkdirSync(`${directory}/${ORDER}/xdpwho.frags.o`);
    },
    /xdpwho\.frags\.o: /,
  ],
] as const) {
  objects(`${what}: are told about, and nothing is left`, async ({ lab }) => {
    const directory = `${lab.scratch}/objects`;
    cpSync(OBJECTS_DIRECTORY, directory, { recursive: true });
    damage(directory);
    const result = await lab.run(['watch', 'eth0', '--objects', directory]);
    refused(result, 'bad-object', message, /xdpwho build /);
    await lab.untilNothingLeft();
    rmSync(directory, { recursive: true });
  });
}

objects('are of the other byte order: are refused, and nothing is left', async ({ lab }) => {
  const directory = `${lab.scratch}/objects`;
  cpSync(`${OBJECTS_DIRECTORY}/${OTHER_ORDER}`, `${directory}/${ORDER}`, { recursive: true });
  const result = await lab.run(['watch', 'eth0', '--objects', directory]);
  assert.is(result.exitCode, 1, result.stderr);
  const lines = result.stderr.trimEnd().split('\n');
  assert.match(lines[0] ?? '', /^xdpwho: /);
  assert.ok(lines.length <= 2, result.stderr);
  await lab.untilNothingLeft();
  rmSync(directory, { recursive: true });
});

objects('are in a directory that is not there: are told about', async ({ lab }) => {
  const result = await lab.run(['watch', 'eth0', '--objects', '/nonexistent']);
  refused(result, 'bad-object', /\/nonexistent\/.*: no such file/, /xdpwho build \/nonexistent/);
  await lab.untilNothingLeft();
});

objects.run();

const places = inLab('a place for pins');

places('that is no bpffs is made one, or told about', async ({ lab }) => {
  const file = `${lab.scratch}/file`;
  writeFileSync(file, '');
  const own = ['--netns', lab.netns];
  const notThere = await lab.run(['watch', 'eth0', ...own, '--bpffs', file], { bare: true });
  assert.is(notThere.exitCode, 5, notThere.stderr);
  assert.match(notThere.stderr, /^xdpwho: .*\n {2}hint: .*\n$|^xdpwho: .*\n {2}hint: [^\n]*$/);

  const fresh = `${lab.scratch}/bpf`;
  const args = ['watch', 'eth0', ...own, '--bpffs', fresh, '--count', '1', '--interval', '100ms'];
  try {
    const mounted = await lab.run(args, { bare: true });
    assert.is(mounted.exitCode, 0, mounted.stderr);
    assert.match(readFileSync('/proc/self/mounts', 'utf8'), new RegExp(`bpf ${fresh} bpf `));
  } finally {
    await execa('umount', [fresh], { reject: false });
  }
});

places('that cannot be written to is told about', async ({ lab }) => {
  await execa('mount', ['-o', 'remount,ro', lab.bpffs]);
  try {
    const result = await lab.run(['watch', 'eth0']);
    refused(result, 'bpffs-missing', /read-only/, /mount -o remount,rw/);
  } finally {
    await execa('mount', ['-o', 'remount,rw', lab.bpffs]);
  }
  assert.equal(await lab.traces(), []);
});

places.run();

const dryRun = inLab('--dry-run');

/** Commands that change nothing are not in the plan, nor is what is made without a command. */
function comparable(lines: readonly string[]): string[] {
  return lines
    .filter((line) => /bpftool|^(\+ )?prog /.test(line))
    .filter((line) => !/ (version|net show)$|\/clock |\/clock$/.test(line))
    .filter((line) => !line.includes('net detach'))
    .map((line) => line.replace(/^\+ /, '').replace(/'?[^ ']*\/([\w.]+\.o|frame)'?/, 'SCRATCH/$1'));
}

for (const args of [[], ['--mode', 'generic', '--reader', 'dump', '--max-sources', '100']]) {
  dryRun(
    `prints what ${['watch', ...args].join(' ')} runs, and changes nothing`,
    async ({ lab }) => {
      const planned = await lab.run(['watch', 'eth0', ...args, '-n']);
      assert.is(planned.exitCode, 0, planned.stderr);
      assert.equal(await lab.traces(), []);
      const run = ['watch', 'eth0', ...args, '-v', '--count', '1', '--interval', '100ms'];
      const done = await lab.run(run);
      const ran = done.stderr.split('\n').filter((line) => line.startsWith('+ '));
      const attached = ran.findIndex((line) => line.endsWith('/linkmaker repeat 0'));
      assert.ok(attached > 0, done.stderr);
      assert.equal(comparable(planned.stdout.split('\n')), comparable(ran.slice(0, attached + 1)));
      await lab.untilNothingLeft();
    },
  );
}

dryRun('refuses what a run would refuse', async ({ lab }) => {
  refused(await lab.run(['watch', 'eht0', '-n']), 'no-such-interface', /eht0/, /eth0/);
});

dryRun.run();
