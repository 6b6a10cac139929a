/** `script`: prints one verb as a POSIX shell script, for a host without Node. */

import { parseChoice } from '../cli/option-values.js';
import { chooseOptions, interfacesIn } from '../cli/options.js';
import { write } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { nameFault } from '../host/interfaces.js';
import { XdpwhoError } from '../model/errors.js';
import { renderScript, SCRIPT_VERBS } from '../script/script.js';
import { printable } from '../text/text.js';

export const scriptCommand = defineCommand({
  verb: 'script',
  arguments: [
    {
      name: 'verb',
      required: true,
      values: { kind: 'words', words: SCRIPT_VERBS },
      describe: 'attach, detach or status',
    },
    { name: 'interface', values: { kind: 'interface' } },
  ],
  describe: 'a verb as one shell script, for a host without Node',
  about: [
    'Prints one POSIX shell script that does on another host what the verb (attach, detach or status)',
    'would do: it needs sh, bpftool and coreutils or busybox there. What it leaves is read, listed',
    'and detached by xdpwho, and the other way round.',
  ],
  options: {
    ...chooseOptions('iface', 'netns', 'mode', 'reader', 'max-sources', 'file-mode'),
    ...chooseOptions('bpffs', 'replace'),
  },
  examples: [
    ['xdpwho script attach eth0 > attach.sh', 'then: ssh root@HOST sh < attach.sh'],
    ['xdpwho script status eth0', 'prints JSON there; exit code 3 when nothing is attached'],
  ],
  handler: async (options, context) => {
    const [first, ...words] = options.words;
    if (first === undefined) throw new XdpwhoError('usage', 'no verb named');
    const verb = parseChoice('script', first, SCRIPT_VERBS);
    const [name, other] = interfacesIn({ ...options, words });
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
