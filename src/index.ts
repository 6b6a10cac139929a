/** The library: everything that the command does, without its words. */
export { attachToStay, type StayOptions, type StayOutcome } from './attach.js';
export { Attachment, type Standing } from './attachment.js';
export { Bpftool, BpftoolError, type BpftoolOptions } from './bpftool.js';
export { type Dump, type DumpOptions, dump } from './dump.js';
export { type ErrorCode, EXIT_CODES, XdpwhoError } from './errors.js';
export {
  clean,
  findEntry,
  type InventoryEntry,
  listAttachments,
  type Ownership,
} from './inventory.js';
export type {
  AnyRecord,
  AttachedRecord,
  DetachedRecord,
  ErrorRecord,
  Mode,
  Reader,
  SourceRecord,
  TotalsRecord,
} from './records.js';
export { type AttachOptions, openAttachment, type SessionContext } from './session.js';
export { SourceReader } from './sources.js';
export { type Reading, type WatchEvent, type WatchOptions, watch } from './watch.js';
