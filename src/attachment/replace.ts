/**
 * Replaces an attachment of ours by a new one. `net attach ... overwrite` exchanges the programs in one step, so
 * the interface always has a program. For another mode the old program must be detached first, because the
 * kernel allows no native and generic program at the same time.
 *
 * bpftool cannot say which program it expects to overwrite. The kernel could check that (XDP_FLAGS_REPLACE). So
 * if another program takes the interface between our look and the exchange, it is overwritten.
 */
import { randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import { Attachment } from './attachment.js';
import type { AttachSettings, SessionContext } from './context.js';
import { end } from './end.js';
import type { ModeChoice } from './mode.js';
import { attach, discard, prepare } from './open.js';
import { type Pins, pinsIn } from './pin-paths.js';
import type { Target } from './target.js';

/** A replacement that can still be undone. The caller must call `commit` or `undo`. */
export interface Replacement {
  readonly context: SessionContext;
  readonly target: Target;
  readonly old: Attachment;
  /** If both have the same pin directory, the pins of this one are in another one until `commit`. */
  readonly attachment: Attachment;
}

/** Attaches the new program. The old attachment keeps its pins, and so its counters, until `commit`. */
export async function replace(
  context: SessionContext,
  target: Target,
  settings: AttachSettings,
  old: Attachment,
): Promise<Replacement> {
  const isSamePlace = old.pins.directory === target.pins.directory;
  const pins = isSamePlace ? besides(target.pins) : target.pins;
  const prepared = await prepare(context, { ...target, pins }, settings);
  const { overwrite, choice } = replacementMode(old, settings, prepared.choice);
  if (!overwrite) {
    try {
      await old.detach();
    } catch (error) {
      await discard(prepared);
      throw error;
    }
  }
  try {
    const attachment = await attach({ ...prepared, choice }, overwrite);
    return { context, target, old, attachment };
  } catch (error) {
    if (!overwrite) await old.resume(false);
    throw error;
  }
}

/** Keeps the new attachment, and removes the pins of the old one. */
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

/** Attaches the old program again, with all that it has counted, and closes the new attachment. */
export async function undo({ old, attachment }: Replacement): Promise<void> {
  const overwrite = attachment.mode === old.mode;
  if (!overwrite) await attachment.detach();
  await old.resume(overwrite);
  await attachment.close();
}

/**
 * The mode of a replacement, and whether it can overwrite the old program, which needs the same mode. If `auto`
 * has chosen the old mode and might choose it again, `auto` keeps it, because to try another mode the old program
 * must be detached.
 */
export function replacementMode(
  { mode, state }: Attachment,
  { mode: asked = 'auto' }: AttachSettings,
  choice: ModeChoice,
): { readonly overwrite: boolean; readonly choice: ModeChoice } {
  const isFirst = mode === choice.first;
  const isSecond = mode === choice.second && state.modeAsked === 'auto';
  if (!isFirst && !(asked === 'auto' && isSecond)) return { overwrite: false, choice };
  const note = isFirst ? choice.note : (state.modeNote ?? null);
  return { overwrite: true, choice: { first: mode, second: undefined, note } };
}

/** Another directory for the same interface. pinName never returns a name with a `~`. */
function besides(pins: Pins): Pins {
  return pinsIn(`${pins.directory}~${randomUUID().slice(0, 8)}`);
}
