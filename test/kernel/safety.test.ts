/** What a run as root must not do, whoever has prepared the ground. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { initialState } from '../../src/attachment/defaults.js';
import { pinName } from '../../src/attachment/pin-paths.js';
import { resolveNetns } from '../../src/host/netns.js';
import { udpFrame } from '../../src/model/frames.js';
import { tried } from '../reliability.js';
import { suite } from '../suite.js';
import { USUAL_READER } from './iterators.js';
import { CLI, documentIn, Lab, lastReading, listIn, recordsIn, WHY_NOT } from './lab.js';

const PROMISE =
  'Run as root, it runs nothing of others, follows no link of theirs, and shows nothing raw';

/** A user that is not root. */
const NOBODY = 65_534;

let lab: Lab;

const safety = suite(PROMISE, WHY_NOT);

safety.before.each(async () => {
  lab = await Lab.create();
});
safety.after.each(() => lab.close());

const ONE_READING = ['watch', 'eth0', '--interval', '100ms', '--count', '1'];

safety('a program of that name in PATH is never run', async () => {
  const trap = `${lab.scratch}/path`;
  mkdirSync(trap);
  const names = ['bpftool', 'sh', 'nsenter', 'setpriv', 'ip', 'mount', 'clang', 'rm', 'ls', 'stat'];
  const sprung = `${lab.scratch}/sprung`;
  for (const name of [...names, 'true', 'sort', 'readlink', 'sleep', 'rmdir', 'mkdir']) {
    writeFileSync(`${trap}/${name}`, `#!/bin/sh\n: >${sprung}\nexit 1\n`, { mode: 0o755 });
  }
  const env = { PATH: `${trap}:${process.env.PATH}`, ENV: `${trap}/sh`, BASH_ENV: `${trap}/sh` };
  const verbs = [
    ONE_READING,
    ['attach', 'eth0'],
    ['status'],
    ['dump', 'eth0'],
    ['detach', 'eth0'],
    ['clean'],
  ];
  for (const verb of verbs) {
    const { exitCode, stderr } = await lab.run(verb, { env });
    assert.is(exitCode, 0, `${verb[0]}: ${stderr}`);
  }
  await lab.run(['doctor'], { env });
  assert.not(existsSync(sprung));
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'programs named like our tools first in PATH, ENV and BASH_ENV set',
    times: verbs.length + 1,
    result: 'never run',
  });
});

safety('a --bpftool that others can write to, itself or where it lies, is refused', async () => {
  const at = (directory: string) => `${directory}/bpftool`;
  const place = (directory: string, mode: number) => {
    mkdirSync(directory);
    copyFileSync(lab.bpftool.path, at(directory));
    chmodSync(at(directory), 0o755);
    chmodSync(directory, mode);
    return directory;
  };
  const good = place(`${lab.scratch}/good`, 0o755);
  const places = {
    'its directory open to all': at(place(`${lab.scratch}/open`, 0o777)),
    'its directory open to all, sticky': at(place(`${lab.scratch}/sticky`, 0o1777)),
    'its directory open to a group': at(place(`${lab.scratch}/group`, 0o775)),
    'a directory above open to all': at(place(`${lab.scratch}/above`, 0o755)),
    'itself open to all': at(place(`${lab.scratch}/file`, 0o755)),
    "somebody else's": at(place(`${lab.scratch}/owned`, 0o755)),
    'a link in a directory open to all': `${lab.scratch}/links/bpftool`,
  };
  chownSync(`${lab.scratch}/group`, 0, NOBODY);
  chmodSync(`${lab.scratch}/group`, 0o775);
  chmodSync(`${lab.scratch}/file/bpftool`, 0o777);
  chownSync(`${lab.scratch}/owned/bpftool`, NOBODY, NOBODY);
  mkdirSync(`${lab.scratch}/links`, { mode: 0o777 });
  chmodSync(`${lab.scratch}/links`, 0o777);
  symlinkSync(at(good), places['a link in a directory open to all']);
  const deep = `${lab.scratch}/above/deep`;
  mkdirSync(deep);
  copyFileSync(lab.bpftool.path, at(deep));
  chmodSync(`${lab.scratch}/above`, 0o777);
  places['a directory above open to all'] = at(deep);

  for (const [what, bpftool] of Object.entries(places)) {
    const { exitCode, stderr } = await lab.run([...ONE_READING, '--bpftool', bpftool]);
    assert.is(exitCode, 2, `${what}: ${stderr}`);
    assert.match(stderr, /others can write to/, what);
  }
  const { exitCode, stderr } = await lab.run([...ONE_READING, '--bpftool', at(good)]);
  assert.is(exitCode, 0, stderr);
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: '`--bpftool` with a file, a directory, or a directory above that others can write to',
    times: Object.keys(places).length,
    result: 'refused',
  });
});

