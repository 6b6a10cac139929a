/** Logging: attach, or join what is attached, and read one record for each packet; detach however it ends. */
import type { Attachment } from '../attachment/attachment.js';
import {
  type LogOptions,
  requireCapabilities,
  type SessionContext,
} from '../attachment/context.js';
import {
  namesOf,
  type Request,
  resolveTargets,
  type Scope,
  type Target,
} from '../attachment/target.js';
import { pause } from '../host/abort.js';
import { XdpwhoError } from '../model/errors.js';
import { formatPrefix } from '../model/prefix.js';
import type { LostRecord, TotalsRecord } from '../model/records.js';
import { type LogAccount, PacketReader, WHOLE_HISTORY } from '../packet-log/packet-reader.js';
import type { PacketBatch } from '../packet-log/ring.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import { dump, dumpLines } from './dump.js';
import {
  CHECK_MS,
  checkAll,
  closeAll,
  type Detached,
  detachAll,
  dismiss,
  findStaying,
  hasLostHolder,
  type Note,
  Schedule,
  Tracked,
  type TrackOptions,
  track,
} from './tracked.js';

export interface LogRunOptions extends Omit<TrackOptions, 'log'> {
  /** What is to be logged. Where packets are logged already, it must be the same or nothing. */
  readonly log: LogOptions;
  /** End after so many packets of all interfaces together. */
  readonly count?: number | undefined;
  /** End after so many milliseconds. */
  readonly durationMs?: number | undefined;
  /** Milliseconds between two totals; default: only at the end. */
  readonly totalsMs?: number | undefined;
}

export type LogEvent =
  | { readonly kind: 'attached'; readonly attachment: Attachment }
  /** `attach --log` had attached there; its rings are read, and stay. */
  | { readonly kind: 'joined'; readonly attachment: Attachment }
  /** In the order of time. Valid until the next event is asked for. */
  | { readonly kind: 'packets'; readonly interface: string; readonly packets: PacketBatch }
  | { readonly kind: 'lost'; readonly record: LostRecord }
  | { readonly kind: 'totals'; readonly record: TotalsRecord; readonly final: boolean }
  | Note
  | Detached;

/** Between two passes while packets come, and while none do; by `map dump`, a part of the time at most. */
const BUSY_PASS_MS = 20;
const IDLE_PASS_MS = 40;
/** With more than this part of a ring to read, the next pass comes at once. */
const PRESSING_FILL = 0.2;
const SLOW_PASS_MS = 250;
const SLOW_SHARE = 4;

/**
 * Yields what happens, until `signal`, `durationMs`, `count` or the loss of the last interface ends
 * it. Then the programs that this run attached are detached, so that what is read last, and the
 * totals, are final. Leaving the loop early detaches as well. Rejects, after all that, when an
 * interface went away or somebody else took our program's place.
 */
export async function* log(
  context: SessionContext,
  options: LogRunOptions,
): AsyncGenerator<LogEvent, void, void> {
  const signal = options.signal ?? new AbortController().signal;
  const logged: Logged[] = [];
  const rest = { count: options.count ?? Number.POSITIVE_INFINITY };
  let failure: XdpwhoError | undefined;
  try {
    requireCapabilities();
    for await (const { attachment, owned } of track(context, { ...options, signal })) {
      const each = new Logged(attachment, owned);
      logged.push(each);
      if (!owned) refuseOtherLog(attachment, options.log);
      await each.open(context, owned ? WHOLE_HISTORY : 0);
      yield { kind: owned ? 'attached' : 'joined', attachment };
      if (each.note !== undefined) yield { kind: 'note', interface: each.name, text: each.note };
    }
    const startMs = performance.now();
    const endMs = startMs + (options.durationMs ?? Number.POSITIVE_INFINITY);
    const totalsDue = new Schedule(startMs, options.totalsMs ?? Number.POSITIVE_INFINITY);
    const checks = new Schedule(startMs, CHECK_MS);
    while (logged.length > 0 && rest.count > 0) {
      const passMs = performance.now();
      for (const each of logged) yield* each.read(rest);
      if (totalsDue.isOver()) {
        for (const each of logged) yield await each.totals(context, false);
      }
      if (checks.isOver() || hasLostHolder(logged)) {
        const finishOne = (lost: Logged) => finish(context, logged, [lost], rest);
        failure = (yield* checkAll(context, logged, finishOne)) ?? failure;
      }
      const nowMs = performance.now();
      if (signal.aborted || nowMs >= endMs) break;
      const waitMs = Math.min(...logged.map((each) => each.waitMs(nowMs - passMs)));
      if (rest.count > 0) await pause(Math.min(passMs + waitMs, endMs) - nowMs, signal);
    }
    yield* finish(context, logged, [...logged], rest);
  } catch (error) {
    if (!signal.aborted || error instanceof XdpwhoError) throw error;
    yield* finish(context, logged, [...logged], rest);
  } finally {
    // For the ways out that `finish` did not see.
    await Promise.allSettled(logged.map((each) => each.close()));
    await closeAll(logged);
  }
  if (failure !== undefined) throw failure;
}

/** The last `count` packets that the rings of an attached interface still hold. */
export async function* logHistory(
  context: SessionContext,
  options: Scope & Pick<LogRunOptions, 'interfaces' | 'log'>,
  count: number,
): AsyncGenerator<LogEvent, void, void> {
  requireCapabilities();
  for (const target of await resolveTargets(options.interfaces, options)) {
    const attachment = await findLogged(context, target, options.log);
    if (attachment === undefined) {
      const shown = printable(target.device);
      throw new XdpwhoError('not-attached', `${shown}: no log of packets is kept there`, {
        hint: ownCommand('attach --log', namesOf(target)),
      });
    }
    const reader = await PacketReader.open(context, attachment, Math.min(count, WHOLE_HISTORY - 1));
    try {
      const { note } = reader;
      yield { kind: 'joined', attachment };
      if (note !== undefined) yield { kind: 'note', interface: attachment.interface, text: note };
      const { packets } = await reader.read();
      yield { kind: 'packets', interface: attachment.interface, packets: packets.last(count) };
    } finally {
      await reader.close();
    }
  }
}

