/**
 * One MaxMind DB file (format 2.0, https://maxmind.github.io/MaxMind-DB/): who owns an address, and in which
 * country it is. The file is read whole; mmdb-lib looks addresses up in it. It trusts what it reads, so what a
 * broken file could do to us is prevented here.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  type Stats,
  statSync,
} from 'node:fs';
import { Reader, type Response } from 'mmdb-lib';
import { messageOf, systemErrorCode, XdpwhoError } from '../model/errors.js';
import { quoteWord } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import { type Facts, factsIn } from './facts.js';

/** The metadata follow this mark, in the last 128 KiB of the file. */
const METADATA_MARK = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1');
const METADATA_BYTES = 128 * 1024;
/** So many zeros are between the tree and the data. */
const SEPARATOR_BYTES = 16;
/** One record takes microseconds. In a broken file pointers may lead to one another again and again. */
const RECORD_LIMIT_MS = 500;
/** Databases of owners have some 80,000 different records. */
const MAX_CACHED = 200_000;
/** Networks that are looked at to find out whether a file says anything of owners. */
const MAX_PROBES = 5000;

const NOTHING: Facts = {};

export class Database {
  readonly path: string;
  readonly #reader: Reader<Response>;
  readonly #version: string;
  /** By the position of a record in the file. */
  readonly #records = new Map<number | string, unknown>();
  /** By the record as `#records` keeps it. */
  readonly #facts = new Map<object, Facts>();
  #deadlineMs = 0;

  /** @throws XdpwhoError `bad-database`, with the path, for a file that cannot be read, is cut short or is none of owners. */
  static open(path: string): Database {
    const { bytes, version } = readWhole(path);
    try {
      return new Database(path, bytes, version);
    } catch (error) {
      if (error instanceof XdpwhoError) throw error;
      throw unusable(path, `no MaxMind DB, or a broken one: ${firstLine(messageOf(error))}`);
    }
  }

  private constructor(path: string, bytes: Buffer, version: string) {
    this.path = path;
    this.#version = version;
    const mark = bytes.lastIndexOf(METADATA_MARK);
    if (mark < Math.max(0, bytes.length - METADATA_BYTES)) {
      throw unusable(path, 'no MaxMind DB, or one that is cut short: it has no metadata');
    }
    this.#startClock();
    this.#reader = new Reader<Response>(bytes, {
      cache: {
        get: (position) => {
          this.#checkClock();
          return this.#records.get(position);
        },
        set: (position, record) => {
          if (this.#records.size >= MAX_CACHED) {
            this.#records.clear();
            this.#facts.clear();
          }
          this.#records.set(position, record);
        },
      },
    });
    const { searchTreeSize } = checkMetadata(path, this.#reader.metadata);
    const data = searchTreeSize + SEPARATOR_BYTES;
    if (data > mark || bytes.subarray(searchTreeSize, data).some((byte) => byte !== 0)) {
      throw unusable(path, 'cut short, or broken: its data do not begin where its tree ends');
    }
    if (!this.#saysAnything()) {
      const type = printable(String(this.#reader.metadata.databaseType).slice(0, 60));
      throw unusable(path, `a database of another kind (${type}): no owner and no country in it`);
    }
  }

  /** Whether the path leads to another file now, or to one that was written to. A file that is absent is none: it may be about to come. */
  isReplaced(): boolean {
    const stats = statSync(this.path, { throwIfNoEntry: false });
    return stats !== undefined && versionOf(stats) !== this.#version;
  }

  /**
   * What the file says of an address; the same object for all addresses of a record. Empty where it says nothing.
   * @throws XdpwhoError `bad-database` where the file is broken at this record.
   */
  lookUp(address: string): Facts {
    // In a tree of IPv4 addresses the first 32 bits of an IPv6 address would lead somewhere.
    if (this.#reader.metadata.ipVersion === 4 && address.includes(':')) return NOTHING;
    try {
      this.#startClock();
      return this.#factsOf(this.#reader.get(address));
    } catch (error) {
      if (error instanceof XdpwhoError) throw error;
      throw unusable(this.path, `broken: ${firstLine(messageOf(error))}`);
    }
  }

  #factsOf(record: unknown): Facts {
    if (typeof record !== 'object' || record === null) return NOTHING;
    const known = this.#facts.get(record);
    if (known !== undefined) return known;
    const facts = factsIn(record);
    this.#facts.set(record, facts);
    return facts;
  }

  /** Goes from network to network until a record says something of owners; in most files the first one does. */
  #saysAnything(): boolean {
    const bits = this.#reader.metadata.ipVersion === 4 ? 32n : 128n;
    const end = 1n << bits;
    let address = 0n;
    for (let probes = 0; probes < MAX_PROBES && address < end; probes++) {
      this.#startClock();
      const text = bits === 32n ? ipv4Text(address) : ipv6Text(address);
      const [record, length] = this.#reader.getWithPrefixLength(text);
      if (Object.keys(this.#factsOf(record)).length > 0) return true;
      const size = 1n << (bits - BigInt(Math.min(length, Number(bits))));
      address = (address / size + 1n) * size;
    }
    return false;
  }

  #startClock(): void {
    this.#deadlineMs = performance.now() + RECORD_LIMIT_MS;
  }

  #checkClock(): void {
    if (performance.now() > this.#deadlineMs) throw new RangeError('its pointers go in circles');
  }
}

function checkMetadata(path: string, metadata: Reader<Response>['metadata']): typeof metadata {
  const { binaryFormatMajorVersion: version, ipVersion, nodeCount } = metadata;
  if (version !== 2) throw unusable(path, `a MaxMind DB of version ${version}, and not of 2`);
  const isTree = Number.isInteger(nodeCount) && nodeCount > 0;
  if ((ipVersion !== 4 && ipVersion !== 6) || !isTree) {
    throw unusable(path, 'broken: its metadata are no description of a tree');
  }
  return metadata;
}

/** Reads the file through one descriptor, so that the version is that of the bytes. */
function readWhole(path: string): { readonly bytes: Buffer; readonly version: string } {
  let file: number | undefined;
  try {
    // To open a FIFO would wait for somebody who writes.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = fstatSync(file);
    if (!stats.isFile()) throw unusable(path, 'no regular file');
    return { bytes: readFileSync(file), version: versionOf(stats) };
  } catch (error) {
    if (error instanceof XdpwhoError) throw error;
    const why = systemErrorCode(error) === 'ENOENT' ? 'no such file' : messageOf(error);
    throw unusable(path, firstLine(why));
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/** Differs where the file at a path is another one, or was written to. */
export function versionOf({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join(' ');
}

function unusable(path: string, why: string): XdpwhoError {
  return new XdpwhoError('bad-database', `${printable(path)}: ${why}`, {
    hint: `ls -l ${quoteWord(path)}`,
  });
}

function firstLine(text: string): string {
  return printable(text.split('\n', 1)[0] ?? '').slice(0, 120);
}

function ipv4Text(address: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 0xffn).join('.');
}

/** All eight groups: mmdb-lib takes them too. */
function ipv6Text(address: bigint): string {
  const groups = Array.from({ length: 8 }, (_, index) => BigInt(16 * (7 - index)));
  return groups.map((shift) => ((address >> shift) & 0xffffn).toString(16)).join(':');
}
