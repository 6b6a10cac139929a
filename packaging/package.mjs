/**
 * `npm run package [-- DIRECTORY]`: what is published, in packages/ or there: the npm tarball, the
 * command in one file that needs only Node and bpftool, and a Debian package of it. The same sources
 * give the same bytes (SOURCE_DATE_EPOCH, else the time of the last commit).
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { buildStamp } from '../setup.mjs';
import { bundle } from './bundle.mjs';

const HOME = fileURLToPath(new URL('..', import.meta.url));
const OUTPUT = resolve(process.argv[2] ?? join(HOME, 'packages'));
process.chdir(HOME);
const { version, description, license } = JSON.parse(readFileSync('package.json', 'utf8'));
const epoch = sourceDate();

for (const name of existsSync(OUTPUT) ? readdirSync(OUTPUT) : []) {
  if (/^xdpwho[-_].*\.(deb|cjs|tgz)$/.test(name)) rmSync(join(OUTPUT, name));
}
mkdirSync(OUTPUT, { recursive: true });
// Not by npm's `prepack`, which would build what is built already, under the feet of those who use it.
if (!existsSync('dist/.stamp') || readFileSync('dist/.stamp', 'utf8') !== buildStamp()) {
  run(process.execPath, ['build.mjs']);
}
const tarball = packTarball();
const file = await bundleIntoOne();
report(tarball);
report(file);
if (spawnSync('dpkg-deb', ['--version']).status === 0) report(buildDeb(file));
else console.error('package: no dpkg-deb here, so no .deb');

/** npm's own, with dist/. */
function packTarball() {
  run('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', OUTPUT]);
  return join(OUTPUT, `xdpwho-${version}.tgz`);
}

/** The command with the BPF objects written in. */
async function bundleIntoOne() {
  const outfile = join(OUTPUT, `xdpwho-${version}.cjs`);
  const objects = {};
  for (const order of ['el', 'eb']) {
    for (const name of readdirSync(`dist/bpf/${order}`).sort()) {
      objects[`embedded/${order}/${name}`] = readFileSync(`dist/bpf/${order}/${name}`, 'base64');
    }
  }
  await build({
    ...bundle,
    entryPoints: ['src/main.ts'],
    outfile,
    banner: { js: `#!/usr/bin/env node\n${bundle.banner.js}` },
    define: {
      ...bundle.define,
      XDPWHO_OBJECTS: JSON.stringify(objects),
    },
  });
  chmodSync(outfile, 0o755);
  return outfile;
}

/** Without debhelper: a tree of files and dpkg-deb. */
function buildDeb(program) {
  const tree = mkdtempSync(join(tmpdir(), 'xdpwho-deb-'));
  try {
    const shebang = /^#!.*\n/;
    const text = readFileSync(program, 'utf8').replace(shebang, '#!/usr/bin/node\n');
    // Node takes a file without an extension for CommonJS.
    put(tree, 'usr/bin/xdpwho', text, 0o755);
    for (const name of readdirSync('packaging/systemd')) {
      put(tree, `usr/lib/systemd/system/${name}`, readFileSync(`packaging/systemd/${name}`));
    }
    put(tree, 'usr/lib/tmpfiles.d/xdpwho.conf', readFileSync('packaging/tmpfiles.conf'));
    put(tree, 'usr/share/doc/xdpwho/copyright', readFileSync('LICENSE'));
    put(tree, 'usr/share/doc/xdpwho/changelog.gz', compressed('CHANGELOG.md'));
    put(tree, 'usr/share/man/man1/xdpwho.1.gz', compressed('man/xdpwho.1'));
    for (const [shell, path] of [
      ['bash', 'bash-completion/completions/xdpwho'],
      ['zsh', 'zsh/vendor-completions/_xdpwho'],
      ['fish', 'fish/vendor_completions.d/xdpwho.fish'],
    ]) {
      put(tree, `usr/share/${path}`, run(process.execPath, [program, 'completion', shell]));
    }
    for (const name of ['postinst', 'prerm', 'postrm']) {
      put(tree, `DEBIAN/${name}`, readFileSync(`packaging/debian/${name}`), 0o755);
    }
    put(tree, 'DEBIAN/control', control());
    setTimes(tree);
    const deb = join(OUTPUT, `xdpwho_${version}_all.deb`);
    run('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', tree, deb]);
    return deb;
  } finally {
    rmSync(tree, { recursive: true });
  }
}

function control() {
  return `Package: xdpwho
Version: ${version}
Section: net
Priority: optional
Architecture: all
Depends: nodejs (>= 18.19), bpftool, util-linux, passwd
Recommends: iproute2
Maintainer: The authors of xdpwho
Description: ${description.split(':')[0]}
 Counts every packet's source address in an XDP program, before the kernel's
 network stack, and leaves nothing behind when it ends. License: ${license}.
`;
}

function compressed(path) {
  return gzipSync(readFileSync(path), { level: 9 });
}

function put(tree, path, content, mode = 0o644) {
  const file = join(tree, path);
  mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
  writeFileSync(file, content);
  chmodSync(file, mode);
}

/** Everything as old as the sources. dpkg-deb only cuts off what is younger. */
function setTimes(directory) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) setTimes(path);
    else lutimesSync(path, epoch, epoch);
  }
  chmodSync(directory, 0o755);
  lutimesSync(directory, epoch, epoch);
}

function sourceDate() {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined) return Number(given);
  const { status, stdout } = spawnSync('git', ['log', '-1', '--format=%ct'], { encoding: 'utf8' });
  return status === 0 && existsSync('.git') ? Number(stdout) : 0;
}

function run(program, args) {
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(epoch) };
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env });
  if (status !== 0) {
    console.error(`package: ${program}: failed: ${error?.message ?? stderr.trimEnd()}`);
    process.exit(1);
  }
  return stdout;
}

function report(path) {
  console.error(`package: ${path}, ${readFileSync(path).length} bytes`);
}
