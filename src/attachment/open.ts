import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { prepareBpffs } from '../host/bpffs.js';
import { resolveInterface } from '../host/interfaces.js';
import { findNetnsPath } from '../host/netns.js';
import { messageOf, XdpwhoError } from '../model/errors.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import { Attachment } from './attachment.js';
import {
  type AttachOptions,
  locatePins,
  requestedNetns,
  requireCapabilities,
  type SessionContext,
} from './context.js';
import { fittingLog, initialState } from './defaults.js';
import { attachedWithin, collect, detachProgram, ownsDirectory } from './detach-program.js';
import { Guard } from './guard.js';
import { heldError, isHolderAlive } from './holder.js';
import {
  attachProgram,
  type Establishing,
  loadProgram,
  pinReaders,
  removeProgram,
} from './load.js';
import type { Pins } from './pin-paths.js';
import { claim, DEFAULT_BPFFS, pinsExist, removePins } from './pins.js';
import { type AttachmentState, type LogState, readState, writeState } from './record.js';
import { makeScratch, scratchPrefix } from './scratch.js';

/**
 * Attaches to one interface and stays responsible for it: whoever calls must dispose of the
 * attachment or `keep` it, and until then a guard does so if this process dies. Rejects with
 * `interface-busy` when a stranger's program is there, `held` when another run of ours is;
 * whatever had been made by then is taken back.
 */
export async function openAttachment(
  context: SessionContext,
  options: AttachOptions,
): Promise<Attachment> {
  requireCapabilities();
  const netns = requestedNetns(options);
  const device = await resolveInterface(options.interface, netns);
  const bpffs = options.bpffs ?? DEFAULT_BPFFS;
  await prepareBpffs(bpffs);

  const pins = locatePins(bpffs, device, netns);
  const state = initialState(device, netns, options);
  const guard = new Guard({
    bpftool: context.bpftool.path,
    netns,
    pins,
    token: state.token,
    scratchPrefix: scratchPrefix(),
  });
  let scratch: string | undefined;
  try {
    await guard.ready();
    scratch = makeScratch();
    await claimOrCollect(context, pins, state);
    return await establish({ context, options, netns, pins, state, guard, scratch });
  } catch (error) {
    throw await takeBack(context, { pins, state, guard }, error);
  } finally {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * Ends what a failed attempt has made: a command that failed, or ran into its time limit, may have
 * attached the program all the same. What cannot be detached keeps its pins and, held by nobody, its
 * record. Gives the error that is to be thrown.
 */
async function takeBack(
  context: SessionContext,
  { pins, state, guard }: Pick<Establishing, 'pins' | 'state' | 'guard'>,
  cause: unknown,
): Promise<unknown> {
  try {
    const { programId } = guard;
    if (programId !== undefined) {
      await detachProgram(context.bpftool, programId, state.netnsInode);
    }
    if (ownsDirectory(pins, state.token)) removePins(pins);
    return cause;
  } catch (error) {
    if (ownsDirectory(pins, state.token)) writeState(pins, { ...state, holder: null });
    const code = cause instanceof XdpwhoError ? cause.code : 'failed';
    const message = `${messageOf(cause)}; and it could not be taken back: ${messageOf(error)}`;
    return new XdpwhoError(code, message, { hint: 'xdpwho clean', cause });
  } finally {
    await guard.release();
  }
}

async function claimOrCollect(
  context: SessionContext,
  pins: Pins,
  state: AttachmentState,
): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) {
    if (claim(pins, state)) return;
    const theirs = await readSettledState(pins);
    if (theirs === undefined) continue;
    await refuseOrCollect(context, pins, theirs);
  }
  throw new XdpwhoError('held', `${printable(state.interface)}: another xdpwho is at it`, {
    hint: 'try again',
  });
}

async function refuseOrCollect(
  context: SessionContext,
  pins: Pins,
  theirs: AttachmentState,
): Promise<void> {
  const name = printable(theirs.interface);
  if (theirs.holder !== null) {
    if (isHolderAlive(theirs.holder)) throw heldError(theirs.interface, theirs.holder);
    // Its guard is at work in all likelihood: two would only get in each other's way.
    for (let waitedMs = 0; waitedMs < 1000 && ownsDirectory(pins, theirs.token); waitedMs += 50) {
      await sleep(50);
    }
    if (ownsDirectory(pins, theirs.token)) await collect(context, pins, theirs);
    return;
  }
  const { programId, netnsInode } = theirs;
  const path = findNetnsPath(netnsInode);
  const attached =
    programId !== null && path !== null
      ? await attachedWithin(context.bpftool, programId, path)
      : [];
  if (attached.length > 0) {
    throw new XdpwhoError('held', `${name}: xdpwho is attached already, program ${programId}`, {
      hint: `${ownCommand('dump', theirs)}, or ${ownCommand('detach', theirs)}`,
    });
  }
  await collect(context, pins, theirs);
}

/** The record in a directory that somebody else has; undefined when the directory has gone meanwhile. */
async function readSettledState(pins: Pins): Promise<AttachmentState | undefined> {
  // A directory is without its record for an instant while it is being claimed or removed.
  for (let waitedMs = 0; waitedMs < 500; waitedMs += 25) {
    const state = readState(pins);
    if (state !== undefined || !pinsExist(pins)) return state;
    await sleep(25);
  }
  removePins(pins);
  if (!pinsExist(pins)) return undefined;
  throw new XdpwhoError('bad-object', `${pins.directory}: not made by xdpwho, or half removed`, {
    hint: `look at it: ls -l ${pins.directory}`,
  });
}

async function establish(work: Establishing): Promise<Attachment> {
  const { context, options, netns, pins, guard, state } = work;
  const notes: string[] = [];
  let programId = await loadGuarded(work, state.log);
  const { reader, readerNote } = await pinReaders(work);
  if (readerNote !== null) notes.push(readerNote);
  const log = fittingLog(state.log, reader);
  if (log?.segments !== state.log?.segments) {
    removeProgram(pins);
    programId = await loadGuarded(work, log);
  }
  const mode = await attachProgram(work, notes);
  const whole = { ...state, programId, mode, reader, readerNote, log };
  writeState(pins, whole);
  options.signal?.throwIfAborted();
  return new Attachment(context.bpftool, { pins, netns, state: whole, notes, guard });
}

/** Loads the program, and tells the guard its id. */
async function loadGuarded(work: Establishing, log: LogState | null): Promise<number> {
  await loadProgram(work, log);
  const { id } = await work.context.bpftool.showProgram(work.pins.program);
  await work.guard.watch(id);
  return id;
}
