/** `log`: attaches, or joins an attachment, reads one record for each packet, and detaches however it ends. */
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
import {
  type Direction,
  type LostRecord,
  sentMember,
  type TotalsRecord,
} from '../model/records.js';
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
  /** What to log. For an attachment that logs already, it must be the same or empty. */
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
  /** `attach --log` had attached there. Its rings are read, and stay. */
  | { readonly kind: 'joined'; readonly attachment: Attachment }
  /** Packets of one pass, in the order of time. Valid until the next event is requested. */
  | {
      readonly kind: 'packets';
      readonly interface: string;
      readonly direction: Direction;
      readonly packets: PacketBatch;
    }
  | { readonly kind: 'lost'; readonly record: LostRecord }
  | { readonly kind: 'totals'; readonly record: TotalsRecord; readonly final: boolean }
  | Note
  | Detached;

/** Milliseconds between two passes while packets arrive, and while none arrive. */
const BUSY_PASS_MS = 20;
const IDLE_PASS_MS = 40;
/** If a pass had to read more than this part of a ring, the next pass follows at once. */
const PRESSING_FILL = 0.2;
/** The same with `map dump`. At most one part in SLOW_SHARE of the time is spent on reading. */
const SLOW_PASS_MS = 250;
const SLOW_SHARE = 4;

/**
 * Yields events until `signal`, `durationMs`, `count` or the loss of the last interface ends the run. Then it
 * detaches the programs that it had attached, reads the rest, and yields the totals: for these programs both
 * are complete. A caller that leaves the loop early also makes it detach. At the end it rejects if an interface
 * disappeared or another program took the place of ours.
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
      const one = new Logged(attachment, owned);
      logged.push(one);
      if (!owned) refuseOtherLog(attachment, options.log);
      await one.open(context, owned ? WHOLE_HISTORY : 0);
      yield { kind: owned ? 'attached' : 'joined', attachment };
      if (one.note !== undefined) yield { kind: 'note', interface: one.name, text: one.note };
    }
    const startMs = performance.now();
    const endMs = startMs + (options.durationMs ?? Number.POSITIVE_INFINITY);
    const totalsDue = new Schedule(startMs, options.totalsMs ?? Number.POSITIVE_INFINITY);
    const checks = new Schedule(startMs, CHECK_MS);
    while (logged.length > 0 && rest.count > 0) {
      const passMs = performance.now();
      for (const one of logged) yield* one.read(rest);
      if (totalsDue.isOver()) {
        for (const one of logged) yield await one.totals(context, false);
      }
      if (checks.isOver() || hasLostHolder(logged)) {
        const finishOne = (lost: Logged) => finish(context, logged, [lost], rest);
        const beganMs = performance.now();
        failure = (yield* checkAll(context, logged, finishOne)) ?? failure;
        checks.took(performance.now() - beganMs);
      }
      const nowMs = performance.now();
      if (signal.aborted || nowMs >= endMs || logged.length === 0) break;
      const waitMs = Math.min(...logged.map((one) => one.waitMs(nowMs - passMs)));
      if (rest.count > 0) await pause(Math.min(passMs + waitMs, endMs) - nowMs, signal);
    }
    yield* finish(context, logged, [...logged], rest);
  } catch (error) {
    if (!signal.aborted || error instanceof XdpwhoError) throw error;
    yield* finish(context, logged, [...logged], rest);
  } finally {
    // After an error, or when the caller leaves the loop, `finish` has not run.
    await Promise.allSettled(logged.map((one) => one.close()));
    await closeAll(logged);
  }
  if (failure !== undefined) throw failure;
}

/** The last `count` packets that are still in the rings of an attachment. */
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
      const { interface: device, direction } = attachment;
      yield { kind: 'packets', interface: device, direction, packets: packets.last(count) };
    } finally {
      await reader.close();
    }
  }
}

/** The attachment that `attach --log` has made on the interface, or undefined. Rejects with `options-differ` if it logs nothing, or not what is wanted. */
export async function findLogged(
  context: SessionContext,
  target: Target,
  wanted: LogOptions = {},
): Promise<Attachment | undefined> {
  const attachment = await findStaying(context, target);
  if (attachment !== undefined) refuseOtherLog(attachment, wanted);
  return attachment;
}

/** Detaches, reads a last time, yields the totals, and closes. */
async function* finish(
  context: SessionContext,
  logged: Logged[],
  ending: readonly Logged[],
  rest: { count: number },
): AsyncGenerator<LogEvent> {
  await detachAll(ending);
  for (const one of ending) {
    if (rest.count > 0) yield* one.read(rest);
    yield await one.totals(context, true);
    await one.close();
    yield* dismiss(logged, one);
  }
}

/** Throws `options-differ` if the attachment logs nothing, or not what is wanted. A reader cannot change what is logged. */
function refuseOtherLog(attachment: Attachment, wanted: LogOptions): void {
  const { log, interface: name } = attachment.state;
  const request = { interface: name, netns: attachment.netns.name ?? undefined };
  if (log === null) throw withoutLog(request);
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
    {
      hint: `${ownCommand('log', request)}, or ${ownCommand('attach --replace --log', request)} ...`,
    },
  );
}

function withoutLog(request: Request): XdpwhoError {
  const shown = printable(request.interface);
  return new XdpwhoError('options-differ', `${shown}: attached without a log of packets`, {
    hint: `${ownCommand('attach --replace --log', request)}, which begins to count anew`,
  });
}

/** One interface that is logged, with the account of its packets. */
class Logged extends Tracked {
  #reader: PacketReader | undefined;
  #account: LogAccount = { recorded: 0, sampledOut: 0, filteredOut: 0, lost: 0 };
  /** The part of a ring that the last pass had to read, of the CPU with the most. More than 1 if packets were lost. */
  #fill = 0;
  #printed = 0;
  /** The packets of the last pass after the last of `count` packets. */
  #beyond = 0;

  async open(context: SessionContext, history: number): Promise<void> {
    this.#reader = await PacketReader.open(context, this.attachment, history);
  }

  get note(): string | undefined {
    return this.#reader?.note;
  }

  /** The time from the start of a pass to the next one. The pass took `tookMs`. */
  waitMs(tookMs: number): number {
    if (this.#reader?.isSlow === true) return Math.max(SLOW_PASS_MS, tookMs * SLOW_SHARE);
    if (this.#fill > PRESSING_FILL) return 0;
    return this.#fill > 0 ? BUSY_PASS_MS : IDLE_PASS_MS;
  }

  async close(): Promise<void> {
    await this.#reader?.close();
  }

  /** Reads once. Yields at most `rest.count` packets, and subtracts them from it. */
  async *read(rest: { count: number }): AsyncGenerator<LogEvent> {
    if (this.#reader === undefined || rest.count <= 0) return;
    const pass = await this.#reader.read();
    this.#account = pass.account;
    const most = Math.max(0, ...[...pass.heads.values()].map(({ first, end }) => end - first));
    this.#fill = most / this.#reader.capacity;
    // The lost packets are older than those that are still in the ring.
    if (pass.lost > 0) {
      const { direction } = this.attachment;
      const record = {
        ...{ type: 'lost' as const, interface: this.name, ...sentMember(direction) },
        count: BigInt(pass.lost),
      };
      yield { kind: 'lost', record };
    }
    const packets = pass.packets.first(rest.count);
    rest.count -= packets.length;
    this.#printed += packets.length;
    this.#beyond += pass.packets.length - packets.length;
    const { direction } = this.attachment;
    if (packets.length > 0) yield { kind: 'packets', interface: this.name, direction, packets };
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

/** The totals alone. */
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
