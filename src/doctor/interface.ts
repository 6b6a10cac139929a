/** The checks of one interface, for `doctor IFACE`. */
import { release } from 'node:os';
import type { SessionContext } from '../attachment/context.js';
import { findEntry } from '../attachment/find.js';
import { LINK_LAYER_OF_TYPE, LINK_LAYERS, linkLayerOf } from '../attachment/link-layer.js';
import { Look } from '../attachment/look.js';
import { chooseMode, type ModeChoice, whyAtTcx } from '../attachment/mode.js';
import { resolveTarget, type Target } from '../attachment/target.js';
import { type Device, describeDevice } from '../host/devices.js';
import { isOlder } from '../host/find-bpftool.js';
import { messageOf, XdpwhoError } from '../model/errors.js';
import type { Check } from '../model/records.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';

interface InterfaceOptions {
  readonly interface: string;
  readonly netns: string | undefined;
  readonly bpffs: string;
  /** Undefined if no bpftool works. Then the check of what is attached is a `warn`. */
  readonly context: SessionContext | undefined;
}

/** All checks of one interface. If the interface does not exist, there is only one check, which fails. */
export async function checkInterface(options: InterfaceOptions): Promise<Check[]> {
  const title = `interface ${printable(options.interface)}`;
  try {
    const target = await resolveTarget(options);
    const { device, netns } = target;
    const described = await describeDevice(device, netns);
    const choice = await chooseMode(target, described, { mayTakeTcx: false });
    const where = netns.name === null ? '' : ` in network namespace ${printable(netns.name)}`;
    return [
      { name: 'interface', title, status: 'pass', detail: `${printable(device)}${where}` },
      checkLinkLayer(device, described),
      checkDriver(described, choice),
      ...checkHook(described),
      checkMtu(described, choice, release()),
      await checkAttached(options.context, target),
    ];
  } catch (error) {
    if (!(error instanceof XdpwhoError)) throw error;
    const { message: detail, hint: fix } = error;
    return [{ name: 'interface', title, status: 'fail', detail, fix }];
  }
}

/** Whether the program finds the IP header in the packets of the device. Pure. */
export function checkLinkLayer(name: string, device: Device): Check {
  const about = { name: 'link-layer', title: 'link layer' };
  try {
    const layer = linkLayerOf(name, device);
    const type = printable(device.linkType ?? 'unknown');
    if (layer === LINK_LAYERS.ethernet) {
      if (device.linkType !== undefined) return { ...about, status: 'pass', detail: type };
      const detail = 'unknown: neither ip nor sysfs tells it; taken for Ethernet';
      return { ...about, status: 'warn', detail };
    }
    const detail = `${type}: no Ethernet header; counted from the IP header on`;
    return { ...about, status: 'pass', detail };
  } catch (error) {
    if (!(error instanceof XdpwhoError)) throw error;
    return { ...about, status: 'fail', detail: error.message };
  }
}

/** Drivers that handle XDP_SETUP_PROG in ndo_bpf (drivers/net of the kernel), by their names in sysfs. */
const NATIVE_DRIVERS = new Set(
  (
    'atlantic bnxt_en cpsw cpsw-switch dpaa2-eth ena fec fsl_dpa fsl_enetc fun hv_netvsc i40e ice ' +
    'igb igc ixgbe ixgbevf lan966x-switch mana mlx4_core mlx5_core mtk_soc_eth mvneta mvpp2 netsec ' +
    'nfp nicvf qede rvu_nicpf rvu_nicvf sfc stmmac thunder-nicvf tsnep virtio_net vif vmxnet3 gve'
  ).split(' '),
);
/** Kinds of virtual devices with ndo_bpf, and without. */
const NATIVE_KINDS = new Set(['veth', 'tun', 'bond', 'netdevsim']);
const GENERIC_KINDS = new Set(['bridge', 'dummy', 'vlan', 'macvlan', 'ifb', 'vxlan', 'wireguard']);

/** Where a run in the foreground counts on this device, if that is not where `attach` does. Pure. */
export function checkHook(device: Device): Check[] {
  const why = whyAtTcx(device);
  if (why === undefined) return [];
  const detail = device.hasXdp === true ? 'at XDP, where a program is already' : why;
  return [{ name: 'hook', title: 'a run counts', status: 'pass', detail }];
}

