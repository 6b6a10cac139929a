/** `completion`: prints the script that a shell needs to complete our command lines. */
import { basename } from 'node:path';
import type { AnyCommand } from '../cli/command.js';
import { renderCompletion, SHELLS } from '../cli/completion.js';
import { parseChoice } from '../cli/option-values.js';
import { write } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { XdpwhoError } from '../model/errors.js';

/** `loadCommands` loads every command, this one included. It is a parameter because the list of commands imports this file. */
export function makeCompletionCommand(
  loadCommands: () => Promise<readonly AnyCommand[]>,
): AnyCommand {
  return defineCommand({
    verb: 'completion',
    arguments: [{ name: 'shell', values: { kind: 'words', words: SHELLS } }],
    describe: 'completion for bash, zsh or fish',
    about: [
      'Prints what bash, zsh or fish (default: the one in SHELL) needs to complete verbs,',
      'options, their values, interfaces, network namespaces and files.',
    ],
    options: {},
    examples: [
      ['xdpwho completion bash > ~/.local/share/bash-completion/completions/xdpwho', 'for bash'],
      ['xdpwho completion fish > ~/.config/fish/completions/xdpwho.fish', 'for fish'],
    ],
    handler: async ({ words: [shell] }, context) => {
      const asked = shell ?? basename(process.env.SHELL ?? '');
      if (asked === '') {
        throw new XdpwhoError('usage', 'no shell named', { hint: 'xdpwho completion bash' });
      }
      const name = parseChoice('completion', asked, SHELLS);
      const descriptions = (await loadCommands()).map(({ description }) => description);
      await write(context, renderCompletion(name, descriptions));
      return 0;
    },
  });
}
