/** Who addresses belong to: databases, the user's own networks and names, as one. */
import { accessSync, constants, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { addressKey } from '../model/address.js';
import { messageOf, systemErrorCode, XdpwhoError } from '../model/errors.js';
import type { Grouping, OwnerGroup } from '../model/grouping.js';
import type { Owner, SourceList, SourceRecord } from '../model/records.js';
import { quoteWord } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import { Database, versionOf } from './database.js';
import { type Facts, factsOf } from './facts.js';
import { OwnerGrouping } from './groups.js';
import { ReverseNames } from './names.js';
import { Networks } from './networks.js';

/** Where to learn who an address belongs to. */
export interface OwnerSources {
  /** MaxMind DB files. Of two that say the same kind of thing of an address, the first counts. Default: those in GEO_DIRECTORIES. */
  readonly geo?: readonly string[] | undefined;
  /** A file with a prefix and a label a line. */
  readonly networks?: string | undefined;
  /** Whether names are looked up. It tells the name server who sends. Default: false. */
  readonly resolve?: boolean | undefined;
}

/** Where distributions and the makers' own tools put databases. */
const GEO_DIRECTORIES = ['/usr/share/GeoIP', '/var/lib/GeoIP'];
/** The files are looked at no more often. */
const CHECK_MS = 1000;
/** Names are asked for so many addresses of a reading, those that are printed first. */
const MAX_NAMES = 1000;
/** What is printed once, and not again, waits so long for names. */
const NAMES_LIMIT_MS = 3000;

/** There are fewer pairs of a system and a country. */
const MAX_MERGES = 200_000;

const NOBODY: Facts = {};

export class Owners {
  /** Undefined where names are not looked up. */
  readonly names: ReverseNames | undefined;
  readonly #networksFile: string | undefined;
  #databases: readonly Database[];
  #networks: Networks | undefined;
  #networksVersion: string | undefined;
  /** By file: what was wrong with the one that came to its place. */
  readonly #complaints = new Map<string, string>();
  #checkedMs = performance.now();
  /** What two databases say together. */
  readonly #merges = new Map<Facts, Map<Facts, Facts>>();
  #mergeCount = 0;

  /**
   * Undefined where there is nothing to learn from. `onNote` is told of a database in GEO_DIRECTORIES that
   * cannot be used. The caller must close it.
   * @throws XdpwhoError `bad-database` for a file in `geo`, `usage` for a line of `networks`.
   */
  static open(
    sources: OwnerSources,
    onNote: (note: string) => void = () => {},
  ): Owners | undefined {
    const { geo, networks, resolve = false } = sources;
    const databases = geo?.map((path) => Database.open(path)) ?? foundDatabases(onNote);
    if (databases.length === 0 && networks === undefined && !resolve) return undefined;
    return new Owners(databases, networks, resolve);
  }

  private constructor(
    databases: readonly Database[],
    networksFile: string | undefined,
    resolve: boolean,
  ) {
    this.#databases = databases;
    this.#networksFile = networksFile;
    this.names = resolve ? new ReverseNames() : undefined;
    if (networksFile !== undefined) this.#readNetworks(networksFile);
  }

  /** Whether there is anything that `grouping` could go by. */
  knows(group: OwnerGroup): boolean {
    return group === 'network' ? this.#networks !== undefined : this.#databases.length > 0;
  }

  /** @throws XdpwhoError `usage` where there is no file to go by. */
  grouping(group: OwnerGroup): Grouping {
    if (!this.knows(group)) throw withoutFile(group);
    return new OwnerGrouping(this, group);
  }

  /** What is known of an address. Empty where nothing is. */
  of(address: string): Owner {
    const facts = this.factsOf(address);
    const network = this.#networks?.labelOf(addressKey(address), 0);
    const name = this.names?.get(address);
    if (network === undefined && name === undefined) return facts;
    return {
      ...facts,
      ...(network === undefined ? {} : { network }),
      ...(name === undefined ? {} : { name }),
    };
  }

  /** What the databases say. The number and the name of a system are of the same database. */
  factsOf(address: string): Facts {
    let facts: Facts = NOBODY;
    for (const [index, database] of this.#databases.entries()) {
      const more = database.lookUp(address);
      facts = index === 0 ? more : this.#merged(facts, more);
    }
    return facts;
  }

  /** The same object for the same two. */
  #merged(facts: Facts, more: Facts): Facts {
    const known = this.#merges.get(facts)?.get(more);
    if (known !== undefined) return known;
    const system = facts.asn === undefined && facts.as_name === undefined ? more : facts;
    const merged = factsOf(system.asn, system.as_name, facts.country ?? more.country);
    if (this.#mergeCount++ >= MAX_MERGES) {
      this.#merges.clear();
      this.#mergeCount = 0;
    }
    const merges = this.#merges.get(facts) ?? new Map<Facts, Facts>();
    this.#merges.set(facts, merges.set(more, merged));
    return merged;
  }

  /** The label of the user's network with the address whose key begins at `at`. */
  networkAt(keys: Uint8Array, at: number): string | undefined {
    return this.#networks?.labelOf(keys, at);
  }

  /** The same records with what is known of each, made when they are read. Records of groups stay as they are. */
  describe(sources: SourceList): SourceList {
    const describe = (record: SourceRecord) => ({ ...record, ...this.of(record.source) });
    return {
      length: sources.length,
      *[Symbol.iterator]() {
        for (const record of sources) yield describe(record);
      },
    };
  }

  /** Asks for names in the background: those of the first of these. */
  lookUp(sources: Iterable<Pick<SourceRecord, 'source'>>): void {
    if (this.names === undefined) return;
    const addresses: string[] = [];
    for (const { source } of sources) {
      if (addresses.push(source) === MAX_NAMES) break;
    }
    this.names.lookUp(addresses);
  }

  /** Waits for names that were asked for, but not for long, and not after `signal`. */
  async settle(signal?: AbortSignal): Promise<void> {
    await this.names?.settle(NAMES_LIMIT_MS, signal);
  }

  /**
   * Reads anew the files that were replaced. What is wrong with a new one is in the result, once, and the
   * contents of the old one stay.
   */
  refresh(): string[] {
    if (performance.now() - this.#checkedMs < CHECK_MS) return [];
    this.#checkedMs = performance.now();
    const notes: string[] = [];
    const attempt = (path: string, read: () => void) => {
      try {
        read();
        this.#complaints.delete(path);
      } catch (error) {
        if (!(error instanceof XdpwhoError)) throw error;
        if (this.#complaints.get(path) === error.message) return;
        this.#complaints.set(path, error.message);
        notes.push(`${error.message}; what was read before is used on`);
      }
    };
    this.#databases = this.#databases.map((database) => {
      let current = database;
      attempt(database.path, () => {
        if (database.isReplaced()) current = Database.open(database.path);
      });
      return current;
    });
    const file = this.#networksFile;
    const version = file === undefined ? undefined : presentVersion(file);
    if (file !== undefined && version !== undefined && version !== this.#networksVersion) {
      attempt(file, () => this.#readNetworks(file));
    }
    return notes;
  }

  /** Ends queries for names. */
  close(): void {
    this.names?.close();
  }

  #readNetworks(file: string): void {
    const version = presentVersion(file);
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      const why = systemErrorCode(error) === 'ENOENT' ? 'no such file' : messageOf(error);
      throw new XdpwhoError('usage', `${printable(file)}: ${why}`, {
        hint: `ls -l ${quoteWord(file)}`,
      });
    }
    this.#networks = Networks.parse(text, file);
    this.#networksVersion = version;
  }
}

