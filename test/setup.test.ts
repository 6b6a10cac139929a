import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';
import * as assert from 'uvu/assert';
import { TOOL_DIRECTORIES } from '../src/host/tools.js';
import { suite } from './suite.js';

const repository = fileURLToPath(new URL('..', import.meta.url));
const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;

/** A program that notes how it was called, and then does `then`. */
const noting = (then = '') => `echo "\${0##*/} $*" >> "$CALLS"\n${then}`;
const INSTALLED = {
  'usr/bin/clang': '',
  'usr/bin/llvm-strip': '',
  'usr/include/bpf/bpf_helpers.h': '',
  'usr/include/linux/bpf.h': '',
  'usr/sbin/bpftool': 'echo "bpftool v7.1.0"',
  'usr/sbin/ip': '',
  'usr/bin/nsenter': '',
  'usr/bin/mount': '',
  'usr/bin/clang-format': '',
  'usr/bin/tmux': '',
  'usr/bin/mandoc': '',
  'usr/sbin/xdp-loader': '',
  'usr/bin/perl': '',
  'usr/bin/busybox': '',
  'usr/bin/dash': '',
  'usr/bin/mmdebstrap': '',
  'usr/bin/systemd-analyze': '',
  'usr/bin/mmdblookup': '',
  'usr/sbin/logrotate': '',
  'usr/bin/ansible-playbook': '',
  'usr/bin/ansible-lint': '',
  'usr/bin/zsh': '',
  'usr/bin/fish': '',
  'usr/bin/chromium': '',
  'usr/bin/qemu-system-x86_64': '',
  'usr/bin/dpkg-deb': '',
};
type Tool = keyof typeof INSTALLED;
/** What an installer does here: put in place what lies ready in store/. */
const INSTALL = 'case "$*" in *install*|add*) cp -r "$STORE"/. "$XDPWHO_SETUP_ROOT" ;; esac';

const LOCK = (version: string) =>
  JSON.stringify({
    packages: {
      '': {},
      'node_modules/uvu': { version },
      'node_modules/elsewhere': { version, optional: true, os: ['aix'], cpu: ['ppc64'] },
    },
  });

/** A small copy of the project on a small machine, where nothing real can be installed. */
class Machine {
  readonly base = mkdtempSync(join(tmpdir(), 'xdpwho-setup-'));
  readonly root = join(this.base, 'root');
  readonly store = join(this.base, 'store');
  readonly project = join(this.base, 'project');
  readonly #calls = join(this.base, 'calls');

  constructor() {
    for (const name of ['bin', 'bpf', 'src', 'dist']) this.write(`project/${name}/.keep`, '');
    copyFileSync(join(repository, 'setup.mjs'), join(this.project, 'setup.mjs'));
    this.write('project/package.json', '{"type":"module"}');
    this.write('project/packaging/bundle.mjs', '');
    this.write('project/package-lock.json', LOCK('1.0.0'));
    this.write('project/tsconfig.build.json', '{}');
    this.write('project/src/main.ts', 'one');
    this.write('project/bpf/xdpwho.bpf.c', 'one');
    this.write(
      'project/build.mjs',
      `import { appendFileSync, writeFileSync } from 'node:fs';
       import { buildStamp } from './setup.mjs';
       appendFileSync(process.env.CALLS, 'build\\n');
       writeFileSync('dist/.stamp', buildStamp());`,
    );
    this.write(
      'project/bin/xdpwho.js',
      `import { appendFileSync } from 'node:fs';
       appendFileSync(process.env.CALLS, ['xdpwho', ...process.argv.slice(2)].join(' ') + '\\n');
       process.exitCode = 4;`,
    );
    this.program(
      'root/usr/bin/npm',
      noting('mkdir -p node_modules && cp package-lock.json node_modules/.package-lock.json'),
    );
    this.write('root/usr/bin/.keep', '');
    for (const [path, script] of Object.entries(INSTALLED)) this.program(`store/${path}`, script);
    this.write('calls', '');
  }

