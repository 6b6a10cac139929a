/** Boots a guest in QEMU and runs its command, on any x86-64 CPU or none. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { findTool, TOOL_DIRECTORIES } from '../../src/host/tools.js';
import { quoteWord } from '../../src/text/shell-words.js';
import type { Accelerator, Architecture } from './architecture.js';
import { type CpioEntry, cpioArchive } from './cpio.js';
import { VmError } from './debian.js';
import { PROJECT, type Progress } from './image.js';

export interface Guest {
  readonly architecture: Architecture;
  readonly vmlinuz: string;
  /** Files of cpio archives, and archives: what the guest's root is made of. */
  readonly layers: readonly (string | Uint8Array)[];
  /** As QEMU's `-smp` takes it. */
  readonly cpus: string;
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly string[];
  /** More of its environment. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface RunOptions {
  readonly progress: Progress;
  /** With a terminal, the command gets it whole; otherwise its two outputs go where these do. */
  readonly terminal?: Terminal | undefined;
  readonly onStdout: (chunk: Buffer) => void;
  readonly onStderr: (chunk: Buffer) => void;
  /** Of the command; none by default. */
  readonly limitMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The caller's own terminal, in raw mode. */
export interface Terminal {
  readonly input: Readable;
  readonly columns: number;
  readonly rows: number;
}

interface GuestEnd {
  readonly exitCode: number;
  readonly accelerator: Accelerator;
  readonly bootMs: number;
  /** Boots that came to nothing before. */
  readonly retries: number;
}

/** A boot takes 3 to 6 s by software on a slow CPU. */
const BOOT_LIMIT_MS = 120_000;
const MAX_BOOTS = 4;
const MEMORY_MB = 1500;
/** Ctrl-], as in telnet: the command has Ctrl-C for itself. */
const ESCAPE = 0x1d;

/** Whether KVM has shown that it cannot run a guest here: on some hosts its device is there, and fails. */
let kvmFails = false;

/**
 * Runs the command in "$@", and kills it at the end of its own input: whose other end we hold, so that
 * QEMU does not outlive us, however we end.
 */
export const WITH_US = `
exec 6<&0 </dev/null
"$@" 6<&- &
machine=$!
( exec 2>/dev/null 3>&- 4>&- 5>&-; read -r _ <&6; kill -KILL "$machine" ) &
watcher=$!
wait "$machine"
kill -KILL "$watcher"
`;

/**
 * Runs one guest to its end. A guest that dies before it has told an exit code is booted again, with
 * its command from the start: software emulation of several CPUs is known to make a kernel panic
 * now and then.
 */
