/** Claims the pin directory of an interface. Another run may have it, or may have left files in it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { XdpwhoError } from '../model/errors.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import type { SessionContext } from './context.js';
import { end } from './end.js';
import { heldError, isHolderAlive } from './holder.js';
import { Look } from './look.js';
import type { Pins } from './pin-paths.js';
import { claim, pinsExist } from './pins.js';
import { type AttachmentState, ownsDirectory, readState, recordOwner } from './record.js';
import { isOwnProgram } from './whose.js';

/**
 * Claims the directory, after it has removed what a dead run left there. Rejects with `held` if a running xdpwho has
 * the directory, or if it belongs to an attachment of ours that stays.
 */
export async function claimOrCollect(
  context: SessionContext,
  pins: Pins,
  state: AttachmentState,
): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) {
    if (claim(pins, state)) return;
    const found = await readSettledState(context, pins);
    if (found === undefined) continue;
    await refuseOrCollect(context, pins, found);
  }
  throw new XdpwhoError('held', `${printable(state.interface)}: another xdpwho is at it`, {
    hint: 'try again',
  });
}

async function refuseOrCollect(
  context: SessionContext,
  pins: Pins,
  found: AttachmentState,
): Promise<void> {
  if (found.holder !== null) {
    if (isHolderAlive(found.holder, recordOwner(pins)))
      throw heldError(found.interface, found.holder);
    // The guard of the dead run is probably removing it. Two guards at once would disturb each other.
    for (let waitedMs = 0; waitedMs < 1000 && ownsDirectory(pins, found.token); waitedMs += 50) {
      await sleep(50);
    }
    if (!ownsDirectory(pins, found.token)) return;
  }
  const look = new Look(context.bpftool);
  await look.askPins([pins]);
  const program = look.factsOf(pins)?.program;
  const isOwn = program !== undefined && !(program instanceof Error) && isOwnProgram(program);
  const pinnedId = isOwn ? program.id : null;
  const home = look.netnsWith(found.netnsInode, found.netnsPath);
  // One without a mode is not complete: it could not be taken back, and is collected.
  if (found.holder === null && found.mode !== null && pinnedId !== null && home !== undefined) {
    const attached = await look.attachedIn(home);
    if (attached.some(({ programId }) => programId === pinnedId)) {
      const name = printable(found.interface);
      throw new XdpwhoError('held', `${name}: xdpwho is attached already, program ${pinnedId}`, {
        hint: `${ownCommand('dump', found)}, or ${ownCommand('detach', found)}`,
      });
    }
  }
  await end(context, { pins, state: found, pinnedId });
}

/** The record in a directory that another run has claimed. Undefined if the directory has been removed meanwhile. */
async function readSettledState(
  context: SessionContext,
  pins: Pins,
): Promise<AttachmentState | undefined> {
  // A directory has no record for an instant while it is claimed or removed.
  for (let waitedMs = 0; waitedMs < 500; waitedMs += 25) {
    const state = readState(pins);
    if (state !== undefined || !pinsExist(pins)) return state;
    await sleep(25);
  }
  if (await end(context, { pins, state: null, pinnedId: null })) return undefined;
  throw new XdpwhoError('bad-object', `${pins.directory}: not made by xdpwho, or half removed`, {
    hint: `look at it: ls -l ${pins.directory}`,
  });
}