  write(path: string, text: string): void {
    const file = join(this.base, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }

  program(path: string, script: string): void {
    this.write(path, `#!/bin/sh\n${script}\n`);
    chmodSync(join(this.base, path), 0o755);
  }

  /** Puts everything in place but these. */
  installAllBut(...missing: Tool[]): void {
    cpSync(this.store, this.root, { recursive: true });
    for (const path of missing) rmSync(join(this.root, path));
  }

  environment(): NodeJS.ProcessEnv {
    return {
      PATH: `${this.root}/usr/bin:/usr/bin:/bin`,
      CALLS: this.#calls,
      STORE: this.store,
      XDPWHO_SETUP_ROOT: this.root,
    };
  }

  setup(args: string[], options: { nodeArgs?: string[]; asNobody?: boolean } = {}) {
    const { nodeArgs = [], asNobody = false } = options;
    if (asNobody) spawnSync('chmod', ['-R', 'a+rwX', this.base]);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...nodeArgs, join(this.project, 'setup.mjs'), ...args],
      {
        encoding: 'utf8',
        env: this.environment(),
        ...(asNobody && isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
      },
    );
    return { status, stdout, stderr };
  }

  /** What was called since the last look. */
  calls(): string[] {
    const lines = readFileSync(this.#calls, 'utf8').split('\n').slice(0, -1);
    writeFileSync(this.#calls, '');
    return lines;
  }

  remove(): void {
    rmSync(this.base, { recursive: true });
  }
}

interface State {
  machine: Machine;
}

/** Its own machine for each test. */
function machines(name: string, why?: string) {
  const test = suite<State>(name, why);
  test.before.each((state) => {
    state.machine = new Machine();
  });
  test.after.each(({ machine }) => machine.remove());
  return test;
}

const NPM_CI = 'npm ci --include=dev --ignore-scripts --no-audit';

const asRoot = machines('setup.mjs, as root', isRoot ? undefined : 'not root');

const INSTALLERS = {
  'apt-get': [
    'apt-get update',
    'apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 clang llvm libbpf-dev linux-libc-dev bpftool iproute2 util-linux mount clang-format qemu-system-x86 dpkg tmux mandoc xdp-tools perl-base busybox-static dash mmdebstrap systemd mmdb-bin logrotate ansible-core ansible-lint zsh fish chromium',
  ],
  dnf: [
    'dnf install -y --setopt=install_weak_deps=False clang llvm libbpf-devel kernel-headers bpftool iproute util-linux clang-tools-extra qemu-system-x86-core dpkg tmux mandoc xdp-tools perl busybox dash mmdebstrap systemd libmaxminddb logrotate ansible-core python3-ansible-lint zsh fish chromium',
  ],
  zypper: [
    'zypper --non-interactive install --no-recommends clang llvm libbpf-devel linux-glibc-devel bpftool iproute2 util-linux clang-tools qemu-x86 dpkg tmux mandoc xdp-tools perl busybox-static dash systemd libmaxminddb logrotate ansible zsh fish chromium',
  ],
  apk: [
    'apk add --no-cache clang llvm libbpf-dev linux-headers bpftool iproute2 util-linux clang-extra-tools qemu-system-x86_64 dpkg tmux mandoc xdp-tools perl busybox-static dash libmaxminddb logrotate ansible-core ansible-lint zsh fish chromium',
  ],
};

for (const [installer, calls] of Object.entries(INSTALLERS)) {
  asRoot(`gets everything from ${installer}, and does nothing the second time`, ({ machine }) => {
    machine.program(`root/usr/bin/${installer}`, noting(INSTALL));
    machine.program('root/usr/bin/apt-cache', 'echo "  Candidate: 1.0"');
    const first = machine.setup(['test']);
    assert.is(first.status, 0, first.stderr);
    assert.equal(machine.calls(), [...calls, NPM_CI, 'build']);
    assert.match(first.stderr, /^setup: {3}clang +compiles the BPF programs$/m);

    assert.equal(machine.setup(['test']), { status: 0, stdout: '', stderr: '' });
    assert.equal(machine.calls(), []);
  });
}

asRoot('installs only what is missing', ({ machine }) => {
  machine.installAllBut('usr/sbin/ip', 'usr/include/linux/bpf.h');
  machine.program('root/usr/bin/apt-get', noting(INSTALL));
  assert.is(machine.setup(['test']).status, 0);
  assert.is(
    machine.calls()[1],
    'apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 linux-libc-dev iproute2',
  );
});

asRoot('wants clang-format for the tests only', ({ machine }) => {
  machine.installAllBut('usr/bin/clang-format');
  machine.program('root/usr/bin/apt-get', noting(INSTALL));
  machine.setup(['demo']);
  assert.equal(machine.calls(), [NPM_CI, 'build', 'xdpwho demo']);
});

asRoot('wants QEMU for `npm run vm`, and neither bpftool nor ip there', ({ machine }) => {
  machine.installAllBut(
    ...([
      'usr/bin/qemu-system-x86_64',
      'usr/sbin/bpftool',
      'usr/sbin/ip',
      'usr/bin/nsenter',
    ] as const),
  );
  machine.program('root/usr/bin/apt-get', noting(INSTALL));
  const result = machine.setup(['vm']);
  assert.is(result.status, 0, result.stderr);
  assert.match(result.stderr, /^setup: `npm run vm` needs more than is here; from apt-get:$/m);
  assert.equal(machine.calls(), [
    'apt-get update',
    'apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 qemu-system-x86',
    NPM_CI,
    'build',
  ]);
});

asRoot("takes Ubuntu's packages when its bpftool has no program behind it", ({ machine }) => {
  machine.installAllBut('usr/sbin/bpftool');
  machine.program('root/usr/sbin/bpftool', 'echo "bpftool not found for kernel 6.8" >&2; exit 2');
  machine.program('root/usr/bin/apt-cache', '[ "$2" = bpftool ] || echo "  Candidate: 6.8.0"');
  rmSync(join(machine.store, 'usr/sbin/bpftool'));
  machine.program('store/usr/lib/linux-tools/6.8.0-1/bpftool', 'echo "bpftool v7.4.0"');
  machine.program('root/usr/bin/apt-get', noting(INSTALL));
  const result = machine.setup(['test']);
  assert.is(result.status, 0, result.stderr);
  assert.is(
    machine.calls()[1],
    'apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 linux-tools-common linux-tools-generic',
  );
});

asRoot('does without a browser where apt has none, each time', ({ machine }) => {
  machine.installAllBut('usr/bin/chromium', 'usr/bin/tmux');
  machine.program('root/usr/bin/apt-cache', '[ "$2" = chromium ] || echo "  Candidate: 1.0"');
  machine.program('root/usr/bin/apt-get', noting(INSTALL));
  rmSync(join(machine.store, 'usr/bin/chromium'));
  assert.is(machine.setup(['test']).status, 0);
  assert.is(
    machine.calls()[1],
    'apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 tmux',
  );
  assert.equal(machine.setup(['test']), { status: 0, stdout: '', stderr: '' });
  assert.equal(machine.calls(), []);
});

asRoot("does not take busybox's ip for iproute2's", ({ machine }) => {
  machine.installAllBut('usr/sbin/ip');
  machine.program('root/usr/bin/busybox', '');
  symlinkSync('../bin/busybox', join(machine.root, 'usr/sbin/ip'));
  machine.program(
    'root/usr/bin/apk',
    noting(
      'rm "$XDPWHO_SETUP_ROOT/usr/sbin/ip"; cp "$STORE/usr/sbin/ip" "$XDPWHO_SETUP_ROOT/usr/sbin/"',
    ),
  );
  assert.is(machine.setup(['test']).status, 0);
  assert.is(machine.calls()[0], 'apk add --no-cache iproute2');
});

asRoot('goes on when a package source does not answer', ({ machine }) => {
  machine.installAllBut('usr/bin/clang');
  machine.program('root/usr/bin/apt-get', noting(`${INSTALL}; [ "$1" != update ] || exit 100`));
  assert.is(machine.setup(['test']).status, 0);
});

asRoot('shows what the installer says, and ends in one line when it fails', ({ machine }) => {
  machine.program('root/usr/bin/dnf', 'echo "no match for clang" >&2; exit 3');
  const result = machine.setup(['test']);
  assert.is(result.status, 1);
  assert.match(result.stderr, /^ {4}no match for clang$/m);
  assert.match(result.stderr, /^setup: dnf install .* clang .*: failed \(exit 3\), see above\n$/m);
  assert.equal(machine.calls(), []);
});

asRoot('says what is still missing after an installation', ({ machine }) => {
  machine.installAllBut('usr/bin/clang', 'usr/sbin/ip');
  machine.program('root/usr/bin/zypper', 'exit 0');
  const result = machine.setup(['test']);
  assert.is(result.status, 1);
  assert.match(result.stderr, /^setup: still missing after the installation: clang, ip$/m);
});

asRoot.run();

/** Where Node is installed in root's home, nobody else can run it. */
const canBeNobody =
  !isRoot || spawnSync(process.execPath, ['--version'], { uid: NOBODY, gid: NOBODY }).status === 0;
const asUser = machines(
  'setup.mjs, as a user',
  canBeNobody ? undefined : `only root may run ${process.execPath}`,
);

asUser('installs by sudo, and nothing else by sudo', ({ machine }) => {
  machine.program('root/usr/bin/sudo', noting('exec "$@"'));
  machine.program('root/usr/bin/apt-get', noting(INSTALL));
  machine.program('root/usr/bin/apt-cache', 'echo "  Candidate: 1.0"');
  const result = machine.setup(['test'], { asNobody: true });
  assert.is(result.status, 0, result.stderr);
  assert.match(result.stderr, /from apt-get, by sudo/);
  const [update, install] = INSTALLERS['apt-get'];
  assert.equal(machine.calls(), [
    `sudo ${update}`,
    update,
    `sudo env DEBIAN_FRONTEND=noninteractive ${install}`,
    install,
    NPM_CI,
    'build',
  ]);
});

asUser('gives the command for root in one line without sudo, and calls nothing', ({ machine }) => {
  machine.installAllBut('usr/bin/clang', 'usr/bin/llvm-strip');
  machine.program('root/usr/bin/apt-get', noting());
  const result = machine.setup(['test'], { asNobody: true });
  assert.is(result.status, 1);
  assert.is(
    result.stderr,
    'setup: missing: clang, llvm-strip; no sudo here, so run as root: apt-get update && ' +
      'env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 clang llvm\n',
  );
  assert.equal(machine.calls(), []);
});

asUser('names what to install where it knows no package manager', ({ machine }) => {
  machine.installAllBut('usr/sbin/bpftool', 'usr/bin/nsenter');
  const result = machine.setup(['test'], { asNobody: true });
  assert.is(result.status, 1);
  assert.is(
    result.stderr,
    'setup: none of dnf, zypper, apk, apt-get is here: install by hand: bpftool, nsenter\n',
  );
});

asUser('runs the demo by sudo, with its arguments and its exit code', ({ machine }) => {
  machine.installAllBut();
  machine.program('root/usr/bin/sudo', noting('exec "$@"'));
  const result = machine.setup(['demo', '-o', 'json'], { asNobody: true });
  assert.is(result.status, 4, result.stderr);
  assert.match(result.stderr, /running it by sudo/);
  const demo = `${process.execPath} ${join(machine.project, 'bin/xdpwho.js')} demo -o json`;
  assert.equal(machine.calls().slice(2), [`sudo ${demo}`, 'xdpwho demo -o json']);
});

asUser('says how to run the demo where there is no sudo', ({ machine }) => {
  machine.installAllBut();
  const result = machine.setup(['demo'], { asNobody: true });
  assert.is(result.status, 1);
  assert.match(result.stderr, /^setup: the demo loads a BPF program: as root, run `npm run demo`/m);
  assert.not.match(machine.calls().join(), 'xdpwho');
});

asUser('installs the modules again only when they differ from the lock file', ({ machine }) => {
  machine.installAllBut();
  const run = () => machine.setup(['test'], { asNobody: true });
  assert.is(run().status, 0);
  assert.equal(machine.calls(), [NPM_CI, 'build']);
  assert.is(run().status, 0);
  assert.equal(machine.calls(), []);
  machine.write('project/package-lock.json', LOCK('1.0.1'));
  assert.match(run().stderr, /node_modules differs from package-lock\.json \(node_modules\/uvu\)/);
  assert.equal(machine.calls(), [NPM_CI, 'build']);
});

for (const file of ['src/main.ts', 'bpf/xdpwho.bpf.c', 'build.mjs', 'package.json']) {
  asUser(`builds again after a change of ${file}`, ({ machine }) => {
    machine.installAllBut();
    const run = () => machine.setup(['test'], { asNobody: true });
    assert.is(run().status, 0);
    machine.calls();
    const text = readFileSync(join(machine.project, file), 'utf8');
    machine.write(`project/${file}`, `${text}\n`);
    assert.is(run().status, 0);
    assert.equal(machine.calls(), ['build']);
  });
}

asUser('ends in one line when npm ci or the build fails', ({ machine }) => {
  machine.installAllBut();
  machine.program('root/usr/bin/npm', 'echo "npm error network" >&2; exit 1');
  const npm = machine.setup(['test'], { asNobody: true });
  assert.is(npm.status, 1);
  assert.match(
    npm.stderr,
    /^ {4}npm error network\nsetup: npm ci: failed \(exit 1\), see above\n$/m,
  );

  machine.program(
    'root/usr/bin/npm',
    'mkdir -p node_modules; cp package-lock.json node_modules/.package-lock.json',
  );
  machine.write('project/build.mjs', "console.error('no src/main.ts'); process.exit(1);");
  const build = machine.setup(['test'], { asNobody: true });
  assert.is(build.status, 1);
  assert.match(
    build.stderr,
    /^ {4}no src\/main\.ts\nsetup: build: failed \(exit 1\), see above\n$/m,
  );
});

asUser('hands a signal on to the demo and waits for it', async ({ machine }) => {
  machine.installAllBut();
  machine.program('root/usr/bin/sudo', 'exec "$@"');
  machine.write(
    'project/bin/xdpwho.js',
    `process.on('SIGTERM', () => setTimeout(() => {
       console.log('detached');
       process.exit(143);
     }, 200));
     setInterval(() => {}, 1000);
     console.log('attached');`,
  );
  assert.is(machine.setup(['test']).status, 0);
  const child = spawn(process.execPath, [join(machine.project, 'setup.mjs'), 'demo'], {
    env: machine.environment(),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    if (text.includes('attached')) child.kill('SIGTERM');
  });
  const [code] = await once(child, 'close');
  assert.is(code, 143);
  assert.is(output, 'attached\ndetached\n');
});

asUser('stops at Ctrl-C instead of going on to the next step', async ({ machine }) => {
  machine.installAllBut();
  // Not by sleep: a shell that is interrupted just before it forks would wait for its child.
  const work = "console.log('working'); setTimeout(() => {}, 3_600_000)";
  machine.program('root/usr/bin/npm', noting(`exec "${process.execPath}" -e "${work}"`));
  const child = spawn(process.execPath, [join(machine.project, 'setup.mjs'), 'test'], {
    env: machine.environment(),
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    // To the whole group, as a terminal does.
    if (text.includes('    working')) process.kill(-Number(child.pid), 'SIGINT');
  });
  const [code] = await once(child, 'close');
  assert.is(code, 130);
  assert.equal(machine.calls(), [NPM_CI]);
});

asUser('asks for a newer Node in one line', ({ machine }) => {
  const old =
    "data:text/javascript,Object.defineProperty(process,'versions',{value:{node:'18.18.2'}})";
  const result = machine.setup(['test'], { nodeArgs: ['--import', old] });
  assert.is(result.status, 1);
  assert.match(result.stderr, /^setup: node v\S+ is too old: 18\.19 or newer is needed\n$/);
});

asUser.run();

const paths = suite('the directories that setup.mjs looks in');

paths('are those that src/host/tools.ts searches', () => {
  const text = readFileSync(join(repository, 'setup.mjs'), 'utf8');
  const [list = ''] = /const directories = \[[\s\S]*?\n {2}\];/.exec(text) ?? [];
  const looked = [...list.matchAll(/'([^']+)'/g)].map((match) => `/${match[1]}`);
  assert.equal(looked, [...TOOL_DIRECTORIES]);
});

paths.run();

const syntax = suite('setup.mjs and bin/xdpwho.js');

for (const file of ['setup.mjs', 'bin/xdpwho.js']) {
  syntax(`${file} is read by an old Node as far as the message`, async () => {
    const text = readFileSync(join(repository, file), 'utf8');
    const { code } = await transform(text, { target: 'esnext' });
    const { code: forOldNode } = await transform(text, { target: 'node12.22' });
    assert.is(forOldNode, code);
  });

  syntax(`${file} asks for the Node that package.json asks for`, () => {
    const { engines } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
    assert.ok(/^>=\d+\.\d+$/.test(engines.node));
    assert.match(readFileSync(join(repository, file), 'utf8'), engines.node.slice(2));
  });
}

syntax.run();

const checkout = suite(
  'a checkout with core.autocrlf',
  spawnSync('git', ['--version']).status === 0 ? undefined : 'there is no git',
);

checkout('ends the lines of what a shell, node or clang reads as everywhere', () => {
  const directory = mkdtempSync(join(tmpdir(), 'xdpwho-checkout-'));
  const git = (...args: string[]) => {
    const fixed = ['-C', directory, '-c', 'core.autocrlf=true', '-c', 'core.safecrlf=false'];
    const { status, stderr } = spawnSync('git', [...fixed, ...args], { encoding: 'utf8' });
    assert.is(status, 0, stderr);
  };
  try {
    const names = [
      '.gitattributes',
      '.ci/run',
      'bin/xdpwho.js',
      'bpf/xdpwho.h',
      'src/script/main.sh',
    ];
    git('init', '-q');
    for (const name of names) cpSync(join(repository, name), join(directory, name));
    git('add', '-A');
    for (const name of names) rmSync(join(directory, name));
    git('checkout-index', '-a');
    for (const name of names) {
      const made = readFileSync(join(directory, name), 'latin1');
      assert.is(made, readFileSync(join(repository, name), 'latin1'), name);
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

checkout.run();
