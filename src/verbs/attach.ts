/** Attaching without a process that stays: every verb may be run twice. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Attachment } from '../attachment/attachment.js';
import {
  type AttachOptions,
  requestedNetns,
  requireCapabilities,
  type SessionContext,
} from '../attachment/context.js';
import { initialState } from '../attachment/defaults.js';
import { endEntry, findEntry, type InventoryEntry } from '../attachment/find.js';
import { heldError } from '../attachment/holder.js';
import { openAttachment } from '../attachment/open.js';
import type { AttachmentState, LogState } from '../attachment/record.js';
import { SetAside } from '../attachment/replaced.js';
import { pinsRoot } from '../host/bpffs.js';
import { resolveInterface } from '../host/interfaces.js';
import { hasErrorCode, messageOf, XdpwhoError } from '../model/errors.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';

export interface StayOptions extends AttachOptions {
  /** Make an attachment with other options anew, its counts lost. */
  readonly replace?: boolean | undefined;
}

export interface StayOutcome {
  readonly interface: string;
  readonly changed: boolean;
  /** Undefined when it failed. */
  readonly attachment: Attachment | undefined;
  readonly failure: XdpwhoError | undefined;
}

/** How long to wait for another xdpwho that is attaching to the same interface. */
const SETTLING_MS = 10_000;
const SETTLING_PAUSE_MS = 100;
/** How often another one may be quicker without our seeing what it has made. */
const MAX_REFUSALS = 5;

/**
 * Attaches to each interface and leaves it attached. What is ours already with the same options
 * stays as it is. Unless `keepGoing`, nothing is begun when one of them would be refused, and one
 * failure takes back everything that this call attached or replaced, and rejects; with it, the
 * outcomes tell.
 */
export async function attachToStay(
  context: SessionContext,
  requests: readonly StayOptions[],
  keepGoing: boolean,
): Promise<StayOutcome[]> {
  requireCapabilities();
  const outcomes: StayOutcome[] = [];
  const made: Change[] = [];
  /** With `keepGoing`, a failure becomes an outcome. */
  const attempt = async <T>(request: StayOptions, work: () => Promise<T>) => {
    try {
      return await work();
    } catch (error) {
      if (!keepGoing || !(error instanceof XdpwhoError)) throw error;
      const { interface: name } = request;
      outcomes.push({ interface: name, changed: false, attachment: undefined, failure: error });
      return undefined;
    }
  };
  try {
    const foreseen: { request: StayOptions; prospect: Prospect }[] = [];
    for (const request of await uniqueRequests(requests, attempt)) {
      const prospect = await attempt(request, () => foresee(context, request));
      if (prospect !== undefined) foreseen.push({ request, prospect });
    }
    for (const { request, prospect } of foreseen) {
      const change = await attempt(request, () => attachOne(context, request, prospect));
      if (change === undefined) continue;
      if (change.changed) made.push(change);
      const { attachment, changed } = change;
      const name = attachment.interface;
      outcomes.push({ interface: name, changed, attachment, failure: undefined });
    }
    for (const { attachment, replaced } of made) {
      await attachment.keep();
      replaced?.discard();
    }
    return outcomes;
  } catch (error) {
    const undone = made.map(async ({ attachment, replaced }) => {
      await attachment[Symbol.asyncDispose]();
      await replaced?.restore();
    });
    throw withLosses(error, await Promise.allSettled(undone));
  }
}

/** By their interfaces' own names, each once: an alternative name may stand beside the name. */
async function uniqueRequests(
  requests: readonly StayOptions[],
  attempt: (request: StayOptions, work: () => Promise<string>) => Promise<string | undefined>,
): Promise<StayOptions[]> {
  const unique = new Map<string, StayOptions>();
  for (const request of requests) {
    const netns = requestedNetns(request);
    const device = await attempt(request, () => resolveInterface(request.interface, netns));
    if (device !== undefined) unique.set(device, { ...request, interface: device });
  }
  return [...unique.values()];
}

/** What `attach` would do to one interface. */
export type Prospect =
  | { readonly kind: 'attach' }
  | {
      readonly kind: 'replace';
      /** What is other than it was asked for, in words. */
      readonly differs: readonly string[];
      readonly entry: InventoryEntry;
    }
  | { readonly kind: 'keep'; readonly attachment: Attachment }
  /** Another `attach` is at it. */
  | { readonly kind: 'wait'; readonly refusal: XdpwhoError };

/**
 * Looks, and rejects where `attach` would: a stranger's program, a run that holds it, other options
 * without `replace`. `request.interface` is the interface's own name.
 */
export async function foresee(context: SessionContext, request: StayOptions): Promise<Prospect> {
  const name = printable(request.interface);
  const entry = await findEntry(context, request);
  switch (entry?.ownership) {
    case undefined:
    case 'stale':
      return { kind: 'attach' };
    case 'foreign':
      throw new XdpwhoError(
        'interface-busy',
        `${name}: held by another program: id ${entry.programId}${calledBy(entry)}, ${entry.mode} mode; left alone`,
        { hint: `bpftool prog show id ${entry.programId}` },
      );
    case 'broken':
    case 'other-version': {
      const why = entry.why ?? '';
      if (request.replace === true) return { kind: 'replace', differs: [why], entry };
      const code = entry.ownership === 'broken' ? 'bad-object' : 'other-version';
      const where = entry.ownership === 'broken' ? (entry.pins?.directory ?? name) : name;
      const others = entry.ownership === 'broken' ? 'xdpwho clean' : ownCommand('detach', request);
      throw new XdpwhoError(code, `${where}: ${why}`, {
        hint: `${ownCommand('attach --replace', request)}, or ${others}`,
      });
    }
    case 'foreground': {
      const { holder } = entry;
      if (holder === null) return { kind: 'attach' };
      const refusal = heldError(request.interface, holder);
      if (holder.command === 'attach') return { kind: 'wait', refusal };
      throw refusal;
    }
    case 'ours': {
      const { attachment } = entry;
      if (attachment === null) return { kind: 'attach' };
      const differs = differences(attachment, request);
      if (differs.length === 0) return { kind: 'keep', attachment };
      if (request.replace === true) return { kind: 'replace', differs, entry };
      throw new XdpwhoError(
        'options-differ',
        `${name}: attached with other options: ${differs.join(', ')}`,
        { hint: `${ownCommand('attach --replace', request)} ..., which begins to count anew` },
      );
    }
  }
}

