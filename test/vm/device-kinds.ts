/** Every kind of device that a guest can make: how, and where packets of known sources come in. */

/** Commands are words of `ip -n NAMESPACE`; `a` sends and `b` receives, joined by the veth `under` in both. */
export interface DeviceKind {
  readonly name: string;
  readonly commands: readonly (readonly ['a' | 'b', string])[];
  /** The interface that sends, in `a`. */
  readonly from: string;
  /** The interface that xdpwho attaches to, in `b`. */
  readonly on: string;
  /** The interface in `b` that has the addresses. Default: `on`. */
  readonly to?: string;
  /** How many packets of each family the program is to get. Default: all that are sent. */
  readonly counted?: 'none';
  /** Neither family over a tunnel of the other kind. */
  readonly only?: 'ipv4' | 'ipv6';
  /** Commands after the attachment: a slave for a bond that had none. */
  readonly afterwards?: readonly (readonly ['a' | 'b', string])[];
}

/** A tunnel between the addresses of `under`. */
function tunnel(name: string, words: (local: string, remote: string) => string): DeviceKind {
  return {
    name,
    commands: [
      ['a', `link add dev t0 type ${words('198.51.100.1', '198.51.100.2')}`],
      ['b', `link add dev t0 type ${words('198.51.100.2', '198.51.100.1')}`],
    ],
    from: 't0',
    on: 't0',
  };
}

function tunnel6(name: string, words: (local: string, remote: string) => string): DeviceKind {
  return {
    ...tunnel(name, words),
    commands: [
      ['a', `link add dev t0 type ${words('2001:db8:1::1', '2001:db8:1::2')}`],
      ['b', `link add dev t0 type ${words('2001:db8:1::2', '2001:db8:1::1')}`],
    ],
  };
}

export const DEVICE_KINDS: readonly DeviceKind[] = [
  { name: 'veth', commands: [], from: 'under', on: 'under' },
  {
    name: 'bridge',
    commands: [
      ['b', 'link add dev br0 type bridge'],
      ['b', 'link set dev under master br0'],
    ],
    from: 'under',
    on: 'br0',
  },
  {
    name: 'port of a bridge (veth)',
    commands: [
      ['b', 'link add dev br0 type bridge'],
      ['b', 'link set dev under master br0'],
    ],
    from: 'under',
    on: 'under',
    to: 'br0',
  },
  {
    name: 'bond with a slave (veth)',
    commands: [
      ['b', 'link add dev bond0 type bond mode active-backup'],
      ['b', 'link set dev under down'],
      ['b', 'link set dev under master bond0'],
    ],
    from: 'under',
    on: 'bond0',
  },
  {
    name: 'bond without slaves, which then gets one',
    commands: [['b', 'link add dev bond0 type bond mode active-backup']],
    from: 'under',
    on: 'bond0',
    afterwards: [
      ['b', 'link set dev under down'],
      ['b', 'link set dev under master bond0'],
      ['b', 'link set dev under up'],
    ],
  },
  {
    name: 'team',
    commands: [
      ['b', 'link add dev team0 type team'],
      ['b', 'link set dev under down'],
      ['b', 'link set dev under master team0'],
    ],
    from: 'under',
    on: 'team0',
  },
  {
    name: 'vlan',
    commands: [
      ['a', 'link add link under name v7 type vlan id 7'],
      ['b', 'link add link under name v7 type vlan id 7'],
    ],
    from: 'v7',
    on: 'v7',
  },
  {
    name: 'macvlan',
    commands: [['b', 'link add link under name m0 type macvlan mode bridge']],
    from: 'under',
    on: 'm0',
  },
  {
    name: 'ipvlan, mode l2',
    commands: [['b', 'link add link under name i0 type ipvlan mode l2']],
    from: 'under',
    on: 'i0',
  },
  {
    name: 'ipvlan, mode l3s',
    commands: [['b', 'link add link under name i0 type ipvlan mode l3s']],
    from: 'under',
    on: 'i0',
    counted: 'none',
  },
  {
    name: 'vrf',
    commands: [
      ['b', 'link add dev vrf0 type vrf table 10'],
      ['b', 'link set dev under master vrf0'],
    ],
    from: 'under',
    on: 'vrf0',
    to: 'under',
    counted: 'none',
  },
  tunnel('vxlan', (local, remote) => `vxlan id 7 local ${local} remote ${remote} dstport 4789`),
  tunnel('geneve', (_, remote) => `geneve id 7 remote ${remote}`),
  tunnel('gretap', (local, remote) => `gretap local ${local} remote ${remote}`),
  tunnel('gre', (local, remote) => `gre local ${local} remote ${remote}`),
  {
    ...tunnel(
      'gre without a remote, in the receiver',
      (local, remote) => `gre local ${local} remote ${remote}`,
    ),
    commands: [
      ['a', 'link add dev t0 type gre local 198.51.100.1 remote 198.51.100.2'],
      ['b', 'link add dev t0 type gre local 198.51.100.2'],
    ],
  },
  { ...tunnel('ipip', (local, remote) => `ipip local ${local} remote ${remote}`), only: 'ipv4' },
  { ...tunnel('sit', (local, remote) => `sit local ${local} remote ${remote}`), only: 'ipv6' },
  tunnel6('ip6tnl', (local, remote) => `ip6tnl mode any local ${local} remote ${remote}`),
  tunnel6('ip6gre', (local, remote) => `ip6gre local ${local} remote ${remote}`),
  {
    name: 'wireguard',
    commands: [
      ['a', 'link add dev t0 type wireguard'],
      ['b', 'link add dev t0 type wireguard'],
    ],
    from: 't0',
    on: 't0',
  },
  {
    name: 'netkit',
    commands: [
      ['b', 'link add dev nk0 type netkit peer name nk1'],
      ['b', 'link set dev nk1 netns devices-a'],
    ],
    from: 'nk1',
    on: 'nk0',
  },
];
