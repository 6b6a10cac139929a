/** `attach`: attaches and returns. Running it again with the same options changes nothing. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Attachment } from '../attachment/attachment.js';
import {
  type AttachOptions,
  type AttachSettings,
  requireCapabilities,
  type SessionContext,
} from '../attachment/context.js';
import { initialState } from '../attachment/defaults.js';
import { findEntry, type InventoryEntry } from '../attachment/find.js';
import { heldError } from '../attachment/holder.js';
import { endInTurn, type Unended } from '../attachment/in-turn.js';
import { Look } from '../attachment/look.js';
import { strangerError } from '../attachment/mode.js';
import { open } from '../attachment/open.js';
import type { LogState } from '../attachment/record.js';
import { commit, type Replacement, replace, undo } from '../attachment/replace.js';
import { namesOf, resolveTarget, type Target } from '../attachment/target.js';
import { pinsRoot } from '../host/bpffs.js';
import { hasErrorCode, messageOf, XdpwhoError } from '../model/errors.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import { detachEntry } from './detach.js';

export interface StayOptions extends AttachOptions {
  /** Replace an attachment that has other options. Its counts are lost. */
  readonly replace?: boolean | undefined;
}

export interface StayOutcome {
  readonly interface: string;
  readonly changed: boolean;
  /** Undefined when it failed. */
  readonly attachment: Attachment | undefined;
  readonly failure: XdpwhoError | undefined;
}

/** One interface of the request: StayOptions with resolved names. */
export interface StayRequest {
  readonly target: Target;
  readonly settings: AttachSettings;
  readonly replace: boolean;
}

/** How long to wait for another xdpwho that attaches to the same interface now. */
const SETTLING_MS = 10_000;
const SETTLING_PAUSE_MS = 100;
/** How often another run may claim the interface before us, and be gone when we look. */
const MAX_REFUSALS = 5;

/**
 * Attaches to each interface and leaves it attached. An attachment of ours with the same options stays as it
 * is. With `keepGoing`, the outcomes have the failures. Without it, this call rejects: before it begins, if an
 * interface would be refused, and after a failure, when it has undone everything that it had done.
 */
export async function attachToStay(
  context: SessionContext,
  all: readonly StayOptions[],
  keepGoing: boolean,
): Promise<StayOutcome[]> {
  requireCapabilities();
  const outcomes: StayOutcome[] = [];
  const changes: Change[] = [];
  /** Runs one step. With `keepGoing`, its failure becomes an outcome. */
  const attempt = async <T>(name: string, work: () => Promise<T>) => {
    try {
      return await work();
    } catch (error) {
      if (!keepGoing || !(error instanceof XdpwhoError)) throw error;
      outcomes.push({ interface: name, changed: false, attachment: undefined, failure: error });
      return undefined;
    }
  };
  try {
    const look = new Look(context.bpftool);
    const planned: { request: StayRequest; plan: Plan }[] = [];
    for (const request of await resolveRequests(all, attempt)) {
      const made = await attempt(request.target.device, () => plan(context, request, look));
      if (made !== undefined) planned.push({ request, plan: made });
    }
    for (const { request, plan: firstPlan } of planned) {
      const { device } = request.target;
      const change = await attempt(device, () => attachOne(context, request, firstPlan));
      if (change !== undefined) changes.push(change);
    }
    for (const change of changes) outcomes.push(await settle(change));
    return outcomes;
  } catch (error) {
    throw withLosses(error, await endInTurn(changes, takeBack));
  }
}

/** The requests with the names of the interfaces resolved. Each interface comes once, also if it was given by two names. */
export async function resolveRequests(
  all: readonly StayOptions[],
  attempt: (name: string, work: () => Promise<Target>) => Promise<Target | undefined>,
): Promise<StayRequest[]> {
  const requests = new Map<string, StayRequest>();
  for (const options of all) {
    const target = await attempt(options.interface, () => resolveTarget(options));
    if (target === undefined) continue;
    const request = { target, settings: options, replace: options.replace === true };
    requests.set(`${target.netns.inode}/${target.device}`, request);
  }
  return [...requests.values()];
}

/** What `attach` would do to one interface. */
type Plan =
  | { readonly kind: 'attach' }
  | {
      readonly kind: 'replace';
      /** The options that differ, each as a text. */
      readonly differs: readonly string[];
      readonly entry: InventoryEntry;
    }
  | { readonly kind: 'keep'; readonly attachment: Attachment }
  /** Another `attach` is attaching to it now. */
  | { readonly kind: 'wait'; readonly refusal: XdpwhoError };

/**
 * Looks at one interface and decides what `attach` has to do. Rejects if it must not attach: because of a program
 * that is not ours, of a running xdpwho, or of other options without `replace`.
 */
