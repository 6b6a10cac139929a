/** `detach`: detaches and unpins what is ours. */

import type { SessionContext } from '../attachment/context.js';
import { findNamed, type InventoryEntry, listAttachments } from '../attachment/find.js';
import { endInTurn } from '../attachment/in-turn.js';
import type { Request } from '../attachment/target.js';
import type { CommandContext } from '../cli/context.js';
import {
  chooseOptions,
  INTERFACES,
  interfacesIn,
  interfacesOf,
  outputOption,
} from '../cli/options.js';
import {
  endingOutput,
  errorRecords,
  type Failure,
  failedForJson,
  writeDocument,
  writeLines,
  writeRecords,
} from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { XdpwhoError } from '../model/errors.js';
import type { DetachedRecord } from '../model/records.js';
import { renderCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import { detachEntry, refusalOf } from '../verbs/detach.js';
import { planDetachment } from '../verbs/dry-run.js';
import { sessionContext } from './session-context.js';

export const detachCommand = defineCommand({
  verb: 'detach',
  arguments: INTERFACES,
  describe: "detach and unpin; never a stranger's program",
  options: {
    ...chooseOptions('iface', 'all'),
    ...outputOption('table', 'json', 'ndjson'),
    ...chooseOptions('netns', 'bpffs', 'dry-run'),
  },
  examples: [
    ['xdpwho detach eth0', 'also when it is detached already'],
    ['xdpwho detach --all -o json', 'for automation'],
  ],
  changesHost: true,
  handler: async (options, context) => {
    if (options.all && interfacesIn(options).length > 0) {
      throw new XdpwhoError('usage', '--all: together with interfaces');
    }
    const names = options.all ? [] : interfacesOf(options);
    const session = await sessionContext(context);
    const found = options.all ? await listAttachments(session, options) : [];
    for (const name of names) {
      const entry = await look(session, { ...options, interface: name }, context);
      const known = found.some(({ pins }) => pins?.directory === entry?.pins?.directory);
      if (entry !== undefined && !known) found.push(entry);
    }
    const { entries, left: held } = select(found, options.all);
    if (options.dryRun) await plan(session, entries, options.output, context);
    const left = options.dryRun ? held : await detachAll(session, entries, held, options, context);
    for (const { failure } of left) context.messages.error(failure);
    return left[0]?.failure.exitCode ?? 0;
  },
});

/**
 * Chooses what to detach. If one of the named interfaces must not be detached, none is. With `--all`,
 * strangers' programs are not meant, and what another run holds is left.
 */
function select(
  found: readonly InventoryEntry[],
  all: boolean,
): { entries: readonly InventoryEntry[]; left: readonly Failure[] } {
  const candidates = all ? found.filter((entry) => entry.ownership !== 'foreign') : found;
  const left = candidates.flatMap((entry) => {
    const failure = refusalOf(entry);
    return failure === undefined ? [] : [{ interface: entry.interface, failure }];
  });
  if (!all && left[0] !== undefined) throw left[0].failure;
  return { entries: candidates.filter((entry) => refusalOf(entry) === undefined), left };
}

async function plan(
  session: SessionContext,
  entries: readonly InventoryEntry[],
  output: string,
  context: CommandContext,
): Promise<void> {
  const commands = entries.flatMap((entry) =>
    planDetachment(session, entry).map(({ file, args }) => renderCommand(file, args)),
  );
  if (output === 'json')
    await writeDocument(endingOutput(context), { changed: entries.length > 0, commands });
  else await writeLines(endingOutput(context), commands);
}

async function detachAll(
  session: SessionContext,
  entries: readonly InventoryEntry[],
  held: readonly Failure[],
  { all, output }: { readonly all: boolean; readonly output: string },
  context: CommandContext,
): Promise<readonly Failure[]> {
  const interfaces: { interface: string; netns: string | null; program_id: number | null }[] = [];
  const unended = await endInTurn(entries, async (entry) => {
    const { interface: name, netns, programId } = entry;
    await detachEntry(session, entry);
    context.messages.info(
      `${printable(name)}: ${entry.attachment === null ? removed(entry) : 'detached'}`,
    );
    interfaces.push({ interface: name, netns, program_id: programId });
  });
  // Of one interface that was named, the error is the whole answer, as it is with every verb.
  if (!all && entries.length === 1 && unended[0] !== undefined) throw unended[0].error;
  const left = [...held, ...unended.map(({ item, error }) => failureOf(item.interface, error))];
  if (output === 'json') {
    const changed = interfaces.length > 0;
    const document = { changed, interfaces, failed: failedForJson(left) };
    await writeDocument(endingOutput(context), document);
  } else if (output === 'ndjson') {
    const records = interfaces.map(
      ({ netns: _, ...each }): DetachedRecord => ({ type: 'detached', ...each }),
    );
    await writeRecords(endingOutput(context), [...records, ...errorRecords(left)]);
  }
  return left;
}

/** A bug of ours is none. */
function failureOf(name: string, error: unknown): Failure {
  if (!(error instanceof XdpwhoError)) throw error;
  return { interface: name, failure: error };
}

function removed({ why, pins }: InventoryEntry): string {
  return `${why}; ${pins?.directory} removed`;
}

/** Where there is nothing to detach, a message says so, and undefined is returned: that is no failure. */
async function look(
  session: SessionContext,
  request: Request,
  context: CommandContext,
): Promise<InventoryEntry | undefined> {
  const { entry, absent } = await findNamed(session, request);
  if (absent !== undefined) context.messages.info([absent.message, absent.hint].join('; '));
  return entry;
}
