/** `log`: prints one line for each packet. */

import { type CommandContext, endingExitCode, isOutputClosed } from '../cli/context.js';
import {
  chooseOptions,
  hookRequest,
  INTERFACES,
  logRequest,
  OPTIONS,
  outputOption,
} from '../cli/options.js';
import {
  endingOutput,
  type OutputContext,
  write,
  writeCommands,
  writeRecords,
} from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { addressNoun, nameIn } from '../cli/sources-table.js';
import { XdpwhoError } from '../model/errors.js';
import type { TotalsRecord } from '../model/records.js';
import type { OwnerSources, Owners } from '../owners/owners.js';
import { PacketLines } from '../packet-log/lines.js';
import { planLog } from '../verbs/dry-run.js';
import { findLogged, type LogEvent, log, logHistory } from '../verbs/log.js';
import { noteLine, targetsOf } from '../verbs/tracked.js';
import { chosenInterfaces } from './chosen-interfaces.js';
import { describeAttachment, describeLog } from './describe-attachment.js';
import { ownersOf } from './owners-of.js';
import { sessionContext } from './session-context.js';

type Format = 'table' | 'ndjson';

export const logCommand = defineCommand({
  verb: 'log',
  arguments: INTERFACES,
  describe: 'one line per packet, until Ctrl-C; detach',
  about: ['Each packet: time, interface, source, length. After `attach --log` only reads.'],
  options: {
    ...chooseOptions('iface'),
    ...outputOption('table', 'ndjson'),
    ...chooseOptions('source', 'sample', 'buffer'),
    count: { ...OPTIONS.count, describe: 'end after N packets' },
    ...chooseOptions('duration', 'last', 'totals', 'owners', 'geo', 'networks', 'resolve', 'netns'),
    all: { ...OPTIONS.all, describe: 'every interface that is up, but for lo and ports of a bond' },
    ...chooseOptions('sent', 'beside', 'mode', 'reader', 'max-sources', 'bpffs', 'dry-run'),
  },
  examples: [
    ['xdpwho log eth0 --source 198.51.100.0/24', 'every packet of one network'],
    ['xdpwho log eth0 --last 50', 'after attach --log: the last ones'],
  ],
  handler: async (options, context) => {
    const interfaces = await chosenInterfaces(options, context);
    if (options.last !== undefined) refuseBesideLast(options);
    const session = await sessionContext(context);
    const { reader, maxSources, netns, bpffs } = options;
    const hook = hookRequest(options);
    const shared = { ...hook, reader, maxSources, netns, bpffs, log: logRequest(options) };
    if (options.dryRun) {
      for (const target of await targetsOf(interfaces, hook.directions, options)) {
        const joined = await findLogged(session, target, shared.log);
        const plan = await planLog(session, target, { ...shared, command: 'log' }, joined);
        await writeCommands(context, plan);
      }
      return 0;
    }
    const { count, last } = options;
    const owners = asksForOwners(options) ? ownersOf(options, context) : undefined;
    const events =
      last === undefined
        ? log(session, {
            ...shared,
            interfaces,
            count,
            durationMs: options.duration,
            totalsMs: options.totals,
            command: 'log',
            signal: context.signal,
          })
        : logHistory(session, { ...shared, interfaces }, last);
    const printer = new LogPrinter(context, options.output, {
      owners,
      isHistory: last !== undefined,
    });
    try {
      for await (const event of events) {
        // The reader of our output has gone. Leaving the loop detaches.
        if (isOutputClosed(context.signal)) break;
        await printer.print(event);
      }
    } finally {
      owners?.close();
    }
    return last === undefined ? endingExitCode(context.signal) : 0;
  },
});

function refuseBesideLast(options: Readonly<Record<string, unknown>>): void {
  for (const name of ['count', 'duration', 'totals']) {
    if (options[name] === undefined) continue;
    throw new XdpwhoError('usage', `--last and --${name}: one or the other`);
  }
}

