import { pinsRoot } from '../host/bpffs.js';

/** The paths of one attachment. */
export interface Pins {
  readonly directory: string;
  /** The XDP program. */
  readonly program: string;
  readonly mapsDirectory: string;
  readonly sourcesMap: string;
  readonly totalsMap: string;
  /** The log's rings; only where packets are logged. */
  readonly packetsMap: string;
  /** Holds an iterator for each reader of the log; there while somebody reads. */
  readonly readersDirectory: string;
  /** Iterators: files that print `source` records and the `totals` record. */
  readonly sourcesFile: string;
  readonly totalsFile: string;
  /** The program that tells the jiffies, there only while it is run. */
  readonly clock: string;
  /** The program that makes a bpf_link, there only while it is run. */
  readonly linkMaker: string;
  /** The bpf_link, where an attachment that had one was to stay. */
  readonly link: string;
  /** The link whose target is the record. */
  readonly state: string;
}

/** Pure: the paths for the pin directory of this name. */
export function pinsAt(bpffs: string, directoryName: string): Pins {
  return pinsIn(`${pinsRoot(bpffs)}/${directoryName}`);
}

/** Pure: the paths in a pin directory. */
export function pinsIn(directory: string): Pins {
  const mapsDirectory = `${directory}/maps`;
  return {
    directory,
    program: `${directory}/program`,
    mapsDirectory,
    sourcesMap: `${mapsDirectory}/sources`,
    totalsMap: `${mapsDirectory}/totals`,
    packetsMap: `${mapsDirectory}/packets`,
    readersDirectory: `${directory}/readers`,
    sourcesFile: `${directory}/sources`,
    totalsFile: `${directory}/totals`,
    clock: `${directory}/clock`,
    linkMaker: `${directory}/linkmaker`,
    link: `${directory}/link`,
    state: `${directory}/state`,
  };
}

/**
 * Pure: the pin directory's name for an interface. bpffs refuses names with a dot, and two
 * namespaces may share one bpffs: letters, digits, `_` and `-` stand for themselves, every other
 * byte is `%XX`, and an interface outside the host's own namespace gets `@INODE`.
 */
export function pinName(interfaceName: string, netnsInode: number | null): string {
  const encoded = [...Buffer.from(interfaceName)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[\w-]/.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
  return netnsInode === null ? encoded : `${encoded}@${netnsInode}`;
}

/** Pure: the inverse of pinName, or undefined for a name that it never gives. */
export function parsePinName(
  name: string,
): { interface: string; netnsInode: number | null } | undefined {
  const match = /^((?:[\w-]|%[0-9a-f]{2})+)(?:@(\d+))?$/.exec(name);
  if (match?.[1] === undefined) return undefined;
  const bytes = match[1].match(/%[0-9a-f]{2}|[\w-]/g) ?? [];
  const decoded = Buffer.from(
    bytes.map((part) =>
      part.length === 3 ? Number.parseInt(part.slice(1), 16) : part.charCodeAt(0),
    ),
  );
  return {
    interface: decoded.toString(),
    netnsInode: match[2] === undefined ? null : Number(match[2]),
  };
}
