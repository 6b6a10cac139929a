import type { Attachment } from '../attachment/attachment.js';
import { type AttachOptions, requestedNetns, type SessionContext } from '../attachment/context.js';
import { findEntry } from '../attachment/find.js';
import { openAttachment } from '../attachment/open.js';
import { resolveInterface } from '../host/interfaces.js';
import { XdpwhoError } from '../model/errors.js';
import type { DetachedRecord } from '../model/records.js';
import { printable } from '../text/text.js';

/** An attachment that a run looks after, and what its interface is called by now. */
export class Attended {
  readonly attachment: Attachment;
  /** Whether the run made it, and is to end it. */
  readonly owned: boolean;
  #device: string;

  constructor(attachment: Attachment, owned: boolean) {
    this.attachment = attachment;
    this.owned = owned;
    this.#device = attachment.interface;
  }

  get name(): string {
    return this.attachment.interface;
  }

  /** What has happened to the attachment: nothing (undefined), something to tell, or its end. */
  async news(): Promise<{ note?: string; failure?: XdpwhoError } | undefined> {
    const standing = await this.attachment.standing();
    const name = printable(this.name);
    switch (standing.kind) {
      case 'attached': {
        if (standing.device === this.#device) return undefined;
        this.#device = standing.device;
        return { note: `the interface is called ${printable(standing.device)} now` };
      }
      case 'replaced':
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
}

/**
 * Finds what `attach` left on each of the interfaces, or attaches to it, until the signal of the
 * options ends it. The caller puts each into `attended` before it asks for the next: one that is
 * there already is left out, since it may have been named twice, also by an alternative name.
 */
export async function* attendEach(
  context: SessionContext,
  options: Omit<AttachOptions, 'interface'> & { readonly interfaces: readonly string[] },
  attended: readonly Attended[],
): AsyncGenerator<{ readonly attachment: Attachment; readonly owned: boolean }, void, void> {
  for (const name of new Set(options.interfaces)) {
    if (options.signal?.aborted === true) return;
    const device = await resolveInterface(name, requestedNetns(options));
    if (attended.some((each) => each.name === device)) continue;
    const request = { ...options, interface: device };
    const there = await findStaying(context, request);
    const attachment = there ?? (await openAttachment(context, request));
    yield { attachment, owned: there === undefined };
  }
}

/** What `attach` left on the interface of this name, if it is whole. */
export async function findStaying(
  context: SessionContext,
  options: Pick<AttachOptions, 'interface' | 'netns' | 'bpffs'>,
): Promise<Attachment | undefined> {
  const entry = await findEntry(context, options);
  return entry?.ownership === 'ours' ? (entry.attachment ?? undefined) : undefined;
}

/** The program of one interface is off it, and nothing is left. */
export interface Detached {
  readonly kind: 'detached';
  readonly record: DetachedRecord;
}

/** Something that the user should know of one interface. */
export interface Note {
  readonly kind: 'note';
  readonly interface: string;
  readonly text: string;
}

/**
 * Asks after every attachment. Tells what the user should know, hands those that are lost to
 * `finish`, which takes them off the list, and returns why the last of them was; undefined where none was.
 */
export async function* follow<T extends Attended, E>(
  attended: readonly T[],
  finish: (lost: T) => AsyncGenerator<E, void, void>,
): AsyncGenerator<E | Note, XdpwhoError | undefined, void> {
  let failure: XdpwhoError | undefined;
  for (const each of [...attended]) {
    const news = await each.news();
    if (news?.note !== undefined) yield { kind: 'note', interface: each.name, text: news.note };
    if (news?.failure === undefined) continue;
    failure = news.failure;
    yield* finish(each);
    if (attended.length > 0) yield { kind: 'note', interface: each.name, text: failure.message };
  }
  return failure;
}

/** Takes one that has been read to its end off the list; what the run had attached is unpinned, and that is told. */
export async function* dismiss<T extends Attended>(
  attended: T[],
  each: T,
): AsyncGenerator<Detached, void, void> {
  attended.splice(attended.indexOf(each), 1);
  if (!each.owned) return;
  await each.attachment.unpin();
  const { programId } = each.attachment;
  const record = { type: 'detached', interface: each.name, program_id: programId } as const;
  yield { kind: 'detached', record };
}

/** Ends those that the run made: every one is tried, the first failure is told. */
export async function closeAll(attended: readonly Attended[]): Promise<void> {
  const results = await Promise.allSettled(
    attended.filter((each) => each.owned).map((each) => each.attachment[Symbol.asyncDispose]()),
  );
  const failed = results.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