safety('its children have three variables, and no descriptor of its caller', async () => {
  const seen = `${lab.scratch}/seen`;
  const look = `env >>${seen}; ls -l /proc/$$/fd >>${seen}-fds`;
  const bpftool = lab.bpftoolThat('nosy', look);
  const secret = `${lab.scratch}/secret`;
  writeFileSync(secret, '');
  const far = `${lab.scratch}/far`;
  writeFileSync(far, '');
  const own = ['--netns', lab.netns, '--bpffs', lab.bpffs, '--bpftool', bpftool];
  const words = [CLI, 'watch', 'eth0', '--interval', '100ms', ...own];
  const env = { SECRET: 'x', LD_AUDIT_NOT: 'x', LC_ALL: 'tr_TR.UTF-8', IFS: 'b' };
  // Those from 5 to 15, and one with a gap before it.
  const open = Array.from({ length: 11 }, () => openSync(secret, 'r'));
  const last = openSync(far, 'r');
  const gap = Array.from({ length: 14 }, () => 'ignore' as const);
  const stdio = ['ignore', 'ignore', 'ignore', 'ignore', 'ignore', ...open, ...gap, last] as const;
  const run = spawn(process.execPath, words, {
    env: { ...process.env, ...env },
    stdio: [...stdio],
  });
  const ended = once(run, 'exit');
  for (const each of [...open, last]) closeSync(each);
  await lab.until(async () => (await lab.guards()).length === 1, 'guarded');
  await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  const guard = Number.parseInt((await lab.guards())[0]?.trim() ?? '', 10);
  const guardFds = readdirSync(`/proc/${guard}/fd`).map((fd) =>
    readlinkSync(`/proc/${guard}/fd/${fd}`),
  );
  const guardEnv = readFileSync(`/proc/${guard}/environ`, 'utf8');
  run.kill('SIGTERM');
  await ended;
  // The shell that looks adds some of its own.
  const names = new Set(
    readFileSync(seen, 'utf8')
      .split('\n')
      .map((line) => line.split('=')[0]),
  );
  for (const name of ['', 'PWD', 'OLDPWD', 'SHLVL', '_', 'bpftool']) names.delete(name);
  assert.equal([...names].sort(), ['LC_ALL', 'PATH', 'POSIXLY_CORRECT']);
  assert.not.match(readFileSync(seen, 'utf8'), /tr_TR|SECRET/);
  assert.not.match(readFileSync(`${seen}-fds`, 'utf8'), /secret/);
  assert.not.match(guardEnv, /SECRET|tr_TR/);
  assert.not.ok(guardFds.includes(secret), guardFds.join(' '));
  // Which Node leaves open (docs/reliability.md).
  assert.ok(guardFds.includes(far), guardFds.join(' '));
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'environment and descriptors of bpftool and of the guard',
    times: 2,
    result:
      'PATH, LC_ALL, POSIXLY_CORRECT; of the descriptors 5 to 15 of the caller none; **does not hold** for one of number 30',
  });
});

safety(
  'the guard holds no right that detaching does not take, where setpriv can drop them',
  async () => {
    const run = lab.start(['watch', 'eth0', '--interval', '10s']);
    await run.says(/attached in native mode/);
    const guard = Number.parseInt((await lab.guards())[0]?.trim() ?? '', 10);
    const status = readFileSync(`/proc/${guard}/status`, 'utf8');
    /** capabilities(7): DAC_OVERRIDE, NET_ADMIN, SYS_PTRACE, SYS_ADMIN, BPF. */
    const wanted = [1, 12, 19, 21, 39].reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);
    const droppable = await execa('setpriv', ['--bounding-set=-all', '--', 'true'], {
      reject: false,
    });
    for (const set of ['CapPrm', 'CapEff', 'CapBnd']) {
      const held = BigInt(
        `0x${new RegExp(`^${set}:\\s*(\\w+)$`, 'm').exec(status)?.[1] ?? 'none'}`,
      );
      if (!droppable.failed) assert.is(held & ~wanted, 0n, `${set} ${held.toString(16)}`);
      assert.is(held & (1n << 12n), 1n << 12n, 'it can detach');
    }
    // Fixed text: what varies are parameters.
    const words = readFileSync(`/proc/${guard}/cmdline`, 'utf8').split('\0');
    assert.not.match(words[words.indexOf('-c') + 1] ?? '', /eth0|xdpwho-bpffs/);
    run.child.kill('SIGKILL');
    await lab.untilNothingLeft();
    tried(PROMISE, {
      what: 'capabilities of the guard',
      times: 1,
      result: droppable.failed
        ? 'all of its run: no setpriv here that can drop them'
        : 'CAP_NET_ADMIN, CAP_BPF, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_OVERRIDE, and no other',
    });
  },
);

