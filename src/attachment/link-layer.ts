/** What the packets of a device begin with, which decides where the program looks for the IP header. */
import type { Device } from '../host/devices.js';
import { XdpwhoError } from '../model/errors.js';
import { printable } from '../text/text.js';

/** enum link_layer in bpf/link-layer.h. */
export const LINK_LAYERS = { ethernet: 0, ip: 1, tunnel: 2, gre: 3 } as const;
export type LinkLayer = (typeof LINK_LAYERS)[keyof typeof LINK_LAYERS];

/**
 * By iproute2's words for the types of devices (ARPHRD_*). `[519]` is ARPHRD_RAWIP, which older iproute2 have
 * no word for.
 */
export const LINK_LAYER_OF_TYPE: Readonly<Record<string, LinkLayer>> = {
  ether: LINK_LAYERS.ethernet,
  // Its packets have an Ethernet header of zeroes.
  loopback: LINK_LAYERS.ethernet,
  // tun, wireguard, xfrm
  none: LINK_LAYERS.ip,
  ppp: LINK_LAYERS.ip,
  rawip: LINK_LAYERS.ip,
  '[519]': LINK_LAYERS.ip,
  ipip: LINK_LAYERS.tunnel,
  sit: LINK_LAYERS.tunnel,
  tunnel6: LINK_LAYERS.tunnel,
  gre6: LINK_LAYERS.tunnel,
  gre: LINK_LAYERS.gre,
};

/** Devices whose type nobody tells (no iproute2) are taken for Ethernet. Throws `device-unsupported`. */
export function linkLayerOf(name: string, { linkType = 'ether' }: Device): LinkLayer {
  const layer = LINK_LAYER_OF_TYPE[linkType];
  if (layer !== undefined) return layer;
  throw new XdpwhoError(
    'device-unsupported',
    `${printable(name)}: its packets have neither an Ethernet nor an IP header in front (link type ${printable(linkType)})`,
    { hint: 'ip link show' },
  );
}

/** Whether a native program gets the packets of such a device from their IP header on, as a generic one does. */
export function hasEthernet(layer: LinkLayer): boolean {
  return layer === LINK_LAYERS.ethernet;
}
