/** The default route of a network namespace, by iproute2. */
import { numberIn, propertyOf, stringIn } from '../model/json-values.js';
import { inNetns } from './bpftool-arguments.js';
import { run } from './exec.js';
import { jsonListIn } from './interfaces.js';
import type { Netns } from './netns.js';
import { findTool } from './tools.js';

export type Family = 'IPv4' | 'IPv6';

export interface DefaultRoute {
  readonly device: string;
  readonly family: Family;
}

/** The default route of IPv4, else that of IPv6. Undefined where there is none, or no iproute2 to ask. */
export async function findDefaultRoute(netns: Netns): Promise<DefaultRoute | undefined> {
  for (const family of ['IPv4', 'IPv6'] as const) {
    const device = await defaultDevice(netns, family);
    if (device !== undefined) return { device, family };
  }
  return undefined;
}

async function defaultDevice(netns: Netns, family: Family): Promise<string | undefined> {
  const ip = findTool('ip');
  if (ip === undefined) return undefined;
  const args = [family === 'IPv4' ? '-4' : '-6', '-j', 'route', 'show', 'default'];
  const command = inNetns(netns.path, { file: ip, args });
  const { failed, stdout } = await run(command.file, command.args);
  // A kernel without IPv6 has no such routes, and iproute2 then fails.
  return failed ? undefined : defaultDeviceIn(stdout);
}

/** A route to nowhere has the metric of all others of IPv6: 2^32 - 1. */
const NOWHERE = /^(unreachable|blackhole|prohibit|throw)$/;

/**
 * The device of the route with the lowest metric in what `ip -j route show default` prints; of several with the same
 * metric the first, of a route with several next hops the first of these.
 */
export function defaultDeviceIn(json: string): string | undefined {
  let best: { readonly device: string; readonly metric: number } | undefined;
  for (const route of jsonListIn(json) ?? []) {
    if (NOWHERE.test(stringIn(route, 'type') ?? '')) continue;
    if (stringIn(route, 'dst') !== 'default') continue;
    const hops = propertyOf(route, 'nexthops');
    const device = stringIn(route, 'dev') ?? stringIn(Array.isArray(hops) ? hops[0] : {}, 'dev');
    const metric = numberIn(route, 'metric') ?? 0;
    if (device === undefined || (best !== undefined && metric >= best.metric)) continue;
    best = { device, metric };
  }
  return best?.device;
}
