/**
 * Putting a loaded program on its interface: by a bpf_link that ends with this process, or for XDP by
 * `net attach`, which outlives it and is ended by the guard. Which of the two can be had is found out
 * by trying, never by a version. bpftool's own `net attach` for TCX is not used: it lands behind other
 * programs of the chain, and its `net detach` takes the last one of the chain, whoever owns it.
 */
import { rmSync } from 'node:fs';
import type { AttachMode, XdpMode } from '../model/records.js';
import { ObjectFiles } from '../objects/files.js';
import type { SessionContext } from './context.js';
import type { Guard } from './guard.js';
import { holdLink, type Link, LinkUnavailable } from './link.js';
import { type AttachedMode, attachInMode, type ModeChoice, tcxUnavailable } from './mode.js';
import { makeScratch } from './scratch.js';
import type { Target } from './target.js';

export interface Holding {
  readonly context: SessionContext;
  readonly target: Target;
  readonly programId: number;
  /** See holdLink. */
  readonly testFrame: Uint8Array;
  readonly guard: Guard;
  /** The index of the interface; without it, no link can be had. */
  readonly ifindex: number | undefined;
  readonly choice: ModeChoice;
  /** Put it in the place of the program that is there: of ours, as the caller has seen. */
  readonly overwrite: boolean;
  /** `net attach` in any case. */
  readonly stays: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface Held extends AttachedMode {
  /** Whoever has it must close it. Undefined where `net attach` has attached. */
  readonly link: Link | undefined;
  /** Why there is no link, where one was tried. */
  readonly whyNoLink: string | undefined;
}

/** Rejects as attachInMode does; then nothing is attached, unless by a command that failed half-way. */
export async function hold(holding: Holding): Promise<Held> {
  const { context, target, choice, stays, ifindex } = holding;
  let link: Link | undefined;
  let whyNoLink =
    stays || ifindex !== undefined
      ? undefined
      : 'no link can be had: ip does not tell the index of the interface';
  const attachIn = async (mode: AttachMode) => {
    if (!stays && ifindex !== undefined && whyNoLink === undefined) {
      const made = await tryLink(holding, ifindex, mode);
      if (typeof made !== 'string') {
        link = made;
        return;
      }
      whyNoLink = made;
    }
    if (mode === 'tcx') throw tcxUnavailable(whyNoLink ?? 'it cannot stay');
    await netAttach(holding, mode);
  };
  const attached = await attachInMode({ context, target, choice, attachIn });
  return { ...attached, link, whyNoLink };
}

/** A link, or why none can be had. Rejects where the kernel refuses the attachment itself. */
async function tryLink(
  { context, target, programId, testFrame, guard, signal }: Holding,
  ifindex: number,
  mode: AttachMode,
): Promise<Link | string> {
  signal?.throwIfAborted();
  const { pins, netns } = target;
  const scratch = makeScratch();
  try {
    const link = await holdLink(context.bpftool, new ObjectFiles(context.objectsDirectory), {
      programPin: pins.program,
      programId,
      testFrame,
      ifindex,
      netnsPath: netns.path,
      mode,
      direction: target.direction,
      pin: pins.linkMaker,
      scratch,
    });
    try {
      await guard.knowHolder(link.pid);
    } catch (error) {
      await link.close();
      throw error;
    }
    return link;
  } catch (error) {
    if (error instanceof LinkUnavailable) return error.message;
    throw error;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function netAttach(
  { context, target, programId, guard, overwrite, signal }: Holding,
  mode: XdpMode,
): Promise<void> {
  await guard.watch(programId);
  signal?.throwIfAborted();
  const { device, netns, pins } = target;
  // The guard waits for the end of the command, should this process die while it runs.
  const options = { keepOpen: guard.keepOpen, overwrite };
  await context.bpftool.attach(mode, pins.program, device, netns.path, options);
}
