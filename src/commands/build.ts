/** `build`: compiles the BPF objects. The package contains them compiled; who changes the C needs this. */

import { parsePath } from '../cli/option-values.js';
import { valueOption } from '../cli/options.js';
import { defineCommand } from '../cli/parser.js';
import { messageOf, systemErrorCode, XdpwhoError } from '../model/errors.js';
import { compileObjects } from '../objects/compile.js';

const DEFAULT_DIRECTORY = 'xdpwho-bpf';

export const buildCommand = defineCommand({
  verb: 'build',
  arguments: [
    {
      name: 'directory',
      values: { kind: 'directory' },
      describe: 'gets el/ and eb/',
      default: DEFAULT_DIRECTORY,
    },
  ],
  describe: 'compile the BPF objects with clang',
  about: [
    'Compiles the BPF objects for both byte orders. The package comes with compiled',
    'ones: this is for those who change the C. --objects DIRECTORY uses the result.',
  ],
  options: {
    source: valueOption(
      '--source',
      "directory of the C files; default: the package's",
      'directory',
      parsePath,
    ),
  },
  examples: [
    ['xdpwho build', `into ./${DEFAULT_DIRECTORY}`],
    ['xdpwho build -v /tmp/bpf', "print clang's command lines"],
  ],
  handler: async (options, { messages }) => {
    const outputDirectory = parsePath('directory', options.words[0] ?? DEFAULT_DIRECTORY);
    const sourceDirectory = options.source;
    const objects = await compileObjects({ outputDirectory, sourceDirectory }).catch(
      (error: unknown) => {
        const isOurs = error instanceof XdpwhoError || systemErrorCode(error) === undefined;
        throw isOurs ? error : outputFailure(outputDirectory, error);
      },
    );
    messages.info(`${outputDirectory}: ${objects.length} objects compiled`);
    return 0;
  },
});

function outputFailure(directory: string, cause: unknown): XdpwhoError {
  return new XdpwhoError('failed', `${directory}: ${messageOf(cause)}`, {
    hint: 'xdpwho build DIRECTORY, one that can be written to',
    cause,
  });
}
