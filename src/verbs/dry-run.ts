/** The commands that a verb would run, for `--dry-run`. Nothing is changed. */
import type { Attachment } from '../attachment/attachment.js';
import type { AttachSettings, SessionContext } from '../attachment/context.js';
import { initialState } from '../attachment/defaults.js';
import type { InventoryEntry } from '../attachment/find.js';
import { frontLinkPath } from '../attachment/front-pin.js';
import { mapPins, mapShapes, programNames, programType } from '../attachment/load.js';
import { chooseMode, type ModeChoice, tcxUnavailable } from '../attachment/mode.js';
import { type Pins, pinsIn } from '../attachment/pin-paths.js';
import type { AttachmentState } from '../attachment/record.js';
import { replacementMode } from '../attachment/replace.js';
import type { Target } from '../attachment/target.js';
import { DEFAULT_BPFFS, isBpffs, mountCommand, pinsRoot } from '../host/bpffs.js';
import {
  batchWords,
  bpftoolArguments,
  type CommandLine,
  inNetns,
} from '../host/bpftool-arguments.js';
import { describeDevice } from '../host/devices.js';
import type { AttachMode } from '../model/records.js';
import { octal } from './attach.js';
import { findStaying } from './tracked.js';

/** Stands for the temporary folder. Its name is only known when it is made. */
const SCRATCH = '$SCRATCH';

/**
 * The commands that attach, if none of them fails: with the first program and the first mode that are tried.
 * `attach` runs the commands of bpftool before `net attach` as one `bpftool batch`.
 */
export async function planAttachment(
  context: SessionContext,
  target: Target,
  settings: AttachSettings,
): Promise<CommandLine[]> {
  const { first: mode } = await choose(target, settings);
  const attaching =
    settings.stays === true
      ? [planAttach(context, target, mode, false)]
      : planLink(context, target);
  return [...(await planLoading(context, target, settings, mode)), ...attaching];
}

/** The same of a run in the foreground. */
function planRun(
  context: SessionContext,
  target: Target,
  settings: AttachSettings,
): Promise<CommandLine[]> {
  return planAttachment(context, target, { ...settings, mayTakeTcx: true });
}

async function planLoading(
  context: SessionContext,
  target: Target,
  settings: AttachSettings,
  mode: AttachMode,
): Promise<CommandLine[]> {
  const { pins, bpffs = DEFAULT_BPFFS } = target;
  const state = initialState(target, settings);
  const bpftool = bpftoolOf(context);
  const maps = mapPins(pins, state);
  const object = (name: string) => `${SCRATCH}/${name}.o`;
  const [program] = programNames(mode, state.log !== null);
  return [
    ...(isBpffs(bpffs) ? [] : [await mountCommand(bpffs)]),
    makeDirectory(pinsRoot(bpffs)),
    makeDirectory(pins.directory),
    { file: 'ln', args: ['-s', JSON.stringify(state), pins.state] },
    makeDirectory(pins.mapsDirectory),
    ...mapShapes(state).map((shape) =>
      bpftool(bpftoolArguments.createMap(maps[shape.name] ?? '', shape)),
    ),
    bpftool(bpftoolArguments.loadProgram(object(program), pins.program, maps, programType(mode))),
    bpftool(bpftoolArguments.showProgram(pins.program)),
    ...(settings.reader === 'dump' ? [] : planIterators(context, pins, state, object)),
  ];
}

function planIterators(
  context: SessionContext,
  pins: Pins,
  { fileMode, frontLines, token }: AttachmentState,
  object: (name: string) => string,
): CommandLine[] {
  const { pinIterator } = bpftoolArguments;
  const bpftool = bpftoolOf(context);
  const { sourcesFile, sourcesMap, totalsFile, totalsMap } = pins;
  const chmod = (mode: string, ...paths: string[]) => ({ file: 'chmod', args: [mode, ...paths] });
  const root = pins.directory.replace(/\/[^/]*$/, '');
  const front = frontLinkPath(token);
  const variant = frontLines > 0 ? '.front' : '';
  const iterators = [
    bpftool(pinIterator(object(`sources${variant}`), sourcesFile, sourcesMap)),
    bpftool(pinIterator(object(`totals${variant}`), totalsFile, totalsMap)),
  ];
  const linked = [
    { file: 'ln', args: ['-s', pins.frontMap, front] },
    ...iterators,
    { file: 'rm', args: [front] },
  ];
  return [
    ...(frontLines > 0 ? linked : iterators),
    chmod(octal(fileMode), sourcesFile, totalsFile),
    ...((fileMode & 0o077) === 0 ? [] : [chmod('0711', root, pins.directory)]),
  ];
}

async function choose(target: Target, settings: AttachSettings): Promise<ModeChoice> {
  return chooseMode(target, await describeDevice(target.device, target.netns), settings);
}

