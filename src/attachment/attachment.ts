/** One attachment: how it stands, and how it ends. */
import type { Bpftool, XdpAttachment } from '../host/bpftool.js';
import { findTool } from '../host/exec.js';
import { listInterfaces, showLinks } from '../host/interfaces.js';
import { findNetnsPath, type Netns } from '../host/netns.js';
import type { AttachedRecord, Mode, Reader } from '../model/records.js';
import { detachProgram, ownsDirectory } from './detach-program.js';
import type { Guard } from './guard.js';
import type { Pins } from './pin-paths.js';
import { removePins } from './pins.js';
import { type AttachmentState, writeState } from './record.js';

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
