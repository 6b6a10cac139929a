/**
 * npm run vm -- [--kernel V] [--bpftool V] [--arch A] [--cpus N] [--mirror URL] [--refresh]
 *               [COMMAND...]
 *
 * Runs `xdpwho demo`, or another command, in a throw-away machine with a kernel of its own. Needs no
 * root, and touches nothing of the host's network. The exit code is the command's.
 */
import { parseArgs } from 'node:util';
import { AMD64, ARCHITECTURES, type Architecture } from './architecture.js';
import { hostMirrors, type Mirrors, VmError } from './debian.js';
import { prepareNode, prepareRelease, projectLayer } from './image.js';
import { runGuest, type Terminal } from './qemu.js';
import { findRelease, RELEASES, type Release } from './releases.js';

const USAGE = `npm run vm -- [OPTION...] [COMMAND...]      (default: xdpwho demo)

  --kernel ${RELEASES.map(({ kernel }) => kernel).join('|')}   of the Debian release that has it (default: 6.1)
  --bpftool ${RELEASES.map(({ bpftool }) => bpftool).join('|')}   likewise, with that release's iproute2 (default: the kernel's release)
  --arch ${ARCHITECTURES.map(({ debian }) => debian).join('|')}  s390x is big endian, and has to be emulated (default: amd64)
  --cpus N              possible CPUs, or as QEMU's -smp takes them: 2,maxcpus=4 (default: 2)
  --mirror URL          a Debian archive, where apt on this host is configured with none
  --refresh             look for newer packages
  --help

  npm run vm -- xdpwho doctor          any command
  npm run vm -- --kernel 5.10 sh       a shell, where this is a terminal; Ctrl-] ends the machine`;

interface VmCommandLine {
  readonly kernel: Release;
  readonly bpftool: Release;
  readonly architecture: Architecture;
  readonly cpus: string;
  readonly mirror: string | undefined;
  readonly refresh: boolean;
  readonly help: boolean;
  readonly command: readonly string[];
}

/** Pure. Everything from the first word that is no option of ours belongs to the command. */
export function parseVmArguments(args: readonly string[]): VmCommandLine {
  const first = commandStart(args);
  const { values } = parse(args.slice(0, first));
  const kernel = releaseOf('kernel', values.kernel ?? '6.1');
  const bpftool = values.bpftool === undefined ? kernel : releaseOf('bpftool', values.bpftool);
  const command = args.slice(args[first] === '--' ? first + 1 : first);
  const name = values.arch ?? AMD64.debian;
  const architecture = ARCHITECTURES.find(({ debian }) => debian === name);
  if (architecture === undefined) throw new VmError(`--arch ${name}: there are amd64, s390x`);
  const cpus = values.cpus ?? '2';
  if (!/^[1-9]\d*(,maxcpus=[1-9]\d*)?$/.test(cpus))
    throw new VmError(`--cpus ${cpus}: a number, or as in 2,maxcpus=4`);
  return {
    ...{ kernel, bpftool, architecture, cpus, mirror: values.mirror },
    refresh: values.refresh === true,
    help: values.help === true,
    command: command.length > 0 ? command : ['xdpwho', 'demo'],
  };
}

const OPTIONS = {
  kernel: { type: 'string' },
  bpftool: { type: 'string' },
  arch: { type: 'string' },
  cpus: { type: 'string' },
  mirror: { type: 'string' },
  refresh: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, strict: true });
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new VmError(`${what.split('\n')[0]}; see npm run vm -- --help`);
  }
}

function commandStart(args: readonly string[]): number {
  for (let index = 0; index < args.length; index++) {
    const word = args[index] ?? '';
    if (word === '--' || !word.startsWith('-')) return index;
    const name = word.replace(/^--/, '');
    if (Object.hasOwn(OPTIONS, name) && Reflect.get(OPTIONS, name).type === 'string') index++;
  }
  return args.length;
}

function releaseOf(what: 'kernel' | 'bpftool', version: string): Release {
  const release = findRelease(what, version);
  if (release !== undefined) return release;
  const known = RELEASES.map((each) => each[what]).join(', ');
  throw new VmError(`--${what} ${version}: there are ${known}`);
}

/** A mirror that the user named, or the host's; asked for when something is downloaded. */
export function mirrorsFrom(mirror: string | undefined): () => Promise<Mirrors> {
  return async () =>
    mirror === undefined ? await hostMirrors() : { archive: mirror, security: undefined };
}

export async function main(args: readonly string[]): Promise<number> {
  const line = parseVmArguments(args);
  if (line.help) {
    console.log(USAGE);
    return 0;
  }
  const progress = (text: string) =>
    process.stderr.write(`vm: ${text.replaceAll('\n', '\nvm: ')}\n`);
  const { architecture } = line;
  const getting = {
    architecture,
    mirrors: mirrorsFrom(line.mirror),
    refresh: line.refresh,
    progress,
  };
  const kernel = await prepareRelease(line.kernel, getting);
  const user = line.bpftool === line.kernel ? kernel : await prepareRelease(line.bpftool, getting);
  const node = await prepareNode(architecture.node, progress, architecture);

  const stopping = new AbortController();
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stopping.abort(new Stopped(signal)));
  }
  progress(`booting Linux ${kernel.kernelVersion} with bpftool ${user.bpftoolVersion}`);
  const terminal = architecture.hasTerminal ? openTerminal() : undefined;
  if (terminal !== undefined) progress('Ctrl-] ends the machine');
  try {
    const { exitCode, accelerator, bootMs } = await runGuest(
      {
        architecture,
        vmlinuz: kernel.vmlinuz,
        layers: [user.userLayer, kernel.kernelLayer, node.layer, projectLayer([])],
        cpus: line.cpus,
        command: line.command,
      },
      {
        ...{ progress, terminal, signal: stopping.signal },
        onStdout: (chunk) => process.stdout.write(chunk),
        onStderr: (chunk) => process.stderr.write(chunk),
      },
    );
    const how = accelerator === 'kvm' ? 'by KVM' : 'by software emulation';
    progress(`booted in ${(bootMs / 1000).toFixed(1)} s ${how}; exit code ${exitCode}`);
    return exitCode;
  } finally {
    closeTerminal();
  }
}

class Stopped extends VmError {
  readonly exitCode: number;

  constructor(signal: 'SIGHUP' | 'SIGINT' | 'SIGTERM') {
    super(`ended by ${signal}`);
    this.exitCode = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }[signal];
  }
}

function openTerminal(): Terminal | undefined {
  const { stdin, stdout } = process;
  if (!stdin.isTTY || !stdout.isTTY) return undefined;
  stdin.setRawMode(true);
  return { input: stdin, columns: stdout.columns, rows: stdout.rows };
}

function closeTerminal(): void {
  if (!process.stdin.isTTY || !process.stdout.isTTY) return;
  process.stdin.setRawMode(false);
  process.stdin.pause();
}

/** Runs a `main` to its exit code. */
export function start(run: Promise<number>): void {
  run.then(
    (code) => {
      process.exitCode = code;
    },
    (error) => {
      if (!(error instanceof VmError)) throw error;
      process.stderr.write(`vm: ${error.message}\n`);
      process.exitCode = error instanceof Stopped ? error.exitCode : 1;
    },
  );
}
