/**
 * Putting a new attachment in the place of one of ours, with no instant in which the interface has no
 * program: `net attach ... overwrite` exchanges them in one step. Only another mode needs the old one
 * detached first, since the kernel has no native and generic program at the same time.
 *
 * bpftool has no way to say which program it expects to overwrite (the kernel has, XDP_FLAGS_REPLACE):
 * a stranger's program that takes the interface between our look and the exchange is overwritten.
 */
import { randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import type { AttachMode } from '../model/records.js';
import { Attachment } from './attachment.js';
import type { AttachSettings, SessionContext } from './context.js';
import { end } from './end.js';
import { attach, prepare } from './open.js';
import { type Pins, pinsIn } from './pin-paths.js';
import type { Target } from './target.js';

/** A replacement that has been made and can still be undone: to be given to `commit` or `undo`. */
export interface Replacement {
  readonly context: SessionContext;
  readonly target: Target;
  readonly old: Attachment;
  /** Its pins are not yet in the target's directory where the old one's are. */
  readonly attachment: Attachment;
}

/** Attaches anew. The old attachment keeps its pins, and with them its counters, until `commit`. */
export async function replace(
  context: SessionContext,
  target: Target,
  settings: AttachSettings,
  old: Attachment,
): Promise<Replacement> {
  const isSamePlace = old.pins.directory === target.pins.directory;
  const pins = isSamePlace ? besides(target.pins) : target.pins;
  const prepared = await prepare(context, { ...target, pins }, settings);
  const { overwrite, mode } = replacementMode(old, settings);
  if (!overwrite) await old.detach();
  try {
    const attachment = await attach({ ...prepared, settings: { ...settings, mode } }, overwrite);
    return { context, target, old, attachment };
  } catch (error) {
    if (!overwrite) await old.resume(false);
    throw error;
  }
}

/** Lets the new attachment stay, and removes the old one's pins. */
export async function commit(replacement: Replacement): Promise<Attachment> {
  const { context, target, old, attachment } = replacement;
  await attachment.keep();
  await old.keep();
  const { pins } = target;
  let oldPins = old.pins;
  if (old.pins.directory === pins.directory) {
    oldPins = besides(pins);
    renameSync(pins.directory, oldPins.directory);
    renameSync(attachment.pins.directory, pins.directory);
  }
  await end(context, { pins: oldPins, state: old.state, pinnedId: null });
  const { netns, state, notes } = attachment;
  return new Attachment(context, { pins, netns, state: { ...state, holder: null }, notes });
}

/** Puts the old attachment back, with all that it has counted. */
export async function undo({ old, attachment }: Replacement): Promise<void> {
  const overwrite = attachment.mode === old.mode;
  if (!overwrite) await attachment.detach();
  await old.resume(overwrite);
  await attachment.close();
}

/**
 * The mode of a replacement, and whether it can be put over the old program: it is to have the same
 * mode. Where `auto` has found that mode before, it stays: to try another one would take a gap.
 */
export function replacementMode(
  { mode, state }: Attachment,
  { mode: asked = 'auto' }: AttachSettings,
): { readonly overwrite: boolean; readonly mode: 'auto' | AttachMode } {
  const stays = asked === 'auto' && (mode === 'native' || state.modeAsked === 'auto');
  return stays || asked === mode ? { overwrite: true, mode } : { overwrite: false, mode: asked };
}

/** Another directory for the same interface. No name of an interface is encoded with a `~`. */
function besides(pins: Pins): Pins {
  return pinsIn(`${pins.directory}~${randomUUID().slice(0, 8)}`);
}