/** A log says who packets belong to only where it is asked to, since it prints many lines. */
function asksForOwners({
  owners,
  geo,
  networks,
  resolve,
}: OwnerSources & { readonly owners: boolean }): boolean {
  return owners || geo !== undefined || networks !== undefined || resolve === true;
}

/** So many addresses of a pass are asked for by name. */
const MAX_NAMES = 100;

/** Prints the events of a log: data to standard output, messages to standard error. */
class LogPrinter {
  readonly #messages: CommandContext['messages'];
  readonly #output: OutputContext;
  readonly #format: Format;
  readonly #lines = new Map<string, PacketLines>();
  readonly #owners: Owners | undefined;
  readonly #isHistory: boolean;

  constructor(
    context: CommandContext,
    format: Format,
    { owners, isHistory }: { readonly owners: Owners | undefined; readonly isHistory: boolean },
  ) {
    this.#owners = owners;
    this.#isHistory = isHistory;
    this.#messages = context.messages;
    this.#output = endingOutput(context);
    this.#format = format;
  }

  async print(event: LogEvent): Promise<void> {
    const messages = this.#messages;
    const output = this.#output;
    const isNdjson = this.#format === 'ndjson';
    switch (event.kind) {
      case 'attached':
      case 'joined': {
        const { attachment } = event;
        const { interface: name, programId, state, record } = attachment;
        if (event.kind === 'attached') {
          for (const line of describeAttachment(attachment, messages.verbose)) messages.info(line);
        } else if (state.log !== null) {
          const log = describeLog(state.log);
          messages.info(`${name}: attached since ${state.since}, program ${programId}, ${log}`);
        }
        if (isNdjson) await writeRecords(output, [record]);
        break;
      }
      case 'packets':
        for (const note of this.#owners?.refresh() ?? []) messages.info(note);
        this.#owners?.lookUp(event.packets.sources(MAX_NAMES));
        // What is printed once has no later line for a name that comes in late.
        if (this.#isHistory) await this.#owners?.settle(this.#output.signal);
        for (const piece of this.#linesOf(event).render(event.packets)) {
          await write(output, piece);
        }
        break;
      case 'lost':
        if (isNdjson) await writeRecords(output, [event.record]);
        else await write(output, `# ${nameIn(event.record)}: lost ${event.record.count}\n`);
        break;
      case 'totals':
        if (isNdjson) await writeRecords(output, [event.record]);
        else messages.info(accountLine(event.record));
        break;
      case 'note':
        messages.info(noteLine(event));
        break;
      case 'detached':
        if (isNdjson) await writeRecords(output, [event.record]);
        messages.info(`${nameIn(event.record)}: detached`);
        break;
    }
  }

  #linesOf({ interface: name, direction }: LogEvent & { kind: 'packets' }): PacketLines {
    const known = this.#lines.get(name);
    if (known !== undefined) return known;
    const format = this.#format === 'ndjson' ? 'ndjson' : 'plain';
    const owners = this.#owners;
    const ownerOf = owners === undefined ? undefined : (address: string) => owners.of(address);
    const lines = new PacketLines(name, format, direction, ownerOf);
    this.#lines.set(name, lines);
    return lines;
  }
}

/** Accounts for every packet that the program saw. */
function accountLine(totals: TotalsRecord): string {
  const { seen = 0n, printed = 0n, sampled_out = 0n, filtered_out = 0n, lost = 0n } = totals;
  const { other, malformed } = totals;
  const parts = [
    `${printed} printed`,
    ...(sampled_out > 0n ? [`${sampled_out} sampled out`] : []),
    ...(filtered_out > 0n ? [`${filtered_out} filtered out`] : []),
    `${lost} lost`,
  ];
  const without = other + malformed;
  const rest = without > 0n ? `; ${without} more without a ${addressNoun(totals.direction)}` : '';
  return `${nameIn(totals)}: ${seen} packets = ${parts.join(' + ')}${rest}`;
}