interface Change {
  readonly attachment: Attachment;
  readonly changed: boolean;
  /** What was there before, to be restored or discarded. */
  readonly replaced?: SetAside | undefined;
}

async function attachOne(
  context: SessionContext,
  request: StayOptions,
  foreseen: Prospect,
): Promise<Change> {
  let prospect = foreseen;
  let refusals = 0;
  for (let waitedMs = 0; ; waitedMs += SETTLING_PAUSE_MS) {
    if (prospect.kind === 'keep') return { attachment: prospect.attachment, changed: false };
    if (prospect.kind === 'wait') {
      if (waitedMs >= SETTLING_MS) throw prospect.refusal;
    } else {
      try {
        return await make(context, request, prospect);
      } catch (error) {
        // Another `attach` at the same moment was quicker: what it leaves decides.
        if (!hasErrorCode(error, 'held') || ++refusals === MAX_REFUSALS) throw error;
      }
    }
    await sleep(SETTLING_PAUSE_MS, undefined, { signal: request.signal });
    prospect = await foresee(context, request);
  }
}

async function make(
  context: SessionContext,
  request: StayOptions,
  prospect: Extract<Prospect, { kind: 'attach' | 'replace' }>,
): Promise<Change> {
  let replaced: SetAside | undefined;
  if (prospect.kind === 'replace') {
    const { attachment } = prospect.entry;
    if (attachment !== null) {
      replaced = await SetAside.take(context.bpftool, attachment, initialHolder(request));
    } else {
      await removeBroken(context, prospect.entry);
    }
  }
  try {
    const attachment = await openAttachment(context, { ...request, command: 'attach' });
    return { attachment, changed: true, replaced };
  } catch (error) {
    throw withLosses(error, await Promise.allSettled([replaced?.restore()]));
  }
}

function initialHolder(request: StayOptions) {
  const options = { ...request, command: 'attach' };
  return initialState(request.interface, requestedNetns(request), options).holder;
}

async function removeBroken(context: SessionContext, entry: InventoryEntry): Promise<void> {
  const kept = await endEntry(context, entry);
  if (kept === undefined) return;
  const directory = entry.pins?.directory ?? entry.interface;
  throw new XdpwhoError('bad-object', `${directory}: ${kept}`, {
    hint: `look at it: ls -lR ${directory}`,
  });
}

/** The error, with what could not be taken back or restored after it. */
function withLosses(error: unknown, undone: readonly PromiseSettledResult<unknown>[]): unknown {
  const losses = undone.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
  if (losses.length === 0 || !(error instanceof XdpwhoError)) return error;
  const words = losses.map(messageOf);
  return new XdpwhoError(
    error.code,
    `${error.message}; and what was there before could not be put back: ${words.join('; ')}`,
    { hint: error.hint, cause: error },
  );
}

/** The options that differ, each as what it is and what was asked for. */
function differences(there: Attachment, request: StayOptions): string[] {
  const { state } = there;
  const asked: AttachmentState = initialState(there.interface, there.netns, request);
  const isElsewhere =
    request.bpffs !== undefined && !there.pins.directory.startsWith(`${pinsRoot(request.bpffs)}/`);
  const differing = (
    [
      ['--mode', state.modeAsked, asked.modeAsked],
      ['--reader', state.readerAsked, asked.readerAsked],
      ['--max-sources', state.maxSources, asked.maxSources],
      ['--file-mode', octal(state.fileMode), octal(asked.fileMode)],
      ['--log', onOff(state.log !== null), onOff(asked.log !== null)],
      ...logDifferences(state.log, asked.log),
    ] as const
  ).filter(([, here, wanted]) => here !== wanted);
  return [
    ...differing.map(([name, here, wanted]) => `${name} is ${here}, asked for ${wanted}`),
    ...(isElsewhere
      ? [`it is in ${there.pins.directory}, asked for --bpffs ${request.bpffs}`]
      : []),
  ];
}

/** The options of the log that may differ where both have one. */
function logDifferences(there: LogState | null, asked: LogState | null) {
  if (there === null || asked === null) return [];
  return [
    ['--source', there.source ?? 'all', asked.source ?? 'all'],
    ['--sample', there.sample, asked.sample],
    ['--buffer', there.bufferAsked ?? 'default', asked.bufferAsked ?? 'default'],
  ] as const;
}

function onOff(value: boolean): string {
  return value ? 'on' : 'off';
}

/** A file mode as chmod takes it. */
export function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

function calledBy(entry: InventoryEntry): string {
  return entry.programName === null ? '' : `, name ${printable(entry.programName)}`;
}
