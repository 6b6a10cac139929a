/** Which interfaces a command takes: those that were named, all, or that of the default route. */

import { LINK_LAYER_OF_TYPE } from '../attachment/link-layer.js';
import { netnsOf } from '../attachment/target.js';
import type { CommandContext } from '../cli/context.js';
import { type GivenWords, interfacesIn } from '../cli/options.js';
import { listInterfaces, showLinks, showLinksInDetail } from '../host/interfaces.js';
import type { Netns } from '../host/netns.js';
import { findDefaultRoute } from '../host/routes.js';
import { hasErrorCode, XdpwhoError } from '../model/errors.js';
import { printable } from '../text/text.js';

interface Choice extends GivenWords {
  readonly iface: readonly string[] | undefined;
  readonly netns: string | undefined;
  readonly all?: boolean;
}

/**
 * The interfaces that were named, each of them once; with `--all` every one that is up; else the one of the default
 * route, with a message that says so. Rejects with `usage` where there is none.
 */
export async function chosenInterfaces(
  options: Choice,
  context: Pick<CommandContext, 'messages'>,
): Promise<string[]> {
  const names = interfacesIn(options);
  const [first] = names;
  if (options.all !== true) {
    return first === undefined ? [await defaultInterface(options, context)] : names;
  }
  if (first !== undefined) {
    throw new XdpwhoError('usage', `--all and ${printable(first)}: one or the other`);
  }
  return everyInterface(options, context);
}

async function defaultInterface(
  options: Choice,
  { messages }: Pick<CommandContext, 'messages'>,
): Promise<string> {
  const netns = netnsOf(options);
  const route = await findDefaultRoute(netns);
  if (route === undefined) throw await withoutRoute(netns);
  const { device, family } = route;
  messages.info(`${printable(device)}: the interface of the default route (${family})`);
  return device;
}

/** Says which interfaces are up. */
async function withoutRoute(netns: Netns): Promise<XdpwhoError> {
  const up = await showLinks(netns).then(
    (links) => links.filter(({ isUp }) => isUp).map(({ name }) => name),
    (error) => {
      // Without iproute2 nobody says which are up.
      if (hasErrorCode(error, 'tool-missing')) return listInterfaces(netns);
      throw error;
    },
  );
  const names = up.slice(0, MAX_NAMES).map(printable).join(' ');
  const shown = up.length === 0 ? 'no interface is up' : `up: ${names}`;
  return new XdpwhoError('usage', `no interface named, and no default route; ${shown}`);
}

/** More would not fit on a line. */
const MAX_NAMES = 12;

/** Ports of a bond or team are left to it: what they receive comes to it too. */
const COUNTED_BY_MASTER: readonly (string | undefined)[] = ['bond', 'team'];

/** Those on which nothing can be counted are told, and left out. */
async function everyInterface(
  options: Choice,
  { messages }: Pick<CommandContext, 'messages'>,
): Promise<string[]> {
  const up = (await showLinksInDetail(netnsOf(options))).filter(
    ({ isUp, isLoopback, portOf }) => isUp && !isLoopback && !COUNTED_BY_MASTER.includes(portOf),
  );
  const chosen = up.filter(({ linkType }) => Object.hasOwn(LINK_LAYER_OF_TYPE, linkType));
  const others = up.filter((link) => !chosen.includes(link)).map(({ name }) => printable(name));
  if (others.length > 0) {
    messages.info(`${others.join(' ')}: left out, nothing can be counted on such a device`);
  }
  if (chosen.length > 0) return chosen.map(({ name }) => name);
  throw new XdpwhoError('usage', '--all: no interface is up but the loopback', {
    hint: 'ip link show',
  });
}