/** What `attach --log` left on the interface. Rejects where it logs something else than is wanted, or nothing. */
export async function findLogged(
  context: SessionContext,
  target: Target,
  wanted: LogOptions = {},
): Promise<Attachment | undefined> {
  const attachment = await findStaying(context, target);
  if (attachment !== undefined) refuseOtherLog(attachment, wanted);
  return attachment;
}

/** Detaches, reads once more, accounts, closes. */
async function* finish(
  context: SessionContext,
  logged: Logged[],
  ending: readonly Logged[],
  rest: { count: number },
): AsyncGenerator<LogEvent> {
  await detachAll(ending);
  for (const each of ending) {
    if (rest.count > 0) yield* each.read(rest);
    yield await each.totals(context, true);
    await each.close();
    yield* dismiss(logged, each);
  }
}

/** What is logged is decided where it was attached: a reader that wants something else is told. */
function refuseOtherLog(attachment: Attachment, wanted: LogOptions): void {
  const { log, interface: name } = attachment.state;
  const place = { interface: name, netns: attachment.netns.name ?? undefined };
  if (log === null) throw withoutLog(place);
  const source = wanted.source === undefined ? undefined : formatPrefix(wanted.source);
  const differs = [
    ['--source', log.source ?? 'all', source],
    ['--sample', log.sample, wanted.sample],
    ['--buffer', log.bufferAsked ?? 'default', wanted.bufferBytes],
  ]
    .filter(([, here, asked]) => asked !== undefined && asked !== here)
    .map(([option, here, asked]) => `${option} is ${here}, asked for ${asked}`);
  if (differs.length === 0) return;
  const shown = printable(name);
  throw new XdpwhoError(
    'options-differ',
    `${shown}: logged with other options: ${differs.join(', ')}`,
    { hint: `${ownCommand('log', place)}, or ${ownCommand('attach --replace --log', place)} ...` },
  );
}

function withoutLog(place: Request): XdpwhoError {
  const shown = printable(place.interface);
  return new XdpwhoError('options-differ', `${shown}: attached without a log of packets`, {
    hint: `${ownCommand('attach --replace --log', place)}, which begins to count anew`,
  });
}

/** One interface that is logged, and the account of its packets. */
class Logged extends Tracked {
  #reader: PacketReader | undefined;
  #account: LogAccount = { recorded: 0, sampledOut: 0, filteredOut: 0, lost: 0 };
  /** What part of a CPU's ring the last pass had to read, and more than 1 where some was lost. */
  #fill = 0;
  #printed = 0;
  /** What came after the last of `count` packets, in the same pass. */
  #beyond = 0;

  async open(context: SessionContext, history: number): Promise<void> {
    this.#reader = await PacketReader.open(context, this.attachment, history);
  }

  get note(): string | undefined {
    return this.#reader?.note;
  }

  /** How long after the beginning of a pass, which took `tookMs`, the next one is due. */
  waitMs(tookMs: number): number {
    if (this.#reader?.isSlow === true) return Math.max(SLOW_PASS_MS, tookMs * SLOW_SHARE);
    if (this.#fill > PRESSING_FILL) return 0;
    return this.#fill > 0 ? BUSY_PASS_MS : IDLE_PASS_MS;
  }

  async close(): Promise<void> {
    await this.#reader?.close();
  }

  /** One pass; at most `rest.count` packets of it, which it reduces. */
  async *read(rest: { count: number }): AsyncGenerator<LogEvent> {
    if (this.#reader === undefined || rest.count <= 0) return;
    const pass = await this.#reader.read();
    this.#account = pass.account;
    const most = Math.max(0, ...[...pass.heads.values()].map(({ first, end }) => end - first));
    this.#fill = most / this.#reader.capacity;
    // What is overwritten is older than what is still there.
    if (pass.lost > 0) {
      const record = { type: 'lost', interface: this.name, count: BigInt(pass.lost) } as const;
      yield { kind: 'lost', record };
    }
    const packets = pass.packets.first(rest.count);
    rest.count -= packets.length;
    this.#printed += packets.length;
    this.#beyond += pass.packets.length - packets.length;
    if (packets.length > 0) yield { kind: 'packets', interface: this.name, packets };
  }

  async totals(context: SessionContext, final: boolean): Promise<LogEvent> {
    const counted = await readTotals(context, this.attachment);
    const { recorded, sampledOut, filteredOut, lost } = this.#account;
    const record = {
      ...counted,
      seen: BigInt(recorded + sampledOut + filteredOut - this.#beyond),
      printed: BigInt(this.#printed),
      sampled_out: BigInt(sampledOut),
      filtered_out: BigInt(filteredOut),
      lost: BigInt(lost),
    };
    return { kind: 'totals', record, final };
  }
}

/** What was counted, without the sources themselves. */
async function readTotals(context: SessionContext, attachment: Attachment): Promise<TotalsRecord> {
  if (attachment.reader === 'dump') {
    return (await dump(context, attachment, { top: 1, sort: 'packets' })).totals;
  }
  const lines = dumpLines(context, attachment);
  for (;;) {
    const next = await lines.next();
    if (next.done === true) return next.value;
  }
}