/** Control characters of a terminal, C1 among them, but for the line end. */
const RAW = /(?!\n)\p{Cc}/u;

/** How many of them are shown in every format. */
const WHOLLY_TRIED = 4;

const NAMES = [
  '\x1b[2J\x1b[31m',
  '\x07\x08bell',
  '\u009b31mc1',
  '$(id>x)',
  '`id`',
  "a'b;id",
  'a"b\\c',
  '-n',
  '--help',
  'ü€',
  '\u202erlo',
  '*',
  '@1',
  '~',
];

safety(
  'a name of an interface is shown without control characters, escaped in each format, and never run',
  async () => {
    for (const [index, name] of NAMES.entries()) {
      await lab.addVeth(`n${index}`, `d${index}`);
      await lab.ip(lab.netns, ['link', 'set', 'dev', `d${index}`, 'down']);
      await lab.ip(lab.netns, ['link', 'set', 'dev', `d${index}`, 'name', name]);
      await lab.ip(lab.netns, ['link', 'set', 'dev', name, 'up']);
      const run = (...args: string[]) => lab.run([...args, `--iface=${name}`]);
      const attached = await run('attach');
      assert.is(attached.exitCode, 0, `${JSON.stringify(name)}: ${attached.stderr}`);
      await lab.send(udpFrame({ source: '192.0.2.1' }), 3, {
        ifindex: await lab.ifindex(`n${index}`),
      });
      const said = [attached.stdout, attached.stderr];
      const whole = index < WHOLLY_TRIED;
      const formats = ['ndjson', ...(whole ? ['table', 'json', 'prometheus', 'openmetrics'] : [])];
      for (const format of formats) {
        const { exitCode, stdout, stderr } = await run('dump', '-o', format);
        assert.is(exitCode, 0, `${JSON.stringify(name)} ${format}: ${stderr}`);
        said.push(stdout, stderr);
        if (format === 'ndjson') {
          assert.equal(lastReading(recordsIn(stdout)).packets, { '192.0.2.1': 3 });
          for (const each of recordsIn(stdout)) assert.is(each.interface, name);
        }
        if (format === 'json') documentIn(stdout);
      }
      const status = await lab.run(['status', '--json']);
      const entry = listIn(documentIn(status.stdout), 'interfaces').find(
        (each) => each.ownership === 'ours',
      );
      assert.is(entry?.interface, name);
      said.push(status.stdout, (await lab.run(['status'])).stdout);
      const detached = await run('detach', '-v');
      assert.is(detached.exitCode, 0, detached.stderr);
      const more = [detached];
      if (whole) {
        const watched = await run('watch', '--count', '1', '--interval', '100ms', '-v');
        assert.is(watched.exitCode, 0, watched.stderr);
        const absent = await run('dump');
        assert.is(absent.exitCode, 3, absent.stderr);
        more.push(watched, absent);
      }
      for (const { stdout, stderr } of more) said.push(stdout, stderr);
      for (const text of said) assert.not.match(text, RAW, JSON.stringify(text));
      await lab.untilNothingLeft();
      await lab.ip(lab.netns, ['link', 'del', 'dev', name]);
    }
    assert.not(existsSync('/x') || existsSync('x'));
    tried(PROMISE, {
      what: 'names of interfaces with terminal escapes, quotes, shell syntax, options, format directives',
      times: NAMES.length,
      result:
        'attached, counted and detached; escaped in table, json, ndjson, prometheus, openmetrics and errors',
    });
  },
);

