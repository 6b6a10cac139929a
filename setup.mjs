/**
 * Makes a machine that has only Node, npm and a package manager ready for `npm run demo`, `npm test`
 * and `npm run vm`: system packages, npm ci, the build. What is there is left alone; when all of it is,
 * nothing is started and nothing is said. `node setup.mjs demo` then runs the demo, as root.
 *
 * Plain JavaScript with no dependency, since it runs before there is a node_modules, in the syntax of
 * Node 12, so that an old Node gets as far as the message about its age.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  existsSync,
  constants as fsConstants,
  readdirSync,
  readFileSync,
  realpathSync,
} from 'node:fs';
import { constants as osConstants } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const NODE_WANTED = '18.19';
const HOME = fileURLToPath(new URL('.', import.meta.url));
/** Where the system's own files are looked for; the tests put a small tree of theirs here. */
const SYSTEM_ROOT = process.env.XDPWHO_SETUP_ROOT || '/';

/**
 * What has to be on the system, and the packages that bring it: several side by side; ` | ` parts
 * ways to get the same, of which the first that exists is taken, and the last may be to do without. Nothing is started to find them out,
 * except bpftool: Ubuntu's is a script that may have no program behind it.
 */
// biome-ignore format: one row, one line
const TOOLS = table(
  ['name', 'why', 'commands', 'found', 'apt', 'dnf', 'zypper', 'apk'],
  ['clang', 'compiles the BPF programs', 'demo test vm bench', program, 'clang', 'clang', 'clang', 'clang'],
  ['llvm-strip', 'strips debug sections from them', 'demo test vm bench', program, 'llvm', 'llvm', 'llvm', 'llvm'],
  ['bpf/bpf_helpers.h', "libbpf's headers", 'demo test vm bench', header, 'libbpf-dev', 'libbpf-devel', 'libbpf-devel', 'libbpf-dev'],
  ['linux/bpf.h', "the kernel's headers", 'demo test vm bench', header, 'linux-libc-dev', 'kernel-headers', 'linux-glibc-devel', 'linux-headers'],
  ['bpftool', 'loads, attaches and reads the BPF programs', 'demo test bench', bpftool, 'bpftool | linux-tools-common linux-tools-generic', 'bpftool', 'bpftool', 'bpftool'],
  ['ip', 'makes the network namespaces', 'demo test bench', program, 'iproute2', 'iproute', 'iproute2', 'iproute2'],
  ['nsenter', 'runs commands in them', 'demo test bench', program, 'util-linux', 'util-linux', 'util-linux', 'util-linux'],
  ['mount', 'mounts the BPF file system', 'demo test bench', program, 'mount', 'util-linux', 'util-linux', 'util-linux'],
  ['clang-format', 'checks the layout of the C files', 'test', program, 'clang-format', 'clang-tools-extra', 'clang-tools', 'clang-extra-tools'],
  ['qemu-system-x86_64', 'boots other kernels', 'test vm', program, 'qemu-system-x86', 'qemu-system-x86-core', 'qemu-x86', 'qemu-system-x86_64'],
  ['apt-get', "downloads Debian's kernels and tools", 'vm', program, 'apt', 'apt', '', ''],
  ['dpkg-deb', 'unpacks them', 'test vm', program, 'dpkg', 'dpkg', 'dpkg', 'dpkg'],
  ['nft', 'counts too, for comparison', 'bench', program, 'nftables', 'nftables', 'nftables', 'nftables'],
  ['tcpdump', 'looks too, for comparison', 'bench', program, 'tcpdump', 'tcpdump', 'tcpdump', 'tcpdump'],
  ['strace', 'counts processes', 'bench', program, 'strace', 'strace', 'strace', 'strace'],
  ['tmux', 'is the terminal that the live view is tested in', 'test', program, 'tmux', 'tmux', 'tmux', 'tmux'],
  ['mandoc', 'checks the man page', 'test', program, 'mandoc', 'mandoc', 'mandoc', 'mandoc'],
  ['xdp-loader', 'puts a program of libxdp beside ours', 'test', program, 'xdp-tools', 'xdp-tools', 'xdp-tools', 'xdp-tools'],
  ['perl', 'writes packets into a tun device', 'test', program, 'perl-base', 'perl', 'perl', 'perl'],
  ['busybox', 'runs the scripts as small systems do', 'test', anyProgram, 'busybox-static', 'busybox', 'busybox-static', 'busybox-static'],
  ['dash', 'runs the scripts as Debian does', 'test', program, 'dash', 'dash', 'dash', 'dash'],
  ['mmdebstrap', 'makes the Debian that the packages are tried in', 'test', program, 'mmdebstrap', 'mmdebstrap', '', ''],
  ['systemd-analyze', 'checks the units', 'test', program, 'systemd', 'systemd', 'systemd', ''],
  ['mmdblookup', 'looks addresses up in databases of owners, as we do', 'test', program, 'mmdb-bin', 'libmaxminddb', 'libmaxminddb', 'libmaxminddb'],
  ['logrotate', 'rotates a log', 'test', program, 'logrotate', 'logrotate', 'logrotate', 'logrotate'],
  ['ansible-playbook', 'runs the playbooks', 'test', program, 'ansible-core', 'ansible-core', 'ansible', 'ansible-core'],
  ['ansible-lint', 'checks them', 'test', program, 'ansible-lint', 'python3-ansible-lint', '', 'ansible-lint'],
  ['zsh', 'completes in its own way', 'test', program, 'zsh', 'zsh', 'zsh', 'zsh'],
  ['fish', 'likewise', 'test', program, 'fish', 'fish', 'fish', 'fish'],
  ['chromium', 'shows the pages that `report` makes', 'test', program, 'chromium | ', 'chromium', 'chromium', 'chromium'],
);

