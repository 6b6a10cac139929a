/** One attachment: how it stands, and its two endings, `close` and `keep`. */
import { BpftoolError } from '../host/bpftool-error.js';
import { showLinks } from '../host/interfaces.js';
import type { Netns } from '../host/netns.js';
import { findTool } from '../host/tools.js';
import { naming, XdpwhoError } from '../model/errors.js';
import {
  type AttachedRecord,
  type AttachMode,
  type Direction,
  type HeldBy,
  type Mode,
  type Reader,
  sentMember,
  type XdpMode,
} from '../model/records.js';
import { printable } from '../text/text.js';
import type { SessionContext } from './context.js';
import { type DetachOutcome, Guard } from './guard.js';
import type { Held } from './hold.js';
import { isElsewhere } from './holder.js';
import { type Link, linkedIfindex } from './link.js';
import { isReachable, type Look } from './look.js';
import { tcxUnavailable } from './mode.js';
import type { Pins } from './pin-paths.js';
import { type AttachmentState, readState, writeState } from './record.js';

/** How an attachment stands in the kernel now. */
export type Standing =
  | { readonly kind: 'attached'; readonly device: string; readonly mode: Mode }
  /** Another program has taken its place; `isOurs`: that of a later `attach`. */
  | { readonly kind: 'replaced'; readonly programId: number; readonly isOurs: boolean }
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

/** What a process that attaches has of its attachment, besides what is pinned. */
export interface Owned {
  /** Ends it, should this process die. */
  readonly guard: Guard;
  /** Undefined where `net attach` has attached. */
  readonly link: Link | undefined;
  /** Of the interface, where it is known. */
  readonly ifindex: number | undefined;
  /** Attaches again, after the process that held the link was ended. */
  readonly renew: () => Promise<Held>;
}

