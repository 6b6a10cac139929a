/**
 * A look at the host at one moment. A verb makes one and passes it on. It asks for each network namespace once,
 * and for our pin directories in the same bpftool process.
 */
import { lstatSync } from 'node:fs';
import type { Bpftool } from '../host/bpftool.js';
import { bpftoolArguments } from '../host/bpftool-arguments.js';
import { BpftoolError } from '../host/bpftool-error.js';
import {
  type MapInfo,
  mapInfoIn,
  type ProgramInfo,
  programInfoIn,
  type XdpAttachment,
  xdpAttachmentsIn,
} from '../host/bpftool-output.js';
import { listInterfaces, showLinks, showXdpPrograms } from '../host/interfaces.js';
import { currentPath, type Netns, netnsPathsByInode } from '../host/netns.js';
import { XdpwhoError } from '../model/errors.js';
import type { Pins } from './pin-paths.js';

/** What bpftool shows for the pins in one directory, or for each the reason why it shows nothing. */
export interface PinFacts {
  readonly program: ProgramInfo | XdpwhoError;
  readonly sources: MapInfo | XdpwhoError;
  readonly totals: MapInfo | XdpwhoError;
}

export class Look {
  readonly #bpftool: Bpftool;
  readonly #attached = new Map<number, Promise<readonly XdpAttachment[]>>();
  readonly #shownByIp = new Map<number, Promise<readonly XdpAttachment[]>>();
  readonly #interfaces = new Map<number, Promise<readonly string[]>>();
  readonly #links = new Map<number, ReturnType<typeof showLinks>>();
  readonly #facts = new Map<string, PinFacts>();
  #paths: ReadonlyMap<number, string | undefined> | undefined;

  constructor(bpftool: Bpftool) {
    this.#bpftool = bpftool;
  }

  /** Asks in one process for the programs that are attached in a namespace and for the pins in directories. */
  async take(netns: Netns, directories: readonly Pins[]): Promise<void> {
    await this.#ask(directories, netns);
  }

  /** Asks in one process for the pins in directories. Those that it knows already are left out. */
  async askPins(directories: readonly Pins[]): Promise<void> {
    await this.#ask(directories, undefined);
  }

  async #ask(directories: readonly Pins[], netns: Netns | undefined): Promise<void> {
    const asked = directories.filter((pins) => holdsPins(pins) && !this.#facts.has(pins.directory));
    const namespaces = netns === undefined || this.#attached.has(netns.inode) ? [] : [netns];
    const commands = [
      ...namespaces.map(() => bpftoolArguments.showNet()),
      ...asked.flatMap((pins) => [
        bpftoolArguments.showProgram(pins.program),
        bpftoolArguments.showMap(pins.sourcesMap),
        bpftoolArguments.showMap(pins.totalsMap),
      ]),
    ];
    if (commands.length === 0) return;
    const answers = [...(await this.#bpftool.ask(commands, { netnsPath: netns?.path }))];
    const next = <T>(verb: string, read: (output: unknown) => T | undefined): T | XdpwhoError => {
      const answer = answers.shift();
      if (answer?.failure !== undefined) return answer.failure;
      const value = read(answer?.output);
      return value ?? new XdpwhoError('bad-output', `bpftool ${verb}: unexpected output`);
    };
    for (const { inode } of namespaces) {
      const attached = next('net show', xdpAttachmentsIn);
      if (attached instanceof XdpwhoError) throw attached;
      this.#attached.set(inode, Promise.resolve(attached));
    }
    for (const pins of asked) {
      this.#facts.set(pins.directory, {
        program: next('prog show', programInfoIn),
        sources: next('map show', mapInfoIn),
        totals: next('map show', mapInfoIn),
      });
    }
  }

  /** The pins in a directory, if they have been asked for. Undefined if it has none. */
  factsOf(pins: Pins): PinFacts | undefined {
    return this.#facts.get(pins.directory);
  }

