import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { findTool } from '../../src/host/tools.js';
import { quoteWord } from '../../src/text/shell-words.js';
import { suite } from '../suite.js';
import { DebianRoot, WHY_NO_ROOT } from './debian-root.js';
import { Lab } from './lab.js';
import { play, recap, writeEntrance, writePlay } from './playbook.js';

const HOME = fileURLToPath(new URL('../..', import.meta.url));
const UNITS = `${HOME}packaging/systemd`;

const test = suite('a package on a minimal Debian', WHY_NO_ROOT);

let root: DebianRoot;
let packages: string;

/** The package whose name ends so. */
function packageFile(end: string): string {
  const [name, ...others] = readdirSync(packages).filter((each) => each.endsWith(end));
  assert.equal(others, []);
  return `${packages}/${name}`;
}

function checksums(): Promise<string> {
  const names = readdirSync(packages).map((name) => `${packages}/${name}`);
  return execa('sha256sum', names).then(({ stdout }) => stdout);
}

/** The demo checks its own counts. */
async function runsTheDemo(command: readonly string[]): Promise<void> {
  const ran = await root.run('sh', '-c', 'cd / && exec "$@"', 'sh', ...command, 'demo');
  assert.is(ran.exitCode, 0, ran.all);
  assert.match(ran.all, /every count is exact/);
}

test.before(async () => {
  packages = mkdtempSync('/tmp/xdpwho-packages-');
  await execa(process.execPath, ['packaging/package.mjs', packages], { cwd: HOME });
  root = await DebianRoot.create();
});

test.after(() => {
  rmSync(packages, { recursive: true });
  root.close();
});

test('is the same bytes each time it is made', async () => {
  const before = await checksums();
  await execa(process.execPath, ['packaging/package.mjs', packages], { cwd: HOME });
  assert.is(await checksums(), before);
});

test('brings what it needs, as .deb, and nothing more: no compiler, no headers', async () => {
  assert.is((await root.run('sh', '-c', 'command -v node bpftool')).stdout, '');
  cpSync(packageFile('.deb'), `${root.path}/root/xdpwho.deb`);
  await root.must('apt-get', '-qq', 'update');
  const install = ['apt-get', '-qq', 'install', '-y', '--no-install-recommends'];
  await root.must(...install, '/root/xdpwho.deb', 'iproute2');
  assert.is((await root.run('sh', '-c', 'command -v clang gcc npm')).stdout, '');
  assert.match(await root.must('xdpwho', '--version'), /^\d+\.\d+\.\d+$/);
  assert.match(
    await root.must('getent', 'passwd', 'xdpwho'),
    /:\/nonexistent:\/usr\/sbin\/nologin$/,
  );
  await runsTheDemo(['xdpwho']);
});

test('has the man page, the completions, the units and the tmpfiles entry, as .deb', async () => {
  const listed = (await root.must('dpkg', '--listfiles', 'xdpwho')).split('\n');
  const units = readdirSync(UNITS).map((name) => `/usr/lib/systemd/system/${name}`);
  for (const path of [
    '/usr/share/man/man1/xdpwho.1.gz',
    '/usr/share/bash-completion/completions/xdpwho',
    '/usr/share/zsh/vendor-completions/_xdpwho',
    '/usr/share/fish/vendor_completions.d/xdpwho.fish',
    '/usr/lib/tmpfiles.d/xdpwho.conf',
    ...units,
  ]) {
    assert.ok(listed.includes(path), path);
  }
  const completion = `${root.path}/usr/share/bash-completion/completions/xdpwho`;
  await execa('bash', ['-n', completion]);
  assert.ok(readFileSync(completion, 'utf8').includes('detach'));
});

test('is one file that runs from anywhere with nothing beside it', async () => {
  mkdirSync(`${root.path}/srv/a b`, { recursive: true });
  const file = '/srv/a b/who.cjs';
  cpSync(packageFile('.cjs'), `${root.path}${file}`);
  chmodSync(`${root.path}${file}`, 0o555);
  await runsTheDemo([file]);
  const script = ['script', 'status', 'eth0'];
  const ours = await execa(process.execPath, [`${HOME}bin/xdpwho.js`, ...script]);
  assert.is(await root.must(file, ...script), ours.stdout);
  assert.match(await root.must(file, 'script', 'attach', 'eth0'), /^el\/sources\) cat <<'END'$/m);
});

test('is an npm tarball that carries the objects of both byte orders', async () => {
  const prefix = `${root.path}/usr/local`;
  const ignoring = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefix', prefix];
  await execa('npm', ['install', '--global', ...ignoring, packageFile('.tgz')]);
  const objects = `${prefix}/lib/node_modules/xdpwho/dist/bpf`;
  assert.equal(readdirSync(`${objects}/el`), readdirSync(`${objects}/eb`));
  assert.ok(existsSync(`${objects}/eb/sources.o`));
  await runsTheDemo(['/usr/local/bin/xdpwho']);
  const library = 'const { EXIT_CODES } = await import("xdpwho"); console.log(EXIT_CODES.usage)';
  const modules = '/usr/local/lib/node_modules/xdpwho/x.mjs';
  writeFileSync(`${root.path}${modules}`, library);
  assert.is(await root.must('node', modules), '2');
});

test('goes as it came, as .deb', async () => {
  await root.must('dpkg', '--purge', 'xdpwho');
  for (const path of ['/usr/bin/xdpwho', '/usr/lib/tmpfiles.d/xdpwho.conf']) {
    assert.is(existsSync(`${root.path}${path}`), false, path);
  }
  assert.is((await root.run('getent', 'passwd', 'xdpwho')).exitCode, 2);
});

const ROLE = 'is installed and attached by the role, told of before and not done again';
if (findTool('ansible-playbook') === undefined) test.skip(ROLE, 'needs ansible-playbook');
else {
  test(ROLE, async () => {
    await root.must('apt-get', '-qq', 'install', '-y', '--no-install-recommends', 'python3-apt');
    const lab = await Lab.create({ device: 'fleet0' });
    try {
      const home = lab.scratch;
      const words = root.entrance().map(quoteWord).join(' ');
      const into = `export shared='${lab.bpffs} ${home}'
exec nsenter --net=/run/netns/${lab.netns} -- ${words} "$@"`;
      const become = `ansible_become_exe=${writeEntrance(`${home}/enter`, into)}`;
      const host = 'host0 ansible_connection=local ansible_python_interpreter=/usr/bin/python3';
      writeFileSync(`${home}/hosts.ini`, `${host} ${become}\n`);
      writePlay(`${home}/site.yml`, {
        xdpwho_interfaces: '[fleet0]',
        xdpwho_package: packageFile('.deb'),
        xdpwho_options: `{bpffs: ${lab.bpffs}}`,
      });
      for (const [args, changed, attached] of [
        [['--check', '--diff'], 2, 0],
        [[], 3, 1],
        [[], 0, 1],
        [['--check', '--diff'], 0, 1],
        [['-e', 'xdpwho_state=absent'], 1, 0],
      ] as const) {
        const ran = await play(home, 'site.yml', ...args);
        assert.equal(recap(ran.stdout), [`host0 changed ${changed} failed 0`], ran.all);
        assert.is((await lab.attached()).length, attached);
      }
    } finally {
      await lab.close();
    }
  });
}

test.run();
