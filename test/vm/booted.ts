/**
 * A Debian that systemd boots from a disk, with the project's package installed by apt: what test/vm/booted.sh
 * tells of it. QEMU emulates it in software, so that all hosts can; a boot takes half a minute.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createConnection } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { sourcesList, VmError } from './debian.js';
import { PROJECT, type Progress } from './image.js';
import { WITH_US } from './qemu.js';
import { mirrorsFrom } from './run.js';

const CACHE = join(homedir(), '.cache/xdpwho');
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const PACKAGES = [
  ...[
    'systemd',
    'systemd-sysv',
    'udev',
    'dbus',
    'kmod',
    'iproute2',
    'iputils-ping',
    'initramfs-tools',
  ],
  ...['zstd', 'linux-image-cloud-amd64', 'nodejs', 'bpftool', 'prometheus-node-exporter'],
];
/** What the guest needs to find its disk; the rest udev loads. */
const INITRAMFS = `mkdir -p "$1/etc/initramfs-tools/conf.d"
echo MODULES=list >"$1/etc/initramfs-tools/conf.d/guest"
printf 'virtio_pci\\nvirtio_blk\\next4\\n' >"$1/etc/initramfs-tools/modules"`;
const UNIT = `[Unit]
After=network.target
[Service]
Type=exec
ExecStart=/root/booted.sh
`;
const DISK = '1500M';
const LIMIT_MS = 25 * 60_000;
/** Longer than a second, which the times are compared by. */
const ASLEEP_MS = 6000;