export async function plan(
  context: SessionContext,
  request: StayRequest,
  look?: Look,
): Promise<Plan> {
  const { target } = request;
  const name = printable(target.device);
  const entry = await findEntry(context, target, look);
  switch (entry?.ownership) {
    case undefined:
    case 'stale':
      return { kind: 'attach' };
    case 'foreign': {
      const { programId, programName, mode } = entry;
      throw strangerError(target.device, { programId: programId ?? 0, programName, mode });
    }
    case 'broken':
    case 'other-version': {
      const why = entry.why ?? '';
      if (request.replace) return { kind: 'replace', differs: [why], entry };
      const code = entry.ownership === 'broken' ? 'bad-object' : 'other-version';
      const where = entry.ownership === 'broken' ? (entry.pins?.directory ?? name) : name;
      const others =
        entry.ownership === 'broken' ? 'xdpwho clean' : ownCommand('detach', namesOf(target));
      throw new XdpwhoError(code, `${where}: ${why}`, {
        hint: `${ownCommand('attach --replace', namesOf(target))}, or ${others}`,
      });
    }
    case 'foreground': {
      const { holder } = entry;
      if (holder === null) return { kind: 'attach' };
      const refusal = heldError(target.device, holder);
      if (holder.command === 'attach') return { kind: 'wait', refusal };
      throw refusal;
    }
    case 'ours': {
      const { attachment } = entry;
      if (attachment === null) return { kind: 'attach' };
      const differs = differences(attachment, request);
      if (differs.length === 0) return { kind: 'keep', attachment };
      if (request.replace) return { kind: 'replace', differs, entry };
      throw new XdpwhoError(
        'options-differ',
        `${name}: attached with other options: ${differs.join(', ')}`,
        {
          retry: { option: '--replace' },
          hint: 'which begins to count anew',
        },
      );
    }
  }
}

/** What has been done to one interface. It can be undone until it is settled. */
type Change =
  | { readonly kind: 'kept'; readonly attachment: Attachment }
  | { readonly kind: 'attached'; readonly attachment: Attachment }
  | ({ readonly kind: 'replaced' } & Replacement);

async function settle(change: Change): Promise<StayOutcome> {
  let { attachment } = change;
  if (change.kind === 'attached') await attachment.keep();
  if (change.kind === 'replaced') attachment = await commit(change);
  const { interface: name } = attachment;
  return { interface: name, changed: change.kind !== 'kept', attachment, failure: undefined };
}

async function takeBack(change: Change): Promise<void> {
  if (change.kind === 'attached') await change.attachment.close();
  if (change.kind === 'replaced') await undo(change);
}

async function attachOne(
  context: SessionContext,
  request: StayRequest,
  firstPlan: Plan,
): Promise<Change> {
  let current = firstPlan;
  let refusals = 0;
  for (let waitedMs = 0; ; waitedMs += SETTLING_PAUSE_MS) {
    if (current.kind === 'keep') return { kind: 'kept', attachment: current.attachment };
    if (current.kind === 'wait') {
      if (waitedMs >= SETTLING_MS) throw current.refusal;
    } else {
      try {
        return await make(context, request, current);
      } catch (error) {
        // Another `attach` was quicker. What it has attached decides what we do.
        if (!hasErrorCode(error, 'held') || ++refusals === MAX_REFUSALS) throw error;
      }
    }
    await sleep(SETTLING_PAUSE_MS, undefined, { signal: request.settings.signal });
    current = await plan(context, request);
  }
}

async function make(
  context: SessionContext,
  { target, settings: asked }: StayRequest,
  current: Extract<Plan, { kind: 'attach' | 'replace' }>,
): Promise<Change> {
  const settings = { ...asked, command: 'attach', stays: true };
  if (current.kind === 'replace') {
    const { attachment: old } = current.entry;
    if (old !== null) {
      return { kind: 'replaced', ...(await replace(context, target, settings, old)) };
    }
    await detachEntry(context, current.entry);
  }
  return { kind: 'attached', attachment: await open(context, target, settings) };
}

/** The error, with what could not be undone after it. */
function withLosses(error: unknown, losses: readonly Unended<Change>[]): unknown {
  if (losses.length === 0 || !(error instanceof XdpwhoError)) return error;
  const words = losses.map((loss) => messageOf(loss.error));
  return new XdpwhoError(
    error.code,
    `${error.message}; and what was there before could not be put back: ${words.join('; ')}`,
    { hint: error.hint, retry: error.retry, cause: error },
  );
}

/** The options that differ, each as a text with both values. */
function differences({ state, pins }: Attachment, { target, settings }: StayRequest): string[] {
  const asked = initialState(target, settings);
  const { bpffs } = target;
  const isElsewhere = bpffs !== undefined && !pins.directory.startsWith(`${pinsRoot(bpffs)}/`);
  const differing = (
    [
      ['--mode', state.modeAsked, asked.modeAsked],
      ['--reader', state.readerAsked, asked.readerAsked],
      ['--max-sources', state.maxSources, asked.maxSources],
      ['--file-mode', octal(state.fileMode), octal(asked.fileMode)],
      ['--log', onOff(state.log !== null), onOff(asked.log !== null)],
      ...logDifferences(state.log, asked.log),
    ] as const
  ).filter(([, present, wanted]) => present !== wanted);
  return [
    ...differing.map(([name, present, wanted]) => `${name} is ${present}, asked for ${wanted}`),
    ...(isElsewhere ? [`it is in ${pins.directory}, asked for --bpffs ${bpffs}`] : []),
  ];
}

/** The options of the log, if both have one. */
function logDifferences(present: LogState | null, asked: LogState | null) {
  if (present === null || asked === null) return [];
  return [
    ['--source', present.source ?? 'all', asked.source ?? 'all'],
    ['--sample', present.sample, asked.sample],
    ['--buffer', present.bufferAsked ?? 'default', asked.bufferAsked ?? 'default'],
  ] as const;
}

function onOff(value: boolean): string {
  return value ? 'on' : 'off';
}

/** A file mode in octal, as chmod takes it. */
export function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}
