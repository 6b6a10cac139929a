/**
 * The interfaces of a network namespace. For our own namespace their names come from /proc/self/net/dev.
 * /sys/class/net is no source for them: it shows the namespace in which sysfs was mounted, and that is
 * another one under `nsenter --net`.
 */
import { readFileSync } from 'node:fs';
import { nearNames } from '../model/did-you-mean.js';
import { XdpwhoError } from '../model/errors.js';
import { numberIn, parseToolJson, propertyOf, stringIn } from '../model/json-values.js';
import type { Mode } from '../model/records.js';
import { printable } from '../text/text.js';
import { inNetns } from './bpftool-arguments.js';
import type { XdpAttachment } from './bpftool-output.js';
import { run } from './exec.js';
import { installCommand } from './install-command.js';
import type { Netns } from './netns.js';
import { rightsHint } from './rights.js';
import { findTool } from './tools.js';

/** The names of the interfaces in a namespace. It reads a file for our own, and runs `ip` for another. */
export async function listInterfaces(netns: Netns): Promise<string[]> {
  if (netns.path === undefined) return ownInterfaces();
  return (await showLinks(netns)).map((link) => link.name);
}

/** An interface, from iproute2. */
export interface Link {
  readonly name: string;
  readonly ifindex: number;
  readonly mtu: number;
  readonly isUp: boolean;
  readonly isLoopback: boolean;
  /** By iproute2's words: `ether`. */
  readonly linkType: string;
  /** The bond, bridge or team that it is a port of. */
  readonly master: string | undefined;
  /** What it is a port of: `bond`, `bridge`, `team`. Only where details were asked for. */
  readonly portOf: string | undefined;
  /** The device that it is made upon: of a vlan or a macvlan. */
  readonly lower: string | undefined;
  readonly alternativeNames: readonly string[];
}

/** Every interface of a namespace, with details, in the order of their indexes. Needs iproute2. */
export async function showLinksInDetail(netns: Netns): Promise<Link[]> {
  return (await askForLinks(netns, ['-d', '-j', 'link', 'show'])).sort(
    (a, b) => a.ifindex - b.ifindex,
  );
}

/** Every interface of a namespace, or only the one with this name or alternative name. Needs iproute2. */
export async function showLinks(netns: Netns, name?: string): Promise<Link[]> {
  return askForLinks(netns, ['-j', 'link', 'show', ...(name === undefined ? [] : ['dev', name])]);
}

async function askForLinks(netns: Netns, args: readonly string[]): Promise<Link[]> {
  const ip = findTool('ip');
  if (ip === undefined) {
    throw new XdpwhoError('tool-missing', 'ip: not found', { hint: installCommand('iproute2') });
  }
  const command = inNetns(netns.path, { file: ip, args });
  const result = await run(command.file, command.args);
  if (!result.failed) {
    const links = jsonListIn(result.stdout);
    if (links !== undefined) return links.flatMap(linkOf);
    throw new XdpwhoError('bad-output', `ip ${args.join(' ')}: it has printed no list in JSON`, {
      hint: installCommand('iproute2'),
    });
  }
  if (/not permitted|Permission denied/.test(result.stderr)) {
    throw new XdpwhoError('not-permitted', result.stderr, { hint: rightsHint() });
  }
  if (NOT_THERE.test(result.stderr)) return [];
  if (/BusyBox/.test(result.stderr)) {
    throw new XdpwhoError('tool-missing', `${ip}: the ip of BusyBox, which prints no JSON`, {
      hint: installCommand('iproute2'),
    });
  }
  const why = result.stderr.split('\n')[0] || `status ${result.exitCode}`;
  throw new XdpwhoError('tool-failed', `ip ${args.join(' ')}: ${why}`, { hint: 'xdpwho doctor' });
}

/**
 * What `ip` says of an interface that there is not (lib/utils.c, nodev() and invarg()), and nsenter of the
 * namespace of a process that has ended.
 */
const NOT_THERE = /does not exist|Cannot find device|not a valid ifname|^nsenter: /;

/**
 * The XDP programs of a namespace, or of one interface, as iproute2 lists them: also where bpftool's list
 * ends early, because the description of an interface is larger than its buffer. Any user may ask.
 * None where iproute2 is absent or fails.
 */
export async function showXdpPrograms(netns: Netns, name?: string): Promise<XdpAttachment[]> {
  const ip = findTool('ip');
  if (ip === undefined) return [];
  const args = ['-d', '-j', 'link', 'show', ...(name === undefined ? [] : ['dev', name])];
  const command = inNetns(netns.path, { file: ip, args });
  const { failed, stdout } = await run(command.file, command.args);
  return failed ? [] : xdpProgramsIn(stdout);
}

