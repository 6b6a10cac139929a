/** Whether the process that holds an attachment still runs. */
import { statSync } from 'node:fs';
import { isRunning, pidNamespaceOf } from '../host/processes.js';
import { XdpwhoError } from '../model/errors.js';
import { printable } from '../text/text.js';
import type { Holder } from './record.js';

/**
 * Whether a holder still runs. A holder in another pid namespace counts as running as long as that may have
 * processes. The record of a user other than root is believed only about processes of that user.
 */
export function isHolderAlive(holder: Holder, recordOwner = 0): boolean {
  if (recordOwner !== 0 && ownerOf(holder.pid) !== recordOwner) return false;
  return isRunning(holder);
}

/** Whether a holder is in another pid namespace, so that its process id means nothing here. */
export function isElsewhere({ pidNamespace }: Holder): boolean {
  return pidNamespace !== pidNamespaceOf('self');
}

/** The error for an interface that a running xdpwho holds. */
export function heldError(interfaceName: string, holder: Holder): XdpwhoError {
  const { pid, command } = holder;
  const where = isElsewhere(holder) ? ' in another pid namespace' : '';
  const name = printable(interfaceName);
  return new XdpwhoError('held', `${name}: held by xdpwho ${command}, process ${pid}${where}`, {
    hint: `end it${where === '' ? '' : ' there'}: kill ${pid}`,
  });
}

/** The user whose process this is; undefined where it is gone. */
function ownerOf(pid: number): number | undefined {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid;
}
