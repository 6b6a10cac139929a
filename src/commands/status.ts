/** `status`: what is attached, how, and whose it is. */
import { hasErrorCode } from '../errors.js';
import { resolveInterface } from '../interfaces.js';
import { countSources, findEntry, type InventoryEntry, listAttachments } from '../inventory.js';
import { renderDocument } from '../render/json.js';
import { renderStatus, type StatusRow } from '../render/status.js';
import { requestedNetns, type SessionContext } from '../session.js';
import { SourceReader } from '../sources.js';
import { describeForJson } from './attach.js';
import { defineCommand } from './command-line.js';
import {
  bpffsOption,
  dryRunOption,
  interfaceOption,
  interfacePositional,
  interfacesIn,
  interfacesOf,
  netnsOption,
  outputOption,
} from './options.js';
import { write } from './printing.js';
import { sessionContext } from './session-context.js';

/** design: 3 says that there is nothing, and is no failure. */
const NOT_ATTACHED = 3;

export const statusCommand = defineCommand({
  command: 'status [interface..]',
  describe: 'what is attached, in which mode, whose it is',
  builder: (parser) =>
    parser.positional('interface', interfacePositional).options({
      ...interfaceOption,
      ...outputOption<'table' | 'json' | 'ndjson'>(['table', 'json', 'ndjson']),
      ...netnsOption,
      ...bpffsOption,
      ...dryRunOption,
    }),
  examples: [
    ['xdpwho status', "ours everywhere, and strangers' programs here"],
    ['xdpwho status eth0 --json', 'exit code 3 when nothing is attached'],
  ],
  handler: async (options, context) => {
    const session = await sessionContext(context);
    const named = interfacesIn(options).length > 0;
    const entries = named
      ? await entriesOf(session, interfacesOf(options), options)
      : await listAttachments(session, options);
    const rows: StatusRow[] = [];
    for (const entry of entries) rows.push(await rowOf(session, entry));
    if (options.output === 'json') {
      await write(context, `${renderDocument({ changed: false, interfaces: rows })}\n`);
    } else if (options.output === 'ndjson') {
      const lines = rows.map((row) => `${renderDocument(row).replace(/\n\s*/g, '')}\n`);
      await write(context, lines.join(''));
    } else {
      const lines = renderStatus(rows, context.color);
      await write(context, lines.map((line) => `${line}\n`).join(''));
    }
    const attached = rows.filter((row) => row.ownership !== 'none' && row.ownership !== 'stale');
    return named && attached.length < rows.length ? NOT_ATTACHED : 0;
  },
});

type Lookup = { readonly netns: string | undefined; readonly bpffs: string | undefined };

async function entriesOf(
  session: SessionContext,
  names: readonly string[],
  options: Lookup,
): Promise<(InventoryEntry | { readonly interface: string; readonly netns: string | null })[]> {
  return Promise.all(
    names.map(async (name) => {
      let device = name;
      try {
        device = await resolveInterface(name, requestedNetns(options));
      } catch (error) {
        if (!hasErrorCode(error, 'no-such-interface')) throw error;
        const all = await listAttachments(session, { bpffs: options.bpffs });
        const stale = all.find(
          (entry) => entry.interface === name && entry.netns === (options.netns ?? null),
        );
        if (stale === undefined) throw error;
        return stale;
      }
      const entry = await findEntry(session, { ...options, interface: device });
      return entry ?? { interface: device, netns: options.netns ?? null };
    }),
  );
}

async function rowOf(
  session: SessionContext,
  entry: InventoryEntry | { readonly interface: string; readonly netns: string | null },
): Promise<StatusRow> {
  if (!('ownership' in entry)) {
    return { interface: entry.interface, netns: entry.netns, ownership: 'none' };
  }
  const { ownership, why, mode, programId, programName, state, attachment } = entry;
  const basic = {
    interface: entry.interface,
    netns: entry.netns,
    ownership,
    why,
    mode,
    program_id: programId,
    program_name: programName,
  };
  if (attachment === null || state === null) return { ...basic, since: state?.since ?? null };
  const reader = new SourceReader(session, attachment);
  // Counting the entries of a table means reading it; by `map dump` that takes too long to be asked for here.
  const sources =
    attachment.reader === 'iterator' ? await countSources(attachment.pins.sourcesFile) : null;
  const totals = await reader.totals();
  const { holder } = state;
  return {
    ...basic,
    ...describeForJson(attachment),
    sources,
    packets: totals.ipv4 + totals.ipv6 + totals.other + totals.malformed,
    bytes: totals.bytes,
    holder: holder === null ? null : { pid: holder.pid, command: holder.command },
  };
}
