/** `attach`: attach, pin, return. */

import type { SessionContext } from '../attachment/context.js';
import type { CommandContext } from '../cli/context.js';
import {
  attachOptions,
  bpffsOption,
  dryRunOption,
  fileModeOption,
  interfaceOption,
  interfacePositional,
  interfacesOf,
  logOptions,
  logRequest,
  netnsOption,
  outputOption,
  refuseWithoutLog,
} from '../cli/options.js';
import { errorRecords, type Failure, failedForJson, write, writeRecords } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import type { CommandLine } from '../host/bpftool-arguments.js';

import { XdpwhoError } from '../model/errors.js';
import { renderDocument } from '../text/json.js';
import { renderCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import {
  attachToStay,
  plan,
  resolveRequests,
  type StayOptions,
  type StayOutcome,
  type StayRequest,
} from '../verbs/attach.js';
import { planAttachment, planReplacement } from '../verbs/dry-run.js';
import { describeForJson, fileNote } from '../verbs/status.js';
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
      log: {
        type: 'boolean',
        default: false,
        describe: 'also keep the last packets, for `xdpwho log`',
      },
      ...logOptions,
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
    ['xdpwho attach eth0 --log', 'then: log eth0 --last 50'],
    ['xdpwho attach eth0 eth1 --file-mode 0444 -o json', 'for automation; run it twice'],
  ],
  handler: async (options, context) => {
    const names = interfacesOf(options);
    const session = await sessionContext(context);
    const { mode, reader, maxSources, netns, bpffs, fileMode, replace } = options;
    const log = options.log ? logRequest(options) : refuseWithoutLog(options);
    const requests = names.map((name) => ({
      ...{ mode, reader, maxSources, netns, bpffs, fileMode, replace, log },
      interface: name,
      command: 'attach',
      signal: context.signal,
    }));
    if (options.dryRun) return planAll(session, requests, options, context);
    const outcomes = await attachToStay(session, requests, options.keepGoing);
    for (const outcome of outcomes) tellOutcome(outcome, context);
    const attachments = outcomes.flatMap((each) => each.attachment ?? []);
    const failures = outcomes.flatMap(({ interface: name, failure }) =>
      failure === undefined ? [] : [{ interface: name, failure }],
    );
    if (options.output === 'json') {
      const document = {
        changed: outcomes.some((each) => each.changed),
        interfaces: attachments.map(describeForJson),
        failed: failedForJson(failures),
      };
      await write(context, `${renderDocument(document)}\n`);
    } else if (options.output === 'ndjson') {
      await writeRecords(context, [
        ...attachments.map((each) => each.record),
        ...errorRecords(failures),
      ]);
    }
    return exitCodeOf(failures.map((each) => each.failure));
  },
});

function tellOutcome(outcome: StayOutcome, context: CommandContext): void {
  const { attachment, failure, changed } = outcome;
  const name = printable(outcome.interface);
  if (failure !== undefined) {
    context.talk.complain(failure);
  } else if (attachment !== undefined && !changed) {
    context.talk.say(`${name}: attached already, program ${attachment.programId}`);
  } else if (attachment !== undefined) {
    for (const line of describeAttachment(attachment)) context.talk.say(line);
    const { file } = attachment.record;
    if (file === null) return;
    context.talk.say(`${name}: cat ${file}`);
    const note = fileNote(attachment);
    if (note !== null) context.talk.say(`${name}: ${note}`);
  }
}

/** The exit code of several outcomes: that of the first failure. */
function exitCodeOf(failures: readonly XdpwhoError[]): number {
  return failures[0]?.exitCode ?? 0;
}

/** Like attachToStay, but for doing it. */
async function planAll(
  session: SessionContext,
  all: readonly StayOptions[],
  { output, keepGoing }: { readonly output: string; readonly keepGoing: boolean },
  context: CommandContext,
): Promise<number> {
  const failures: Failure[] = [];
  const commands: string[] = [];
  let changed = false;
  const attempt = async <T>(name: string, work: () => Promise<T>) => {
    try {
      return await work();
    } catch (error) {
      if (!keepGoing || !(error instanceof XdpwhoError)) throw error;
      context.talk.complain(error);
      failures.push({ interface: name, failure: error });
      return undefined;
    }
  };
  for (const request of await resolveRequests(all, attempt)) {
    const lines = await attempt(request.target.device, () => planOne(session, request));
    if (lines === undefined) continue;
    changed ||= lines.length > 0;
    commands.push(...lines.map(({ file, args }) => renderCommand(file, args)));
  }
  if (output === 'json') {
    const document = { changed, commands, failed: failedForJson(failures) };
    await write(context, `${renderDocument(document)}\n`);
  } else {
    await write(context, commands.map((line) => `${line}\n`).join(''));
  }
  return exitCodeOf(failures.map((each) => each.failure));
}

async function planOne(session: SessionContext, request: StayRequest): Promise<CommandLine[]> {
  const { target, settings } = request;
  const made = await plan(session, request);
  switch (made.kind) {
    case 'keep':
      return [];
    case 'wait':
      throw made.refusal;
    case 'replace':
      return planReplacement(session, made.entry, target, settings);
    case 'attach':
      return planAttachment(session, target, settings);
  }
}
