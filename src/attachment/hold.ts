/**
 * Putting a loaded program on its interface: by a bpf_link that ends with this process, or by
 * `net attach`, which outlives it and is ended by the guard. Which of the two can be had is found out
 * by trying, never by a version.
 */
import { rmSync } from 'node:fs';
import { showLinks } from '../host/interfaces.js';
import { messageOf, XdpwhoError } from '../model/errors.js';
import type { AttachMode } from '../model/records.js';
import { ObjectFiles } from '../objects/files.js';
import type { SessionContext } from './context.js';
import type { Guard } from './guard.js';
import { holdLink, type Link, LinkUnavailable } from './link.js';
import { type AttachedMode, attachInMode } from './mode.js';
import { makeScratch } from './scratch.js';
import type { Target } from './target.js';

export interface Holding {
  readonly context: SessionContext;
  readonly target: Target;
  readonly programId: number;
  /** See holdLink. */
  readonly testFrame: Uint8Array;
  readonly guard: Guard;
  readonly mode: 'auto' | AttachMode;
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
  /** Of the interface, where it is known. */
  readonly ifindex: number | undefined;
}

/** Rejects as attachInMode does; then nothing is attached, unless by a command that failed half-way. */
export async function hold(holding: Holding): Promise<Held> {
  const { context, target, mode, stays } = holding;
  let link: Link | undefined;
  const ifindex = stays ? undefined : await ifindexOf(target);
  let whyNoLink = typeof ifindex === 'string' ? `no link can be had: ${ifindex}` : undefined;
  const attachIn = async (tried: AttachMode) => {
    if (typeof ifindex === 'number' && whyNoLink === undefined) {
      const made = await tryLink(holding, ifindex, tried);
      if (typeof made !== 'string') {
        link = made;
        return;
      }
      whyNoLink = made;
    }
    await netAttach(holding, tried);
  };
  const attached = await attachInMode({ context, target, mode, attachIn });
  const known = typeof ifindex === 'number' ? ifindex : undefined;
  return { ...attached, link, whyNoLink, ifindex: known };
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

/**
 * The index of an interface, or why it is not known. Only iproute2 tells it for any namespace: what
 * /sys/class/net shows may be another one.
 */
async function ifindexOf({ device, netns }: Target): Promise<number | string> {
  try {
    const links = await showLinks(netns, device);
    const link = links.find(({ name }) => name === device);
    return link?.ifindex ?? 'ip does not tell the index of the interface';
  } catch (error) {
    if (!(error instanceof XdpwhoError)) throw error;
    return messageOf(error);
  }
}

async function netAttach(
  { context, target, programId, guard, overwrite, signal }: Holding,
  mode: AttachMode,
): Promise<void> {
  await guard.watch(programId);
  signal?.throwIfAborted();
  const { device, netns, pins } = target;
  // The guard waits for the end of the command, should this process die while it runs.
  const options = { keepOpen: guard.keepOpen, overwrite };
  await context.bpftool.attach(mode, pins.program, device, netns.path, options);
}