/** What `--group` asks for as a grouping. @throws XdpwhoError `usage` where there is no file to go by. */
export function groupingOf(
  group: Grouping | OwnerGroup | undefined,
  owners: Owners | undefined,
): Grouping | undefined {
  if (typeof group !== 'string') return group;
  if (owners === undefined) throw withoutFile(group);
  return owners.grouping(group);
}

function withoutFile(group: OwnerGroup): XdpwhoError {
  return group === 'network'
    ? new XdpwhoError('usage', '--group network: no networks are named', {
        hint: 'add --networks FILE, with lines such as: 192.0.2.0/24 office',
      })
    : new XdpwhoError('usage', `--group ${group}: no database of owners`, {
        hint: `add --geo FILE, or put one into ${GEO_DIRECTORIES[0]}`,
      });
}

/** Undefined where there is no such file now, or it is a pipe, which can be read once. */
function presentVersion(file: string): string | undefined {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats?.isFile() ? versionOf(stats) : undefined;
}

/** The databases of the system that belong to root, and that nobody else may write. */
function foundDatabases(onNote: (note: string) => void): Database[] {
  return GEO_DIRECTORIES.flatMap(namesOfDatabases).flatMap((path) => {
    if (!isOfRoot(path)) return [];
    try {
      return [Database.open(path)];
    } catch (error) {
      if (!(error instanceof XdpwhoError)) throw error;
      onNote(`${error.message}; it is left out`);
      return [];
    }
  });
}

function namesOfDatabases(directory: string): string[] {
  try {
    const names = readdirSync(directory).filter((name) => name.endsWith('.mmdb'));
    return names.sort().map((name) => join(directory, name));
  } catch {
    return [];
  }
}

function isOfRoot(path: string): boolean {
  const { uid, mode } = statSync(path, { throwIfNoEntry: false }) ?? { uid: -1, mode: 0 };
  if (uid !== 0 || (mode & 0o022) !== 0) return false;
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
