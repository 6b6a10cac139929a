/** `attach`: attaches, pins and returns. */

import type { SessionContext } from '../attachment/context.js';
import type { CommandContext } from '../cli/context.js';
import {
  chooseOptions,
  INTERFACES,
  logRequest,
  OPTIONS,
  outputOption,
  refuseWithoutLog,
} from '../cli/options.js';
import {
  endingOutput,
  errorRecords,
  type Failure,
  failedForJson,
  writeDocument,
  writeLines,
  writeRecords,
} from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import type { CommandLine } from '../host/bpftool-arguments.js';

import { XdpwhoError } from '../model/errors.js';
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
import { describeForJson, fileNote } from '../verbs/status.js';
import { chosenInterfaces } from './chosen-interfaces.js';
import { describeAttachment } from './describe-attachment.js';
import { sessionContext } from './session-context.js';

export const attachCommand = defineCommand({
  verb: 'attach',
  arguments: INTERFACES,
  describe: 'attach and return; it goes on counting by itself',
  options: {
    ...chooseOptions('iface'),
    ...outputOption('table', 'json', 'ndjson'),
    all: { ...OPTIONS.all, describe: 'every interface that is up, but for lo and ports of a bond' },
    ...chooseOptions('netns', 'mode', 'reader', 'max-sources', 'file-mode'),
    ...chooseOptions('log', 'source', 'sample', 'buffer'),
    ...chooseOptions('bpffs', 'replace', 'keep-going', 'dry-run'),
    sent: { ...OPTIONS.sent, hidden: true },
    beside: { ...OPTIONS.beside, hidden: true },
  },
  examples: [
    ['xdpwho attach eth0 --log', 'then: log eth0 --last 50'],
    ['xdpwho attach eth0 eth1 --file-mode 0444 -o json', 'for automation; run it twice'],
  ],
  changesHost: true,
  handler: async (options, context) => {
    const names = await chosenInterfaces(options, context);
    const session = await sessionContext(context);
    const { mode, reader, maxSources, netns, bpffs, fileMode, replace } = options;
    refuseTcx(options);
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
      await writeDocument(endingOutput(context), document);
    } else if (options.output === 'ndjson') {
      await writeRecords(endingOutput(context), [
        ...attachments.map((each) => each.record),
        ...errorRecords(failures),
      ]);
    }
    return exitCodeOf(failures.map((each) => each.failure));
  },
});

/** What is attached at TCX ends with the process that attached it. */
function refuseTcx(options: Readonly<Record<'sent' | 'beside', boolean>>): void {
  for (const name of ['sent', 'beside'] as const) {
    if (!options[name]) continue;
    const why =
      "bpftool cannot leave a program at TCX safely: its attach lands behind the chain's others, its detach takes the last one, whosever it is";
    throw new XdpwhoError('usage', `--${name}: not with attach: ${why}`, {
      hint: name === 'sent' ? 'xdpwho watch --sent ...' : 'xdpwho watch --beside ...',
    });
  }
}

function tellOutcome(outcome: StayOutcome, context: CommandContext): void {
  const { attachment, failure, changed } = outcome;
  const name = printable(outcome.interface);
  if (failure !== undefined) {
    context.messages.error(failure);
  } else if (attachment !== undefined && !changed) {
    context.messages.info(`${name}: attached already, program ${attachment.programId}`);
  } else if (attachment !== undefined) {
    for (const line of describeAttachment(attachment, context.messages.verbose))
      context.messages.info(line);
    const { file } = attachment.record;
    if (file === null) return;
    context.messages.info(`${name}: cat ${file}`);
    const note = fileNote(attachment);
    if (note !== null) context.messages.info(`${name}: ${note}`);
  }
}

/** The exit code of the first failure, or 0. */
function exitCodeOf(failures: readonly XdpwhoError[]): number {
  return failures[0]?.exitCode ?? 0;
}

/** Prints the commands that attachToStay would run. */
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
      context.messages.error(error);
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
    await writeDocument(endingOutput(context), document);
  } else {
    await writeLines(endingOutput(context), commands);
  }
  return exitCodeOf(failures.map((each) => each.failure));
}

async function planOne(session: SessionContext, request: StayRequest): Promise<CommandLine[]> {
  const { planAttachment, planReplacement } = await import('../verbs/dry-run.js');
  const { target } = request;
  const settings = { ...request.settings, stays: true };
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
