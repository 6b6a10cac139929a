/** `clean`: remove what dead runs left behind. */
import { clean } from '../inventory.js';
import { renderDocument } from '../render/json.js';
import { printable } from '../render/text.js';
import { defineCommand } from './command-line.js';
import { bpffsOption, dryRunOption, outputOption } from './options.js';
import { write } from './printing.js';
import { sessionContext } from './session-context.js';

export const cleanCommand = defineCommand({
  command: 'clean',
  describe: 'remove what dead runs left; only ever our own',
  builder: (parser) =>
    parser.options({
      ...outputOption<'table' | 'json' | 'ndjson'>(['table', 'json', 'ndjson']),
      ...bpffsOption,
      ...dryRunOption,
    }),
  examples: [
    ['xdpwho clean', 'what is attached and alive stays'],
    ['xdpwho clean -n', 'only say what would be removed'],
  ],
  handler: async (options, context) => {
    const session = await sessionContext(context);
    const results = await clean(session, options);
    const removed = results.filter((each) => each.kept === null);
    const list = results.map(({ entry, kept }) => ({
      interface: entry.interface,
      netns: entry.netns,
      directory: entry.pins?.directory ?? null,
      why: entry.why,
      kept,
    }));
    if (options.output === 'json') {
      const document = { changed: removed.length > 0, removed: list };
      await write(context, `${renderDocument(document)}\n`);
    } else if (options.output === 'ndjson') {
      const lines = list.map((each) => `${renderDocument(each).replace(/\n\s*/g, '')}\n`);
      await write(context, lines.join(''));
    } else {
      const verb = options.dryRun ? 'would remove' : 'removed';
      const lines = list.map(({ directory, why, kept }) =>
        kept === null ? `${verb} ${directory}: ${why}` : `kept ${directory}: ${kept}`,
      );
      await write(context, lines.map((line) => `${printable(line)}\n`).join(''));
    }
    if (results.length === 0) context.talk.say('nothing to clean');
    return results.length > removed.length ? 1 : 0;
  },
});
