/** `script`: one verb as a POSIX shell script, for a host without Node. */

import { parseChoice } from '../cli/option-values.js';
import {
  attachOptions,
  bpffsOption,
  fileModeOption,
  interfaceOption,
  interfacesIn,
  netnsOption,
} from '../cli/options.js';
import { write } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { nameFault } from '../host/interfaces.js';
import { XdpwhoError } from '../model/errors.js';
import { renderScript, SCRIPT_VERBS } from '../script/script.js';
import { printable } from '../text/text.js';

export const scriptCommand = defineCommand({
  command: 'script <verb> [interface]',
  describe: 'a verb as one shell script, for a host without Node',
  about: [
    'Prints one POSIX shell script that does on another host what the verb (attach, detach or status)',
    'would do: it needs sh, bpftool and coreutils or busybox there. What it leaves is read, listed',
    'and detached by xdpwho, and the other way round.',
  ],
  builder: (parser) =>
    parser
      .positional('verb', { type: 'string', demandOption: true, hidden: true })
      .positional('interface', { type: 'string', hidden: true })
      .options({
        ...interfaceOption,
        ...netnsOption,
        ...attachOptions,
        ...fileModeOption,
        ...bpffsOption,
        replace: {
          type: 'boolean',
          default: false,
          describe: 'attach anew where the options differ; counts are lost',
        },
      }),
  examples: [
    ['xdpwho script attach eth0 > attach.sh', 'then: ssh root@HOST sh < attach.sh'],
    ['xdpwho script status eth0', 'prints JSON there; exit code 3 when nothing is attached'],
  ],
  handler: async (options, context) => {
    const verb = parseChoice('script', options.verb, SCRIPT_VERBS);
    const named = options.interface === undefined ? [] : [options.interface];
    const [name, other] = interfacesIn({ ...options, interface: named });
    if (name === undefined) throw new XdpwhoError('usage', 'no interface named');
    if (other !== undefined) {
      throw new XdpwhoError('usage', `${printable(other)}: one interface for each script`);
    }
    const fault = nameFault(name);
    if (fault !== undefined) throw new XdpwhoError('usage', `${printable(name)}: ${fault}`);
    const { netns, bpffs, mode, reader, maxSources, fileMode, replace, quiet } = options;
    const script = renderScript(
      { verb, interface: name, netns, bpffs, mode, reader, maxSources, fileMode, replace, quiet },
      { version: context.version, objectsDirectory: context.objectsDirectory },
    );
    await write(context, script);
    return 0;
  },
});
