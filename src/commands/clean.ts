/** `clean`: removes what dead runs of ours left. */
import { chooseOptions, outputOption } from '../cli/options.js';
import { endingOutput, writeDocument, writeLines, writeRecords } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import type { CleanedRecord } from '../model/records.js';
import { printable } from '../text/text.js';
import { clean } from '../verbs/clean.js';
import { sessionContext } from './session-context.js';

export const cleanCommand = defineCommand({
  verb: 'clean',
  describe: 'remove what dead runs left; only ever our own',
  about: [
    'Removes what dead runs left behind, and directories among ours that are broken. What is attached',
    'stays, and so does what xdpwho did not make: it says so, and the exit code is 1.',
  ],
  options: {
    ...outputOption('table', 'json', 'ndjson'),
    ...chooseOptions('netns', 'bpffs', 'dry-run'),
  },
  examples: [
    ['xdpwho clean', 'what is attached and alive stays'],
    ['xdpwho clean -n', 'only say what would be removed'],
  ],
  changesHost: true,
  handler: async (options, context) => {
    const session = await sessionContext(context);
    const results = await clean(session, options);
    const records = results.map(
      ({ entry, kept }): CleanedRecord => ({
        type: 'cleaned',
        interface: entry.interface,
        netns: entry.netns,
        directory: entry.pins?.directory ?? null,
        why: entry.why,
        kept,
      }),
    );
    const keeps = records.some((each) => each.kept !== null);
    if (options.output === 'json') {
      const changed = records.some((each) => each.kept === null);
      const directories = records.map(({ type: _, ...record }) => record);
      await writeDocument(endingOutput(context), { changed, directories });
    } else if (options.output === 'ndjson') {
      await writeRecords(endingOutput(context), records);
    } else {
      const verb = options.dryRun ? 'would remove' : 'removed';
      const lines = records.map(({ directory, why, kept }) =>
        kept === null ? `${verb} ${directory}: ${why}` : `kept ${directory}: ${why}; ${kept}`,
      );
      await writeLines(endingOutput(context), lines.map(printable));
    }
    if (results.length === 0) context.messages.info('nothing to clean');
    return keeps ? 1 : 0;
  },
});
