/** Attaches a loaded program in the mode that was asked for, or in the best possible mode. */
import { BpftoolError } from '../host/bpftool-error.js';
import type { XdpAttachment } from '../host/bpftool-output.js';
import { countPorts, type Device } from '../host/devices.js';
import { showLinks } from '../host/interfaces.js';
import type { Netns } from '../host/netns.js';
import { messageOf, XdpwhoError } from '../model/errors.js';
import type { AttachMode } from '../model/records.js';
import { ownCommand, quoteWord } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import type { AttachSettings, SessionContext } from './context.js';
import { LinkRefused } from './link.js';
import { nativeCost } from './native-cost.js';
import type { Scope, Target } from './target.js';

export interface Attaching {
  readonly context: SessionContext;
  readonly target: Target;
  readonly choice: ModeChoice;
  /** Attaches in one mode. Rejects with a BpftoolError or LinkRefused where the kernel refuses. */
  readonly attachIn: (mode: AttachMode) => Promise<void>;
}

export interface AttachedMode {
  readonly mode: AttachMode;
  /** Why it is this mode, if that was not asked for, or what it costs on this device. */
  readonly note: string | null;
}

/** The modes to try, in order, for a device. */
export interface ModeChoice {
  readonly first: AttachMode;
  /** The mode where the driver has no native mode. */
  readonly second: AttachMode | undefined;
  /** Why `first` is taken, or what it costs on this device. */
  readonly note: string | null;
}

/**
 * `auto` takes native mode, which is faster, unless that harms what the device carries. Asks for the ports of a
 * bond, else decides by the device alone.
 */
export async function chooseMode(
  { device: name, netns, direction }: Pick<Target, 'device' | 'netns'> & Pick<Scope, 'direction'>,
  device: Device,
  { mode: asked = 'auto', mayTakeTcx = false }: Pick<AttachSettings, 'mode' | 'mayTakeTcx'>,
): Promise<ModeChoice> {
  if (direction === 'sent') return { first: 'tcx', second: undefined, note: null };
  if (asked !== 'auto') {
    const note = asked === 'tcx' && device.hasXdp ? BEHIND_XDP : null;
    return { first: asked, second: undefined, note };
  }
  const whyTcx = whyAtTcx(device);
  // Behind a program of somebody else it counts what that lets through: only where the user wants that.
  if (whyTcx !== undefined && mayTakeTcx && device.hasXdp === false) {
    return { first: 'tcx', second: undefined, note: whyTcx };
  }
  if (device.kind === 'veth')
    return { first: 'generic', second: undefined, note: WHY_GENERIC.veth };
  if (device.kind === 'bond' && (await countPorts(name, netns)) === 0) {
    return { first: 'generic', second: undefined, note: WHY_GENERIC.emptyBond };
  }
  return { first: 'native', second: 'generic', note: nativeCost(device) };
}

/**
 * The devices on which XDP costs what TCP carries, as measured (`npm run bench:veth`): native mode takes the
 * segmentation offload of a veth's other end, generic mode makes large buffers linear and switches GRO off
 * (net/core/dev.c, netif_elide_gro).
 */
const AT_TCX: Readonly<Record<string, string>> = {
  veth: 'through a veth',
  bridge: 'on a bridge',
};

/** Why `auto` takes TCX on this device, if it does. */
export function whyAtTcx({ kind }: Device): string | undefined {
  const where = AT_TCX[kind ?? ''];
  if (where === undefined) return undefined;
  return `at TCX, because XDP slows TCP ${where} down; --mode generic or native takes XDP all the same`;
}

const BEHIND_XDP =
  'behind the XDP program that is there: what that drops, redirects or sends back is not counted';

/** Why `auto` does not take native mode. */
export const WHY_GENERIC = {
  /** drivers/net/veth.c, veth_xdp_set and veth_xdp_rx: the peer loses its segmentation offload, and the ring has 256 frames. */
  veth: 'generic mode, because native mode slows TCP through a veth down and drops frames; --mode native takes it all the same',
  /** drivers/net/bonding/bond_main.c, bond_enslave: "Slave does not support XDP". */
  emptyBond:
    'generic mode, because with native mode an empty bond takes no slave whose driver has none; --mode native takes it all the same',
} as const;

/**
 * Attaches in the first mode of the choice, or in the second if the driver refuses the first. Rejects with `interface-busy` if the interface has a
 * program, and with `mtu-too-large` or `mode-unsupported` if the driver refuses.
 */
export async function attachInMode(attaching: Attaching): Promise<AttachedMode> {
  const { choice, attachIn } = attaching;
  const { first, second, note } = choice;
  try {
    await attachIn(first);
    return { mode: first, note };
  } catch (error) {
    if (second === undefined || !isOfMode(error)) return await explain(attaching, first, error);
    const why = `${first} mode is not to be had (${messageOf(error)}); using ${second} mode`;
    await attachIn(second).catch((reason) => explain(attaching, second, reason));
    return { mode: second, note: why };
  }
}