export async function runGuest(guest: Guest, options: RunOptions): Promise<GuestEnd> {
  const { qemu } = guest.architecture;
  if (findTool(qemu) === undefined) {
    throw new VmError(
      `${qemu}: not found in ${TOOL_DIRECTORIES.join(' ')}; it is what boots the guest`,
    );
  }
  const scratch = mkdtempSync(join(tmpdir(), 'xdpwho-vm-'));
  try {
    const initrd = join(scratch, 'initrd');
    writeInitrd(initrd, [...guest.layers, commandLayer(guest, options.terminal)]);
    for (let retries = 0; ; retries++) {
      const accelerator = !kvmFails && mayUseKvm(guest.architecture) ? 'kvm' : 'tcg';
      const log = join(scratch, `console-${retries}`);
      const boot = new Boot(guest, { ...options, accelerator, initrd, log });
      const { exitCode, bootMs, why, ended } = await boot.ended;
      if (exitCode !== undefined) return { exitCode, accelerator, bootMs: bootMs ?? 0, retries };
      options.signal?.throwIfAborted();
      if (ended === 'by us' || (ended === 'by QEMU' && accelerator === 'tcg'))
        throw new VmError(why);
      if (accelerator === 'kvm') {
        kvmFails = true;
        options.progress(`KVM does not work here (${why}); emulating in software`);
      } else if (retries + 1 >= MAX_BOOTS) {
        throw new VmError(`the guest died ${retries + 1} times: ${why}\n${tail(log)}`);
      } else {
        options.progress(`the guest died (${why}); booting it again\n${tail(log)}`);
      }
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** One boot of a guest. */
class Boot {
  readonly ended: Promise<{
    exitCode: number | undefined;
    bootMs: number | undefined;
    /** What ended it, where it is no exit code. */
    why: string;
    /** `by QEMU`: with words of its own, which another boot would only repeat. */
    ended: 'by us' | 'by QEMU' | 'of itself';
  }>;
  readonly #child: ChildProcess;
  readonly #startedAt = Date.now();
  #exitCode: number | undefined;
  #bootMs: number | undefined;
  #why = '';
  #limit: NodeJS.Timeout;
  #end: 'by us' | 'of itself' = 'of itself';

  constructor(
    guest: Guest,
    options: RunOptions & { accelerator: Accelerator; initrd: string; log: string },
  ) {
    const { accelerator, initrd, log, signal, terminal } = options;
    const args = qemuArguments({ ...guest, accelerator, initrd, log });
    this.#child = spawn('sh', ['-c', WITH_US, 'xdpwho-vm', guest.architecture.qemu, ...args], {
      stdio: ['pipe', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
      // A Ctrl-C in the terminal is for whoever started us to handle.
      detached: true,
    });
    this.#limit = setTimeout(() => this.#kill('it did not boot', 'of itself'), BOOT_LIMIT_MS);
    const stop = () => this.#kill('interrupted');
    signal?.addEventListener('abort', stop, { once: true });
    if (signal?.aborted === true) stop();

    let complaint = '';
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      complaint += String(chunk);
    });
    const [output, errors, control] = serialLines(this.#child);
    output.on('data', options.onStdout);
    errors.on('data', options.onStderr);
    const input = (chunk: Buffer) => {
      if (chunk.includes(ESCAPE)) this.#kill('ended by Ctrl-]');
      else output.write(chunk);
    };
    terminal?.input.on('data', input);
    createInterface({ input: control }).on('line', (line) => this.#hear(line, options.limitMs));
    const failure = new Promise<void>((resolve) => {
      this.#child.on('error', (error) => {
        this.#why = error.message;
        resolve();
      });
    });
    this.ended = Promise.race([once(this.#child, 'close'), failure]).then(() => {
      clearTimeout(this.#limit);
      signal?.removeEventListener('abort', stop);
      terminal?.input.off('data', input);
      const lines = complaint.split('\n').filter((line) => !/^$|: warning: /.test(line));
      const panic = panicIn(log);
      const words = lines.filter((line) => line.startsWith('qemu')).at(-1) ?? lines.at(-1);
      const why = this.#why || panic || words || 'it ended without a word';
      // After a crash of QEMU's the last line is the shell's: Aborted.
      const isQemus = lines.at(-1)?.startsWith('qemu') === true;
      const ended = panic !== undefined ? 'of itself' : this.#end;
      const how = ended === 'of itself' && panic === undefined && isQemus ? 'by QEMU' : ended;
      return { exitCode: this.#exitCode, bootMs: this.#bootMs, why, ended: how };
    });
  }

  #hear(line: string, limitMs: number | undefined): void {
    if (line === 'ready') {
      this.#bootMs = Date.now() - this.#startedAt;
      clearTimeout(this.#limit);
      if (limitMs !== undefined) {
        this.#limit = setTimeout(() => this.#kill(`more than ${limitMs / 1000} s`), limitMs);
      }
    }
    const code = /^exit (\d+)$/.exec(line)?.[1];
    if (code !== undefined) this.#exitCode = Number(code);
  }

  #kill(why: string, end: 'by us' | 'of itself' = 'by us'): void {
    this.#why = why;
    this.#end = end;
    this.#child.stdin?.end();
  }
}

/** Our ends of descriptors 3 to 5, which Node makes sockets. */
function serialLines(child: ChildProcess): [Socket, Socket, Socket] {
  const ends: readonly unknown[] = child.stdio;
  const sockets = ends.slice(3).filter((end) => end instanceof Socket);
  const [output, errors, control] = sockets;
  if (output === undefined || errors === undefined || control === undefined) {
    throw new VmError('QEMU cannot be started');
  }
  // QEMU's end goes with QEMU.
  for (const socket of sockets) socket.on('error', () => {});
  return [output, errors, control];
}

/**
 * Pure: QEMU's arguments. Several emulated CPUs run in turn in one thread: in threads of their own,
 * kernels that patch themselves die now and then. Nothing is connected to the guest but its serial
 * lines: the console, the command's two outputs, and the line on which the guest says how it is.
 */
export function qemuArguments(
  machine: Pick<Guest, 'architecture' | 'vmlinuz' | 'cpus'> & {
    accelerator: Accelerator;
    initrd: string;
    log: string;
  },
): string[] {
  const { architecture, accelerator } = machine;
  const words = [`console=${architecture.console}`, 'panic=-1', 'quiet', 'rdinit=/init'];
  return [
    ...['-accel', accelerator === 'kvm' ? 'kvm' : 'tcg,thread=single'],
    ...['-M', architecture.machine, '-cpu', 'max', '-smp', machine.cpus, '-m', String(MEMORY_MB)],
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-nic', 'none'],
    ...['-kernel', machine.vmlinuz, '-initrd', machine.initrd],
    ...['-append', words.join(' ')],
    ...architecture.consoleArguments(machine.log),
    ...architecture.lineArguments([3, 4, 5]),
  ];
}

/** The command, for the guest's shell to read back, and what the terminal is like. */
function commandLayer(guest: Guest, terminal: Terminal | undefined): Buffer {
  const script = `exec ${guest.command.map(quoteWord).join(' ')}\n`;
  const [OUTPUT, ERRORS, CONTROL] = guest.architecture.lines;
  const environment = {
    ...{ OUTPUT, ERRORS, CONTROL, ...guest.environment },
    TERM: process.env.TERM,
    NO_COLOR: process.env.NO_COLOR,
    TERM_COLUMNS: terminal?.columns,
    TERM_ROWS: terminal?.rows,
  };
  const lines = Object.entries(environment)
    .filter(([name, value]) => value !== undefined && (terminal !== undefined || name !== 'TERM'))
    .map(([name, value]) => `export ${name}=${quoteWord(String(value))}\n`);
  const file = (path: string, mode: number, content: Uint8Array): CpioEntry => ({
    kind: 'file',
    ...{ path, mode, content },
  });
  return cpioArchive([
    file('init', 0o755, readFileSync(join(PROJECT, 'test/vm/init'))),
    file('vm/command', 0o644, Buffer.from(script)),
    file('vm/environment', 0o644, Buffer.from(lines.join(''))),
  ]);
}

function writeInitrd(path: string, layers: readonly (string | Uint8Array)[]): void {
  const file = openSync(path, 'w', 0o600);
  try {
    for (const layer of layers) {
      writeSync(file, typeof layer === 'string' ? readFileSync(layer) : layer);
    }
  } finally {
    closeSync(file);
  }
}

/** KVM runs machines of the host's own kind. */
function mayUseKvm(architecture: Architecture): boolean {
  if (process.arch !== architecture.npm) return false;
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function panicIn(log: string): string | undefined {
  return /Kernel panic[^\r\n]*|Oops:[^\r\n]*/.exec(textOf(log))?.[0];
}

function tail(log: string): string {
  const lines = textOf(log).trim().split(/\r?\n/).slice(-12);
  return lines.map((line) => `  | ${line}`).join('\n');
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
