/** The attachments that a run of `watch` or `log` has made or joined. */
import { accessSync, constants } from 'node:fs';
import type { Attachment } from '../attachment/attachment.js';
import type { AttachSettings, SessionContext } from '../attachment/context.js';
import { findEntry } from '../attachment/find.js';
import { endInTurn } from '../attachment/in-turn.js';
import { Look } from '../attachment/look.js';
import { open } from '../attachment/open.js';
import type { Pins } from '../attachment/pin-paths.js';
import { resolveTargets, type Scope, type Target, targetOf } from '../attachment/target.js';
import { bpffsFailure } from '../host/bpffs.js';
import { hasErrorCode, messageOf, XdpwhoError } from '../model/errors.js';
import { type DetachedRecord, type Direction, sentMember } from '../model/records.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';

/** Milliseconds between two checks that the programs are still attached. A check starts processes. */
export const CHECK_MS = 4000;

/** What a check has found: something to tell, or the loss of the attachment. */
export interface Change {
  readonly note?: string;
  readonly failure?: XdpwhoError;
}

/** One attachment of a run, with the present name of its interface. */
export class Tracked {
  readonly attachment: Attachment;
  /** Whether this run has attached it, and must close it. */
  readonly owned: boolean;
  #device: string;
  #isGuardMissed = false;

  constructor(attachment: Attachment, owned: boolean) {
    this.attachment = attachment;
    this.owned = owned;
    this.#device = attachment.interface;
  }

  /** The present name of the interface. */
  get device(): string {
    return this.#device;
  }

  get name(): string {
    return this.attachment.interface;
  }

  /** Compares the attachment with a look at the host: a note for a change, a failure for a loss, undefined for neither. */
  async check(look: Look): Promise<Change | undefined> {
    const name = printable(this.name);
    if (this.attachment.isHolderGone) return this.#renew();
    if (this.attachment.isGuardLost && !this.#isGuardMissed) {
      this.#isGuardMissed = true;
      return {
        note: 'its guard was ended again and again, and is not there any more: should this run be killed, the program stays attached',
      };
    }
    const standing = await this.attachment.standing(look);
    switch (standing.kind) {
      case 'attached': {
        if (standing.device === this.#device) return undefined;
        this.#device = standing.device;
        return { note: `the interface is called ${printable(standing.device)} now` };
      }
      case 'replaced':
        if (standing.isOurs) {
          const message = `${name}: attached anew by xdpwho, program ${standing.programId}: its counts have begun again`;
          return { failure: new XdpwhoError('not-attached', message, { hint: this.#again() }) };
        }
        return {
          failure: new XdpwhoError(
            'not-ours',
            `${name}: another program has taken the place of ours: id ${standing.programId}; left alone`,
            { hint: `bpftool prog show id ${standing.programId}` },
          ),
        };
      case 'detached':
        return {
          failure: new XdpwhoError('not-attached', `${name}: somebody else detached our program`),
        };
      case 'anew':
      case 'gone': {
        const anew = standing.kind === 'anew' ? ', and another has its name' : '';
        const message = `${name}: the interface has gone${anew}`;
        return { failure: new XdpwhoError('interface-gone', message, { hint: 'ip link show' }) };
      }
    }
  }

  /** The command that shows what is attached there now. */
  #again(): string {
    return ownCommand('status', {
      interface: this.#device,
      netns: this.attachment.netns.name,
    });
  }

  /** Somebody has ended the process that held the program: the run takes it up again, if it can. */
  async #renew(): Promise<Change> {
    try {
      await this.attachment.renew();
      return {
        note: 'the process that held the program was ended; attached again, and what came meanwhile is not counted',
      };
    } catch (error) {
      const message = `${printable(this.name)}: the process that held the program was ended, and it cannot be attached again: ${messageOf(error)}`;
      return { failure: new XdpwhoError('not-attached', message, { cause: error }) };
    }
  }
}

/** The interfaces of a run, and how to attach to them. */
export interface TrackOptions extends Omit<Scope, 'direction'>, AttachSettings {
  readonly interfaces: readonly string[];
  /** Which packets; default: those that are received. */
  readonly directions?: readonly Direction[] | undefined;
}

/**
 * Yields an attachment for each interface: the one that `attach` has made, or a new one. Stops at the signal of
 * the options. The caller must close what it was given, also if the next one fails.
 */
export async function* track(
  context: SessionContext,
  { interfaces, directions = ['received'], ...options }: TrackOptions,
): AsyncGenerator<{ readonly attachment: Attachment; readonly owned: boolean }, void, void> {
  const look = new Look(context.bpftool);
  for (const target of await targetsOf(interfaces, directions, options)) {
    if (options.signal?.aborted === true) return;
    const joined = await findStaying(context, target, look);
    const attachment = joined ?? (await openFor(context, target, options));
    yield { attachment, owned: joined === undefined };
  }
}

/** Where a stranger's XDP program is, says how to count behind it. */
async function openFor(
  context: SessionContext,
  target: Target,
  settings: AttachSettings,
): Promise<Attachment> {
  try {
    return await open(context, target, { ...settings, mayTakeTcx: true });
  } catch (error) {
    if (!hasErrorCode(error, 'interface-busy')) throw error;
    const { code, message, hint, cause } = error;
    const retry = { option: '--beside', without: ['--mode'] };
    throw new XdpwhoError(code, message, { retry, hint, cause });
  }
}

/** Each interface in each direction. */
export async function targetsOf(
  interfaces: readonly string[],
  directions: readonly Direction[],
  scope: Omit<Scope, 'direction'>,
): Promise<Target[]> {
  const targets = await resolveTargets(interfaces, scope);
  return targets.flatMap(({ device, netns, bpffs }) =>
    directions.map((direction) => targetOf(device, netns, { bpffs, direction })),
  );
}

/** The attachment that `attach` has made on an interface, or undefined. */
export async function findStaying(
  context: SessionContext,
  target: Target,
  look?: Look,
): Promise<Attachment | undefined> {
  const entry = await findEntry(context, target, look);
  return entry?.ownership === 'ours' ? (entry.attachment ?? undefined) : undefined;
}

/** The program of one interface has been detached and its pins are removed. */
export interface Detached {
  readonly kind: 'detached';
  readonly record: DetachedRecord;
}

/** A line for the user about one interface. */
export interface Note {
  readonly kind: 'note';
  /** Null: it is of no interface. */
  readonly interface: string | null;
  readonly text: string;
}

/** A note in words. */
export function noteLine({ interface: name, text }: Note): string {
  return name === null ? text : `${name}: ${text}`;
}

/**
 * Checks all attachments with one look at the host. Yields a note for each change. Runs `finish` for each lost
 * attachment, which must take it off the list. Returns the last failure, or undefined.
 */
export async function* checkAll<T extends Tracked, E>(
  context: SessionContext,
  tracked: readonly T[],
  finish: (lost: T) => AsyncGenerator<E, void, void>,
): AsyncGenerator<E | Note, XdpwhoError | undefined, void> {
  const look = new Look(context.bpftool);
  let failure: XdpwhoError | undefined;
  for (const one of [...tracked]) {
    const change = await one.check(look);
    if (change?.note !== undefined) yield { kind: 'note', interface: one.name, text: change.note };
    if (change?.failure === undefined) continue;
    failure = change.failure;
    yield* finish(one);
    if (tracked.length > 0) yield { kind: 'note', interface: one.name, text: failure.message };
  }
  return failure;
}

/** Whether the process that held one of them has been ended: seen without a look at the host. */
export function hasLostHolder(tracked: readonly Tracked[]): boolean {
  return tracked.some((one) => one.attachment.isHolderGone);
}

/** The result of a reading, or undefined if somebody detached what it reads. */
export async function unlessDetached<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (hasErrorCode(error, 'not-attached')) return undefined;
    throw error;
  }
}