/** linux/if_link.h: XDP_ATTACHED_DRV, XDP_ATTACHED_SKB, XDP_ATTACHED_HW. */
const ATTACHED_MODES: Readonly<Record<number, Mode>> = { 1: 'native', 2: 'generic', 3: 'offload' };

/** What `ip -d -j link` prints of XDP programs; with several on one interface, each. */
export function xdpProgramsIn(json: string): XdpAttachment[] {
  return (jsonListIn(json) ?? []).flatMap((value) => {
    const [link] = linkOf(value);
    const xdp = propertyOf(value, 'xdp');
    const several = propertyOf(xdp, 'attached');
    const parts: readonly unknown[] = Array.isArray(several) ? several : [xdp];
    return parts.flatMap((part) => {
      const mode = ATTACHED_MODES[numberIn(part, 'mode') ?? 0];
      const programId = numberIn(propertyOf(part, 'prog'), 'id');
      if (link === undefined || mode === undefined || programId === undefined) return [];
      return [{ device: link.name, ifindex: link.ifindex, mode, programId }];
    });
  });
}

/**
 * The name of the interface that has this name or alternative name. Rejects with `no-such-interface`; the hint has
 * similar names.
 */
export async function resolveInterface(name: string, netns: Netns): Promise<string> {
  const fault = nameFault(name);
  if (fault !== undefined) {
    throw new XdpwhoError('no-such-interface', `${printable(name)}: ${fault}`, {
      hint: 'ip link show',
    });
  }
  const isOwn = netns.path === undefined;
  if (isOwn && ownInterfaces().includes(name)) return name;
  // One interface is asked for, since a namespace may have thousands.
  const found = isOwn && findTool('ip') === undefined ? [] : await showLinks(netns, name);
  const link = found.find((one) => one.name === name || one.alternativeNames.includes(name));
  if (link !== undefined) return link.name;
  throw absent(name, netns, await listInterfaces(netns));
}

function absent(name: string, netns: Netns, names: readonly string[]): XdpwhoError {
  const near = nearNames(name, names);
  const where = netns.name === null ? '' : ` in network namespace ${printable(netns.name)}`;
  const message = `${printable(name)}: no such interface${where}`;
  if (near.length > 0) {
    const hint = `did you mean ${near.join(' or ')}?`;
    return new XdpwhoError('no-such-interface', message, { hint });
  }
  const hint = names.length > 0 ? `there are: ${names.slice(0, 12).join(' ')}` : 'ip link show';
  return new XdpwhoError('no-such-interface', message, { hint });
}

/** Why the kernel allows no interface of this name (net/core/dev.c dev_valid_name), or undefined if it does. */
export function nameFault(name: string): string | undefined {
  if (name === '') return 'an empty name is no interface';
  // An alternative name may be longer (ALTIFNAMSIZ, 127 bytes).
  if (Buffer.byteLength(name) > 127) return 'longer than any interface name';
  if (name === '.' || name === '..' || /[/:\s\0]/.test(name)) return 'not a name of an interface';
  return undefined;
}

/** The interface names in the text of /proc/net/dev: two lines of headings, then lines `name: figures`. */
export function parseProcNetDev(text: string): string[] {
  return text
    .split('\n')
    .slice(2)
    .flatMap((line) => {
      const end = line.lastIndexOf(':');
      return end < 0 ? [] : [line.slice(0, end).trim()];
    });
}

function ownInterfaces(): string[] {
  return parseProcNetDev(readFileSync('/proc/self/net/dev', 'utf8'));
}

/** The list in what `ip -j` prints. Undefined for what is no list. */
export function jsonListIn(json: string): readonly unknown[] | undefined {
  try {
    const value: unknown = parseToolJson(json);
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function linkOf(value: unknown): Link[] {
  const name = propertyOf(value, 'ifname');
  const ifindex = propertyOf(value, 'ifindex');
  const mtu = propertyOf(value, 'mtu');
  const master = propertyOf(value, 'master');
  const lower = propertyOf(value, 'link');
  const alternatives = propertyOf(value, 'altnames');
  const given = propertyOf(value, 'flags');
  const flags: readonly unknown[] = Array.isArray(given) ? given : [];
  if (typeof name !== 'string' || typeof ifindex !== 'number') return [];
  return [
    {
      name,
      ifindex,
      mtu: typeof mtu === 'number' ? mtu : 0,
      isUp: flags.includes('UP'),
      isLoopback: flags.includes('LOOPBACK'),
      linkType: stringIn(value, 'link_type') ?? 'ether',
      master: typeof master === 'string' ? master : undefined,
      portOf: stringIn(propertyOf(value, 'linkinfo'), 'info_slave_kind'),
      lower: typeof lower === 'string' ? lower : undefined,
      alternativeNames: Array.isArray(alternatives)
        ? alternatives.filter((text) => typeof text === 'string')
        : [],
    },
  ];
}
