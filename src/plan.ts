/**
 * What attaching and detaching would run, for `--dry-run`: built from the functions that the session
 * itself uses, and nothing is changed.
 */
import { bpftoolArguments, type CommandLine, inNetns } from './bpftool.js';
import { resolveInterface } from './interfaces.js';
import { DEFAULT_BPFFS, isBpffs, mountCommand, type Pins, pinsRoot } from './pins.js';
import type { Mode } from './records.js';
import {
  type AttachOptions,
  initialState,
  locatePins,
  requestedNetns,
  type SessionContext,
} from './session.js';

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
  const state = JSON.stringify(initialState(device, netns, options));
  const bpftool = (args: readonly string[]) => ({ file: context.bpftool.path, args });
  const makeDirectory = (path: string) => ({ file: 'mkdir', args: ['-p', '-m', '0700', path] });
  const mode = options.mode === undefined || options.mode === 'auto' ? 'native' : options.mode;
  const object = (name: string) => `${SCRATCH}/${name}.o`;
  const { pinIterator } = bpftoolArguments;
  const attach = bpftoolArguments.attach(mode, pins.program, device);
  return [
    ...(isBpffs(bpffs) ? [] : [mountCommand(bpffs)]),
    makeDirectory(pinsRoot(bpffs)),
    makeDirectory(pins.directory),
    { file: 'ln', args: ['-s', state, pins.state] },
    makeDirectory(pins.mapsDirectory),
    bpftool(bpftoolArguments.loadProgram(object('xdpwho.frags'), pins.program, pins.mapsDirectory)),
    bpftool(bpftoolArguments.showProgram(pins.program)),
    ...(options.reader === 'dump'
      ? []
      : [
          bpftool(pinIterator(object('sources'), pins.sourcesFile, pins.sourcesMap)),
          bpftool(pinIterator(object('totals'), pins.totalsFile, pins.totalsMap)),
        ]),
    inNetns(netns.path, bpftool(attach)),
  ];
}

/** The commands that detach a program from an interface and remove its pins. */
export function planDetachment(
  context: SessionContext,
  attached: { device: string; mode: Mode; netnsPath: string | undefined } | undefined,
  pins: Pins,
): CommandLine[] {
  const inIt = (args: readonly string[]) =>
    inNetns(attached?.netnsPath, { file: context.bpftool.path, args });
  return [
    ...(attached === undefined
      ? []
      : [
          inIt(bpftoolArguments.showNet()),
          inIt(bpftoolArguments.detach(attached.mode, attached.device)),
          inIt(bpftoolArguments.showNet()),
        ]),
    { file: 'rm', args: ['-r', pins.directory] },
  ];
}