/** The errors that say something else than that the driver does not do it in this mode. */
export const OTHER_ERRNOS: ReadonlySet<string> = new Set([
  ...['EBUSY', 'EEXIST', 'ENODEV', 'ENOENT', 'EPERM', 'EACCES', 'EROFS'],
]);

/** Whether the driver refuses this mode: it has none, or none with this MTU or number of queues. */
function isOfMode(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno !== undefined && !OTHER_ERRNOS.has(errno);
}

function errnoOf(error: unknown): string | undefined {
  return error instanceof BpftoolError || error instanceof LinkRefused ? error.errno : undefined;
}

async function explain(attaching: Attaching, mode: AttachMode, error: unknown): Promise<never> {
  const { target } = attaching;
  const name = printable(target.device);
  switch (errnoOf(error)) {
    case 'EBUSY':
    case 'EEXIST':
      throw await busyError(attaching, error);
    case 'ERANGE':
      // Not of the MTU: a chain of TCX holds 64 programs (kernel/bpf/mprog.c).
      if (mode === 'tcx') throw tcxUnavailable(messageOf(error), error);
      throw new XdpwhoError('mtu-too-large', `${name}: its MTU is too large for ${mode} mode`, {
        retry: { option: '--mode', value: 'generic' },
        hint: `or a smaller MTU: ip ${inNamespace(target.netns)}link set dev ${quoteWord(name)} mtu 1500`,
        cause: error,
      });
    default:
      if (!isOfMode(error)) throw error;
      throw new XdpwhoError('mode-unsupported', `${name}: no ${mode} mode: ${messageOf(error)}`, {
        ...(mode === 'tcx' ? {} : { retry: { option: '--mode', value: 'auto' } }),
        cause: error,
      });
  }
}

/** The error where no program can be attached at TCX. */
export function tcxUnavailable(why: string, cause?: unknown): XdpwhoError {
  return new XdpwhoError(
    'mode-unsupported',
    `no program can be attached at TCX, which takes kernel 6.6 or newer: ${why}`,
    { hint: 'xdpwho doctor', cause },
  );
}

/** For a command of iproute2. */
function inNamespace({ name }: Netns): string {
  return name === null ? '' : `-n ${quoteWord(name)} `;
}

/** The error with the program that the interface has, if that can be found. */
async function busyError({ context, target }: Attaching, cause: unknown): Promise<XdpwhoError> {
  const { device, netns } = target;
  const name = printable(device);
  const attached = await context.bpftool.showNet(netns.path).catch(() => []);
  const found = attached.find((one) => one.device === device);
  const related = found === undefined ? await relatedIn(attached, device, netns) : undefined;
  if (related !== undefined) {
    const { programId } = related;
    const what = `${printable(related.device)} has program ${programId}, and the two exclude each other`;
    return new XdpwhoError('interface-busy', `${name}: ${messageOf(cause)}: ${what}`, {
      hint: ownCommand('status', { interface: related.device, netns: netns.name }),
      cause,
    });
  }
  if (found === undefined) {
    return new XdpwhoError('interface-busy', `${name}: ${messageOf(cause)}`, {
      hint: `bpftool net show dev ${name}`,
      cause,
    });
  }
  // To show a program by its id needs CAP_SYS_ADMIN.
  const program = await context.bpftool.showProgramById(found.programId).catch(() => undefined);
  return strangerError(device, { ...found, programName: program?.name }, cause);
}

/**
 * The device above or below that has a program. The kernel refuses a program below one that has one
 * (net/core/dev.c, dev_xdp_attach), and a bond runs its own on its ports.
 */
async function relatedIn(
  attached: readonly XdpAttachment[],
  device: string,
  netns: Netns,
): Promise<XdpAttachment | undefined> {
  const links = await showLinks(netns).catch(() => []);
  const own = links.find(({ name }) => name === device);
  const names = links
    .filter(
      ({ name, master, lower }) =>
        name === own?.master || name === own?.lower || master === device || lower === device,
    )
    .map(({ name }) => name);
  return attached.find((one) => names.includes(one.device));
}

/** The error for an interface with a program that is not ours. */
export function strangerError(
  device: string,
  found: {
    readonly programId: number;
    readonly programName?: string | null | undefined;
    readonly mode: string | null;
  },
  cause?: unknown,
): XdpwhoError {
  const { programId: id, programName, mode } = found;
  const called = programName == null ? '' : `, name ${printable(programName)}`;
  return new XdpwhoError(
    'interface-busy',
    `${printable(device)}: held by another program: id ${id}${called}, ${mode} mode; left alone`,
    { hint: `bpftool prog show id ${id}`, cause },
  );
}
