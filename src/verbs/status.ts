/** `status`: what is attached, in which mode, and whose it is. */
import { type Attachment, heldBy } from '../attachment/attachment.js';
import type { SessionContext } from '../attachment/context.js';
import { findNamed, type InventoryEntry, listAttachments } from '../attachment/find.js';
import type { LogState } from '../attachment/record.js';
import type { Request, Scope } from '../attachment/target.js';
import { unreachableDirectory } from '../host/bpffs.js';
import { hasErrorCode } from '../model/errors.js';
import type { LogSettings, StatusRecord } from '../model/records.js';
import { ringBytes } from '../objects/ring-size.js';
import { SourceReader } from '../table/source-reader.js';
import { octal } from './attach.js';

/** What to look at. */
export interface StatusOptions extends Scope {
  /** Names or alternative names. None: all of ours, and every other XDP program in our own namespace. */
  readonly interfaces?: readonly string[] | undefined;
  /** Makes the call reject. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * One record for each attachment. An interface without a program has the ownership `none`. Rejects with
 * `no-such-interface` for an interface that does not exist, unless something of ours is left of it.
 */
export async function status(
  session: SessionContext,
  options: StatusOptions = {},
): Promise<StatusRecord[]> {
  const records: StatusRecord[] = [];
  const { interfaces = [], signal } = options;
  if (interfaces.length === 0) {
    for (const entry of await listAttachments(session, options)) {
      records.push(await recordOf(session, entry, signal));
    }
  }
  for (const name of interfaces) {
    signal?.throwIfAborted();
    records.push(await lookAt(session, { ...options, interface: name }));
  }
  return records;
}

async function lookAt(
  session: SessionContext,
  request: Request & Pick<StatusOptions, 'signal'>,
): Promise<StatusRecord> {
  const { device, entry, absent } = await findNamed(session, request);
  if (absent !== undefined) throw absent;
  if (entry !== undefined) return recordOf(session, entry, request.signal);
  const netns = request.netns ?? null;
  return { type: 'status', interface: device, netns, ownership: 'none', ...UNKNOWN };
}

/** The members of a record, in the order in which they are printed. */
const UNKNOWN = {
  direction: null,
  why: null,
  mode: null,
  program_id: null,
  program_name: null,
  reader: null,
  file: null,
  file_note: null,
  mode_note: null,
  since: null,
  options: null,
  sources: null,
  packets: null,
  bytes: null,
  holder: null,
  held_by: null,
  link_id: null,
} as const;

async function recordOf(
  session: SessionContext,
  entry: InventoryEntry,
  signal: AbortSignal | undefined,
): Promise<StatusRecord> {
  signal?.throwIfAborted();
  const { interface: name, netns, ownership, why, mode, programId, programName } = entry;
  const { reader, file, state, holder, attachment } = entry;
  const record = {
    ...{ type: 'status' as const, interface: name, netns, ownership },
    ...UNKNOWN,
    direction: state === null ? null : (state.direction ?? 'received'),
    why,
    mode,
    program_id: programId,
    program_name: programName,
    reader,
    file,
    since: state?.since ?? null,
    holder: holder === null ? null : { pid: holder.pid, command: holder.command },
    held_by: state === null || holder === null ? null : heldBy(state),
    link_id: state?.linkId ?? null,
  };
  if (attachment === null) return record;
  const counts = await readCounts(session, attachment, signal);
  // If somebody detaches while we read, the record has no counts.
  const { direction } = record;
  return counts === undefined
    ? record
    : { ...record, ...describeForJson(attachment), ...counts, direction };
}

async function readCounts(
  session: SessionContext,
  attachment: NonNullable<InventoryEntry['attachment']>,
  signal: AbortSignal | undefined,
): Promise<Pick<StatusRecord, 'sources' | 'packets' | 'bytes'> | undefined> {
  try {
    const sources = await countSources(session, attachment, signal);
    const totals = await new SourceReader(session, attachment).totals();
    const packets = totals.ipv4 + totals.ipv6 + totals.other + totals.malformed;
    return { sources, packets, bytes: totals.bytes };
  } catch (error) {
    if (hasErrorCode(error, 'not-attached')) return undefined;
    throw error;
  }
}

/** The members of an attachment that `attach`, `status` and others print in JSON. */
export function describeForJson(attachment: Attachment) {
  const { record, state } = attachment;
  const { type: _, ...attached } = record;
  return {
    ...attached,
    file_note: fileNote(attachment),
    mode_note: attachment.state.modeNote ?? null,
    since: state.since,
    options: {
      mode: state.modeAsked,
      reader: state.readerAsked,
      max_sources: state.maxSources,
      file_mode: octal(state.fileMode),
      log: describeLog(state.log),
    },
  };
}

function describeLog(log: LogState | null): LogSettings | null {
  if (log === null) return null;
  const { source, sample, segments, cpus } = log;
  return { source, sample, buffer_bytes: ringBytes(segments, cpus) };
}

/** Why there is no file, or which directory keeps other users from a file that they may read. */
export function fileNote({ record, state }: Attachment): string | null {
  const { file } = record;
  if (file === null) return state.readerNote ?? 'attached with --reader dump';
  if ((state.fileMode & 0o077) === 0) return null;
  const closed = unreachableDirectory(file);
  if (closed === undefined) return null;
  return `others cannot reach the file: ${closed} is closed to them; attach with --bpffs /run/xdpwho, which has a place of its own`;
}

/** How many sources the table holds. The kernel has no such number, so this reads the whole table. */
async function countSources(
  context: SessionContext,
  attachment: Attachment,
  signal: AbortSignal | undefined,
): Promise<number> {
  const reader = new SourceReader(context, attachment);
  let sources = 0;
  if (attachment.reader === 'dump') {
    for await (const batch of reader.sources(signal)) sources += batch.length;
    return sources;
  }
  for await (const lines of reader.lines(signal)) {
    for (let at = lines.indexOf('\n'); at >= 0; at = lines.indexOf('\n', at + 1)) sources++;
  }
  return sources;
}
