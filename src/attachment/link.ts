/**
 * An attachment by a bpf_link, which the kernel detaches when the last descriptor of the link is
 * closed. bpftool has no command that makes one for XDP or TCX, but it can be had from a batch that stays
 * open (src/host/batch.ts), for `prog run` does not close the program that it has opened (bpftool
 * src/prog.c, do_run):
 *
 * 1. a test run of our program leaves a descriptor of it open in bpftool's process;
 * 2. bpf/link.bpf.c, run in the same process, makes a link of that descriptor, and leaves the link's
 *    descriptor open there.
 *
 * The link then lives as long as that process. A bpftool that closes the descriptor, and a kernel
 * before 5.18, are found out by trying: both are `LinkUnavailable`, and `net attach` is there.
 */

import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { OpenBatch } from '../host/batch.js';
import type { Bpftool } from '../host/bpftool.js';
import { bpftoolArguments } from '../host/bpftool-arguments.js';
import { messageOf, systemErrorCode, XdpwhoError } from '../model/errors.js';
import type { AttachMode, Direction } from '../model/records.js';
import type { ObjectFiles } from '../objects/files.js';

export interface LinkRequest {
  /** Where the program is pinned, and its id. */
  readonly programPin: string;
  readonly programId: number;
  /** What was written into the program as `test_frame`: the test run, which is no packet, is not counted. */
  readonly testFrame: Uint8Array;
  /** The interface, by its index in the namespace at `netnsPath`. */
  readonly ifindex: number;
  readonly netnsPath: string | undefined;
  readonly mode: AttachMode;
  /** Only of TCX. Default `received`. */
  readonly direction?: Direction | undefined;
  /** A path in bpffs where nothing is: the program that makes the link is there for the moment. */
  readonly pin: string;
  /** A folder for temporary files. */
  readonly scratch: string;
  /** For the making of the link; default 10 s. */
  readonly timeoutMs?: number | undefined;
}

/** A link and the process that holds it. Whoever has it must close it. */
export interface Link {
  readonly id: number;
  readonly pid: number;
  /** Settles when the process has ended, by `close` or by itself; never rejects. The program is then detached. */
  readonly ended: Promise<unknown>;
  /** Lets go: the program is detached afterwards. */
  close(): Promise<void>;
}

/** The kernel refuses this attachment, by a link as by `net attach`. */
export class LinkRefused extends XdpwhoError {
  /** "EBUSY" where another program is there already. */
  readonly errno: string;

  constructor(errno: string, mode: AttachMode) {
    super('tool-failed', `the kernel refuses a link in ${mode} mode: ${errno}`);
    this.name = 'LinkRefused';
    this.errno = errno;
  }
}

/** No link can be had on this host, or not this time, for the reason in the message; `net attach` may do. */
export class LinkUnavailable extends XdpwhoError {
  /** Whether somebody killed the process meanwhile: that says nothing of the host. */
  wasKilled = false;

  constructor(why: string, cause?: unknown) {
    super('tool-failed', `no link can be had: ${why}`, { hint: 'xdpwho doctor', cause });
    this.name = 'LinkUnavailable';
  }
}

/** linux/bpf.h, enum bpf_attach_type. */
const BPF_XDP = 37;
const BPF_TCX: Readonly<Record<Direction, number>> = { received: 46, sent: 47 };

/**
 * linux/if_link.h: XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE. linux/bpf.h: BPF_F_BEFORE, so that no program
 * before ours ends the chain, or changes what we count.
 */
const MODE_FLAGS: Readonly<Record<AttachMode, number>> = { native: 4, generic: 2, tcx: 8 };

/** What the kernel answers for reasons that are not the interface's: no such command, descriptor or right. */
const UNAVAILABLE: ReadonlySet<string> = new Set(['EBADF', 'EINVAL', 'EPERM', 'EACCES', 'ENOSYS']);

/** The shortest Ethernet frame, without its checksum. */
const FRAME_BYTES = 60;

const DEFAULT_TIMEOUT_MS = 10_000;

/** How often a link is tried, if the process that makes it is killed. */
const MAX_TRIES = 5;

/**
 * Attaches a pinned program. Rejects with LinkRefused or LinkUnavailable, and then nothing is attached
 * and no process left. With this process also the link ends, while it is being made too; `pin` may
 * then stay.
 */
export async function holdLink(
  bpftool: Bpftool,
  objects: ObjectFiles,
  request: LinkRequest,
): Promise<Link> {
  for (let tries = 1; ; tries++) {
    const link = await tryToHold(bpftool, objects, request);
    if (!(link instanceof LinkUnavailable)) return link;
    if (!link.wasKilled || tries === MAX_TRIES) throw link;
  }
}

