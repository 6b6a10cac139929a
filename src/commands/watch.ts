/** `watch`: attach, show sources live, detach. */
import { type CommandContext, endingExitCode, isOutputClosed } from '../cli/context.js';
import { chooseOptions, hookRequest, INTERFACES, OPTIONS, outputOption } from '../cli/options.js';
import { endingOutput, writeCommands } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { endingOf } from '../host/abort.js';
import { LiveView } from '../live/view.js';
import { XdpwhoError } from '../model/errors.js';
import type { SourceRecord } from '../model/records.js';
import { groupingOf } from '../owners/owners.js';
import { takesEscapes } from '../text/color.js';
import { planWatch } from '../verbs/dry-run.js';
import { targetsOf } from '../verbs/tracked.js';
import { type WatchEvent, type WatchOptions, watch } from '../verbs/watch.js';
import { chosenInterfaces } from './chosen-interfaces.js';
import { ownersOf } from './owners-of.js';
import { sessionContext } from './session-context.js';
import { type NewChoice, printMessages, viewOf } from './watch-views.js';

/** How many sources a table shows without --top. */
const DEFAULT_TOP = 20;

export const watchCommand = defineCommand({
  verb: 'watch',
  arguments: INTERFACES,
  describe: 'attach, show sources live until Ctrl-C, detach',
  about: [
    'Attaches, shows sources live until Ctrl-C (or q; ? shows the keys), detaches.',
    'By XDP, which the kernel then refuses to others; on a veth by TCX. k: 1000.',
  ],
  options: {
    ...chooseOptions('iface'),
    ...outputOption('table', 'ndjson', 'json'),
    ...chooseOptions('interval', 'duration', 'count', 'top', 'sort', 'group', 'new'),
    ...chooseOptions('geo', 'networks', 'resolve', 'netns'),
    all: { ...OPTIONS.all, describe: 'every interface that is up, but for lo and ports of a bond' },
    ...chooseOptions('sent', 'both', 'beside', 'mode', 'reader', 'max-sources', 'bpffs', 'dry-run'),
  },
  examples: [
    ['xdpwho eth0', 'who is sending, once a second'],
    ['xdpwho watch eth0 eth1 -o ndjson --duration 1m', 'two interfaces, for jq'],
  ],
  handler: async (options, context) => {
    const interfaces = await chosenInterfaces(options, context);
    const session = await sessionContext(context);
    const { reader, maxSources, netns, bpffs } = options;
    const hook = hookRequest(options);
    const shared = { ...hook, reader, maxSources, netns, bpffs };
    if (options.dryRun) {
      for (const target of await targetsOf(interfaces, hook.directions, options)) {
        const plan = await planWatch(session, target, { ...shared, command: 'watch' });
        await writeCommands(context, plan);
      }
      return 0;
    }
    const owners = ownersOf(options, context);
    const group = groupingOf(options.group, owners);
    const tellsNew = newChoice(options);
    const ending = endingOf(context.signal);
    const sort = options.sort ?? 'packets';
    const live = options.output === 'table' && tellsNew !== 'only' && isLive(context);
    const top = options.top ?? (options.output === 'table' ? DEFAULT_TOP : 0);
    // A group says itself what is known of it.
    const describe =
      owners === undefined || group !== undefined
        ? undefined
        : ({ source }: SourceRecord) => owners.of(source);
    const order = { sort, top, group, tellsNew, describe };
    const plainView = viewOf(options.output, endingOutput(context), order);
    const showPlain = async (event: WatchEvent) => {
      printMessages(event, context);
      await plainView.show(event);
    };
    const view = live
      ? new LiveView(context, session, {
          attachments: interfaces.length * hook.directions.length,
          both: options.both,
          owners,
          group,
          sort,
          top: options.top ?? 0,
          onQuit: ending.end,
          showAfterwards: showPlain,
        })
      : { show: showPlain, end: async () => {} };
    const watching: WatchOptions = {
      ...shared,
      interfaces,
      command: 'watch',
      signal: ending.signal,
      intervalMs: options.interval,
      durationMs: options.duration,
      count: options.count,
      // The live view gets all sources as columns. What is printed at its end is a table.
      top,
      sort,
      group,
      owners,
      tellsNew: tellsNew !== undefined,
      columns: live || (options.both && options.output === 'table'),
    };
    try {
      for await (const event of watch(session, watching)) {
        // The reader of our output has gone. Leaving the loop detaches.
        if (isOutputClosed(context.signal)) break;
        await view.show(event);
      }
    } finally {
      ending.release();
      await view.end();
      await plainView.end();
      owners?.close();
    }
    return endingExitCode(context.signal);
  },
});

/** Throws an XdpwhoError `usage` for one document, which has only the last reading. */
function newChoice({
  new: choice,
  output,
}: {
  readonly new: NewChoice;
  readonly output: string;
}): NewChoice {
  if (choice !== undefined && output === 'json') {
    throw new XdpwhoError('usage', '--new and -o json: a document has only the last reading', {
      retry: { option: '--output', value: 'ndjson', without: ['-o', '--json'] },
    });
  }
  return choice;
}

/** Whether to show the live view. With -v the printed commands would stand in the middle of it. */
function isLive({ stdout, messages }: CommandContext): boolean {
  return takesEscapes(stdout.isTTY, process.env) && !messages.verbose;
}
