/** The defaults of an attachment, and the record that it begins with. */
import { randomUUID } from 'node:crypto';
import { countPossibleCpus, cpuNumberLimit, cpuNumbers } from '../host/kernel.js';
import { pidNamespaceOf, processStartTicks, timeNamespaceOf } from '../host/processes.js';
import { formatPrefix } from '../model/prefix.js';
import { type Reader, sentMember } from '../model/records.js';
import { frontLines } from '../objects/front.js';
import { SOURCE_VALUE } from '../objects/layout.js';
import { ringBytes, ringSegments } from '../objects/ring-size.js';
import type { AttachSettings, LogOptions } from './context.js';
import { type AttachmentState, type LogState, STATE_VERSION } from './record.js';
import type { Scope, Target } from './target.js';

export const DEFAULT_FILE_MODE = 0o400;

/** The memory that the default table may take for all CPUs together. */
export const DEFAULT_TABLE_BYTES = 64 * 1024 * 1024;

export const DEFAULT_MAX_SOURCES = 65_536;

/** kernel/bpf/hashtab.c: struct htab_elem with its 16-byte key and the pointer to the per-CPU part. */
export const ELEMENT_OVERHEAD_BYTES = 96;

/** Room for 699,000 packets. */
export const DEFAULT_BUFFER_BYTES = 32 * 1024 * 1024;

/** Small, because `map dump -j` prints about seven characters for each byte, and always the whole ring. */
export const DUMP_BUFFER_BYTES = 1024 * 1024;

/** The default number of sources: 65,536, or fewer if the host has so many CPUs that the table would take more than 64 MiB. */
export function defaultMaxSources(cpus: number): number {
  const fitting = Math.floor(DEFAULT_TABLE_BYTES / estimatedSourceBytes(cpus));
  return Math.min(DEFAULT_MAX_SOURCES, 2 ** Math.floor(Math.log2(fitting)));
}

/** The kernel memory of one source in bytes: every possible CPU has its own value. */
export function estimatedSourceBytes(cpus: number): number {
  return ELEMENT_OVERHEAD_BYTES + SOURCE_VALUE.size * cpus;
}

/** The record of a log with these options. The size of its ring depends on how it is read. */
function initialLog(options: LogOptions, reader: Reader): LogState {
  const cpus = cpuNumberLimit();
  const bufferAsked = options.bufferBytes ?? null;
  const standard = reader === 'iterator' ? DEFAULT_BUFFER_BYTES : DUMP_BUFFER_BYTES;
  return {
    source: options.source === undefined ? null : formatPrefix(options.source),
    sample: options.sample ?? 1,
    segments: ringSegments(bufferAsked ?? Math.max(standard, ringBytes(1, cpus)), cpus),
    cpus,
    bufferAsked,
  };
}

/** The log in the size for this reader, if the user asked for no size. */
export function fittingLog(log: LogState | null, reader: Reader): LogState | null {
  if (log === null || log.bufferAsked !== null) return log;
  return { ...log, segments: initialLog({}, reader).segments };
}

/** The record that an attachment with these settings begins with. */
export function initialState(
  {
    device,
    netns,
    direction = 'received',
  }: Pick<Target, 'device' | 'netns'> & Pick<Scope, 'direction'>,
  settings: AttachSettings,
): AttachmentState {
  const cpus = countPossibleCpus();
  const {
    log,
    maxSources: sources = defaultMaxSources(cpus),
    mode = 'auto',
    reader = 'auto',
    fileMode,
    command,
  } = settings;
  return {
    version: STATE_VERSION,
    token: randomUUID(),
    interface: device,
    ...sentMember(direction),
    netns: netns.name,
    netnsInode: netns.inode,
    netnsPath: netns.path ?? null,
    mode: null,
    programId: null,
    reader: null,
    readerNote: null,
    maxSources: sources,
    frontLines: reader === 'dump' ? 0 : frontLines(cpuNumbers(), sources),
    modeAsked: mode,
    readerAsked: reader,
    fileMode: fileMode ?? DEFAULT_FILE_MODE,
    log: log === undefined ? null : initialLog(log, reader === 'dump' ? 'dump' : 'iterator'),
    modeNote: null,
    linkId: null,
    linkPid: null,
    since: new Date().toISOString(),
    holder: {
      pid: process.pid,
      startTicks: processStartTicks('self') ?? '',
      pidNamespace: pidNamespaceOf('self') ?? '',
      timeNamespace: timeNamespaceOf('self'),
      command: command ?? 'library',
    },
  };
}
