/** Loads an attachment in one bpftool process: the maps, the program, and the iterators that read the maps. */
import { chmodSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { BatchResult } from '../host/bpftool.js';
import { bpftoolArguments, type MapShape } from '../host/bpftool-arguments.js';
import { BpftoolError } from '../host/bpftool-error.js';
import { programInfoIn } from '../host/bpftool-output.js';
import { configuredHz, countPossibleCpus } from '../host/kernel.js';
import { messageOf, XdpwhoError } from '../model/errors.js';
import { type Prefix, parsePrefix, prefixMask } from '../model/prefix.js';
import type { Reader } from '../model/records.js';
import { ObjectFiles, type ProgramName } from '../objects/files.js';
import { measureHz } from '../objects/jiffies.js';
import {
  INTERFACE_JSON_SIZE,
  LOG_SEGMENT,
  SOURCE_KEY,
  SOURCE_VALUE,
  TOTALS,
} from '../objects/layout.js';
import { ringBytes, ringElements } from '../objects/ring-size.js';
import { formatCount } from '../text/figures.js';
import { quoteJson } from '../text/json.js';
import { printable } from '../text/text.js';
import type { SessionContext } from './context.js';
import { estimatedSourceBytes, fittingLog } from './defaults.js';
import type { Guard } from './guard.js';
import type { LinkLayer } from './link-layer.js';
import type { Pins } from './pin-paths.js';
import type { AttachmentState, LogState } from './record.js';

interface Loading {
  readonly context: SessionContext;
  readonly pins: Pins;
  readonly state: AttachmentState;
  readonly guard: Guard;
  readonly linkLayer: LinkLayer;
  /** See holdLink; zeroes where no link is to be made. */
  readonly testFrame: Uint8Array;
  /** A folder for copies of the objects, with the constants written into them. */
  readonly scratch: string;
  readonly signal?: AbortSignal | undefined;
}

export interface Loaded {
  readonly programId: number;
  readonly reader: Reader;
  /** Why there is no iterator, or null. */
  readonly readerNote: string | null;
  readonly log: LogState | null;
}

/**
 * Loads and pins everything, and tells the guard the id of the program. If no iterator can be pinned, it loads
 * once more with a smaller ring of the log, because `map dump` reads the ring slowly.
 */
export async function load(loading: Loading): Promise<Loaded> {
  const { state, pins } = loading;
  const loaded = await loadOnce(loading, state.log);
  const log = fittingLog(state.log, loaded.reader);
  if (log?.segments === state.log?.segments) return { ...loaded, log };
  for (const pin of [pins.program, ...Object.values(mapPins(pins, log))]) rmSync(pin);
  const again = { ...loading, state: { ...state, readerAsked: 'dump' } };
  return { ...(await loadOnce(again, log)), readerNote: loaded.readerNote, log };
}

async function loadOnce(loading: Loading, log: LogState | null): Promise<Omit<Loaded, 'log'>> {
  const { context, pins, state, scratch } = loading;
  const objects = new ObjectFiles(context.objectsDirectory);
  const maps = mapPins(pins, log);
  const createMaps = mapShapes(state, log).map((shape) =>
    bpftoolArguments.createMap(maps[shape.name] ?? '', shape),
  );
  const loadProgram = (name: ProgramName) => {
    const constants = {
      link_layer: loading.linkLayer,
      test_frame: loading.testFrame,
      ...logConstants(log),
    };
    const object = objects.writePatched(name, { constants }, scratch);
    return [
      bpftoolArguments.loadProgram(object, pins.program, maps),
      bpftoolArguments.showProgram(pins.program),
    ];
  };
  const iterators = state.readerAsked === 'dump' ? [] : await pinIterators(loading, objects);
  const [withFrags, plain] = programNames(log !== null);
  let commands = [...createMaps, ...loadProgram(withFrags), ...iterators];
  let result = await run(loading, commands);
  if (lacksMemory(result)) throw noMemory(loading, result.failure);
  // Kernels before 5.18 refuse the program for jumbo frames.
  if (result.failure instanceof BpftoolError && result.outputs.length === createMaps.length) {
    if (result.failure.code === 'not-permitted') throw result.failure;
    commands = [...loadProgram(plain), ...iterators];
    result = await run(loading, commands);
  }
  const shown = result.outputs.at(commands.length - iterators.length - 1);
  const program = programInfoIn(shown);
  if (program === undefined) {
    throw result.failure ?? new XdpwhoError('bad-output', 'bpftool prog show: unexpected output');
  }
  const readerNote = iteratorFailure(state, result);
  if (readerNote === undefined) openFiles(pins, state);
  else for (const pin of [pins.sourcesFile, pins.totalsFile]) rmSync(pin, { force: true });
  return {
    programId: program.id,
    reader: readerNote === undefined ? 'iterator' : 'dump',
    readerNote: readerNote ?? null,
  };
}

function lacksMemory({ failure }: BatchResult): boolean {
  return failure instanceof BpftoolError && failure.errno === 'ENOMEM';
}

/** The kernel, or the memory cgroup of this process, has no room for the table, or for the ring of the log. */
function noMemory({ state }: Loading, cause: unknown): XdpwhoError {
  const { maxSources, log } = state;
  const sizes = [
    `${megabytes(maxSources * estimatedSourceBytes(countPossibleCpus()))} for ${maxSources} sources`,
    ...(log === null ? [] : [`${megabytes(ringBytes(log.segments, log.cpus))} for the log`]),
  ];
  const smaller = Math.max(Math.floor(maxSources / 8), 1);
  return new XdpwhoError(
    'failed',
    `${printable(state.interface)}: not enough memory: ${sizes.join(' and ')}; ${messageOf(cause)}`,
    {
      retry: { option: '--max-sources', value: String(smaller) },
      hint: `${log === null ? '' : 'with a smaller --buffer, '}or more memory: a limit of the service or container counts too`,
      cause,
    },
  );
}

function megabytes(bytes: number): string {
  return `${formatCount(BigInt(bytes))}B`;
}

/** A running command is never aborted: we must know its effect to undo it. */
function run({ context, guard, signal }: Loading, commands: string[][]): Promise<BatchResult> {
  signal?.throwIfAborted();
  // bpftool 5.10 does not raise the limit on locked memory for `iter pin` (src/iter.c).
  return context.bpftool.batch(commands, { keepOpen: guard.keepOpen, withoutMemoryLimit: true });
}

/** Undefined if both iterators are pinned, null if none was wanted, otherwise the reason why there is none. */
function iteratorFailure(
  { readerAsked }: AttachmentState,
  { failure }: BatchResult,
): string | null | undefined {
  if (readerAsked === 'dump') return null;
  if (failure === undefined) return undefined;
  if (readerAsked === 'iterator') {
    throw new XdpwhoError('kernel-too-old', `no iterator can be pinned: ${messageOf(failure)}`, {
      retry: { option: '--reader', value: 'dump' },
      hint: 'or look what is missing: xdpwho doctor',
      cause: failure,
    });
  }
  return `no iterator can be pinned (${messageOf(failure)}); reading by \`map dump\`, slower`;
}

/** Sets the permissions of the files, and opens the directories to users who may read the files. */
function openFiles(pins: Pins, { fileMode }: AttachmentState): void {
  for (const file of [pins.sourcesFile, pins.totalsFile]) chmodSync(file, fileMode);
  if ((fileMode & 0o077) === 0) return;
  for (const directory of [dirname(pins.directory), pins.directory]) {
    if ((statSync(directory).mode & 0o011) !== 0o011) chmodSync(directory, 0o711);
  }
}

/** The variants of the program. The first one takes jumbo frames. */
export function programNames(log: boolean): readonly [ProgramName, ProgramName] {
  return log ? ['xdpwho.log.frags', 'xdpwho.log'] : ['xdpwho.frags', 'xdpwho'];
}

/** The pin of each map, by the name of the map in the program. */
export function mapPins(pins: Pins, log: LogState | null): Readonly<Record<string, string>> {
  const { sourcesMap: sources, totalsMap: totals, packetsMap: packets } = pins;
  return log === null ? { sources, totals } : { sources, totals, packets };
}

/** The maps to create. The object has them too, but with default sizes. */
export function mapShapes(
  { maxSources }: Pick<AttachmentState, 'maxSources'>,
  log: LogState | null,
): MapShape[] {
  return [
    {
      name: 'sources',
      type: 'lru_percpu_hash',
      keySize: SOURCE_KEY.size,
      valueSize: SOURCE_VALUE.size,
      entries: maxSources,
    },
    { name: 'totals', type: 'percpu_array', keySize: 4, valueSize: TOTALS.size, entries: 1 },
    ...(log === null
      ? []
      : [
          {
            name: 'packets',
            type: 'array' as const,
            keySize: 4,
            valueSize: LOG_SEGMENT.size,
            entries: ringElements(log.segments, log.cpus),
          },
        ]),
  ];
}

/** Values for the constants in bpf/log.h. */
function logConstants(log: LogState | null) {
  if (log === null) return {};
  const { cpus, segments, sample, source } = log;
  return {
    log_cpus: cpus,
    log_segments: segments,
    log_sample: sample,
    ...(source === null ? {} : filterConstants(parsePrefix(source))),
  };
}

function filterConstants(source: Prefix) {
  return {
    log_family: source.family,
    log_source: source.network,
    log_mask: prefixMask(source),
  };
}

/** The commands that pin the two iterators. */
async function pinIterators(
  { context, pins, scratch, state }: Loading,
  objects: ObjectFiles,
): Promise<string[][]> {
  const shared = {
    possible_cpus: countPossibleCpus(),
    interface_json: jsonContent(state.interface),
  };
  const jiffies_per_second =
    configuredHz() ?? (await measureHz(context.bpftool, objects, pins.clock, scratch));
  const constants = { sources: { ...shared, jiffies_per_second }, totals: shared };
  const object = (name: 'sources' | 'totals') =>
    objects.writePatched(name, { constants: constants[name] }, scratch);
  return [
    bpftoolArguments.pinIterator(object('sources'), pins.sourcesFile, pins.sourcesMap),
    bpftoolArguments.pinIterator(object('totals'), pins.totalsFile, pins.totalsMap),
  ];
}

/** A name as the content of a JSON string, without the quotes. In ASCII, because we copy the lines of the kernel as bytes. */
export function jsonContent(name: string): string {
  const content = quoteJson(name)
    .slice(1, -1)
    .replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  if (content.length < INTERFACE_JSON_SIZE) return content;
  throw new XdpwhoError('failed', `${printable(name)}: the name does not fit into a record`);
}
