/** `detach`: detaches our program, and never another one. */
import type { SessionContext } from '../attachment/context.js';
import { endEntry } from '../attachment/end.js';
import { findNamed, type InventoryEntry } from '../attachment/find.js';
import { heldError } from '../attachment/holder.js';
import type { Request } from '../attachment/target.js';
import { XdpwhoError } from '../model/errors.js';
import { printable } from '../text/text.js';

/**
 * Detaches our program from an interface and removes its pins. It also removes the pins of an interface that
 * no longer exists. Returns false if there is nothing of ours. Rejects with `not-ours` for a program that is not
 * ours, and with `held` for one that a running xdpwho will detach itself.
 */
export async function detach(session: SessionContext, request: Request): Promise<boolean> {
  const { entry } = await findNamed(session, request);
  if (entry === undefined) return false;
  const refusal = refusalOf(entry);
  if (refusal !== undefined) throw refusal;
  await detachEntry(session, entry);
  return true;
}

/** Ends an attachment. Rejects with `bad-object` if a file stays that xdpwho did not make. */
export async function detachEntry(session: SessionContext, entry: InventoryEntry): Promise<void> {
  const kept = await endEntry(session, entry);
  if (kept === undefined) return;
  const where = entry.pins?.directory ?? entry.interface;
  throw new XdpwhoError('bad-object', `${where}: ${kept}`, { hint: `look at it: ls -lR ${where}` });
}

/** Why an entry must not be detached, or undefined if it may be. */
export function refusalOf(entry: InventoryEntry): XdpwhoError | undefined {
  if (entry.ownership === 'foreign') {
    return new XdpwhoError(
      'not-ours',
      `${printable(entry.interface)}: its program ${entry.programId} is not ours; left alone`,
      { hint: `bpftool prog show id ${entry.programId}` },
    );
  }
  return entry.holder === null ? undefined : heldError(entry.interface, entry.holder);
}
