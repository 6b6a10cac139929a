/** What kind of device an interface is, by iproute2 and sysfs. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { numberIn, parseToolJson, propertyOf } from '../model/json-values.js';
import { inNetns } from './bpftool-arguments.js';
import { run } from './exec.js';
import { parseProcNetDev } from './interfaces.js';
import type { Netns } from './netns.js';
import { findTool } from './tools.js';

/** A device. Undefined members are unknown. */
export interface Device {
  readonly ifindex: number | undefined;
  /** What its packets begin with, in iproute2's words for ARPHRD_*: ether, none, ipip, gre, ppp; `[519]` for a number without one. */
  readonly linkType: string | undefined;
  /** The kind of a virtual device (IFLA_INFO_KIND): veth, tun, bridge. */
  readonly kind: string | undefined;
  /** The driver of a device on a bus. */
  readonly driver: string | undefined;
  readonly mtu: number | undefined;
  /** The hardware address; of a tunnel its own end. */
  readonly address: string | undefined;
  /** Whether it has an XDP program. */
  readonly hasXdp?: boolean | undefined;
}

const UNKNOWN: Device = {
  ifindex: undefined,
  linkType: undefined,
  kind: undefined,
  driver: undefined,
  mtu: undefined,
  address: undefined,
};

/** Describes a device by its own name. Runs `ip`; without it, sysfs tells a part of it for our own namespace. */
export async function describeDevice(name: string, netns: Netns): Promise<Device> {
  const ip = findTool('ip');
  if (ip !== undefined) {
    const args = ['-d', '-j', 'link', 'show', 'dev', name];
    const command = inNetns(netns.path, { file: ip, args });
    const { failed, stdout } = await run(command.file, command.args);
    const device = failed ? undefined : deviceIn(stdout);
    if (device !== undefined) return device;
  }
  return netns.path === undefined && showsOurNetns() ? deviceInSysfs(name) : UNKNOWN;
}

/** The device in what `ip -d -j link show dev NAME` prints. Undefined if it prints none, as busybox's `ip` does. */
export function deviceIn(json: string): Device | undefined {
  let value: unknown;
  try {
    value = parseToolJson(json);
  } catch {
    return undefined;
  }
  const link: unknown = Array.isArray(value) ? value[0] : undefined;
  const linkType = textIn(link, 'link_type');
  if (linkType === undefined) return undefined;
  return {
    ifindex: numberIn(link, 'ifindex'),
    linkType,
    kind: textIn(propertyOf(link, 'linkinfo'), 'info_kind'),
    driver: driverOn(textIn(link, 'parentbus'), textIn(link, 'parentdev')),
    mtu: numberIn(link, 'mtu'),
    address: textIn(link, 'address'),
    hasXdp: propertyOf(link, 'xdp') !== undefined,
  };
}

function textIn(value: unknown, name: string): string | undefined {
  const text = propertyOf(value, name);
  return typeof text === 'string' ? text : undefined;
}

/** A device on a bus is in sysfs for every namespace; its interface only for that of the mount. */
function driverOn(bus: string | undefined, device: string | undefined): string | undefined {
  if (bus === undefined || device === undefined) return undefined;
  return linkName(`/sys/bus/${bus}/devices/${device}/driver`);
}

/** include/uapi/linux/if_arp.h, in iproute2's words (lib/ll_types.c). */
export const LINK_TYPES: Readonly<Record<number, string>> = {
  1: 'ether',
  512: 'ppp',
  519: '[519]',
  768: 'ipip',
  769: 'tunnel6',
  772: 'loopback',
  776: 'sit',
  778: 'gre',
  823: 'gre6',
  65534: 'none',
};

function deviceInSysfs(name: string): Device {
  const read = (file: string) => {
    try {
      return readFileSync(`/sys/class/net/${name}/${file}`, 'utf8').trim();
    } catch {
      return undefined;
    }
  };
  const numberOf = (file: string) => {
    const text = read(file);
    return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
  };
  const type = numberOf('type');
  return {
    ifindex: numberOf('ifindex'),
    linkType: type === undefined ? undefined : (LINK_TYPES[type] ?? `[${type}]`),
    kind: /^DEVTYPE=(.+)$/m.exec(read('uevent') ?? '')?.[1],
    driver: linkName(`/sys/class/net/${name}/device/driver`),
    mtu: numberOf('mtu'),
    address: read('address'),
  };
}

/** sysfs shows the interfaces of the namespace in which it was mounted, which may be another than ours. */
function showsOurNetns(): boolean {
  try {
    const shown = readdirSync('/sys/class/net').filter((name) => name !== 'bonding_masters');
    const ours = parseProcNetDev(readFileSync('/proc/self/net/dev', 'utf8'));
    return shown.sort().join('/') === ours.sort().join('/');
  } catch {
    return false;
  }
}

function linkName(path: string): string | undefined {
  try {
    return basename(readlinkSync(path));
  } catch {
    return undefined;
  }
}

/** How many devices a bond or a bridge has. Undefined where `ip` does not tell. */
export async function countPorts(name: string, netns: Netns): Promise<number | undefined> {
  const ip = findTool('ip');
  if (ip === undefined) return undefined;
  const args = ['-j', 'link', 'show', 'master', name];
  const command = inNetns(netns.path, { file: ip, args });
  const { failed, stdout } = await run(command.file, command.args);
  if (failed) return undefined;
  try {
    const ports: unknown = parseToolJson(stdout === '' ? '[]' : stdout);
    return Array.isArray(ports) ? ports.filter((port) => textIn(port, 'ifname')).length : undefined;
  } catch {
    return undefined;
  }
}

/** How many packets the device has received, by its own counter. Undefined where nobody tells. */
export async function receivedPackets(name: string, netns: Netns): Promise<number | undefined> {
  const ip = findTool('ip');
  if (ip === undefined) return undefined;
  const args = ['-s', '-j', 'link', 'show', 'dev', name];
  const command = inNetns(netns.path, { file: ip, args });
  const { failed, stdout } = await run(command.file, command.args);
  if (failed) return undefined;
  try {
    const links: unknown = parseToolJson(stdout);
    const link: unknown = Array.isArray(links) ? links[0] : undefined;
    return numberIn(propertyOf(propertyOf(link, 'stats64'), 'rx'), 'packets');
  } catch {
    return undefined;
  }
}
