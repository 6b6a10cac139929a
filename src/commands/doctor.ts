/** `doctor`: prints what this host has and lacks, and the commands that mend it. */

import { chooseOptions, INTERFACES, outputOption } from '../cli/options.js';
import { writeDocument, writeLines } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { checkHost } from '../doctor/checks.js';
import { checkInterface } from '../doctor/interface.js';
import { renderChecks } from '../doctor/table.js';
import { DEFAULT_BPFFS } from '../host/bpffs.js';
import { asCalled } from '../host/called-as.js';
import { XdpwhoError } from '../model/errors.js';
import { chosenInterfaces } from './chosen-interfaces.js';
import { sessionContext } from './session-context.js';

const DEFAULT_COLUMNS = 80;

export const doctorCommand = defineCommand({
  verb: 'doctor',
  arguments: INTERFACES,
  describe: 'what this host has and lacks, and what mends it',
  about: [
    'Says what this host, and an interface, has and lacks, and the command that mends',
    'it. How a run attaches is tried in namespaces of its own. Exit code 1 when something',
    'that is needed is missing.',
  ],
  options: {
    ...chooseOptions('iface'),
    ...outputOption('table', 'json'),
    ...chooseOptions('netns', 'bpffs'),
  },
  examples: [
    ['xdpwho doctor', 'the host, and the interface of its default route'],
    ['xdpwho doctor eth0 --json', 'and an interface, for scripts'],
  ],
  handler: async (options, context) => {
    const { objectsDirectory } = context;
    const { netns, bpffs = DEFAULT_BPFFS } = options;
    const checks = await checkHost({ path: options.bpftool, bpffs, objectsDirectory });
    const names = await chosenInterfaces(options, context).catch((error) => {
      // Without a default route, or where nobody can tell, the host is checked alone: that says what is missing.
      if (error instanceof XdpwhoError) return [];
      throw error;
    });
    // The checks of the host have reported why bpftool cannot be had. Interfaces are checked without it.
    const session =
      names.length === 0 ? undefined : await sessionContext(context).catch(() => undefined);
    for (const name of names) {
      const about = { interface: name, netns, bpffs, context: session };
      checks.push(...(await checkInterface(about)));
    }
    const failed = checks.some((check) => check.status === 'fail');
    const called = checks.map((each) =>
      each.fix === undefined ? each : { ...each, fix: asCalled(each.fix) },
    );
    const width = context.stdout.columns || DEFAULT_COLUMNS;
    if (options.output === 'json') {
      const shown = called.map((check) => ({ ...check, fix: check.fix ?? null }));
      await writeDocument(context, { ok: !failed, checks: shown });
    } else await writeLines(context, renderChecks(called, { width, color: context.color }));
    return failed ? 1 : 0;
  },
});
