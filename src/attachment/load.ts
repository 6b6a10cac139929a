import { chmodSync, readdirSync, rmSync, statSync } from 'node:fs';
import { pinsRoot } from '../host/bpffs.js';
import { BpftoolError } from '../host/bpftool.js';
import { configuredHz, countPossibleCpus } from '../host/kernel.js';
import type { Netns } from '../host/netns.js';
import { XdpwhoError } from '../model/errors.js';
import { type Prefix, prefixMask } from '../model/prefix.js';
import type { Mode, Reader } from '../model/records.js';
import { ObjectFiles, type ProgramName } from '../objects/files.js';
import { measureHz } from '../objects/jiffies.js';
import { INTERFACE_JSON_SIZE } from '../objects/layout.js';
import type { ObjectPatch } from '../objects/patch.js';
import { ringElements } from '../objects/ring-size.js';
import { quoteJson } from '../text/json.js';
import { ownCommand, quoteWord } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import type { AttachOptions, SessionContext } from './context.js';
import type { Guard } from './guard.js';
import type { Pins } from './pin-paths.js';
import { DEFAULT_BPFFS } from './pins.js';
import type { AttachmentState, LogState } from './record.js';

export interface Establishing {
  readonly context: SessionContext;
  readonly options: AttachOptions;
  readonly netns: Netns;
  readonly pins: Pins;
  readonly state: AttachmentState;
  readonly guard: Guard;
  readonly scratch: string;
}

/** The variant that takes jumbo frames first; kernels before 5.18 refuse it. */
export async function loadProgram(work: Establishing, log: LogState | null): Promise<void> {
  const { context, options, pins, scratch, state } = work;
  const objects = new ObjectFiles(context.objectsDirectory);
  const table = { maxEntries: { sources: state.maxSources } };
  const patch = log === null ? table : withLog(table, log, options.log?.source);
  const [withFrags, plain] = programNames(log !== null);
  const load = (name: ProgramName) =>
    context.bpftool.loadProgram(
      objects.writePatched(name, patch, scratch),
      pins.program,
      pins.mapsDirectory,
      callOptions(work),
    );
  try {
    await load(withFrags);
  } catch (error) {
    if (!(error instanceof BpftoolError) || error.code === 'not-permitted') throw error;
    await load(plain);
  }
}

/** Pure: the variants of the program, the one for jumbo frames first. */
export function programNames(log: boolean): readonly [ProgramName, ProgramName] {
  return log ? ['xdpwho.log.frags', 'xdpwho.log'] : ['xdpwho.frags', 'xdpwho'];
}

/** Pure: the constants of bpf/log.h. */
function withLog(table: ObjectPatch, log: LogState, source: Prefix | undefined): ObjectPatch {
  const filter =
    source === undefined
      ? {}
      : {
          log_family: source.family,
          log_source: source.network,
          log_mask: prefixMask(source),
        };
  const { cpus, segments, sample } = log;
  return {
    constants: { log_cpus: cpus, log_segments: segments, log_sample: sample, ...filter },
    maxEntries: { ...table.maxEntries, packets: ringElements(segments, cpus) },
  };
}

export function removeProgram(pins: Pins): void {
  rmSync(pins.program, { force: true });
  for (const map of readdirSync(pins.mapsDirectory)) rmSync(`${pins.mapsDirectory}/${map}`);
}

/** Pins the two iterators where that is wanted and possible, and says why not where it is not. */
export async function pinReaders(
  work: Establishing,
): Promise<{ reader: Reader; readerNote: string | null }> {
  const { context, options, pins, state } = work;
  const bpffs = options.bpffs ?? DEFAULT_BPFFS;
  if (options.reader === 'dump') return { reader: 'dump', readerNote: null };
  const objects = new ObjectFiles(context.objectsDirectory);
  const constants = await iteratorConstants(work, objects);
  try {
    for (const [name, pin, map, values] of [
      ['sources', pins.sourcesFile, pins.sourcesMap, constants.sources],
      ['totals', pins.totalsFile, pins.totalsMap, constants.totals],
    ] as const) {
      const object = objects.writePatched(name, { constants: values }, work.scratch);
      await context.bpftool.pinIterator(object, pin, map, callOptions(work));
      chmodSync(pin, state.fileMode);
    }
    // Whoever may read the files must be able to reach them.
    if ((state.fileMode & 0o077) !== 0) {
      for (const directory of [pinsRoot(bpffs), pins.directory]) {
        if ((statSync(directory).mode & 0o011) !== 0o011) chmodSync(directory, 0o711);
      }
    }
    return { reader: 'iterator', readerNote: null };
  } catch (error) {
    if (!(error instanceof BpftoolError)) throw error;
    for (const pin of [pins.sourcesFile, pins.totalsFile]) rmSync(pin, { force: true });
    if (options.reader === 'iterator') {
      throw new XdpwhoError('kernel-too-old', `no iterator can be pinned: ${error.message}`, {
        hint: 'xdpwho --reader dump, or xdpwho doctor',
        cause: error,
      });
    }
    const readerNote = `no iterator can be pinned (${error.message}); reading by \`map dump\`, slower`;
    return { reader: 'dump', readerNote };
  }
}