/**
 * The first one whose program is there installs; apt comes last, since Fedora has it too, and
 * `npm run vm` installs it there. Each leaves out what is only recommended.
 */
// biome-ignore format: one row, one line
const MANAGERS = table(
  ['name', 'program', 'refresh', 'install'],
  ['dnf', 'dnf', '', 'dnf install -y --setopt=install_weak_deps=False'],
  ['zypper', 'zypper', '', 'zypper --non-interactive install --no-recommends'],
  ['apk', 'apk', '', 'apk add --no-cache'],
  ['apt', 'apt-get', 'apt-get update', 'env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0'],
);

function table(columns, ...rows) {
  return rows.map((row) => Object.fromEntries(row.map((value, index) => [columns[index], value])));
}

/** A failure that the user can mend: printed as one line. */
class SetupError extends Error {}

async function main([command, ...args]) {
  if (!['demo', 'test', 'vm', 'bench'].includes(command)) {
    throw new SetupError('usage: node setup.mjs demo|test|vm|bench');
  }
  checkNode();
  passSignalsOn();
  await installTools(command);
  await installModules();
  await build();
  return command === 'demo' ? runDemo(args) : 0;
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const [wantedMajor, wantedMinor] = NODE_WANTED.split('.').map(Number);
  if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
    throw new SetupError(`node ${process.version} is too old: ${NODE_WANTED} or newer is needed`);
  }
  if (process.platform !== 'linux') throw new SetupError('XDP is a part of Linux: run this there');
}

// System packages.

async function installTools(command) {
  const manager = MANAGERS.find((candidate) => program(candidate.program));
  const missing = missingTools(command, manager);
  if (missing.length === 0) return;
  const names = missing.map(({ name }) => name).join(', ');
  if (manager === undefined) {
    const known = MANAGERS.map((candidate) => candidate.program).join(', ');
    throw new SetupError(`none of ${known} is here: install by hand: ${names}`);
  }
  const asRoot = process.getuid() === 0 ? [] : ['sudo'];
  const refresh = manager.refresh === '' ? [] : manager.refresh.split(' ');
  if (asRoot.length > 0 && !program('sudo')) {
    const steps = [refresh, installCommand(manager, missing)].filter((step) => step.length > 0);
    const line = steps.map((step) => step.join(' ')).join(' && ');
    throw new SetupError(`missing: ${names}; no sudo here, so run as root: ${line}`);
  }

  const how = asRoot.length > 0 ? `${manager.program}, by sudo` : manager.program;
  say(
    `\`npm ${command === 'test' ? 'test' : `run ${command}`}\` needs more than is here; from ${how}:`,
  );
  // A source that does not answer is no reason to stop: the lists may be good enough.
  if (refresh.length > 0) await run([...asRoot, ...refresh]);
  const wanted = missingTools(command, manager);
  for (const { name, why } of wanted) say(`  ${name.padEnd(18)} ${why}`);
  const install = [...asRoot, ...installCommand(manager, wanted)];
  const code = await run(install);
  if (code !== 0) throw new SetupError(`${install.join(' ')}: failed (exit ${code}), see above`);
  const left = missingTools(command, manager).map(({ name }) => name);
  if (left.length > 0)
    throw new SetupError(`still missing after the installation: ${left.join(', ')}`);
}

