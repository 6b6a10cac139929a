/** One attachment: how it stands, and how it ends. */
import { type Bpftool, BpftoolError, type XdpAttachment } from './bpftool.js';
import { hasErrorCode, XdpwhoError } from './errors.js';
import { findTool } from './exec.js';
import type { Guard } from './guard.js';
import {
  findNetnsPath,
  isNetns,
  listInterfaces,
  type Netns,
  otherNetnsPaths,
  showLinks,
} from './interfaces.js';
import { type AttachmentState, type Pins, readState, removePins, writeState } from './pins.js';
import type { AttachedRecord, Mode, Reader } from './records.js';
import { printable } from './render/text.js';

/** How an attachment stands in the kernel now. */
export type Standing =
  | { readonly kind: 'attached'; readonly device: string; readonly mode: Mode }
  /** Another program has taken its place. */
  | { readonly kind: 'replaced'; readonly programId: number }
  /** The interface has no program. */
  | { readonly kind: 'detached' }
  /** It has gone, and another interface has its name. */
  | { readonly kind: 'anew' }
  /** The interface, or its namespace, is not there any more. */
  | { readonly kind: 'gone' };

/** An attachment that is there: made by us just now, or found. */
export class Attachment {
  readonly pins: Pins;
  readonly netns: Netns;
  readonly state: AttachmentState;
  readonly programId: number;
  readonly mode: Mode;
  readonly reader: Reader;
  /** What the interface was called when it was attached: the kernel's own lines have this name. */
  readonly attachedAs: string;
  /** What the user should know of how it came about, one line each. */
  readonly notes: readonly string[];
  readonly #bpftool: Bpftool;
  readonly #guard: Guard | undefined;
  /** As the last look found it. */
  #ifindex: number | undefined;

  constructor(
    bpftool: Bpftool,
    parts: {
      pins: Pins;
      netns: Netns;
      state: AttachmentState & { programId: number; mode: Mode; reader: Reader };
      attachedAs?: string | undefined;
      notes?: readonly string[];
      guard?: Guard | undefined;
    },
  ) {
    this.#bpftool = bpftool;
    this.#guard = parts.guard;
    this.pins = parts.pins;
    this.netns = parts.netns;
    this.state = parts.state;
    this.programId = parts.state.programId;
    this.mode = parts.state.mode;
    this.reader = parts.state.reader;
    this.attachedAs = parts.attachedAs ?? parts.state.interface;
    this.notes = parts.notes ?? [];
  }

  get interface(): string {
    return this.state.interface;
  }

  get record(): AttachedRecord {
    return {
      type: 'attached',
      interface: this.interface,
      netns: this.netns.name,
      mode: this.mode,
      program_id: this.programId,
      reader: this.reader,
      file: this.reader === 'iterator' ? this.pins.sourcesFile : null,
    };
  }

  /** Whether the program is still where it was attached. One bpftool. */
  async standing(): Promise<Standing> {
    let shown: readonly XdpAttachment[];
    let names: readonly string[];
    try {
      shown = await this.#bpftool.showNet(this.netns.path);
      names = await listInterfaces(this.netns);
    } catch (error) {
      if (findNetnsPath(this.netns.inode) === null) return { kind: 'gone' };
      throw error;
    }
    const ours = shown.find((each) => each.programId === this.programId);
    if (ours !== undefined) {
      this.#ifindex = ours.ifindex;
      return { kind: 'attached', device: ours.device, mode: ours.mode };
    }
    if (await this.#isAnother()) return { kind: 'anew' };
    const other = shown.find((each) => each.device === this.interface);
    if (other !== undefined) return { kind: 'replaced', programId: other.programId };
    return { kind: names.includes(this.interface) ? 'detached' : 'gone' };
  }

  /** Whether the interface of this name is not the one that had our program. */
  async #isAnother(): Promise<boolean> {
    if (this.#ifindex === undefined || findTool('ip') === undefined) return false;
    const [link] = await showLinks(this.netns, this.interface);
    return link !== undefined && link.ifindex !== this.#ifindex;
  }

  /** Detaches the program wherever it is attached. False when it already was not. */
  async detach(): Promise<boolean> {
    return detachProgram(this.#bpftool, this.programId, this.netns.inode);
  }

  /** Removes the pins, and with them the program and its table; ends the guard. After `detach`. */
  async unpin(): Promise<void> {
    try {
      if (ownsDirectory(this.pins, this.state.token)) removePins(this.pins);
    } finally {
      await this.#guard?.release();
    }
  }

  /** Lets the attachment stay when this process ends. */
  async keep(): Promise<void> {
    writeState(this.pins, { ...this.state, holder: null });
    await this.#guard?.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.detach();
    } catch (error) {
      // The pins stay, and say whose program it is.
      await this.#guard?.release();
      throw error;
    }
    await this.unpin();
  }
}

/**
 * Detaches the program with this id, and no other one, from every interface that has it: in the
 * namespace that it was attached in, and if it is not there, in all that can be found, since an
 * interface takes its program along. False when it is attached nowhere.
 */
export async function detachProgram(
  bpftool: Bpftool,
  programId: number,
  netnsInode: number,
): Promise<boolean> {
  const home = findNetnsPath(netnsInode);
  const others = [undefined, ...otherNetnsPaths()].filter((path) => path !== home);
  for (const path of home === null ? others : [home, ...others]) {
    const attached = await attachedWithin(bpftool, programId, path).catch((error: unknown) => {
      // To enter a namespace of others takes a right that we may lack.
      if (path === home || path === undefined || !(error instanceof BpftoolError)) throw error;
      return [];
    });
    if (attached.length === 0) continue;
    await detachAll(bpftool, attached, programId, path);
    return true;
  }
  return false;
}

async function detachAll(
  bpftool: Bpftool,
  attached: readonly XdpAttachment[],
  programId: number,
  netnsPath: string | undefined,
): Promise<void> {
  for (const { mode, device } of attached) {
    try {
      await bpftool.detach(mode, device, netnsPath);
    } catch (error) {
      // The interface may go at any moment, and its program with it: the look below decides.
      if (!hasErrorCode(error, 'no-such-interface')) throw error;
    }
  }
  const left = await attachedWithin(bpftool, programId, netnsPath);
  if (left.length === 0) return;
  const where = left.map((each) => printable(each.device)).join(', ');
  throw new XdpwhoError('tool-failed', `${where}: program ${programId} is still attached`, {
    hint: 'bpftool net show',
  });
}

/** Where the program is attached within one namespace; nowhere when that has gone. */
export async function attachedWithin(
  bpftool: Bpftool,
  programId: number,
  netnsPath: string | undefined,
): Promise<XdpAttachment[]> {
  try {
    const shown = await bpftool.showNet(netnsPath);
    return shown.filter((each) => each.programId === programId);
  } catch (error) {
    // Any other failure says nothing of what is attached.
    if (netnsPath !== undefined && !isNetns(netnsPath)) return [];
    throw error;
  }
}

/** Whether the directory is still the one of the attachment with this token. */
export function ownsDirectory(pins: Pins, token: string): boolean {
  try {
    return readState(pins)?.token === token;
  } catch {
    return false;
  }
}