  /** Every XDP program in a namespace. */
  attachedIn(netns: Netns): Promise<readonly XdpAttachment[]> {
    return memoized(this.#attached, netns.inode, () => this.#bpftool.showNet(netns.path));
  }

  /** The names of all interfaces in a namespace. */
  interfacesIn(netns: Netns): Promise<readonly string[]> {
    return memoized(this.#interfaces, netns.inode, () => listInterfaces(netns));
  }

  /** The interface with this index in a namespace. Undefined where there is none, or iproute2 does not tell. */
  async nameOf(netns: Netns, ifindex: number): Promise<string | undefined> {
    const links = await memoized(this.#links, netns.inode, () => showLinks(netns)).catch(() => []);
    return links.find((link) => link.ifindex === ifindex)?.name;
  }

  /**
   * The namespace with this inode, or undefined if no path leads to it. `namedPath`: the path that the user gave
   * when it was attached. It may be the only one, if neither a process nor `ip netns` has the namespace.
   */
  netnsWith(inode: number, namedPath?: string | null): Netns | undefined {
    const named = { name: null, path: namedPath ?? undefined, inode };
    const path = currentPath(named, () => this.#namespaces());
    if (path === null) return undefined;
    return { name: path?.replace(/^\/run\/netns\//, '') ?? null, path, inode };
  }

  /**
   * Finds where a program is attached. It searches the namespace `home` first and then all others, because an
   * interface that is moved to another namespace keeps its program. It skips a namespace that it cannot enter.
   */
  async locate(
    programId: number,
    home: Netns | undefined,
  ): Promise<{ readonly netns: Netns; readonly attached: XdpAttachment } | undefined> {
    if (home !== undefined) {
      const attached = await this.find(home, programId);
      if (attached !== undefined) return { netns: home, attached };
    }
    // Looks at every process, which costs more than the rest where there are many.
    for (const inode of this.#namespaces().keys()) {
      const netns = inode === home?.inode ? undefined : this.netnsWith(inode);
      if (netns === undefined) continue;
      const attached = await this.find(netns, programId);
      if (attached !== undefined) return { netns, attached };
    }
    return undefined;
  }

  /** Where a program is attached in a namespace. One that bpftool's list lacks is looked for by iproute2. */
  async find(netns: Netns, programId: number): Promise<XdpAttachment | undefined> {
    const isOurs = (one: XdpAttachment) => one.programId === programId;
    const listed = (await this.#attachedOrNone(netns)).find(isOurs);
    if (listed !== undefined) return listed;
    const shown = memoized(this.#shownByIp, netns.inode, () => showXdpPrograms(netns));
    return (await shown).find(isOurs);
  }

  /** Empty if the namespace disappears meanwhile, or if we may not enter it. */
  async #attachedOrNone(netns: Netns): Promise<readonly XdpAttachment[]> {
    try {
      return await this.attachedIn(netns);
    } catch (error) {
      if (netns.path !== undefined && error instanceof BpftoolError) return [];
      throw error;
    }
  }

  #namespaces(): ReadonlyMap<number, string | undefined> {
    this.#paths ??= netnsPathsByInode();
    return this.#paths;
  }
}

/** Whether any path still leads to a namespace. */
export function isReachable(netns: Netns): boolean {
  return currentPath(netns) !== null;
}

/** Whether it is a directory with a file `program`. A link is not: it may lead anywhere. */
function holdsPins(pins: Pins): boolean {
  const isFile = (path: string) => lstatSync(path, { throwIfNoEntry: false })?.isFile() === true;
  try {
    return lstatSync(pins.directory).isDirectory() && isFile(pins.program);
  } catch {
    return false;
  }
}

function memoized<T>(values: Map<number, Promise<T>>, key: number, make: () => Promise<T>) {
  const value = values.get(key) ?? make();
  values.set(key, value);
  return value;
}
