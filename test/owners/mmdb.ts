/**
 * Writes small MaxMind DB files (https://maxmind.github.io/MaxMind-DB/, version 2.0): a tree of nodes, 16 zeros,
 * the records, and the metadata behind their mark.
 */
import { addressKey } from '../../src/model/address.js';
import { parsePrefix } from '../../src/model/prefix.js';

/** What a record can hold here. */
export type Value =
  | string
  | number
  | bigint
  | boolean
  | readonly Value[]
  | { [name: string]: Value };

interface MmdbOptions {
  /** 24, 28 or 32 bits for each half of a node. */
  readonly recordSize?: 24 | 28 | 32;
  readonly ipVersion?: 4 | 6;
  readonly type?: string;
}

const TYPES = {
  string: 2,
  uint16: 5,
  uint32: 6,
  map: 7,
  uint64: 9,
  array: 11,
  boolean: 14,
} as const;

/** The file with these networks; a longer prefix must come after a shorter one that holds it. */
export function writeMmdb(
  networks: readonly (readonly [prefix: string, record: Value])[],
  { recordSize = 28, ipVersion = 6, type = 'Test' }: MmdbOptions = {},
): Buffer {
  const nodes: [number, number][] = [[-1, -1]];
  const records: Buffer[] = [];
  let size = 0;
  for (const [text, record] of networks) {
    const { bits, family } = parsePrefix(text);
    // IPv4 addresses are under ::/96.
    const key = addressKey(text.replace(/\/.*/, '')).fill(0, 0, family === 4 ? 12 : 0);
    const skipped = ipVersion === 4 ? 96 : 0;
    const bitAt = (index: number) => ((key[index >> 3] ?? 0) >> (7 - (index & 7))) & 1;
    let node = nodes[0];
    for (let bit = skipped; node !== undefined && bit < bits - 1; bit++) {
      let next = node[bitAt(bit)] ?? -1;
      if (next < 0) {
        // A node in place of a record takes its record for both halves.
        next = nodes.push([next, next]) - 1;
        node[bitAt(bit)] = next;
      }
      node = nodes[next];
    }
    if (node !== undefined) node[bitAt(bits - 1)] = -2 - size;
    const encoded = encode(record);
    records.push(encoded);
    size += encoded.length;
  }
  // Negative halves: -1 is none, and -2 - N the record N bytes into the data.
  const half = (value: number) =>
    value >= 0 ? value : nodes.length + (value < -1 ? 14 - value : 0);
  const tree = nodes.map(([left, right]) => nodeBytes(half(left), half(right), recordSize));
  const metadata = encode({
    binary_format_major_version: { uint16: 2 },
    binary_format_minor_version: { uint16: 0 },
    build_epoch: 1_700_000_000n,
    database_type: type,
    description: { en: type },
    ip_version: { uint16: ipVersion },
    languages: ['en'],
    node_count: nodes.length,
    record_size: { uint16: recordSize },
  });
  const mark = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1');
  return Buffer.concat([...tree, Buffer.alloc(16), ...records, mark, metadata]);
}

function nodeBytes(left: number, right: number, recordSize: number): Buffer {
  const bytes = Buffer.alloc(recordSize / 4);
  if (recordSize === 28) {
    bytes.writeUIntBE(left & 0xffffff, 0, 3);
    bytes[3] = ((left >>> 24) << 4) | (right >>> 24);
    bytes.writeUIntBE(right & 0xffffff, 4, 3);
    return bytes;
  }
  bytes.writeUIntBE(left, 0, recordSize / 8);
  bytes.writeUIntBE(right, recordSize / 8, recordSize / 8);
  return bytes;
}

export function encode(value: Value): Buffer {
  if (typeof value === 'string') return tagged(TYPES.string, Buffer.from(value));
  if (typeof value === 'boolean') return header(TYPES.boolean, value ? 1 : 0);
  if (typeof value === 'number') return tagged(TYPES.uint32, bigEndian(BigInt(value)));
  if (typeof value === 'bigint') return tagged(TYPES.uint64, bigEndian(value));
  if (Array.isArray(value)) {
    return Buffer.concat([header(TYPES.array, value.length), ...value.map(encode)]);
  }
  const entries = Object.entries(value);
  const [first] = entries;
  if (entries.length === 1 && first?.[0] === 'uint16') {
    return tagged(TYPES.uint16, bigEndian(BigInt(Number(first[1]))));
  }
  const parts = entries.flatMap(([name, member]) => [encode(name), encode(member)]);
  return Buffer.concat([header(TYPES.map, entries.length), ...parts]);
}

function tagged(type: number, content: Buffer): Buffer {
  return Buffer.concat([header(type, content.length), content]);
}

/** Types above 7 have a byte of their own; a size from 29 on too. */
function header(type: number, size: number): Buffer {
  const short = Math.min(size, size < 29 ? 28 : size < 285 ? 29 : 30);
  const sizes =
    short === 29 ? [size - 29] : short === 30 ? [(size - 285) >> 8, (size - 285) & 255] : [];
  return Buffer.from(type > 7 ? [short, type - 7, ...sizes] : [(type << 5) | short, ...sizes]);
}

function bigEndian(value: bigint): Buffer {
  const hex = value === 0n ? '' : value.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
}
