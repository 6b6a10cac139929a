/** One attachment: how it stands, and its two endings, `close` and `keep`. */
import { findTool } from '../host/exec.js';
import { showLinks } from '../host/interfaces.js';
import type { Netns } from '../host/netns.js';
import type { AttachedRecord, AttachMode, Mode, Reader } from '../model/records.js';
import type { SessionContext } from './context.js';
import { type DetachOutcome, Guard } from './guard.js';
import { isReachable, type Look } from './look.js';
import type { Pins } from './pin-paths.js';
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

/** The record of an attachment that is complete. */
export type CompleteState = AttachmentState & {
  readonly programId: number;
  readonly mode: AttachMode;
  readonly reader: Reader;
};

/** An attachment that is there: made by us just now, or found. */
export class Attachment {
  readonly pins: Pins;
  readonly netns: Netns;
  /** Its record, with the interface's present name. */
  readonly state: CompleteState;
  /** What the interface was called when it was attached: the kernel's own lines have this name. */
  readonly attachedAs: string;
  /** What the user should know of how it came about, one line each. */
  readonly notes: readonly string[];
  readonly #context: Pick<SessionContext, 'bpftool'>;
  #guard: Guard | undefined;
  #detached: DetachOutcome | undefined;
  #closed: boolean | undefined;
  /** As the last look found it. */
  #ifindex: number | undefined;

  constructor(
    context: Pick<SessionContext, 'bpftool'>,
    parts: {
      pins: Pins;
      netns: Netns;
      state: CompleteState;
      attachedAs?: string | undefined;
      notes?: readonly string[];
      /** Of an attachment that this process has made: it ends it should this process die. */
      guard?: Guard | undefined;
    },
  ) {
    this.#context = context;
    this.#guard = parts.guard;
    this.pins = parts.pins;
    this.netns = parts.netns;
    this.state = parts.state;
    this.attachedAs = parts.attachedAs ?? parts.state.interface;
    this.notes = parts.notes ?? [];
  }

  get interface(): string {
    return this.state.interface;
  }

  get programId(): number {
    return this.state.programId;
  }

  get mode(): AttachMode {
    return this.state.mode;
  }

  get reader(): Reader {
    return this.state.reader;
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

  /** Whether the program is still where it was attached, as a look at the host finds it. */
  async standing(look: Look): Promise<Standing> {
    try {
      const attached = await look.attachedIn(this.netns);
      const names = await look.interfacesIn(this.netns);
      const ours = attached.find((one) => one.programId === this.programId);
      if (ours !== undefined) {
        this.#ifindex = ours.ifindex;
        return { kind: 'attached', device: ours.device, mode: ours.mode };
      }
      if (await this.#isAnother()) return { kind: 'anew' };
      const other = attached.find((one) => one.device === this.interface);
      if (other !== undefined) return { kind: 'replaced', programId: other.programId };
      return { kind: names.includes(this.interface) ? 'detached' : 'gone' };
    } catch (error) {
      if (!isReachable(this.netns)) return { kind: 'gone' };
      throw error;
    }
  }

  /** Whether the interface of this name is not the one that had our program. */
  async #isAnother(): Promise<boolean> {
    if (this.#ifindex === undefined || findTool('ip') === undefined) return false;
    const [link] = await showLinks(this.netns, this.interface);
    return link !== undefined && link.ifindex !== this.#ifindex;
  }

  /**
   * Detaches the program wherever it is attached; its counters can be read, and are final, until
   * `close`. False when it was not attached any more. Rejects with `tool-failed` where it may still
   * be attached: the pins then stay and say whose it is, and the guard goes on trying.
   */
  async detach(): Promise<boolean> {
    this.#detached ??= await (await this.#ending()).detach();
    return this.#detached === 'detached';
  }

  /**
   * Detaches, and removes the pins, and with them the program and its table. False where something
   * stays in its directory that xdpwho did not make. Closing it again does nothing.
   */
  async close(): Promise<boolean> {
    this.#closed ??= await this.#close();
    return this.#closed;
  }

  async #close(): Promise<boolean> {
    const guard = await this.#ending();
    try {
      await this.detach();
    } catch (error) {
      guard.leave();
      this.#guard = undefined;
      throw error;
    }
    const removed = await guard.remove();
    await guard.release();
    return removed;
  }

  /** Lets the attachment stay when this process ends. */
  async keep(): Promise<void> {
    writeState(this.pins, { ...this.state, interface: this.attachedAs, holder: null });
    await this.#guard?.release();
    this.#guard = undefined;
  }

  /** Attaches it again after `detach`, or, with `overwrite`, in the place of the program that took its place; it stays. */
  async resume(overwrite: boolean): Promise<void> {
    const { pins, interface: device, netns, mode } = this;
    await this.#context.bpftool.attach(mode, pins.program, device, netns.path, { overwrite });
    this.#detached = undefined;
    await this.keep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** What ends it: its guard, or, where another process has made it, one that is started now. */
  async #ending(): Promise<Guard> {
    if (this.#guard === undefined) {
      const { pins, netns, state } = this;
      const { path } = this.#context.bpftool;
      this.#guard = new Guard({ bpftool: path, netns, pins, token: state.token });
      await this.#guard.watch(state.programId);
    }
    return this.#guard;
  }
}