function planAttach(
  context: SessionContext,
  { pins, device, netns }: Target,
  mode: AttachMode,
  overwrite: boolean,
): CommandLine {
  if (mode === 'tcx') throw tcxUnavailable('it cannot stay');
  const args = bpftoolArguments.attach(mode, pins.program, device, overwrite);
  return inNetns(netns.path, bpftoolOf(context)(args));
}

/** The commands that attach by a link: those after `batch file -` are its lines, without bpftool in front. */
function planLink(context: SessionContext, { pins, netns }: Target): CommandLine[] {
  const line = (args: readonly string[]): CommandLine => {
    const [file = '', ...words] = batchWords(args);
    return { file, args: words };
  };
  return [
    inNetns(netns.path, bpftoolOf(context)(bpftoolArguments.openBatch())),
    line(bpftoolArguments.runProgram(pins.program, `${SCRATCH}/frame`, 1)),
    line(bpftoolArguments.loadSyscallProgram(`${SCRATCH}/link.o`, pins.linkMaker)),
    line(bpftoolArguments.runSyscallProgram(pins.linkMaker)),
    { file: 'rm', args: [pins.linkMaker] },
  ];
}

/** The commands of `watch`: those that attach, or if `attach` has attached, those that read. */
export async function planWatch(
  context: SessionContext,
  target: Target,
  settings: AttachSettings,
): Promise<CommandLine[]> {
  const joined = await findStaying(context, target);
  if (joined === undefined) return planRun(context, target, settings);
  return planReading(context, joined);
}

/** The commands of `log`: those that attach, unless there is a log to join, and those that read. */
export async function planLog(
  context: SessionContext,
  target: Target,
  settings: AttachSettings,
  joined: Attachment | undefined,
): Promise<CommandLine[]> {
  const attaching = joined === undefined ? await planRun(context, target, settings) : [];
  const pins = joined?.pins ?? target.pins;
  const bpftool = bpftoolOf(context);
  const reader = joined?.reader ?? settings.reader;
  if (reader === 'dump') return [...attaching, bpftool(bpftoolArguments.dumpMap(pins.packetsMap))];
  const file = `${pins.readersDirectory}/${process.pid}`;
  return [
    ...attaching,
    makeDirectory(pins.readersDirectory),
    bpftool(bpftoolArguments.pinIterator(`${SCRATCH}/packets.o`, file, pins.packetsMap)),
    { file: 'cat', args: [file] },
    { file: 'rm', args: [file] },
  ];
}

/** The commands that detach a program, if it is attached, and remove its pins. */
export function planDetachment(context: SessionContext, entry: InventoryEntry): CommandLine[] {
  const { attachment, pins } = entry;
  if (pins === null) return [];
  return [
    ...(attachment === null ? [] : detaching(context, attachment)),
    { file: 'rm', args: ['-r', pins.directory] },
  ];
}

/** The commands that replace an attachment by another. */
export async function planReplacement(
  context: SessionContext,
  entry: InventoryEntry,
  target: Target,
  settings: AttachSettings,
): Promise<CommandLine[]> {
  const { attachment: old } = entry;
  if (old === null) {
    return [
      ...planDetachment(context, entry),
      ...(await planAttachment(context, target, settings)),
    ];
  }
  const isSamePlace = old.pins.directory === target.pins.directory;
  const pins = isSamePlace ? pinsIn(`${target.pins.directory}~NEW`) : target.pins;
  const staged = { ...target, pins };
  const { overwrite, choice } = replacementMode(old, settings, await choose(target, settings));
  const move = (from: string, to: string) => ({ file: 'mv', args: [from, to] });
  const aside = `${target.pins.directory}~OLD`;
  return [
    ...(await planLoading(context, staged, settings, choice.first)),
    ...(overwrite ? [] : detaching(context, old)),
    planAttach(context, staged, choice.first, overwrite),
    ...(isSamePlace
      ? [move(target.pins.directory, aside), move(pins.directory, target.pins.directory)]
      : []),
    { file: 'rm', args: ['-r', isSamePlace ? aside : old.pins.directory] },
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
  return maps.map((pin) => bpftoolOf(context)(bpftoolArguments.dumpMap(pin)));
}

function detaching(context: SessionContext, attachment: Attachment): CommandLine[] {
  const { mode, interface: device, netns } = attachment;
  const inside = (args: readonly string[]) => inNetns(netns.path, bpftoolOf(context)(args));
  return [
    inside(bpftoolArguments.showNet()),
    ...(mode === 'tcx' ? [] : [inside(bpftoolArguments.detach(mode, device))]),
    inside(bpftoolArguments.showNet()),
  ];
}

function bpftoolOf({ bpftool }: SessionContext) {
  return (args: readonly string[]): CommandLine => ({ file: bpftool.path, args });
}

function makeDirectory(path: string): CommandLine {
  return { file: 'mkdir', args: ['-p', '-m', '0700', path] };
}
