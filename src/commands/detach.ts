/** `detach`: detach and unpin what is ours. */
import { hasErrorCode, XdpwhoError } from '../errors.js';
import { resolveInterface } from '../interfaces.js';
import { findEntry, type InventoryEntry, listAttachments } from '../inventory.js';
import { planDetachment } from '../plan.js';
import { renderCommand } from '../render/command.js';
import { renderDocument } from '../render/json.js';
import { printable } from '../render/text.js';
import { collect, requestedNetns, type SessionContext } from '../session.js';
import { defineCommand } from './command-line.js';
import {
  bpffsOption,
  dryRunOption,
  interfaceOption,
  interfacePositional,
  interfacesOf,
  netnsOption,
  outputOption,
} from './options.js';
import { write, writeRecords } from './printing.js';
import { sessionContext } from './session-context.js';

export const detachCommand = defineCommand({
  command: 'detach [interface..]',
  describe: "detach and unpin; never a stranger's program",
  builder: (parser) =>
    parser.positional('interface', interfacePositional).options({
      ...interfaceOption,
      all: { type: 'boolean', default: false, describe: 'everything of ours, in every namespace' },
      ...outputOption<'table' | 'json' | 'ndjson'>(['table', 'json', 'ndjson']),
      ...netnsOption,
      ...bpffsOption,
      ...dryRunOption,
    }),
  examples: [
    ['xdpwho detach eth0', 'also when it is detached already'],
    ['xdpwho detach --all -o json', 'for automation'],
  ],
  handler: async (options, context) => {
    const session = await sessionContext(context);
    const found = options.all
      ? await listAttachments(session, options)
      : await Promise.all(interfacesOf(options).map((name) => look(session, name, options)));
    const entries = found.filter((entry) => entry !== undefined);
    const refusal = options.all ? undefined : entries.map(refusalOf).find(Boolean);
    if (refusal !== undefined) throw refusal;
    const ours = entries.filter((entry) => entry.pins !== null && refusalOf(entry) === undefined);
    if (options.dryRun) {
      const lines = ours.flatMap((entry) => planOf(session, entry));
      const plan =
        options.output === 'json'
          ? renderDocument({ changed: ours.length > 0, commands: lines })
          : lines.join('\n');
      if (plan !== '') await write(context, `${plan}\n`);
      return 0;
    }
    for (const entry of ours) {
      if (entry.pins === null) continue;
      await collect(session, entry.pins, entry.state ?? undefined);
      context.talk.say(`${printable(entry.interface)}: detached`);
    }
    const detached = ours.map(({ interface: name, netns, programId }) => ({
      interface: name,
      netns,
      program_id: programId,
    }));
    if (options.output === 'json') {
      const document = { changed: ours.length > 0, interfaces: detached };
      await write(context, `${renderDocument(document)}\n`);
    } else if (options.output === 'ndjson') {
      await writeRecords(
        context,
        detached.map(({ interface: name, program_id }) => ({
          type: 'detached',
          interface: name,
          program_id: program_id ?? 0,
        })),
      );
    }
    return 0;
  },
});

async function look(
  session: SessionContext,
  name: string,
  options: { readonly netns: string | undefined; readonly bpffs: string | undefined },
): Promise<InventoryEntry | undefined> {
  try {
    const device = await resolveInterface(name, requestedNetns(options));
    return await findEntry(session, { ...options, interface: device });
  } catch (error) {
    // What is left of an interface that has gone can be detached too.
    if (!hasErrorCode(error, 'no-such-interface')) throw error;
    const entries = await listAttachments(session, { bpffs: options.bpffs });
    const stale = entries.find(
      (entry) => entry.interface === name && entry.netns === (options.netns ?? null),
    );
    if (stale !== undefined) return stale;
    throw error;
  }
}

function refusalOf(entry: InventoryEntry): XdpwhoError | undefined {
  const name = printable(entry.interface);
  if (entry.ownership === 'foreign') {
    return new XdpwhoError(
      'not-ours',
      `${name}: its program ${entry.programId} is not ours; left alone`,
      { hint: `bpftool prog show id ${entry.programId}` },
    );
  }
  if (entry.ownership === 'foreground') {
    const holder = entry.state?.holder;
    return new XdpwhoError(
      'held',
      `${name}: held by xdpwho ${holder?.command}, process ${holder?.pid}`,
      { hint: `end it: kill ${holder?.pid}` },
    );
  }
  return undefined;
}

function planOf(session: SessionContext, entry: InventoryEntry): string[] {
  if (entry.pins === null) return [];
  const { attachment } = entry;
  const attached =
    attachment === null
      ? undefined
      : {
          device: attachment.interface,
          mode: attachment.mode,
          netnsPath: attachment.netns.path,
        };
  return planDetachment(session, attached, entry.pins).map(({ file, args }) =>
    renderCommand(file, args),
  );
}