/** Gives why no link can be had, where that is so. */
async function tryToHold(
  bpftool: Bpftool,
  objects: ObjectFiles,
  request: LinkRequest,
): Promise<Link | LinkUnavailable> {
  let batch: OpenBatch | undefined;
  try {
    batch = new OpenBatch(bpftool, request.netnsPath);
    const id = await makeLink(batch, objects, request);
    rmSync(request.pin);
    batch.listenNoMore();
    const { pid, ended } = batch;
    return { id, pid, ended, close: batch.close.bind(batch) };
  } catch (error) {
    const isLate = error instanceof XdpwhoError && error.code === 'timeout';
    await (isLate ? batch?.kill() : batch?.close());
    // The pin after the process: while that lives, it may still make it.
    rmSync(request.pin, { force: true });
    if (error instanceof LinkRefused) throw error;
    const unavailable =
      error instanceof LinkUnavailable ? error : new LinkUnavailable(messageOf(error), error);
    unavailable.wasKilled = !isLate && typeof (await batch?.ended) === 'string';
    return unavailable;
  }
}

/** Gives the link's id. */
async function makeLink(
  batch: OpenBatch,
  objects: ObjectFiles,
  request: LinkRequest,
): Promise<number> {
  const {
    programPin,
    programId,
    testFrame,
    ifindex,
    mode,
    direction = 'received',
    pin,
    scratch,
  } = request;
  const limit = AbortSignal.timeout(request.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const frame = `${scratch}/frame`;
  writeFileSync(frame, Buffer.concat([testFrame], FRAME_BYTES));
  await batch.run([bpftoolArguments.runProgram(programPin, frame, 1)], limit);
  const program = openFiles(batch.pid).find((file) => file.prog_id === String(programId));
  if (program === undefined) throw new LinkUnavailable('bpftool does not keep the program open');
  const constants = {
    program_fd: program.descriptor,
    target_ifindex: ifindex,
    attach_type: mode === 'tcx' ? BPF_TCX[direction] : BPF_XDP,
    link_flags: MODE_FLAGS[mode],
  };
  const returned = await batch.run(
    [
      bpftoolArguments.loadSyscallProgram(
        objects.writePatched('link', { constants }, scratch),
        pin,
      ),
      bpftoolArguments.runSyscallProgram(pin),
    ],
    limit,
  );
  const descriptor = returned | 0;
  if (descriptor < 0) {
    const errno = errnoName(-descriptor);
    throw UNAVAILABLE.has(errno)
      ? new LinkUnavailable(`the kernel answers ${errno}`)
      : new LinkRefused(errno, mode);
  }
  const link = openFiles(batch.pid).find((file) => file.descriptor === descriptor);
  const isAsked =
    link?.link_type === (mode === 'tcx' ? 'tcx' : 'xdp') &&
    link.prog_id === String(programId) &&
    link.ifindex === String(ifindex);
  if (!isAsked)
    throw new LinkUnavailable('what bpftool has made is not the link that was asked for');
  return Number(link.link_id);
}

/**
 * The index of the interface that a link is attached to, as the process that holds it has it: 0 where it has been
 * detached, or the interface or the process is gone (kernel/bpf/tcx.c, tcx_link_fdinfo). Undefined where this process
 * may not see that.
 */
export function linkedIfindex(pid: number, linkId: number): number | undefined {
  try {
    const link = openFiles(pid).find((file) => file.link_id === String(linkId));
    return Number(link?.ifindex ?? 0);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return 0;
    if (systemErrorCode(error) === 'EACCES') return undefined;
    throw error;
  }
}

/** A descriptor that a process has open, and what the kernel says of it. */
interface OpenFile {
  readonly descriptor: number;
  readonly [name: string]: string | number | undefined;
}

/**
 * What /proc/PID/fdinfo says: for a program `prog_id`, for a link also `link_type` and its other
 * properties (kernel/bpf/syscall.c, bpf_prog_show_fdinfo and bpf_link_show_fdinfo).
 */
function openFiles(pid: number): OpenFile[] {
  const directory = `/proc/${pid}/fdinfo`;
  return readdirSync(directory).map((name) => {
    const lines = readIfOpen(`${directory}/${name}`).matchAll(/^(\w+):\s*(\S+)/gm);
    return {
      ...Object.fromEntries([...lines].map(([, key, value]) => [key, value])),
      descriptor: Number(name),
    };
  });
}

/** Empty for a descriptor that has been closed meanwhile. */
function readIfOpen(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return '';
    throw error;
  }
}

/** "EBUSY" for 16. Two numbers have two names each; libbpf and the kernel use these. */
function errnoName(number: number): string {
  const names = Object.entries(constants.errno).filter(([, value]) => value === number);
  const name = names.map(([each]) => each).find((each) => each !== 'ENOTSUP');
  return name ?? `errno ${number}`;
}

/** The beginning of the frame of a test run: its first byte, where an IP packet has its version, is 0. */
export function makeTestFrame(): Uint8Array {
  const bytes = randomBytes(8);
  bytes[0] = 0;
  return bytes;
}
