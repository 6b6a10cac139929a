/** The target of a verb: an interface in a network namespace, and its pin directory. */
import { resolve } from 'node:path';
import { DEFAULT_BPFFS } from '../host/bpffs.js';
import { resolveInterface } from '../host/interfaces.js';
import { isHostNetns, type Netns, ownNetns, resolveNetns } from '../host/netns.js';
import type { Direction } from '../model/records.js';
import { type Pins, pinName, pinsAt } from './pin-paths.js';

/** The namespace and the bpffs that the user named. Default: our own namespace, and every bpffs with pins of ours. */
export interface Scope {
  /** A name, path or process id. */
  readonly netns?: string | undefined;
  /** The mount point of the bpffs, mounted or not. */
  readonly bpffs?: string | undefined;
  /** Which packets; default `received`. */
  readonly direction?: Direction | undefined;
}

/** An interface as the user names it. */
export interface Request extends Scope {
  /** A name or alternative name. */
  readonly interface: string;
}

/** An interface that exists. A verb makes it once, from the request, and passes it on. */
export interface Target {
  /** The interface's own name. */
  readonly device: string;
  readonly netns: Netns;
  /** The absolute path of the bpffs that the user named. Undefined: the usual one to attach, every one to search. */
  readonly bpffs: string | undefined;
  readonly direction: Direction;
  /** The pin directory of a new attachment. */
  readonly pins: Pins;
}

/** The namespace of a scope. */
export function netnsOf(scope: Scope): Netns {
  return scope.netns === undefined ? ownNetns() : resolveNetns(scope.netns);
}

/** Rejects with `no-such-interface`. */
export async function resolveTarget(request: Request): Promise<Target> {
  const netns = netnsOf(request);
  return targetOf(await resolveInterface(request.interface, netns), netns, request);
}

/** The targets of several names in one scope. Each interface comes once, also if it is given by two names. */
export async function resolveTargets(names: readonly string[], scope: Scope): Promise<Target[]> {
  const netns = netnsOf(scope);
  const devices = new Set<string>();
  for (const name of new Set(names)) devices.add(await resolveInterface(name, netns));
  return [...devices].map((device) => targetOf(device, netns, scope));
}

/** The target of an interface, by its own name. Does not check that it exists. */
export function targetOf(
  device: string,
  netns: Netns,
  { bpffs, direction = 'received' }: Pick<Scope, 'bpffs' | 'direction'> = {},
): Target {
  const named = bpffs === undefined ? undefined : resolve(bpffs);
  const pins = locatePins(named ?? DEFAULT_BPFFS, device, netns, direction);
  return { device, netns, bpffs: named, direction, pins };
}

/** The pins of an interface on a bpffs. */
export function locatePins(
  bpffs: string,
  device: string,
  netns: Netns,
  direction?: Direction,
): Pins {
  return pinsAt(bpffs, pinName(device, isHostNetns(netns) ? null : netns.inode, direction));
}

/** The names with which the command of a hint finds the same interface. */
export function namesOf(target: Target): Request {
  const { device, netns, bpffs } = target;
  return { interface: device, netns: netns.name ?? undefined, bpffs };
}
