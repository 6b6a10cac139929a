/** Attaches a loaded program in the mode that was asked for, or in the best possible mode. */
import { BpftoolError } from '../host/bpftool-error.js';
import { messageOf, XdpwhoError } from '../model/errors.js';
import type { AttachMode } from '../model/records.js';
import { ownCommand, quoteWord } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import type { SessionContext } from './context.js';
import { LinkRefused } from './link.js';
import { namesOf, type Target } from './target.js';

export interface Attaching {
  readonly context: SessionContext;
  readonly target: Target;
  readonly mode: 'auto' | AttachMode;
  /** Attaches in one mode. Rejects with a BpftoolError or LinkRefused where the kernel refuses. */
  readonly attachIn: (mode: AttachMode) => Promise<void>;
}

export interface AttachedMode {
  readonly mode: AttachMode;
  /** Why it is not native mode, if that was tried. */
  readonly note: string | undefined;
}

/**
 * Attaches. `auto` tries native mode, then generic mode. Rejects with `interface-busy` if the interface has a
 * program, and with `mtu-too-large` or `mode-unsupported` if the driver refuses.
 */
export async function attachInMode(attaching: Attaching): Promise<AttachedMode> {
  const { mode, attachIn } = attaching;
  if (mode !== 'auto') {
    await attachIn(mode).catch((error) => explain(attaching, mode, error));
    return { mode, note: undefined };
  }
  let note: string;
  try {
    await attachIn('native');
    return { mode: 'native', note: undefined };
  } catch (error) {
    if (!MODE_ERRNOS.has(errnoOf(error) ?? '')) return await explain(attaching, 'native', error);
    note = `native mode is not to be had (${messageOf(error)}); using generic mode`;
  }
  await attachIn('generic').catch((error) => explain(attaching, 'generic', error));
  return { mode: 'generic', note };
}

/** The errors of drivers that have no native mode, or none with this MTU or number of queues. */
export const MODE_ERRNOS: ReadonlySet<string> = new Set([
  'EOPNOTSUPP',
  'EINVAL',
  'ERANGE',
  'ENOMEM',
]);

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
      throw new XdpwhoError('mtu-too-large', `${name}: its MTU is too large for ${mode} mode`, {
        hint: `${ownCommand('--mode generic', namesOf(target))}, or ip link set dev ${quoteWord(name)} mtu 1500`,
        cause: error,
      });
    case 'EOPNOTSUPP':
    case 'EINVAL':
      throw new XdpwhoError('mode-unsupported', `${name}: no ${mode} mode: ${messageOf(error)}`, {
        hint: ownCommand('--mode auto', namesOf(target)),
        cause: error,
      });
    default:
      throw error;
  }
}

/** The error with the program that the interface has, if that can be found. */
async function busyError({ context, target }: Attaching, cause: unknown): Promise<XdpwhoError> {
  const { device, netns } = target;
  const name = printable(device);
  const attached = await context.bpftool.showNet(netns.path).catch(() => []);
  const found = attached.find((one) => one.device === device);
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
