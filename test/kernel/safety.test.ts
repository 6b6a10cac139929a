/** What a run as root must not do, whoever has prepared the ground. */
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
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
import { udpFrame } from '../../src/frames.js';
import { tried } from '../reliability.js';
import { suite } from '../suite.js';
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
  const own = ['--netns', lab.netns, '--bpffs', lab.bpffs, '--bpftool', bpftool];
  const words = [process.execPath, CLI, 'watch', 'eth0', '--interval', '100ms', ...own];
  const env = { SECRET: 'x', LD_AUDIT_NOT: 'x', LC_ALL: 'tr_TR.UTF-8', IFS: 'b' };
  const run = execa('sh', ['-c', 'exec 5<"$1"; shift; exec "$@"', 'sh', secret, ...words], {
    env,
    reject: false,
  });
  await lab.until(async () => (await lab.guards()).length === 1, 'guarded');
  await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  const guard = Number.parseInt((await lab.guards())[0]?.trim() ?? '', 10);
  const guardFds = readdirSync(`/proc/${guard}/fd`).map((fd) =>
    readlinkSync(`/proc/${guard}/fd/${fd}`),
  );
  const guardEnv = readFileSync(`/proc/${guard}/environ`, 'utf8');
  run.kill('SIGTERM');
  await run;
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
  assert.not.ok(
    guardFds.some((target) => target.includes('secret')),
    guardFds.join(' '),
  );
  await lab.untilNothingLeft();
  tried(PROMISE, {
    what: 'environment and descriptors of bpftool and of the guard',
    times: 2,
    result: 'PATH, LC_ALL, POSIXLY_CORRECT; nothing of the caller',
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
    ['sources', 'totals'],
  );
  await lab.run(['detach', 'eth0']);
  tried(PROMISE, {
    what: 'permissions of pins, with umask 0, and with `--file-mode 0444`',
    times: 2,
    result: '0700 and 0600 at most; with the option the two files 0444, no other',
  });
});

safety(
  'a directory in bpffs that others have made is not used, and no link in it is followed',
  async () => {
    const precious = mkdtempSync('/tmp/xdpwho-precious-');
    try {
      for (const name of ['sources', 'totals', 'program'])
        writeFileSync(`${precious}/${name}`, 'x');
      chmodSync(lab.bpffs, 0o1777);
      const root = `${lab.bpffs}/xdpwho`;
      const record = JSON.stringify({ version: 1, token: 'x', interface: 'eth0', holder: null });
      const layouts: Record<string, () => void> = {
        'our directory a link': () => symlinkSync(precious, root),
        'a link for its maps': () => {
          mkdirSync(`${root}/eth0`, { recursive: true });
          symlinkSync(precious, `${root}/eth0/maps`);
          symlinkSync(record, `${root}/eth0/state`);
        },
        'a link for an attachment': () => {
          mkdirSync(root);
          symlinkSync(precious, `${root}/eth0`);
        },
        'links for all': () => {
          mkdirSync(`${root}/eth0`, { recursive: true });
          for (const name of ['program', 'sources', 'totals', 'clock', 'maps', 'state~']) {
            symlinkSync(precious, `${root}/eth0/${name}`);
          }
          symlinkSync(record, `${root}/eth0/state`);
        },
      };
      const verbs = [
        ['clean'],
        ['detach', '--all'],
        ['status'],
        ['dump', 'eth0'],
        ['attach', 'eth0'],
      ];
      let runs = 0;
      for (const [what, make] of Object.entries(layouts)) {
        for (const owner of [NOBODY, 0]) {
          make();
          if (!what.startsWith('our')) await execa('chown', ['-hR', String(owner), root]);
          for (const verb of verbs) {
            const { stderr } = await lab.run(verb);
            assert.not.match(stderr, /internal error/, `${what}, ${verb[0]}`);
            assert.equal(
              readdirSync(precious).sort(),
              ['program', 'sources', 'totals'],
              `${what}, ${verb[0]}`,
            );
            runs++;
          }
          // Of another user's: nothing of it is believed, removed or built on.
          if (owner === NOBODY && !what.startsWith('our')) {
            assert.equal(await lab.attached(), []);
            assert.ok(existsSync(`${root}/eth0`) || what.includes('attachment'), what);
          }
          await lab.run(['detach', '--all']);
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