/** Without what this system has no package of: the tests that need it say that they are skipped. */
function missingTools(command, manager) {
  const needed = TOOLS.filter((tool) => tool.commands.split(' ').includes(command));
  const missing = needed.filter(({ name, found }) => !found(name));
  return missing.filter((tool) => manager === undefined || packagesOf(tool, manager).length > 0);
}

function installCommand(manager, tools) {
  const packages = tools.map((tool) => packagesOf(tool, manager));
  return [...manager.install.split(' '), ...new Set([].concat(...packages))];
}

/** None where this system does without. */
function packagesOf(tool, manager) {
  const ways = tool[manager.name].split(' | ').map((way) => way.split(' ').filter(Boolean));
  const available = ways.length > 1 && manager.name === 'apt' ? ways.find(areInApt) : ways[0];
  return available || ways[0];
}

/** A name that only another package mentions has no candidate. */
function areInApt(packages) {
  return packages.every((name) => {
    const env = Object.assign({}, process.env, { LC_ALL: 'C' });
    const { stdout } = spawnSync('apt-cache', ['policy', name], { encoding: 'utf8', env });
    return /Candidate: (?!\(none\))/.test(stdout);
  });
}

function header(name) {
  return existsSync(join(SYSTEM_ROOT, 'usr/include', name));
}

/** Whether a program is there; the small ones inside busybox lack what is needed of ip and nsenter. */
function program(name) {
  return findAll(name).some((path) => basename(realpathSync(path)) !== 'busybox');
}

/** Likewise, and busybox itself may be it. */
function anyProgram(name) {
  return findAll(name).length > 0;
}

function bpftool() {
  const tools = join(SYSTEM_ROOT, 'usr/lib/linux-tools');
  const versions = existsSync(tools) ? readdirSync(tools) : [];
  const behindWrapper = versions.map((version) => join(tools, version, 'bpftool'));
  return [...findAll('bpftool'), ...behindWrapper].some((path) => {
    const { status, stdout } = spawnSync(path, ['version'], { encoding: 'utf8' });
    return status === 0 && stdout.includes('bpftool v');
  });
}

