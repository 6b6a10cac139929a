/** `report`: makes an HTML page of a recording of `watch -o ndjson`. */
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { CommandContext } from '../cli/context.js';
import { parsePath } from '../cli/option-values.js';
import { valueOption } from '../cli/options.js';
import { write } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { systemErrorCode, XdpwhoError } from '../model/errors.js';
import { renderReport } from '../report/page.js';
import { readReport } from '../report/recording.js';
import { printable } from '../text/text.js';

export const reportCommand = defineCommand({
  verb: 'report',
  arguments: [{ name: 'file', values: { kind: 'file' } }],
  describe: 'a recording of watch -o ndjson as an HTML page',
  about: [
    'Turns a recording of `watch -o ndjson` into one HTML page: traffic over time, the',
    'top sources, a table. The page has no script and loads nothing. FILE may be -.',
  ],
  options: {
    output: {
      ...valueOption('--output', 'where to write it; default: standard output', 'file', parsePath),
      alias: 'o',
    },
  },
  examples: [
    ['xdpwho eth0 -o ndjson --duration 1m > eth0.ndjson', 'record a minute'],
    ['xdpwho report eth0.ndjson -o eth0.html', 'and look at it'],
  ],
  handler: async ({ words: [file], output }, context) => {
    if (file === undefined) throw new XdpwhoError('usage', 'no recording named');
    const name = file === '-' ? 'standard input' : file;
    const recording = await readReport(await open(file, context), printable(name), context.signal);
    const page = renderReport(recording, { file: name, version: context.version });
    if (output === undefined) {
      await write(context, page);
      return 0;
    }
    try {
      await writeFile(output, page);
    } catch (error) {
      throw unusable(output, error);
    }
    context.messages.info(`${output}: written`);
    return 0;
  },
});

/** Resolves once the file is open, so that an error of opening it is reported as such. */
async function open(file: string, context: CommandContext): Promise<Readable> {
  if (file === '-') return context.stdin;
  const stream = createReadStream(file);
  await new Promise<void>((resolve, reject) => {
    stream.once('open', () => resolve());
    stream.once('error', (error) => reject(unusable(file, error)));
  });
  return stream;
}

function unusable(file: string, error: unknown): XdpwhoError {
  const why = systemErrorCode(error) ?? String(error);
  return new XdpwhoError('failed', `${printable(file)}: ${why}`, { hint: 'ls -l', cause: error });
}