safety('pins are for root alone, whatever the umask, unless it is asked for', async () => {
  const own = ['--netns', lab.netns, '--bpffs', lab.bpffs];
  const attach = (...args: string[]) =>
    execa('sh', [
      '-c',
      'umask 0; exec "$@"',
      'sh',
      process.execPath,
      CLI,
      'attach',
      'eth0',
      ...args,
      ...own,
    ]);
  const modes = () => {
    const root = `${lab.bpffs}/xdpwho`;
    const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).map(
      (each) => `${root}/${each}`,
    );
    const open = [root, ...paths]
      .filter((path) => !path.endsWith('/state'))
      .map((path) => ({ path: path.replace(/.*\//, ''), mode: statSync(path).mode & 0o7777 }));
    return open.filter(({ mode }) => (mode & 0o077) !== 0);
  };
  await attach();
  assert.equal(modes(), []);
  await lab.run(['detach', 'eth0']);
  await attach('--file-mode', '0444');
  const opened = modes();
  assert.ok(
    opened.every(({ mode }) => mode === 0o444 || mode === 0o711),
    JSON.stringify(opened),
  );
  assert.equal(
    opened
      .filter(({ mode }) => mode === 0o444)
      .map(({ path }) => path)
      .sort(),
    USUAL_READER === 'iterator' ? ['sources', 'totals'] : [],
  );
  await lab.run(['detach', 'eth0']);
  tried(PROMISE, {
    what: 'permissions of pins, with umask 0, and with `--file-mode 0444`',
    times: 2,
    result: '0700 and 0600 at most; with the option the two files 0444, no other',
  });
});

/** Everything below a directory: what it is, whose, with which rights and which content. */
function listing(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => {
      const path = `${directory}/${name}`;
      const { uid, mode } = lstatSync(path);
      const target = lstatSync(path).isSymbolicLink() ? readlinkSync(path) : '';
      return `${name} ${uid} ${mode.toString(8)} ${target}`;
    })
    .sort();
}

safety(
  'a directory in bpffs that others have made is not used, and no link in it is followed',
  async () => {
    const precious = mkdtempSync('/tmp/xdpwho-precious-');
    try {
      for (const name of ['sources', 'totals', 'packets', 'program', 'clock', 'other']) {
        writeFileSync(`${precious}/${name}`, 'x');
      }
      mkdirSync(`${precious}/maps`);
      writeFileSync(`${precious}/maps/sources`, 'x');
      const before = listing(precious);
      chmodSync(lab.bpffs, 0o1777);
      const root = `${lab.bpffs}/xdpwho`;
      const netns = resolveNetns(lab.netns);
      const own = `${root}/${pinName('eth0', netns.inode)}`;
      const attached = {
        ...initialState({ device: 'eth0', netns }, {}),
        ...({ programId: 4_000_000_000, mode: 'native', reader: 'iterator' } as const),
        holder: null,
      };
      const linking =
        (record: unknown, ...names: readonly string[]) =>
        () => {
          mkdirSync(own, { recursive: true });
          for (const name of names) symlinkSync(precious, `${own}/${name}`);
          symlinkSync(JSON.stringify(record), `${own}/state`);
        };
      const all = ['program', 'sources', 'totals', 'clock', 'maps', 'readers', 'state~'];
      const layouts: Record<string, () => void> = {
        'our directory a link': () => symlinkSync(precious, root),
        'a link for an attachment': () => {
          mkdirSync(root);
          symlinkSync(precious, own);
        },
        'links for all of it': linking(attached, ...all),
      };
      const layoutsOfRoot: Record<string, () => void> = {
        ...layouts,
        'a link for its maps': linking(attached, 'maps'),
        'a link for the maps of what is no attachment': linking({}, 'maps'),
        'a link for its readers': linking(attached, 'readers'),
        'links in one being made': linking({ ...attached, programId: null, mode: null }, ...all),
        'links in one of another version': linking({ ...attached, version: 0 }, ...all),
      };
      const verbs = [
        ['status'],
        ['dump', 'eth0'],
        ONE_READING,
        ['clean'],
        ['attach', 'eth0'],
        ['attach', 'eth0', '--replace', '--file-mode', '0444'],
        ['detach', 'eth0'],
        ['detach', '--all'],
      ];
      let runs = 0;
      for (const owner of [NOBODY, 0]) {
        for (const [what, make] of Object.entries(owner === 0 ? layoutsOfRoot : layouts)) {
          make();
          await execa('chown', ['-hR', String(owner), root]);
          const theirs = listing(lab.bpffs);
          for (const verb of verbs) {
            // What one verb has removed is there again for the next.
            if (owner === 0 && !existsSync(own)) {
              rmSync(root, { recursive: true, force: true });
              make();
            }
            const said = `${what}, owner ${owner}, ${verb.join(' ')}`;
            const { exitCode, stdout, stderr } = await lab.run(verb);
            assert.not.match(stderr, /internal error/, said);
            assert.equal(listing(precious), before, said);
            if (owner === NOBODY || what.startsWith('our')) {
              assert.equal(listing(lab.bpffs), theirs, said);
              assert.not.match(stdout, 'eth0', said);
              if (/attach|watch/.test(verb[0] ?? '')) assert.is(exitCode, 1, `${said}: ${stderr}`);
            }
            if (what.startsWith('our') && verb[0] === 'attach') {
              assert.match(stderr, /not a directory of a bpffs/, said);
            }
            // There it is not known for ours.
            if (what.includes('no attachment') && verb[0] === 'clean') {
              assert.equal(listing(lab.bpffs), theirs, said);
            }
            runs++;
          }
          assert.equal(await lab.attached(), [], what);
          rmSync(root, { recursive: true, force: true });
        }
      }
      tried(PROMISE, {
        what: 'a bpffs open to all, with links and records that another user, or root, has put there',
        times: runs,
        result: 'no link followed; of another user nothing believed or removed',
      });
    } finally {
      rmSync(precious, { recursive: true });
    }
  },
);

safety.run();
