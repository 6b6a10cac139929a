/** Attaching without a process that stays: every verb may be run twice. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Attachment } from './attachment.js';
import { hasErrorCode, XdpwhoError } from './errors.js';
import { resolveInterface } from './interfaces.js';
import { findEntry, type InventoryEntry } from './inventory.js';
import type { AttachmentState } from './pins.js';
import { printable } from './render/text.js';
import {
  type AttachOptions,
  collect,
  initialState,
  openAttachment,
  requestedNetns,
  type SessionContext,
} from './session.js';

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

/**
 * Attaches to each interface and leaves it attached. What is ours already with the same options
 * stays as it is. Unless `keepGoing`, one failure takes back everything that this call attached,
 * and rejects; with it, the outcomes tell.
 */
export async function attachToStay(
  context: SessionContext,
  requests: readonly StayOptions[],
  keepGoing: boolean,
): Promise<StayOutcome[]> {
  const outcomes: StayOutcome[] = [];
  const opened: Attachment[] = [];
  try {
    for (const request of requests) {
      try {
        const { attachment, changed } = await attachOne(context, request);
        if (changed) opened.push(attachment);
        const name = attachment.interface;
        outcomes.push({ interface: name, changed, attachment, failure: undefined });
      } catch (error) {
        if (!keepGoing || !(error instanceof XdpwhoError)) throw error;
        const name = request.interface;
        outcomes.push({ interface: name, changed: false, attachment: undefined, failure: error });
      }
    }
    for (const attachment of opened) await attachment.keep();
    return outcomes;
  } catch (error) {
    await Promise.allSettled(opened.map((each) => each[Symbol.asyncDispose]()));
    throw error;
  }
}

/** What `attach` would do to one interface. */
export type Prospect =
  | { readonly kind: 'attach' }
  | {
      readonly kind: 'replace';
      readonly differs: readonly string[];
      readonly entry: InventoryEntry;
    }
  | { readonly kind: 'keep'; readonly attachment: Attachment };

/** Looks, and rejects where `attach` would: a stranger's program, another run, other options without `replace`. */
export async function foresee(context: SessionContext, request: StayOptions): Promise<Prospect> {
  const netns = requestedNetns(request);
  const device = await resolveInterface(request.interface, netns);
  const name = printable(device);
  const entry = await findEntry(context, { ...request, interface: device });
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
      if (request.replace === true) return { kind: 'replace', differs: ['state'], entry };
      throw new XdpwhoError('bad-object', `${entry.pins?.directory ?? name}: ${entry.why}`, {
        hint: `xdpwho attach --replace ${name}, or xdpwho clean`,
      });
    case 'foreground': {
      const { holder } = entry.state ?? {};
      const { pid, command } = holder ?? {};
      throw new XdpwhoError('held', `${name}: held by xdpwho ${command}, process ${pid}`, {
        hint: `end it: kill ${pid}`,
      });
    }
    case 'ours': {
      const { attachment } = entry;
      if (attachment === null) return { kind: 'attach' };
      const differs = differences(attachment.state, initialState(device, netns, request));
      if (differs.length === 0) return { kind: 'keep', attachment };
      if (request.replace === true) return { kind: 'replace', differs, entry };
      throw new XdpwhoError(
        'options-differ',
        `${name}: attached with other options: ${differs.join(', ')}`,
        {
          hint: `xdpwho attach --replace ${name} ..., which begins to count anew`,
        },
      );
    }
  }
}

async function attachOne(
  context: SessionContext,
  request: StayOptions,
): Promise<{ attachment: Attachment; changed: boolean }> {
  for (let waitedMs = 0; ; waitedMs += 100) {
    try {
      const prospect = await foresee(context, request);
      if (prospect.kind === 'keep') return { attachment: prospect.attachment, changed: false };
      if (prospect.kind === 'replace' && prospect.entry.pins !== null) {
        await collect(context, prospect.entry.pins, prospect.entry.state ?? undefined);
      }
      const attachment = await openAttachment(context, { ...request, command: 'attach' });
      return { attachment, changed: true };
    } catch (error) {
      // Another `attach` at the same moment: it wins, and what it leaves decides.
      const settling = hasErrorCode(error, 'held') && / xdpwho attach,/.test(error.message);
      if (!settling || waitedMs >= SETTLING_MS) throw error;
      await sleep(100);
    }
  }
}

/** The options that differ, as `name here/asked`. */
function differences(there: AttachmentState, asked: AttachmentState): string[] {
  return (
    [
      ['--mode', there.modeAsked, asked.modeAsked],
      ['--reader', there.readerAsked, asked.readerAsked],
      ['--max-sources', there.maxSources, asked.maxSources],
      ['--file-mode', octal(there.fileMode), octal(asked.fileMode)],
    ] as const
  )
    .filter(([, here, wanted]) => here !== wanted)
    .map(([name, here, wanted]) => `${name} is ${here}, asked for ${wanted}`);
}

/** A file mode as chmod takes it. */
export function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0');
}

function calledBy(entry: InventoryEntry): string {
  return entry.programName === null ? '' : `, name ${printable(entry.programName)}`;
}