/** An attachment that is there: made by us just now, or found. */
export class Attachment {
  readonly pins: Pins;
  readonly netns: Netns;
  /** What the interface was called when it was attached: the kernel's own lines have this name. */
  readonly attachedAs: string;
  /** What the user should know of how it came about, one line each. */
  readonly notes: readonly string[];
  /** The same for who asks for more (`-v`). */
  readonly details: readonly string[];
  readonly #context: Pick<SessionContext, 'bpftool'>;
  readonly #renew: Owned['renew'] | undefined;
  #state: CompleteState;
  #guard: Guard | undefined;
  #link: Link | undefined;
  #isHolderGone = false;
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
      details?: readonly string[];
      owned?: Owned | undefined;
    },
  ) {
    this.#context = context;
    this.pins = parts.pins;
    this.netns = parts.netns;
    this.#state = parts.state;
    this.attachedAs = parts.attachedAs ?? parts.state.interface;
    this.notes = parts.notes ?? [];
    this.details = parts.details ?? [];
    this.#guard = parts.owned?.guard;
    this.#renew = parts.owned?.renew;
    this.#ifindex = parts.owned?.ifindex;
    this.#setLink(parts.owned?.link);
  }

  /** Its record, with the interface's present name. */
  get state(): CompleteState {
    return this.#state;
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

  get direction(): Direction {
    return this.state.direction ?? 'received';
  }

  get reader(): Reader {
    return this.state.reader;
  }

  get record(): AttachedRecord {
    return {
      type: 'attached',
      interface: this.interface,
      netns: this.netns.name,
      ...sentMember(this.direction),
      mode: this.mode,
      program_id: this.programId,
      held_by: heldBy(this.state),
      reader: this.reader,
      file: this.reader === 'iterator' ? this.pins.sourcesFile : null,
    };
  }

  /** Whether the program is still where it was attached, as a look at the host finds it. */
  async standing(look: Look): Promise<Standing> {
    try {
      if (this.mode === 'tcx') return await this.#standingAtTcx(look);
      const attached = await look.attachedIn(this.netns);
      const names = await look.interfacesIn(this.netns);
      const ours = await look.find(this.netns, this.programId);
      if (ours !== undefined) {
        this.#ifindex = ours.ifindex;
        return { kind: 'attached', device: ours.device, mode: ours.mode };
      }
      if (await this.#isAnother()) return { kind: 'anew' };
      const other = attached.find((one) => one.device === this.interface);
      if (other !== undefined) {
        const { programId } = other;
        return { kind: 'replaced', programId, isOurs: this.#isAnewBy(programId) };
      }
      return { kind: names.includes(this.interface) ? 'detached' : 'gone' };
    } catch (error) {
      if (!isReachable(this.netns)) return { kind: 'gone' };
      throw error;
    }
  }

  /** The list of bpftool has no TCX before its version 7.3, but the process that holds the link knows. */
  async #standingAtTcx(look: Look): Promise<Standing> {
    const ifindex = linkedInterface(this.state);
    const names = await look.interfacesIn(this.netns);
    if (ifindex === undefined || ifindex > 0) {
      const device = ifindex === undefined ? undefined : await look.nameOf(this.netns, ifindex);
      // The index is one of another namespace, to which the interface has been moved.
      if (ifindex !== undefined && device === undefined && !names.includes(this.interface)) {
        return { kind: 'gone' };
      }
      this.#ifindex = ifindex;
      return { kind: 'attached', device: device ?? this.interface, mode: 'tcx' };
    }
    if (await this.#isAnother()) return { kind: 'anew' };
    return { kind: names.includes(this.interface) ? 'detached' : 'gone' };
  }

  /** Whether `attach --replace` has put this program into our place, and its record into our directory. */
  #isAnewBy(programId: number): boolean {
    try {
      const state = readState(this.pins);
      return state?.programId === programId && state.token !== this.state.token;
    } catch {
      return false;
    }
  }

  /** Whether the interface of this name is not the one that had our program. */
  async #isAnother(): Promise<boolean> {
    if (this.#ifindex === undefined || findTool('ip') === undefined) return false;
    const [link] = await showLinks(this.netns, this.interface);
    return link !== undefined && link.ifindex !== this.#ifindex;
  }

  /** Whether the guard cannot be had any more, and with it what ends the attachment should this process die. */
  get isGuardLost(): boolean {
    return this.#link === undefined && this.#guard?.isLost === true;
  }

  /** Whether somebody has ended the process that held the link, and with it the attachment. */
  get isHolderGone(): boolean {
    return this.#isHolderGone;
  }

  /** Attaches again where the process that held the link is gone. Rejects as attaching does. */
  async renew(): Promise<void> {
    if (this.#renew === undefined || !this.#isHolderGone) return;
    const { link } = await this.#renew();
    this.#state = { ...this.#state, ...recordedLink(link) };
    this.#setLink(link);
    this.#writeState(this.#state);
  }

  #setLink(link: Link | undefined): void {
    this.#link = link;
    this.#isHolderGone = false;
    void link?.ended.then(() => {
      if (this.#link === link) this.#isHolderGone = true;
    });
  }

  /**
   * Detaches the program wherever it is attached; its counters can be read, and are final, until
   * `close`. False when it was not attached any more. Rejects with `tool-failed` where it may still
   * be attached: the pins then stay and say whose it is, and the guard goes on trying.
   */
  async detach(): Promise<boolean> {
    this.#detached ??= await this.#detach();
    return this.#detached === 'detached';
  }

  async #detach(): Promise<DetachOutcome> {
    const link = this.#link;
    if (link === undefined) return (await this.#ending()).detach();
    this.#link = undefined;
    await link.close();
    return this.#isHolderGone ? 'nowhere' : 'detached';
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
    let removed: boolean;
    try {
      await this.detach();
      removed = await guard.remove();
    } catch (error) {
      guard.leave();
      this.#guard = undefined;
      if (!(error instanceof XdpwhoError)) throw error;
      const { code, message, hint } = error;
      const left = `${message}; the guard goes on trying`;
      throw naming(printable(this.interface), new XdpwhoError(code, left, { hint, cause: error }));
    }
    await guard.release();
    return removed;
  }

  /** Lets the attachment stay when this process ends. A link then stays pinned. */
  async keep(): Promise<void> {
    const mode = this.#xdpMode();
    if (this.#link !== undefined) await this.#keepLink(this.#link, mode);
    this.#state = { ...this.#state, holder: null };
    this.#writeState(this.#state);
    await this.#guard?.release();
    this.#guard = undefined;
  }

  /** Where a link cannot be pinned, for want of CAP_SYS_ADMIN, `net attach` comes in its place: not without a gap. */
  async #keepLink(link: Link, mode: XdpMode): Promise<void> {
    const { bpftool } = this.#context;
    let isPinned = true;
    try {
      await bpftool.pinLink(link.id, this.pins.link);
    } catch (error) {
      if (!(error instanceof BpftoolError)) throw error;
      isPinned = false;
    }
    this.#link = undefined;
    await link.close();
    if (isPinned) return;
    await this.#guard?.watch(this.programId);
    await bpftool.attach(mode, this.pins.program, this.interface, this.netns.path);
    this.#state = { ...this.#state, ...recordedLink(undefined) };
  }

  /** The mode of one that can stay. Throws for TCX. */
  #xdpMode(): XdpMode {
    const { mode } = this;
    if (mode === 'tcx') throw tcxUnavailable(WHY_NOT_KEPT);
    return mode;
  }

  /** The record keeps the name that it was attached as. */
  #writeState(state: CompleteState): void {
    writeState(this.pins, { ...state, interface: this.attachedAs });
  }

  /** Attaches it again after `detach`, or, with `overwrite`, in the place of the program that took its place; it stays. */
  async resume(overwrite: boolean): Promise<void> {
    const { pins, interface: device, netns } = this;
    const mode = this.#xdpMode();
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

const WHY_NOT_KEPT = 'what is attached at TCX ends with the process that attached it';

/** What the record says of a link. */
export function recordedLink(link: Link | undefined) {
  return { linkId: link?.id ?? null, linkPid: link?.pid ?? null };
}

/** The interface that the link of a record is attached to, by its index; 0 where to none any more. Undefined where that cannot be seen. */
export function linkedInterface({ linkPid, linkId, holder }: AttachmentState): number | undefined {
  if (linkPid == null || linkId == null || holder === null || isElsewhere(holder)) return undefined;
  return linkedIfindex(linkPid, linkId);
}

/** Who ends it: a link with this process, the guard, or, for one that stays, nobody (null). */
export function heldBy({ holder, linkId }: AttachmentState): HeldBy {
  if (holder === null) return null;
  return linkId == null ? 'guard' : 'link';
}
