/** What a command hands to the session. */
import type { SessionContext } from '../session.js';
import type { CommandContext } from './context.js';

/** Finds bpftool. Rejects where it is absent or fails. */
export async function sessionContext(context: CommandContext): Promise<SessionContext> {
  const { objectsDirectory } = context;
  return { bpftool: await context.bpftool(), objectsDirectory };
}
