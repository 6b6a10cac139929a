/** A record, and a pin directory on a plain file system. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { type Pins, pinsAt } from '../../src/attachment/pin-paths.js';
import { type AttachmentState, STATE_VERSION } from '../../src/attachment/record.js';
import { pinsRoot } from '../../src/host/bpffs.js';

export const STATE: AttachmentState = {
  version: STATE_VERSION,
  token: '6e1e7f4e-5f3c-4a8e-9d6b-0c8b5f6f1a2b',
  interface: 'eth0',
  netns: null,
  netnsInode: 7,
  mode: null,
  programId: null,
  reader: null,
  readerNote: null,
  frontLines: 0,
  maxSources: 65536,
  modeAsked: 'auto',
  readerAsked: 'auto',
  fileMode: 0o400,
  log: null,
  since: '2026-11-22T10:00:00.000Z',
  holder: { pid: 1, startTicks: '5', pidNamespace: 'pid:[1]', command: 'watch' },
};

/** Runs on a plain file system: what is claimed and removed there is what bpffs can hold as well. */
export function inDirectory(run: (pins: Pins) => void): void {
  const root = mkdtempSync(`${tmpdir()}/xdpwho-pins-`);
  try {
    mkdirSync(pinsRoot(root));
    run(pinsAt(root, 'eth0'));
  } finally {
    rmSync(root, { recursive: true });
  }
}