/** Which mode `auto` takes on this device, as far as we know, and what it costs. Pure. */
export function checkDriver(device: Device, { first, note }: ModeChoice): Check {
  const about = { name: 'driver', title: 'driver' };
  const name = device.driver ?? device.kind ?? (isLoopback(device) ? 'loopback' : undefined);
  if (name === undefined) {
    return { ...about, status: 'warn', detail: 'unknown: neither sysfs nor ip names it' };
  }
  const detail = `${printable(name)}${note === null ? '' : `: ${note}`}`;
  if (first === 'generic') return { ...about, status: 'pass', detail };
  const isNative =
    device.driver === undefined
      ? NATIVE_KINDS.has(name) && !isGenericOnly(device)
      : NATIVE_DRIVERS.has(device.driver);
  if (isNative && note !== null) return { ...about, status: 'warn', detail };
  if (isNative) return { ...about, status: 'pass', detail: `${detail}, which has native mode` };
  const what = isGenericOnly(device)
    ? ', which has generic mode only, slower'
    : '; whether it has native mode is unknown until tried';
  return { ...about, status: 'warn', detail: `${detail}${what}` };
}

function isLoopback({ linkType }: Device): boolean {
  return linkType === 'loopback';
}

function isGenericOnly(device: Device): boolean {
  const hasEthernet = LINK_LAYER_OF_TYPE[device.linkType ?? 'ether'] === LINK_LAYERS.ethernet;
  return (
    device.driver === undefined &&
    (isLoopback(device) || !hasEthernet || GENERIC_KINDS.has(device.kind ?? ''))
  );
}

/** A page of 4096 bytes minus XDP_PACKET_HEADROOM (256), skb_shared_info (320) and an Ethernet header with two tags (22). */
const LARGEST_PLAIN_MTU = 3498;

/** Whether the MTU is small enough for native mode. The limit is approximate, because drivers differ by some bytes. Pure. */
export function checkMtu(device: Device, { first }: ModeChoice, kernel: string): Check {
  const about = { name: 'mtu', title: 'MTU' };
  const { mtu } = device;
  if (mtu === undefined) return { ...about, status: 'warn', detail: 'unknown: ip does not say' };
  if (mtu <= LARGEST_PLAIN_MTU || first === 'generic' || isGenericOnly(device)) {
    return { ...about, status: 'pass', detail: String(mtu) };
  }
  if (isOlder(kernel, [5, 18])) {
    const detail = `${mtu}: too large for native mode before kernel 5.18; generic mode takes it, slower`;
    return { ...about, status: 'warn', detail };
  }
  const detail = `${mtu}: native mode where the driver takes several buffers`;
  return { ...about, status: 'pass', detail };
}

async function checkAttached(context: SessionContext | undefined, target: Target): Promise<Check> {
  const about = { name: 'attached', title: 'XDP program' };
  if (context === undefined) {
    return { ...about, status: 'warn', detail: 'unknown: no bpftool that works' };
  }
  try {
    const look = new Look(context.bpftool);
    const entry = await findEntry(context, target, look);
    const attached = (await look.attachedIn(target.netns)).filter(
      ({ device }) => device === target.device,
    );
    const [first] = attached;
    if (first === undefined) return { ...about, status: 'pass', detail: 'none attached' };
    const what = attached.map(({ programId, mode }) => `${programId} in ${mode} mode`).join(', ');
    const ours =
      entry?.ownership === 'other-version' ? entry.programId : entry?.attachment?.programId;
    if (attached.every(({ programId }) => programId === ours)) {
      const why = entry?.why == null ? '' : `; ${printable(entry.why)}`;
      return { ...about, status: 'pass', detail: `ours is attached: program ${what}${why}` };
    }
    const { name: netns } = target.netns;
    const behind = ownCommand('watch --beside', { interface: target.device, netns });
    const fix = `look at it: bpftool prog show id ${first.programId}; or count behind it: ${behind}`;
    return { ...about, status: 'fail', detail: `held by another program: ${what}`, fix };
  } catch (error) {
    return { ...about, status: 'warn', detail: `unknown: ${messageOf(error)}` };
  }
}
