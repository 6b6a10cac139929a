import type { SessionContext } from '../attachment/context.js';
import type { CommandContext } from '../cli/context.js';

/** Finds bpftool. Rejects if bpftool is absent or fails. */
export async function sessionContext(context: CommandContext): Promise<SessionContext> {
  const { objectsDirectory } = context;
  return { bpftool: await context.bpftool(), objectsDirectory };
}