/** Takes an attachment off the list. If this run had attached it, closes it and yields the record of that. */
export async function* dismiss<T extends Tracked>(
  tracked: T[],
  one: T,
): AsyncGenerator<Detached | Note, void, void> {
  tracked.splice(tracked.indexOf(one), 1);
  if (!one.owned) return;
  if (!(await one.attachment.close())) {
    yield { kind: 'note', interface: one.name, text: whyPinsStay(one.attachment.pins) };
  }
  const { programId } = one.attachment;
  const record = {
    type: 'detached',
    interface: one.name,
    ...sentMember(one.attachment.direction),
    program_id: programId,
  } as const;
  yield { kind: 'detached', record };
}

function whyPinsStay({ directory }: Pins): string {
  const stay = `its pins stay in ${directory}`;
  try {
    accessSync(directory, constants.W_OK);
  } catch (error) {
    const { message, hint } = bpffsFailure(directory, error);
    return `${stay}: ${message.replace(`${directory}: `, '')}; ${hint}, then xdpwho clean`;
  }
  return `${stay}: it holds what xdpwho did not make`;
}

/** Detaches those that the run made: every one is tried, the first failure is told. */
export async function detachAll(tracked: readonly Tracked[]): Promise<void> {
  await allInTurn(tracked, async ({ attachment }) => {
    await attachment.detach();
  });
}

/** Closes all attachments that this run has made. Rejects with the first failure, after it has tried all. */
export async function closeAll(tracked: readonly Tracked[]): Promise<void> {
  await allInTurn(tracked, async ({ attachment }) => {
    await attachment.close();
  });
}

async function allInTurn(
  tracked: readonly Tracked[],
  end: (one: Tracked) => Promise<void>,
): Promise<void> {
  const owned = tracked.filter((one) => one.owned);
  const [unended] = await endInTurn(owned, end);
  if (unended !== undefined) throw unended.error;
}

/** Of something slow, at most one part in so many of the time is spent on it. */
const SHARE = 10;

/** Tells when something that repeats is due. */
export class Schedule {
  readonly #everyMs: number;
  #dueMs: number;

  constructor(startMs: number, everyMs: number) {
    this.#everyMs = everyMs;
    this.#dueMs = startMs + everyMs;
  }

  /** On the clock of performance.now(). */
  get dueMs(): number {
    return this.#dueMs;
  }

  isOver(): boolean {
    const nowMs = performance.now();
    if (nowMs < this.#dueMs) return false;
    this.#dueMs = nowMs + this.#everyMs;
    return true;
  }

  /** Puts off the next time, if this one took long. */
  took(spentMs: number): void {
    this.#dueMs = Math.max(this.#dueMs, performance.now() + (SHARE - 1) * spentMs);
  }
}
