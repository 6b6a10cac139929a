/** `attach`: attach, pin, return. */
import { attachToStay, foresee, octal, type StayOutcome } from '../attach.js';
import type { Attachment } from '../attachment.js';
import { unreachableDirectory } from '../pins.js';
import { planAttachment } from '../plan.js';
import { renderCommand } from '../render/command.js';
import { renderDocument } from '../render/json.js';
import { printable } from '../render/text.js';
import type { SessionContext } from '../session.js';
import { defineCommand } from './command-line.js';
import type { CommandContext } from './context.js';
import {
  attachOptions,
  bpffsOption,
  dryRunOption,
  fileModeOption,
  interfaceOption,
  interfacePositional,
  interfacesOf,
  netnsOption,
  outputOption,
} from './options.js';
import { write, writeRecords } from './printing.js';
import { sessionContext } from './session-context.js';
import { describeAttachment } from './watch.js';

export const attachCommand = defineCommand({
  command: 'attach [interface..]',
  describe: 'attach and return; it goes on counting by itself',
  builder: (parser) =>
    parser.positional('interface', interfacePositional).options({
      ...interfaceOption,
      ...outputOption<'table' | 'json' | 'ndjson'>(['table', 'json', 'ndjson']),
      ...netnsOption,
      ...attachOptions,
      ...fileModeOption,
      ...bpffsOption,
      replace: {
        type: 'boolean',
        default: false,
        describe: 'attach anew where the options differ; counts are lost',
      },
      'keep-going': {
        type: 'boolean',
        default: false,
        describe: 'one failure does not take back the others',
      },
      ...dryRunOption,
    }),
  examples: [
    ['xdpwho attach eth0', 'then: xdpwho dump eth0, xdpwho detach eth0'],
    ['xdpwho attach eth0 eth1 --file-mode 0444 -o json', 'for automation; run it twice'],
  ],
  handler: async (options, context) => {
    const session = await sessionContext(context);
    const { mode, reader, maxSources, netns, bpffs, fileMode, replace } = options;
    const requests = interfacesOf(options).map((name) => ({
      ...{ mode, reader, maxSources, netns, bpffs, fileMode, replace },
      interface: name,
      command: 'attach',
      signal: context.signal,
    }));
    if (options.dryRun) return planAll(session, requests, options.output, context);
    const outcomes = await attachToStay(session, requests, options.keepGoing);
    for (const outcome of outcomes) tellOutcome(outcome, context);
    const attachments = outcomes.flatMap((each) => each.attachment ?? []);
    if (options.output === 'json') {
      const document = {
        changed: outcomes.some((each) => each.changed),
        interfaces: attachments.map(describeForJson),
        failed: outcomes.flatMap(({ interface: name, failure }) =>
          failure === undefined
            ? []
            : [{ interface: name, code: failure.code, message: failure.message }],
        ),
      };
      await write(context, `${renderDocument(document)}\n`);
    } else if (options.output === 'ndjson') {
      await writeRecords(
        context,
        attachments.map((each) => each.record),
      );
    }
    return outcomes.find((each) => each.failure !== undefined)?.failure?.exitCode ?? 0;
  },
});

/** What `attach`, `status` and others say of an attachment in JSON. */
export function describeForJson(attachment: Attachment) {
  const { record, state } = attachment;
  const { type: _, ...attached } = record;
  return {
    ...attached,
    file_note: state.readerNote,
    since: state.since,
    options: {
      mode: state.modeAsked,
      reader: state.readerAsked,
      max_sources: state.maxSources,
      file_mode: octal(state.fileMode),
    },
  };
}

function tellOutcome(outcome: StayOutcome, context: CommandContext): void {
  const { attachment, failure, changed } = outcome;
  const name = printable(outcome.interface);
  if (failure !== undefined) {
    context.talk.say(failure.message);
  } else if (attachment !== undefined && !changed) {
    context.talk.say(`${name}: attached already, program ${attachment.programId}`);
  } else if (attachment !== undefined) {
    for (const line of describeAttachment(attachment)) context.talk.say(line);
    const { file } = attachment.record;
    if (file !== null) context.talk.say(`${name}: cat ${file}`);
    if ((attachment.state.fileMode & 0o077) === 0 || file === null) return;
    const closed = unreachableDirectory(file);
    if (closed !== undefined) {
      context.talk.say(
        `${name}: others cannot reach the file: ${closed} is closed to them; --bpffs /run/xdpwho has one of its own`,
      );
    }
  }
}

async function planAll(
  session: SessionContext,
  requests: Parameters<typeof attachToStay>[1],
  output: string,
  context: CommandContext,
): Promise<number> {
  let changed = false;
  const lines: string[] = [];
  for (const request of requests) {
    const prospect = await foresee(session, request);
    if (prospect.kind === 'keep') continue;
    changed = true;
    const plan = await planAttachment(session, request);
    lines.push(...plan.map(({ file, args }) => renderCommand(file, args)));
  }
  if (output === 'json') {
    await write(context, `${renderDocument({ changed, commands: lines })}\n`);
  } else {
    await write(context, lines.map((line) => `${line}\n`).join(''));
  }
  return 0;
}