/** What it has told, by name. Rejects with VmError when it came to no end. */
export async function runBooted(suite: string, progress: Progress): Promise<Map<string, string>> {
  const base = await makeBase(suite, progress);
  const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-booted-'));
  try {
    const root = join(scratch, 'root');
    mkdirSync(root);
    await execa('tar', ['-xf', base, '-C', root]);
    await install(root, scratch);
    const disk = join(scratch, 'disk');
    await execa('mke2fs', ['-q', '-t', 'ext4', '-d', root, disk, DISK]);
    const boot = join(root, 'boot');
    const fileIn = (beginning: string) =>
      join(boot, readdirSync(boot).find((name) => name.startsWith(beginning)) ?? beginning);
    const files = { kernel: fileIn('vmlinuz-'), initrd: fileIn('initrd.img-'), disk };
    return await boots(files, scratch, progress);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The system without the project, from packages; kept for the next time. */
async function makeBase(suite: string, progress: Progress): Promise<string> {
  const base = join(CACHE, `booted-${suite}.tar`);
  if (existsSync(base)) return base;
  progress(`Debian ${suite} with systemd: downloading`);
  mkdirSync(CACHE, { recursive: true });
  const part = `${base}.${process.pid}.tar`;
  const small = ['doc', 'locale', 'man'].map(
    (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
  );
  const mirrors = await mirrorsFrom(process.env.XDPWHO_VM_MIRROR)();
  const options = [...small, '--aptopt=Acquire::Languages "none"', `--essential-hook=${INITRAMFS}`];
  const packages = `--include=${PACKAGES.join(',')}`;
  await execa('mmdebstrap', ['--variant=minbase', ...options, packages, suite, part, '-'], {
    input: sourcesList(
      mirrors,
      [suite, `${suite}-security`],
      existsSync(KEYRING) ? KEYRING : undefined,
    ),
  });
  renameSync(part, base);
  return base;
}

/** The project's package by apt, as a user would, and the script as a unit. */
async function install(root: string, scratch: string): Promise<void> {
  const packages = join(scratch, 'packages');
  await execa(process.execPath, ['packaging/package.mjs', packages], { cwd: PROJECT });
  const deb = readdirSync(packages).find((name) => name.endsWith('.deb')) ?? '';
  cpSync(join(packages, deb), join(root, 'root/xdpwho.deb'));
  const apt = ['apt-get', '-qq', 'install', '-y', '--no-install-recommends', '/root/xdpwho.deb'];
  await execa('chroot', [root, ...apt], { env: { DEBIAN_FRONTEND: 'noninteractive' } });
  cpSync(join(PROJECT, 'test/vm/booted.sh'), join(root, 'root/booted.sh'));
  chmodSync(join(root, 'root/booted.sh'), 0o755);
  const units = join(root, 'etc/systemd/system');
  writeFileSync(join(units, 'booted.service'), UNIT);
  mkdirSync(join(units, 'multi-user.target.wants'), { recursive: true });
  symlinkSync('../booted.service', join(units, 'multi-user.target.wants/booted.service'));
  rmSync(join(units, 'default.target'), { force: true });
  symlinkSync('/lib/systemd/system/multi-user.target', join(units, 'default.target'));
  writeFileSync(join(root, 'etc/fstab'), '/dev/vda / ext4 defaults 0 1\n');
}

/**
 * Two cards of one link, and between them one alone, which can be taken out; what is put back in its place has a plug of
 * its own. No network of the host's.
 */
function cards(): string[] {
  return [
    ...['0', '1', '0', '1'].flatMap((hub, index) => [
      '-netdev',
      `hubport,id=net${index},hubid=${hub}`,
    ]),
    ...[0, 1, 2].flatMap((index) => [
      '-device',
      `virtio-net-pci,netdev=net${index},id=card${index}`,
    ]),
  ];
}

/** What the script asks its host, by QEMU's monitor at `path`. */
async function serve(path: string, request: string, isRunning: () => boolean): Promise<void> {
  if (request === 'take out') await ask(path, 'device_del card1');
  else if (request === 'put back')
    await ask(path, 'device_add virtio-net-pci,netdev=net3,id=card3');
  else if (request === 'wake') {
    while (isRunning() && !(await ask(path, 'info status')).includes('suspended')) await sleep(500);
    await sleep(ASLEEP_MS);
    await ask(path, 'system_wakeup');
  }
}

/** What the monitor answers. Empty where there is none any more. */
async function ask(path: string, command: string): Promise<string> {
  const socket = createConnection(path);
  let answer = '';
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    answer += chunk.toString('latin1');
  });
  socket.write(`${command}\n`);
  // It ends no answer but by its next prompt.
  await sleep(500);
  socket.destroy();
  return answer;
}

async function boots(
  files: { readonly kernel: string; readonly initrd: string; readonly disk: string },
  scratch: string,
  progress: Progress,
): Promise<Map<string, string>> {
  const [told, consoleLog, monitor] = ['told', 'console', 'monitor'].map((name) =>
    join(scratch, name),
  );
  const qemu = [
    ...['qemu-system-x86_64', '-machine', 'pc', '-accel', 'tcg,thread=single', '-m', '1200'],
    ...['-kernel', files.kernel, '-initrd', files.initrd, '-display', 'none', '-nic', 'none'],
    ...['-append', 'root=/dev/vda rw console=ttyS0 net.ifnames=0 systemd.show_status=no quiet'],
    ...['-drive', `file=${files.disk},if=virtio,format=raw,cache=unsafe`],
    ...['-serial', `file:${consoleLog}`, '-serial', `file:${told}`],
    ...['-monitor', `unix:${monitor},server,nowait`, ...cards()],
  ];
  // It ends with us: see WITH_US.
  const child = spawn('sh', ['-c', WITH_US, 'sh', ...qemu], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const ended = once(child, 'exit');
  let running = true;
  void ended.then(() => {
    running = false;
  });
  const endMs = Date.now() + LIMIT_MS;
  const findings = new Map<string, string>();
  for (let heard = 0; running; ) {
    await Promise.race([ended, sleep(200)]);
    const lines = textOf(told).split(/\r?\n/);
    // The last one may be half a line.
    for (; heard < lines.length - 1; heard++) {
      const line = lines[heard] ?? '';
      progress(line);
      const [, name = '', value = ''] = /^([^:]+): (.*)$/.exec(line) ?? [];
      if (name === 'host') void serve(monitor ?? '', value, () => running);
      else if (name !== '') findings.set(name, value);
    }
    if (Date.now() > endMs) {
      child.stdin?.end();
      await ended;
      throw new VmError(`the guest did not come to an end:\n${textOf(consoleLog).slice(-2000)}`);
    }
  }
  return findings;
}

function textOf(path: string | undefined): string {
  return path !== undefined && existsSync(path) ? readFileSync(path, 'latin1') : '';
}
