/** `bench`: measures what a program costs per packet on this host. */
import { readFileSync } from 'node:fs';
import { Bench, compareWithSaved, DEFAULT_ROUNDS, LEAST_ROUNDS } from '../bench/bench.js';
import { parseSaved } from '../bench/compare.js';
import { measureLive } from '../bench/live.js';
import {
  bencherMetrics,
  liveBencherMetrics,
  renderComparisons,
  renderCosts,
  renderLiveCost,
} from '../bench/table.js';
import type { CommandContext } from '../cli/context.js';
import { chooseOptions, OPTIONS, outputOption } from '../cli/options.js';
import { writeDocument, writeLines } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { systemErrorCode, XdpwhoError } from '../model/errors.js';
import { sessionContext } from './session-context.js';

type Format = 'table' | 'json' | 'bmf';

interface Options {
  readonly output: Format;
  readonly object: string | undefined;
  readonly program: string | undefined;
  readonly packets: string | undefined;
  readonly rounds: number | undefined;
  readonly compare: string | undefined;
  readonly threshold: number | undefined;
  readonly live: string | undefined;
  readonly duration: number | undefined;
  readonly netns: string | undefined;
}

const DEFAULT_THRESHOLD = 0.15;
const DEFAULT_DURATION_MS = 10_000;

export const benchCommand = defineCommand({
  verb: 'bench',
  describe: 'what the program costs per packet on this host',
  about: [
    'Measures what an XDP program costs per packet, in nanoseconds, in turn with an',
    'empty program: without an interface and without traffic. With --live, what the',
    'program on an interface costs on real traffic. Exit code 1 when --compare finds',
    'something slower.',
  ],
  options: {
    ...outputOption('table', 'json', 'bmf'),
    ...chooseOptions('object', 'program', 'packets'),
    rounds: { ...OPTIONS.rounds, defaultDescription: String(DEFAULT_ROUNDS) },
    compare: OPTIONS.compare,
    threshold: { ...OPTIONS.threshold, defaultDescription: `${DEFAULT_THRESHOLD * 100}%` },
    live: OPTIONS.live,
    duration: {
      ...OPTIONS.duration,
      describe: 'how long, with --live',
      defaultDescription: `${DEFAULT_DURATION_MS / 1000}s`,
    },
    netns: OPTIONS.netns,
  },
  examples: [
    ['xdpwho bench -o json > saved.json', 'then: bench --compare saved.json'],
    ['xdpwho bench --live eth0 --duration 30s', 'on real traffic'],
  ],
  handler: async (options, context) => {
    checkCombination(options);
    if (options.live !== undefined) return benchLive(options.live, options, context);
    return benchProgram(options, context);
  },
});

function checkCombination(options: Options): void {
  const { object, program, packets, rounds, compare, threshold, live, duration, netns } = options;
  const others =
    live === undefined ? { duration, netns } : { object, program, packets, rounds, compare };
  const lost = Object.entries(others).find(([, value]) => value !== undefined)?.[0];
  if (lost !== undefined) {
    const why = live === undefined ? 'only with --live' : 'not with --live';
    throw new XdpwhoError('usage', `--${lost}: ${why}`);
  }
  if (rounds !== undefined && rounds < LEAST_ROUNDS) {
    throw new XdpwhoError('usage', `--rounds ${rounds}: must be at least ${LEAST_ROUNDS}`);
  }
  if (threshold !== undefined && compare === undefined) {
    throw new XdpwhoError('usage', '--threshold: only with --compare');
  }
}

async function benchProgram(options: Options, context: CommandContext): Promise<number> {
  const { object, program, packets: packetsDirectory, output, compare } = options;
  const { rounds = DEFAULT_ROUNDS, threshold = DEFAULT_THRESHOLD } = options;
  const { signal, messages, color } = context;
  const saved = compare === undefined ? undefined : parseSaved(readText(compare), compare);
  const bench = await Bench.open(await sessionContext(context), {
    object,
    program,
    packetsDirectory,
  });
  try {
    for (const skipped of bench.skipped) messages.info(`${skipped.case}: left out: ${skipped.why}`);
    messages.info(`${bench.program} and an empty program in turn, ${rounds} rounds`);
    const onAgain = (cases: readonly string[]) =>
      messages.info(`measuring again: ${cases.join(', ')}`);
    const { costs, comparisons } =
      saved === undefined
        ? { costs: await bench.measure(rounds, { signal }), comparisons: undefined }
        : await compareWithSaved(bench, saved, { rounds, threshold, signal, onAgain });
    if (output === 'json') {
      const { program: name, skipped } = bench;
      const document = { program: name, object, rounds, cases: costs, skipped, comparisons };
      await writeDocument(context, document);
    } else if (output === 'bmf') {
      await writeDocument(context, bencherMetrics(bench.program, costs));
    } else if (comparisons === undefined) {
      await writeLines(context, renderCosts(costs, color));
    } else {
      await writeLines(context, renderComparisons(comparisons, color));
    }
    const slower = comparisons?.filter(({ verdict }) => verdict === 'slower') ?? [];
    if (slower.length === 0) return 0;
    const percent = `${+(threshold * 100).toFixed(2)} %`;
    messages.info(`slower by more than ${percent}: ${slower.map((each) => each.case).join(', ')}`);
    return 1;
  } finally {
    await bench.close();
  }
}

async function benchLive(
  device: string,
  options: Options,
  context: CommandContext,
): Promise<number> {
  const { netns, output, duration: durationMs = DEFAULT_DURATION_MS } = options;
  const { signal, messages } = context;
  const onStart = (switchedOn: boolean) =>
    messages.info(
      switchedOn
        ? 'kernel.bpf_stats_enabled: switched on, for the whole system, until this ends'
        : 'kernel.bpf_stats_enabled: on already',
    );
  const about = { interface: device, netns, durationMs, signal, onStart };
  const cost = await measureLive(await context.bpftool(), about);
  if (output === 'table') await writeLines(context, renderLiveCost(cost));
  else await writeDocument(context, output === 'json' ? cost : liveBencherMetrics(cost));
  return 0;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const why = systemErrorCode(cause) === 'ENOENT' ? 'no such file' : String(cause);
    throw new XdpwhoError('usage', `${file}: ${why}`, { cause });
  }
}
