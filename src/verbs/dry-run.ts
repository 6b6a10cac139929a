/**
 * What attaching and detaching would run, for `--dry-run`: built from the functions that the session
 * itself uses, and nothing is changed.
 */
import type { Attachment } from '../attachment/attachment.js';
import {
  type AttachOptions,
  locatePins,
  requestedNetns,
  type SessionContext,
} from '../attachment/context.js';
import { initialState } from '../attachment/defaults.js';
import type { InventoryEntry } from '../attachment/find.js';
import { programNames } from '../attachment/load.js';
import { DEFAULT_BPFFS } from '../attachment/pins.js';
import { asideDirectory } from '../attachment/replaced.js';
import { isBpffs, mountCommand, pinsRoot } from '../host/bpffs.js';
import { bpftoolArguments, type CommandLine, inNetns, withLockedMemory } from '../host/bpftool.js';
import { resolveInterface } from '../host/interfaces.js';
import { findStaying } from './tracked.js';

/** Stands for the temporary folder, whose name is not known before it is made. */
const SCRATCH = '$SCRATCH';

/** The commands of one attachment as long as none of them fails: the first program and mode of those that are tried. */
export async function planAttachment(
  context: SessionContext,
  options: AttachOptions,
): Promise<CommandLine[]> {
  const netns = requestedNetns(options);
  const device = await resolveInterface(options.interface, netns);
  const bpffs = options.bpffs ?? DEFAULT_BPFFS;
  const pins = locatePins(bpffs, device, netns);
  const state = initialState(device, netns, options);
  const bpftool = (args: readonly string[]) => ({ file: context.bpftool.path, args });
  const makeDirectory = (path: string) => ({ file: 'mkdir', args: ['-p', '-m', '0700', path] });
  const chmod = (mode: string, ...paths: string[]) => ({ file: 'chmod', args: [mode, ...paths] });
  const mode = options.mode === undefined || options.mode === 'auto' ? 'native' : options.mode;
  const object = (name: string) => `${SCRATCH}/${name}.o`;
  const [program] = programNames(options.log !== undefined);
  const { pinIterator } = bpftoolArguments;
  const attach = bpftoolArguments.attach(mode, pins.program, device);
  return [
    ...(isBpffs(bpffs) ? [] : [mountCommand(bpffs)]),
    makeDirectory(pinsRoot(bpffs)),
    makeDirectory(pins.directory),
    { file: 'ln', args: ['-s', JSON.stringify(state), pins.state] },
    makeDirectory(pins.mapsDirectory),
    bpftool(bpftoolArguments.loadProgram(object(program), pins.program, pins.mapsDirectory)),
    bpftool(bpftoolArguments.showProgram(pins.program)),
    ...(options.reader === 'dump'
      ? []
      : [
          withLockedMemory(
            bpftool(pinIterator(object('sources'), pins.sourcesFile, pins.sourcesMap)),
          ),
          withLockedMemory(bpftool(pinIterator(object('totals'), pins.totalsFile, pins.totalsMap))),
          chmod(state.fileMode.toString(8).padStart(4, '0'), pins.sourcesFile, pins.totalsFile),
          ...((state.fileMode & 0o077) === 0
            ? []
            : [chmod('0711', pinsRoot(bpffs), pins.directory)]),
        ]),
    inNetns(netns.path, bpftool(attach)),
  ];
}

/** The commands that watch: what attaches, or what reads where `attach` has attached. */
export async function planWatch(
  context: SessionContext,
  options: AttachOptions,
): Promise<CommandLine[]> {
  const device = await resolveInterface(options.interface, requestedNetns(options));
  const request = { ...options, interface: device };
  const there = await findStaying(context, request);
  return there === undefined ? planAttachment(context, request) : planReading(context, there);
}

/** The commands that log packets: what attaches, unless it is logged `there` already, and a reader. */
export async function planLog(
  context: SessionContext,
  options: AttachOptions,
  there: Attachment | undefined,
): Promise<CommandLine[]> {
  const attaching = there === undefined ? await planAttachment(context, options) : [];
  const netns = requestedNetns(options);
  const device = await resolveInterface(options.interface, netns);
  const pins = there?.pins ?? locatePins(options.bpffs ?? DEFAULT_BPFFS, device, netns);
  const bpftool = (args: readonly string[]) => ({ file: context.bpftool.path, args });
  const reader = there?.reader ?? options.reader;
  if (reader === 'dump') return [...attaching, bpftool(bpftoolArguments.dumpMap(pins.packetsMap))];
  const file = `${pins.readersDirectory}/${process.pid}`;
  return [
    ...attaching,
    { file: 'mkdir', args: ['-p', '-m', '0700', pins.readersDirectory] },
    bpftool(bpftoolArguments.pinIterator(`${SCRATCH}/packets.o`, file, pins.packetsMap)),
    { file: 'cat', args: [file] },
    { file: 'rm', args: [file] },
  ];
}

/** The commands that detach a program from its interface, where it is attached, and remove its pins. */
export function planDetachment(context: SessionContext, entry: InventoryEntry): CommandLine[] {
  const { attachment, pins } = entry;
  if (pins === null) return [];
  return [
    ...(attachment === null ? [] : detaching(context, attachment)),
    { file: 'rm', args: ['-r', pins.directory] },
  ];
}

/** The commands that put one attachment in place of another. */
export async function planReplacement(
  context: SessionContext,
  entry: InventoryEntry,
  options: AttachOptions,
): Promise<CommandLine[]> {
  const { attachment, pins } = entry;
  const attaching = await planAttachment(context, options);
  if (attachment === null || pins === null)
    return [...planDetachment(context, entry), ...attaching];
  const aside = asideDirectory(attachment);
  return [
    ...detaching(context, attachment),
    { file: 'mv', args: [pins.directory, aside] },
    ...attaching,
    { file: 'rm', args: ['-r', aside] },
  ];
}

/** The commands that read one attachment's counters. */
export function planReading(context: SessionContext, attachment: Attachment): CommandLine[] {
  const { pins, reader } = attachment;
  if (reader === 'iterator') {
    const files = [pins.totalsFile, pins.sourcesFile, pins.totalsFile];
    return files.map((path) => ({ file: 'cat', args: [path] }));
  }
  const maps = [pins.totalsMap, pins.sourcesMap, pins.totalsMap];
  return maps.map((pin) => ({ file: context.bpftool.path, args: bpftoolArguments.dumpMap(pin) }));
}

function detaching(context: SessionContext, attachment: Attachment): CommandLine[] {
  const { mode, interface: device, netns } = attachment;
  const inIt = (args: readonly string[]) =>
    inNetns(netns.path, { file: context.bpftool.path, args });
  return [
    inIt(bpftoolArguments.showNet()),
    inIt(bpftoolArguments.detach(mode, device)),
    inIt(bpftoolArguments.showNet()),
  ];
}
