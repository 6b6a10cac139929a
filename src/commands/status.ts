/** `status`: prints what is attached, how, and whose it is. */

import { chooseOptions, INTERFACES, interfacesIn, outputOption } from '../cli/options.js';
import { writeDocument, writeLines, writeRecords } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { renderStatus } from '../cli/status-table.js';
import { EXIT_CODES } from '../model/errors.js';
import type { StatusRecord } from '../model/records.js';
import { status } from '../verbs/status.js';
import { sessionContext } from './session-context.js';

export const statusCommand = defineCommand({
  verb: 'status',
  arguments: INTERFACES,
  describe: 'what is attached, in which mode, whose it is',
  about: [
    'What is attached, in which mode, whose it is. Exit code for interfaces that are named: 0 when',
    "ours is attached, 3 when nothing is, 4 when a stranger's program is, 1 when something is broken.",
  ],
  options: {
    ...chooseOptions('iface'),
    ...outputOption('table', 'json', 'ndjson'),
    ...chooseOptions('netns', 'bpffs', 'dry-run'),
  },
  examples: [
    ['xdpwho status', "ours everywhere, and strangers' programs here"],
    ['xdpwho status eth0 --json', 'exit code 3 when nothing is attached'],
  ],
  handler: async (options, context) => {
    const session = await sessionContext(context);
    const names = interfacesIn(options);
    const records = await status(session, {
      ...options,
      interfaces: names,
      signal: context.signal,
    });
    if (options.output === 'json') {
      const interfaces = records.map(({ type: _, ...record }) => record);
      await writeDocument(context, { changed: false, interfaces });
    } else if (options.output === 'ndjson') {
      await writeRecords(context, records);
    } else {
      const lines = renderStatus(records, context.color);
      await writeLines(context, lines);
    }
    return names.length === 0 ? 0 : exitCodeOf(records);
  },
});

/** The exit code for an interface that was named. For the states that are missing here it is 0. */
const CODES: Partial<Readonly<Record<StatusRecord['ownership'], number>>> = {
  broken: EXIT_CODES['bad-object'],
  'other-version': EXIT_CODES['other-version'],
  foreign: EXIT_CODES['not-ours'],
  stale: EXIT_CODES['not-attached'],
  none: EXIT_CODES['not-attached'],
};

/** The exit code of several interfaces: something broken goes before a stranger, and that before nothing. */
function exitCodeOf(records: readonly StatusRecord[]): number {
  const codes = records.map(({ ownership }) => CODES[ownership] ?? 0);
  return [1, 4, 3].find((code) => codes.includes(code)) ?? 0;
}
