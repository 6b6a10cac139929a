/** What native mode costs on a device beyond the packets that it sees, as far as the kernel's sources tell. */
import type { Device } from '../host/devices.js';

/** Drivers that stop and start the device to set up their queues for XDP: ndo_bpf in drivers/net. */
const RESTARTING_DRIVERS = [
  ...['atlantic', 'bnxt_en', 'ena', 'i40e', 'ice', 'igb', 'igc', 'ixgbe', 'ixgbevf'],
  ...['mlx5_core', 'qede', 'vmxnet3'],
];

/** By `KIND:` of a virtual device, or `:DRIVER` of one on a bus. */
export const NATIVE_COSTS: Readonly<Record<string, string>> = {
  // drivers/net/veth.c: veth_xdp_set, VETH_RING_SIZE
  'veth:':
    'native mode on a veth switches the segmentation offload of the other end off, and drops frames where more than 256 wait',
  // drivers/net/bonding/bond_main.c: bond_enslave
  'bond:':
    'as long as it is attached in native mode, the bond takes no slave whose driver has none',
  // drivers/net/virtio_net.c: virtnet_xdp_set, virtnet_clear_guest_offloads
  ':virtio_net':
    'native mode switches receive offloads off, so that large TCP packets from the host come in pieces',
  ...Object.fromEntries(
    RESTARTING_DRIVERS.map((driver) => [
      `:${driver}`,
      `native mode makes ${driver} restart the device: the link is down for a moment when it is attached and when it is detached`,
    ]),
  ),
};

/** One sentence, or null where nothing is known. */
export function nativeCost({ kind, driver }: Device): string | null {
  return NATIVE_COSTS[`${kind ?? ''}:`] ?? NATIVE_COSTS[`:${driver ?? ''}`] ?? null;
}
