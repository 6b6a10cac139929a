/** An attachment in words, for the messages of the verbs that make or read one. */
import type { Attachment } from '../attachment/attachment.js';
import { estimatedSourceBytes } from '../attachment/defaults.js';
import type { LogState } from '../attachment/record.js';
import { addressNoun, nameIn } from '../cli/sources-table.js';
import { countPossibleCpus, cpuNumbers } from '../host/kernel.js';
import { frontSize } from '../objects/front.js';
import { FRONT_LINE, SEGMENT_RECORDS } from '../objects/layout.js';
import { ringBytes } from '../objects/ring-size.js';
import { formatCount } from '../text/figures.js';

/** The restrictions of an attachment, a line for each, and a line that says what was attached; `verbose`: also how. */
export function describeAttachment(attachment: Attachment, verbose: boolean): string[] {
  const { mode, programId, reader, state, notes, details } = attachment;
  const name = nameIn(attachment);
  const bytes = state.maxSources * estimatedSourceBytes(countPossibleCpus());
  const front = frontSize(state.frontLines, cpuNumbers())?.entries ?? 0;
  const inFront =
    front === 0 ? '' : `, front table of ${formatCount(BigInt(front * FRONT_LINE.size))}B`;
  const table = `up to ${state.maxSources} ${addressNoun(state.direction)}s (${formatCount(BigInt(bytes))}B${inFront})`;
  const log = state.log === null ? '' : `, ${describeLog(state.log)}`;
  return [
    ...[...notes, ...(verbose ? details : [])].map((note) => `${name}: ${note}`),
    `${name}: attached ${mode === 'tcx' ? 'at TCX' : `in ${mode} mode`}, program ${programId}, ${table}${log}, read by ${reader}`,
  ];
}

/** How many packets a log holds, and of which. */
export function describeLog({ source, sample, segments, cpus }: LogState): string {
  const packets = formatCount(BigInt(segments * SEGMENT_RECORDS));
  const bytes = formatCount(BigInt(ringBytes(segments, cpus)));
  return [
    `log of ${packets} packets for each CPU (${bytes}B)`,
    ...(source === null ? [] : [`only from ${source}`]),
    ...(sample === 1 ? [] : [`one in ${sample}`]),
  ].join(', ');
}
