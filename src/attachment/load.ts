/** Loads an attachment in one bpftool process: the maps, the program, and the iterators that read the maps. */
import { chmodSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { BatchResult } from '../host/bpftool.js';
import { bpftoolArguments, type MapShape } from '../host/bpftool-arguments.js';
import { BpftoolError } from '../host/bpftool-error.js';
import { programInfoIn } from '../host/bpftool-output.js';
import { configuredHz, countPossibleCpus, cpuNumbers } from '../host/kernel.js';
import { messageOf, XdpwhoError } from '../model/errors.js';
import { type Prefix, parsePrefix, prefixMask } from '../model/prefix.js';
import type { AttachMode, Reader } from '../model/records.js';
import { ObjectFiles, type ProgramName } from '../objects/files.js';
import { FRONT_PIN_NAME, frontConstants, frontSize } from '../objects/front.js';
import { measureHz } from '../objects/jiffies.js';
import {
  FRONT_LINE,
  INTERFACE_JSON_SIZE,
  LOG_SEGMENT,
  MAP_MMAPABLE,
  SOURCE_KEY,
  SOURCE_VALUE,
  TOTALS,
} from '../objects/layout.js';
import type { ObjectPatch } from '../objects/patch.js';
import { ringBytes, ringElements } from '../objects/ring-size.js';
import { formatCount } from '../text/figures.js';
import { quoteJson } from '../text/json.js';
import { printable } from '../text/text.js';
import type { SessionContext } from './context.js';
import { estimatedSourceBytes, fittingLog } from './defaults.js';
import { frontPinName, linkFront, unlinkFront } from './front-pin.js';
import type { Guard } from './guard.js';
import type { LinkLayer } from './link-layer.js';
import { tcxUnavailable } from './mode.js';
import type { Pins } from './pin-paths.js';
import type { AttachmentState, LogState } from './record.js';

interface Loading {
  readonly context: SessionContext;
  readonly pins: Pins;
  readonly state: AttachmentState;
  readonly guard: Guard;
  readonly linkLayer: LinkLayer;
  /** Decides for which hook the program is. */
  readonly mode: AttachMode;
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
  readonly frontLines: number;
  /** Why there is no front table, where one was to be. */
  readonly whyNoFront: string | undefined;
}

/** The parts of an attachment that decide which maps it has. */
export type Tables = Pick<AttachmentState, 'log' | 'frontLines' | 'maxSources'>;

/**
 * Loads and pins everything. What cannot be had is left out: first the front table, which only an iterator
 * of its own reads, then the iterators. `map dump` reads the ring of the log slowly, so it gets a smaller one.
 */
export async function load(loading: Loading): Promise<Loaded> {
  const { state, pins } = loading;
  const withFront = state.frontLines > 0 ? await loadWithFront(loading) : undefined;
  if (typeof withFront === 'object') return withFront;
  const plain = { ...state, frontLines: 0 };
  const loaded = await loadOnce({ ...loading, state: plain });
  const log = fittingLog(state.log, loaded.reader);
  const others = { log, frontLines: 0, whyNoFront: withFront };
  if (log?.segments === state.log?.segments) return { ...loaded, ...others };
  unload(pins, plain);
  const again = await loadOnce({ ...loading, state: { ...plain, readerAsked: 'dump', log } });
  return { ...again, readerNote: loaded.readerNote, ...others };
}

/** Loads everything with the front table, or nothing: then it returns the reason. */
async function loadWithFront(loading: Loading): Promise<Loaded | string> {
  const { state, pins } = loading;
  const why = linkFront(state.token, pins.frontMap);
  if (why !== undefined) return why;
  try {
    const loaded = await loadOnce({ ...loading, state: { ...state, readerAsked: 'auto' } });
    const { log, frontLines } = state;
    if (loaded.reader === 'iterator') return { ...loaded, log, frontLines, whyNoFront: undefined };
    unload(pins, state);
    return loaded.readerNote ?? '';
  } finally {
    unlinkFront(state.token);
  }
}

function unload(pins: Pins, tables: Tables): void {
  for (const pin of [pins.program, ...Object.values(mapPins(pins, tables))]) rmSync(pin);
}

type LoadedOnce = Pick<Loaded, 'programId' | 'reader' | 'readerNote'>;

async function loadOnce(loading: Loading): Promise<LoadedOnce> {
  const { context, pins, state, scratch, mode } = loading;
  const { log } = state;
  const objects = new ObjectFiles(context.objectsDirectory);
  const maps = mapPins(pins, state);
  const createMaps = mapShapes(state).map((shape) =>
    bpftoolArguments.createMap(maps[shape.name] ?? '', shape),
  );
  const hz = state.readerAsked === 'dump' ? undefined : await findHz(loading, objects);
  const front =
    hz === undefined ? {} : frontConstants(frontSize(state.frontLines, cpuNumbers()), hz);
  const loadProgram = (name: ProgramName) => {
    const constants = {
      ...(mode === 'tcx' ? directionConstants(state) : {}),
      link_layer: loading.linkLayer,
      test_frame: loading.testFrame,
      ...front,
      ...logConstants(log),
    };
    const object = objects.writePatched(name, { constants }, scratch);
    return [
      bpftoolArguments.loadProgram(object, pins.program, maps, programType(mode)),
      bpftoolArguments.showProgram(pins.program),
    ];
  };
  const iterators = hz === undefined ? [] : pinIterators(loading, objects, hz, front);
  const [preferred, plain] = programNames(mode, log !== null);
  let commands = [...createMaps, ...loadProgram(preferred), ...iterators];
  let result = await run(loading, commands);
  if (lacksMemory(result)) throw noMemory(loading, result.failure);
  // Kernels before 5.18 refuse the program for jumbo frames.
  const isRefused = result.outputs.length === createMaps.length;
  if (result.failure instanceof BpftoolError && isRefused) {
    if (result.failure.code === 'not-permitted') throw result.failure;
    if (plain === undefined) throw tcxUnavailable(result.failure.message, result.failure);
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

/** Of the program, in bpftool's words. */
export function programType(mode: AttachMode): 'xdp' | 'classifier' {
  return mode === 'tcx' ? 'classifier' : 'xdp';
}

/** The variants of the program: for XDP one that takes jumbo frames, and one that does not. */
export function programNames(
  mode: AttachMode,
  log: boolean,
): readonly [ProgramName, ProgramName | undefined] {
  if (mode === 'tcx') return [log ? 'xdpwho.log.tcx' : 'xdpwho.tcx', undefined];
  return log ? ['xdpwho.log.frags', 'xdpwho.log'] : ['xdpwho.frags', 'xdpwho'];
}

/** The pin of each map, by the name of the map in the program. */
export function mapPins(pins: Pins, { log, frontLines }: Tables): Readonly<Record<string, string>> {
  const { sourcesMap: sources, totalsMap: totals, packetsMap: packets, frontMap: front } = pins;
  return {
    ...{ sources, totals },
    ...(frontLines > 0 ? { front } : {}),
    ...(log === null ? {} : { packets }),
  };
}

/** The maps to create. The object has them too, but with default sizes. */
export function mapShapes({ maxSources, frontLines, log }: Tables): MapShape[] {
  const front = frontSize(frontLines, cpuNumbers());
  return [
    {
      name: 'sources',
      type: 'lru_percpu_hash',
      keySize: SOURCE_KEY.size,
      valueSize: SOURCE_VALUE.size,
      entries: maxSources,
    },
    { name: 'totals', type: 'percpu_array', keySize: 4, valueSize: TOTALS.size, entries: 1 },
    ...(front === undefined ? [] : [frontShape(front.entries)]),
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

/** The front table of so many elements. */
export function frontShape(entries: number): MapShape {
  const [valueSize, flags] = [FRONT_LINE.size, MAP_MMAPABLE];
  return { name: 'front', type: 'array', keySize: 4, valueSize, entries, flags };
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

function directionConstants({ direction }: AttachmentState) {
  return { direction_sent: direction === 'sent' ? 1 : 0 };
}

async function findHz({ context, pins, scratch }: Loading, objects: ObjectFiles): Promise<number> {
  return configuredHz() ?? measureHz(context.bpftool, objects, pins.clock, scratch);
}

/** The commands that pin the two iterators. */
function pinIterators(
  { pins, scratch, state }: Loading,
  objects: ObjectFiles,
  hz: number,
  front: ReturnType<typeof frontConstants>,
): string[][] {
  const possible_cpus = countPossibleCpus();
  const interface_json = jsonContent(state.interface);
  const shared = { ...directionConstants(state), possible_cpus, interface_json };
  const ofSources = { ...shared, jiffies_per_second: hz, ...front };
  const size = frontSize(state.frontLines, cpuNumbers());
  const write = (name: 'sources' | 'totals', constants: NonNullable<ObjectPatch['constants']>) => {
    if (size === undefined) return objects.writePatched(name, { constants }, scratch);
    const maxEntries = { [FRONT_PIN_NAME]: size.entries };
    const mapNames = { [FRONT_PIN_NAME]: frontPinName(state.token) };
    return objects.writePatched(`${name}.front`, { constants, maxEntries, mapNames }, scratch);
  };
  const [sources, totals] = [write('sources', ofSources), write('totals', shared)];
  return [
    bpftoolArguments.pinIterator(sources, pins.sourcesFile, pins.sourcesMap),
    bpftoolArguments.pinIterator(totals, pins.totalsFile, pins.totalsMap),
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
