/** The library: everything that the command does, without its words. */

export {
  attach,
  attachToStay,
  type Dump,
  type DumpSelection,
  detach,
  dump,
  log,
  openSession,
  type Reading,
  type SessionOptions,
  status,
  type WatchEvent,
  type WatchOptions,
  type WithOwners,
  type WithSession,
  watch,
} from './api.js';
export type { Attachment, Standing } from './attachment/attachment.js';
export type {
  AttachOptions,
  AttachSettings,
  LogOptions,
  SessionContext,
} from './attachment/context.js';
export type { Request, Scope } from './attachment/target.js';
export { type ErrorCode, EXIT_CODES, XdpwhoError } from './model/errors.js';
export type {
  AnyRecord,
  AttachedRecord,
  DetachedRecord,
  ErrorRecord,
  HeldBy,
  LostRecord,
  Mode,
  NewRecord,
  Owner,
  Ownership,
  PacketRecord,
  Reader,
  SourceRecord,
  StatusRecord,
  TotalsRecord,
} from './model/records.js';
export type { OwnerSources } from './owners/owners.js';
export type { PacketBatch } from './packet-log/ring.js';
export type { StayOptions, StayOutcome } from './verbs/attach.js';
export type { LogEvent, LogRunOptions } from './verbs/log.js';
export type { StatusOptions } from './verbs/status.js';
export type { Detached, Note } from './verbs/tracked.js';
