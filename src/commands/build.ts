/** `xdpwho build`: compiles the BPF objects. The package comes with them: this is for those who change the C. */
import { resolve } from 'node:path';
import { compileObjects } from '../clang.js';
import { defineCommand } from './command-line.js';

const DEFAULT_DIRECTORY = 'xdpwho-bpf';

export const buildCommand = defineCommand({
  command: 'build [directory]',
  describe: 'compile the BPF objects with clang',
  about: [
    'Compiles the BPF objects for both byte orders. The package comes with compiled',
    'ones: this is for those who change the C. --objects DIRECTORY uses the result.',
  ],
  builder: (parser) =>
    parser.positional('directory', {
      type: 'string',
      default: DEFAULT_DIRECTORY,
      defaultDescription: DEFAULT_DIRECTORY,
      describe: 'gets el/ and eb/',
    }),
  examples: [
    ['xdpwho build', `into ./${DEFAULT_DIRECTORY}`],
    ['xdpwho build -v /tmp/bpf', "print clang's command lines"],
  ],
  handler: async ({ directory }, { talk, onCommand }) => {
    const outputDirectory = resolve(directory);
    const objects = await compileObjects({ outputDirectory, onCommand });
    talk.say(`${outputDirectory}: ${objects.length} objects compiled`);
    return 0;
  },
});
