/**
 * Attaching: a guard, a directory, a program that is loaded and pinned, the interface. A step that
 * fails takes back those before it.
 */
import { rmSync } from 'node:fs';
import { DEFAULT_BPFFS, prepareBpffs } from '../host/bpffs.js';
import { describeDevice } from '../host/devices.js';
import { hasErrorCode, messageOf, naming, XdpwhoError } from '../model/errors.js';
import { printable } from '../text/text.js';
import { Attachment, recordedLink } from './attachment.js';
import { claimOrCollect } from './claim.js';
import { type AttachSettings, requireCapabilities, type SessionContext } from './context.js';
import { initialState } from './defaults.js';
import { Guard } from './guard.js';
import { hold } from './hold.js';
import { type Link, makeTestFrame } from './link.js';
import { linkLayerOf } from './link-layer.js';
import { type Loaded, load } from './load.js';
import { chooseMode, type ModeChoice } from './mode.js';
import { type AttachmentState, ownsDirectory, writeState } from './record.js';
import { makeScratch, scratchPrefix } from './scratch.js';
import type { Target } from './target.js';

/**
 * Attaches to one interface and stays responsible for it: whoever calls must `close` the attachment
 * or `keep` it, and until then a guard closes it if this process dies. Rejects with `interface-busy`
 * when a stranger's program is there, `held` when another run of ours is; whatever had been made by
 * then is taken back.
 */
export async function open(
  context: SessionContext,
  target: Target,
  settings: AttachSettings = {},
): Promise<Attachment> {
  let prepared: Prepared | undefined;
  try {
    prepared = await prepare(context, target, settings);
    return await attach(prepared, false);
  } catch (error) {
    // Where nobody asked for TCX, XDP does. Loading rejects with this code for TCX only.
    const isAsked = settings.mode === 'tcx' || target.direction === 'sent';
    const isOfTcx = prepared === undefined || prepared.choice.first === 'tcx';
    if (isAsked || !isOfTcx || !settings.mayTakeTcx || !hasErrorCode(error, 'mode-unsupported')) {
      throw error;
    }
    const other = await prepare(context, target, { ...settings, mayTakeTcx: false });
    return attach(other, false, [error.message]);
  }
}

/** An attachment that is loaded and pinned, and not attached yet: to be given to `attach` or `discard`. */
export interface Prepared {
  readonly context: SessionContext;
  readonly target: Target;
  readonly settings: AttachSettings;
  readonly guard: Guard;
  readonly state: AttachmentState;
  readonly loaded: Loaded;
  readonly ifindex: number | undefined;
  readonly choice: ModeChoice;
  readonly testFrame: Uint8Array;
}

/** Does everything but attach. */
export async function prepare(
  context: SessionContext,
  target: Target,
  settings: AttachSettings,
): Promise<Prepared> {
  requireCapabilities();
  await prepareBpffs(target.bpffs ?? DEFAULT_BPFFS);
  const { pins, netns } = target;
  const { signal } = settings;
  const state = initialState(target, settings);
  const guard = new Guard({
    bpftool: context.bpftool.path,
    netns,
    pins,
    token: state.token,
    scratchPrefix: scratchPrefix(),
  });
  let scratch: string | undefined;
  try {
    const [device] = await Promise.all([describeDevice(target.device, netns), guard.ready()]);
    const linkLayer = linkLayerOf(target.device, device);
    const choice = await chooseMode(target, device, settings);
    scratch = makeScratch();
    await claimOrCollect(context, pins, state);
    const testFrame = settings.stays === true ? new Uint8Array(8) : makeTestFrame();
    const loaded = await load({
      ...{ context, pins, state, guard, linkLayer, testFrame, scratch, signal },
      mode: choice.first,
    });
    // From here on a look finds whose the program is, before it is attached.
    writeState(pins, { ...state, programId: loaded.programId });
    const { ifindex } = device;
    return { context, target, settings, guard, state, loaded, ifindex, choice, testFrame };
  } catch (error) {
    throw await takeBack({ guard, target, state }, naming(printable(target.device), error));
  } finally {
    if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * Puts it on the interface; with `overwrite` in the place of the program that is there, which the
 * caller has seen to be ours. Takes it back where that fails.
 */
export async function attach(
  prepared: Prepared,
  overwrite: boolean,
  details: readonly string[] = [],
): Promise<Attachment> {
  const { context, target, settings, guard, state, loaded, ifindex, choice, testFrame } = prepared;
  const { stays = false, signal } = settings;
  const { whyNoFront, ...asLoaded } = loaded;
  const { programId } = loaded;
  const holding = {
    ...{ context, target, programId, testFrame, guard, ifindex, choice },
    ...{ overwrite, stays, signal },
  };
  let link: Link | undefined;
  try {
    const held = await hold(holding);
    link = held.link;
    const { mode, note: modeNote } = held;
    const complete = { ...state, ...asLoaded, mode, modeNote, ...recordedLink(link) };
    writeState(target.pins, complete);
    signal?.throwIfAborted();
    const notes = [loaded.readerNote, held.note].filter((text) => text != null);
    return new Attachment(context, {
      pins: target.pins,
      netns: target.netns,
      state: complete,
      notes,
      details: [
        ...details,
        ...(whyNoFront === undefined ? [] : [`no front table: ${whyNoFront}`]),
        ...(held.whyNoLink === undefined ? [] : [`${held.whyNoLink}; using net attach`]),
      ],
      owned: {
        guard,
        link,
        ifindex: stays ? undefined : ifindex,
        renew: () => hold({ ...holding, choice: { first: mode, second: undefined, note: null } }),
      },
    });
  } catch (error) {
    await link?.close();
    throw await takeBack(prepared, naming(printable(target.device), error));
  }
}

/** Removes what `prepare` has made. */
export async function discard(prepared: Prepared): Promise<void> {
  const failure = await takeBack(prepared, undefined);
  if (failure !== undefined) throw failure;
}

/**
 * Ends what a failed attempt has made: a command that failed, or ran into its time limit, may have
 * attached the program all the same. What cannot be detached keeps its pins and, held by nobody, its
 * record. Gives the error that is to be thrown.
 */
async function takeBack(
  { guard, target, state }: Pick<Prepared, 'guard' | 'target' | 'state'>,
  cause: unknown,
): Promise<unknown> {
  try {
    await guard.detach();
    await guard.remove();
    await guard.release();
    return cause;
  } catch (error) {
    const { pins } = target;
    if (ownsDirectory(pins, state.token)) writeState(pins, { ...state, holder: null });
    const code = cause instanceof XdpwhoError ? cause.code : 'failed';
    const before = cause === undefined ? '' : `${messageOf(cause)}; and `;
    const message = `${before}it could not be taken back: ${messageOf(error)}`;
    guard.leave();
    return new XdpwhoError(code, message, { hint: 'xdpwho clean', cause });
  }
}
