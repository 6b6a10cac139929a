/** The library: everything that the command does, without its words. */
export type { StayOptions, StayOutcome } from './attach.js';
export type { Attachment, Standing } from './attachment.js';
export type { Detached, Note } from './attended.js';
export type { DetachOptions } from './detach.js';
export type { Dump } from './dump.js';
export { type ErrorCode, EXIT_CODES, XdpwhoError } from './errors.js';
export {
  attach,
  attachToStay,
  type DumpSelection,
  detach,
  dump,
  log,
  openSession,
  type SessionOptions,
  status,
  type WithSession,
  watch,
} from './library.js';
export type { LogEvent, LogRunOptions } from './log.js';
export type {
  AnyRecord,
  AttachedRecord,
  DetachedRecord,
  ErrorRecord,
  LostRecord,
  Mode,
  Ownership,
  PacketRecord,
  Reader,
  SourceRecord,
  StatusRecord,
  TotalsRecord,
} from './records.js';
export type { PacketBatch } from './ring.js';
export type { AttachOptions, LogOptions, SessionContext } from './session.js';
export type { StatusOptions } from './status.js';
export type { Reading, WatchEvent, WatchOptions } from './watch.js';