async function iteratorConstants(work: Establishing, objects: ObjectFiles) {
  const { context, pins, scratch, state } = work;
  const shared = {
    possible_cpus: countPossibleCpus(),
    interface_json: jsonContent(state.interface),
  };
  const jiffies_per_second =
    configuredHz() ?? (await measureHz(context.bpftool, objects, pins.clock, scratch));
  return { sources: { ...shared, jiffies_per_second }, totals: shared };
}

/** A name as it stands between the quotes of a JSON string, in ASCII: the kernel's lines are handed on as bytes. */
export function jsonContent(name: string): string {
  const content = quoteJson(name)
    .slice(1, -1)
    .replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  if (content.length < INTERFACE_JSON_SIZE) return content;
  throw new XdpwhoError('failed', `${printable(name)}: the name does not fit into a record`);
}

export async function attachProgram(work: Establishing, notes: string[]): Promise<Mode> {
  const { context, options, pins, netns, state } = work;
  const asked = options.mode ?? 'auto';
  const attach = (mode: Mode) =>
    context.bpftool.attach(mode, pins.program, state.interface, netns.path, callOptions(work));
  if (asked !== 'auto') {
    await attach(asked).catch((error: unknown) => explainAttachFailure(work, asked, error));
    return asked;
  }
  try {
    await attach('native');
    return 'native';
  } catch (error) {
    if (!(error instanceof BpftoolError) || !MODE_ERRNOS.has(error.errno ?? '')) {
      return await explainAttachFailure(work, 'native', error);
    }
    notes.push(`native mode is not to be had (${error.message}); using generic mode`);
  }
  await attach('generic').catch((error: unknown) => explainAttachFailure(work, 'generic', error));
  return 'generic';
}

/** What drivers answer when they have no native mode, or not with this MTU or number of queues. */
export const MODE_ERRNOS: ReadonlySet<string> = new Set([
  'EOPNOTSUPP',
  'EINVAL',
  'ERANGE',
  'ENOMEM',
]);

async function explainAttachFailure(
  work: Establishing,
  mode: Mode,
  error: unknown,
): Promise<never> {
  if (!(error instanceof BpftoolError)) throw error;
  const { interface: device, netns } = work.state;
  const name = printable(device);
  const place = { interface: device, netns, bpffs: work.options.bpffs };
  switch (error.errno) {
    case 'EBUSY':
    case 'EEXIST':
      throw await busy(work, error);
    case 'ERANGE':
      throw new XdpwhoError('mtu-too-large', `${name}: its MTU is too large for ${mode} mode`, {
        hint: `${ownCommand('--mode generic', place)}, or ip link set dev ${quoteWord(name)} mtu 1500`,
        cause: error,
      });
    case 'EOPNOTSUPP':
    case 'EINVAL':
      throw new XdpwhoError('mode-unsupported', `${name}: no ${mode} mode: ${error.message}`, {
        hint: ownCommand('--mode auto', place),
        cause: error,
      });
    default:
      throw error;
  }
}

/** Says whose program is in the way, as far as it can be found out. */
async function busy(work: Establishing, cause: BpftoolError): Promise<XdpwhoError> {
  const { context, netns, state } = work;
  const shown = await context.bpftool.showNet(netns.path).catch(() => []);
  const there = shown.find((each) => each.device === state.interface);
  const name = printable(state.interface);
  if (there === undefined) {
    return new XdpwhoError('interface-busy', `${name}: ${cause.message}`, {
      hint: `bpftool net show dev ${name}`,
      cause,
    });
  }
  const id = there.programId;
  // Looking a program up by its id takes CAP_SYS_ADMIN.
  const program = await context.bpftool.showProgramById(id).catch(() => undefined);
  const called = program?.name === undefined ? '' : `, name ${printable(program.name)}`;
  return new XdpwhoError(
    'interface-busy',
    `${name}: held by another program: id ${id}${called}, ${there.mode} mode; left alone`,
    { hint: `bpftool prog show id ${id}`, cause },
  );
}

function callOptions(work: Establishing) {
  // A command that has begun is let finish: what it did is then known, and taken back.
  work.options.signal?.throwIfAborted();
  return { keepOpen: work.guard.keepOpen };
}
