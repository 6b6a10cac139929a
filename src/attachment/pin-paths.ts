/** The paths and names of pins. Pure. */
import { pinsRoot } from '../host/bpffs.js';
import type { Direction } from '../model/records.js';

/** The pin directory of one attachment, and the paths in it. */
export interface Pins {
  readonly directory: string;
  /** The XDP program. */
  readonly program: string;
  readonly mapsDirectory: string;
  readonly sourcesMap: string;
  readonly totalsMap: string;
  /** The front table (bpf/front.h). Not there if packets are read by `map dump`. */
  readonly frontMap: string;
  /** The rings of the log. Exists only if packets are logged. */
  readonly packetsMap: string;
  /** Has an iterator for each reader of the log. Exists while somebody reads. */
  readonly readersDirectory: string;
  /** Pinned iterators: files that print the `source` records and the `totals` record. */
  readonly sourcesFile: string;
  readonly totalsFile: string;
  /** The program that returns the jiffies. Exists only while it is used. */
  readonly clock: string;
  /** The program that makes a bpf_link, there only while it is run. */
  readonly linkMaker: string;
  /** The bpf_link, where an attachment that had one was to stay. */
  readonly link: string;
  /** A link. Its target is the record. */
  readonly state: string;
}

/** The paths for the pin directory of this name. */
export function pinsAt(bpffs: string, directoryName: string): Pins {
  return pinsIn(`${pinsRoot(bpffs)}/${directoryName}`);
}

/** The paths in a pin directory. */
export function pinsIn(directory: string): Pins {
  const mapsDirectory = `${directory}/maps`;
  return {
    directory,
    program: `${directory}/program`,
    mapsDirectory,
    sourcesMap: `${mapsDirectory}/sources`,
    totalsMap: `${mapsDirectory}/totals`,
    frontMap: `${mapsDirectory}/front`,
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

/** What distinguishes the directory of what an interface sends. */
const SENT = '+sent';

/**
 * The name of the pin directory of an interface. Letters, digits, `_` and `-` stay, and every other byte becomes
 * `%XX`, because bpffs allows no dot in a name. An interface outside the namespace of the host gets `@INODE`,
 * because two namespaces may use the same bpffs.
 */
export function pinName(
  interfaceName: string,
  netnsInode: number | null,
  direction: Direction = 'received',
): string {
  const encoded = [...Buffer.from(interfaceName)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[\w-]/.test(character) ? character : `%${byte.toString(16).padStart(2, '0')}`;
    })
    .join('');
  const name = direction === 'sent' ? `${encoded}${SENT}` : encoded;
  return netnsInode === null ? name : `${name}@${netnsInode}`;
}

/** The inverse of pinName. Undefined for a name that pinName never returns. */
export function parsePinName(
  name: string,
): { interface: string; netnsInode: number | null; direction: Direction } | undefined {
  const match = /^((?:[\w-]|%[0-9a-f]{2})+)(\+sent)?(?:@(\d+))?$/.exec(name);
  if (match?.[1] === undefined) return undefined;
  const bytes = match[1].match(/%[0-9a-f]{2}|[\w-]/g) ?? [];
  const decoded = Buffer.from(
    bytes.map((part) =>
      part.length === 3 ? Number.parseInt(part.slice(1), 16) : part.charCodeAt(0),
    ),
  );
  return {
    interface: decoded.toString(),
    netnsInode: match[3] === undefined ? null : Number(match[3]),
    direction: match[2] === undefined ? 'received' : 'sent',
  };
}