/** In the directories that src/host/tools.ts searches for what is run, not in the caller's PATH. */
function findAll(name) {
  const directories = [
    ...['usr/local/sbin', 'usr/local/bin', 'usr/sbin', 'usr/bin', 'sbin', 'bin'],
    ...[
      'run/current-system/sw/bin',
      'run/current-system/profile/sbin',
      'run/current-system/profile/bin',
    ],
  ];
  const paths = directories.map((directory) => join(SYSTEM_ROOT, directory, name));
  return paths.filter((path) => {
    try {
      accessSync(path, fsConstants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

// Node modules and the build.

async function installModules() {
  const problem = modulesProblem();
  if (problem === undefined) return;
  say(`npm ci: ${problem}`);
  const npm = process.env.npm_execpath || '';
  const npmCommand = basename(npm) === 'npm-cli.js' ? [process.execPath, npm] : ['npm'];
  // No package here needs its install script. NODE_ENV=production would leave the tools out.
  const code = await run([...npmCommand, 'ci', '--include=dev', '--ignore-scripts', '--no-audit']);
  if (code !== 0) throw new SetupError(`npm ci: failed (exit ${code}), see above`);
}

/** Why node_modules is not what package-lock.json says; npm leaves a list of what it has installed. */
function modulesProblem() {
  const listFile = join(HOME, 'node_modules/.package-lock.json');
  if (!existsSync(listFile)) return 'node_modules is missing';
  const wanted = JSON.parse(readFileSync(join(HOME, 'package-lock.json'), 'utf8')).packages;
  const installed = JSON.parse(readFileSync(listFile, 'utf8')).packages;
  const differs = ([path, { version, optional, os = [], cpu = [], libc }]) => {
    if (path === '') return false;
    if (installed[path] !== undefined) return installed[path].version !== version;
    const forHere = os.includes(process.platform) && cpu.includes(process.arch);
    return !optional || (forHere && libc === undefined);
  };
  const first = Object.entries(wanted).find(differs);
  return first && `node_modules differs from package-lock.json (${first[0]})`;
}

async function build() {
  const stampFile = join(HOME, 'dist/.stamp');
  const stamp = existsSync(stampFile) ? readFileSync(stampFile, 'utf8') : undefined;
  if (stamp === buildStamp()) return;
  say(stamp === undefined ? 'build: dist is missing' : 'build: the sources have changed');
  const code = await run([process.execPath, 'build.mjs']);
  if (code !== 0) throw new SetupError(`build: failed (exit ${code}), see above`);
}

/** A hash over everything that dist is made from. build.mjs leaves it in dist/.stamp. */
export function buildStamp() {
  const names = [
    'build.mjs',
    'packaging/bundle.mjs',
    'package-lock.json',
    'package.json',
    'tsconfig.build.json',
  ];
  for (const directory of ['bpf', 'src']) {
    for (const name of readdirSync(join(HOME, directory), { recursive: true }).sort()) {
      if (/\.(c|h|sh|ts)$/.test(name)) names.push(join(directory, name));
    }
  }
  const hash = createHash('sha256');
  for (const name of names) hash.update(`${name}\0`).update(readFileSync(join(HOME, name)));
  return hash.digest('hex');
}

// Running other programs.

let running;
let endedBy = 0;

/** Ctrl-C reaches what is running by itself; we wait for its clean-up in any case. */
function passSignalsOn() {
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM']) {
    process.on(signal, () => {
      endedBy = 128 + osConstants.signals[signal];
      if (running === undefined || signal === 'SIGINT') return;
      try {
        process.kill(running.pid, signal);
      } catch {
        // It has just ended, or it is root's.
      }
    });
  }
}

/** Runs the demo with this terminal. Resolves to its exit code. */
function runDemo(args) {
  const root = process.getuid() === 0;
  if (!root && !program('sudo')) {
    throw new SetupError(
      'the demo loads a BPF program: as root, run `npm run demo` (no sudo here)',
    );
  }
  if (!root) say('the demo loads a BPF program, which takes root: running it by sudo');
  const command = [process.execPath, join(HOME, 'bin/xdpwho.js'), 'demo', ...args];
  return start(root ? command : ['sudo', ...command], 'inherit');
}

/** Runs one step and shows its output, set in. Resolves to the exit code. */
async function run(command) {
  say(`+ ${command.join(' ')}`);
  const ended = start(command, ['inherit', 'pipe', 'pipe']);
  const dims = process.stderr.isTTY && !process.env.NO_COLOR;
  for (const stream of [running.stdout, running.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      process.stderr.write(dims ? `\x1b[2m    ${line}\x1b[0m\n` : `    ${line}\n`);
    });
  }
  const code = await ended;
  if (endedBy) process.exit(endedBy);
  return code;
}

function start([file, ...args], stdio) {
  running = spawn(file, args, { cwd: HOME, stdio });
  return new Promise((resolve, reject) => {
    running.on('error', (error) => reject(new SetupError(`${file}: ${error.message}`)));
    running.on('close', (code, signal) => {
      running = undefined;
      resolve(signal === null ? code : 128 + osConstants.signals[signal]);
    });
  });
}

function say(line) {
  process.stderr.write(`setup: ${line}\n`);
}

if (
  process.argv[1] !== undefined &&
  realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)
) {
  main(process.argv.slice(2)).then(
    (code) => {
      process.exitCode = code;
    },
    (error) => {
      if (!(error instanceof SetupError)) throw error;
      say(error.message);
      process.exitCode = 1;
    },
  );
}
