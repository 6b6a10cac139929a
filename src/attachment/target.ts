/** What a verb works on: an interface in a network namespace, and where its pins are. */
import { resolve } from 'node:path';
import { DEFAULT_BPFFS } from '../host/bpffs.js';
import { resolveInterface } from '../host/interfaces.js';
import { isHostNetns, type Netns, ownNetns, resolveNetns } from '../host/netns.js';
import { type Pins, pinName, pinsAt } from './pin-paths.js';

/** Where to look; default: every bpffs that holds pins of ours, and our own namespace. */
export interface Scope {
  /** A name, path or process id. */
  readonly netns?: string | undefined;
  /** Where the bpffs is mounted, or is to be. */
  readonly bpffs?: string | undefined;
}

/** An interface as a user names it. */
export interface Request extends Scope {
  /** A name or alternative name. */
  readonly interface: string;
}

/** An interface that is there. Made once, at a verb's door, and handed down. */
export interface Target {
  /** The interface's own name. */
  readonly device: string;
  readonly netns: Netns;
  /** The bpffs that was named, absolute; undefined: the usual one to attach, each that has pins to find. */
  readonly bpffs: string | undefined;
  /** Where an attachment made now has its pins. */
  readonly pins: Pins;
}

/** The namespace of a scope: the one that is named, or our own. */
export function netnsOf(scope: Scope): Netns {
  return scope.netns === undefined ? ownNetns() : resolveNetns(scope.netns);
}

/** Rejects with `no-such-interface`. */
export async function resolveTarget(request: Request): Promise<Target> {
  const netns = netnsOf(request);
  return targetOf(await resolveInterface(request.interface, netns), netns, request.bpffs);
}

/**
 * The targets of several names in one scope, each interface once: an alternative name may stand
 * beside the name.
 */
export async function resolveTargets(names: readonly string[], scope: Scope): Promise<Target[]> {
  const netns = netnsOf(scope);
  const devices = new Set<string>();
  for (const name of new Set(names)) devices.add(await resolveInterface(name, netns));
  return [...devices].map((device) => targetOf(device, netns, scope.bpffs));
}

/** The target for an interface's own name. */
export function targetOf(device: string, netns: Netns, bpffs?: string): Target {
  const named = bpffs === undefined ? undefined : resolve(bpffs);
  return { device, netns, bpffs: named, pins: locatePins(named ?? DEFAULT_BPFFS, device, netns) };
}

/** The pins of an interface in a bpffs. The host's own namespace has no mark in their names. */
export function locatePins(bpffs: string, device: string, netns: Netns): Pins {
  return pinsAt(bpffs, pinName(device, isHostNetns(netns) ? null : netns.inode));
}

/** What a hint names, so that its command finds the same interface. */
export function namesOf(target: Target): Request {
  const { device, netns, bpffs } = target;
  return { interface: device, netns: netns.name ?? undefined, bpffs };
}
