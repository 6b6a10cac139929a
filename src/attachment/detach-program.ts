import { lstatSync } from 'node:fs';
import { type Bpftool, BpftoolError, type XdpAttachment } from '../host/bpftool.js';
import { findNetnsPath, isNetns, otherNetnsPaths, ownNetns } from '../host/netns.js';
import { hasErrorCode, XdpwhoError } from '../model/errors.js';
import { printable } from '../text/text.js';
import type { SessionContext } from './context.js';
import { removeGuardCgroup } from './guard.js';
import type { Pins } from './pin-paths.js';
import { removePins } from './pins.js';
import { type AttachmentState, readState } from './record.js';

/** Ends what is left in a pin directory: detaches the program that is pinned there, and removes the pins. */
export async function collect(
  context: SessionContext,
  pins: Pins,
  state: AttachmentState | undefined,
): Promise<void> {
  const programId = await ownProgramId(context.bpftool, pins);
  if (programId !== undefined) {
    await detachProgram(context.bpftool, programId, state?.netnsInode ?? ownNetns().inode);
  }
  if (state === undefined || ownsDirectory(pins, state.token)) removePins(pins);
  if (state !== undefined) removeGuardCgroup(state.token);
}

/** The C function in bpf/xdpwho.bpf.c: the kernel keeps its name. */
export const PROGRAM_NAME = 'xdpwho';

/**
 * The id of the program that is pinned in a directory. Undefined where there is none, and where it
 * is not one of ours: a record may have been written by hand, so what it says is not enough.
 */
export async function ownProgramId(bpftool: Bpftool, pins: Pins): Promise<number | undefined> {
  const isPinned = () => lstatSync(pins.program, { throwIfNoEntry: false })?.isFile() === true;
  if (!isPinned()) return undefined;
  try {
    const { id, name } = await bpftool.showProgram(pins.program);
    return name === PROGRAM_NAME ? id : undefined;
  } catch (error) {
    // Any other failure says nothing of what is pinned there.
    if (error instanceof BpftoolError && (error.isOtherKind || !isPinned())) return undefined;
    throw error;
  }
}

/**
 * Detaches the program with this id, and no other one, from every interface that has it: in the
 * namespace that it was attached in, and if it is not there, in all that can be found, since an
 * interface takes its program along. False when it is attached nowhere.
 */
export async function detachProgram(
  bpftool: Bpftool,
  programId: number,
  netnsInode: number,
): Promise<boolean> {
  const home = findNetnsPath(netnsInode);
  const others = [undefined, ...otherNetnsPaths()].filter((path) => path !== home);
  for (const path of home === null ? others : [home, ...others]) {
    const attached = await attachedWithin(bpftool, programId, path).catch((error: unknown) => {
      // To enter a namespace of others takes a right that we may lack.
      if (path === home || path === undefined || !(error instanceof BpftoolError)) throw error;
      return [];
    });
    if (attached.length === 0) continue;
    await detachAll(bpftool, attached, programId, path);
    return true;
  }
  return false;
}

async function detachAll(
  bpftool: Bpftool,
  attached: readonly XdpAttachment[],
  programId: number,
  netnsPath: string | undefined,
): Promise<void> {
  for (const { mode, device } of attached) {
    try {
      await bpftool.detach(mode, device, netnsPath);
    } catch (error) {
      // The interface may go at any moment, and its program with it: the look below decides.
      if (!hasErrorCode(error, 'no-such-interface')) throw error;
    }
  }
  const left = await attachedWithin(bpftool, programId, netnsPath);
  if (left.length === 0) return;
  const where = left.map((each) => printable(each.device)).join(', ');
  throw new XdpwhoError('tool-failed', `${where}: program ${programId} is still attached`, {
    hint: 'bpftool net show',
  });
}

/** Where the program is attached within one namespace; nowhere when that has gone. */
export async function attachedWithin(
  bpftool: Bpftool,
  programId: number,
  netnsPath: string | undefined,
): Promise<XdpAttachment[]> {
  try {
    const shown = await bpftool.showNet(netnsPath);
    return shown.filter((each) => each.programId === programId);
  } catch (error) {
    // Any other failure says nothing of what is attached.
    if (netnsPath !== undefined && !isNetns(netnsPath)) return [];
    throw error;
  }
}

/** Whether the directory is still the one of the attachment with this token. */
export function ownsDirectory(pins: Pins, token: string): boolean {
  try {
    return readState(pins)?.token === token;
  } catch {
    return false;
  }
}
