/** Address prefixes (CIDR). Pure. */
import { isIPv4, isIPv6 } from 'node:net';
import { addressKey, formatAddress } from './address.js';
import { XdpwhoError } from './errors.js';

/** A prefix of the 16-byte keys of the table, where IPv4 is v4-mapped. */
export interface Prefix {
  /** 16 bytes; the bits after the first `bits` are 0. */
  readonly network: Uint8Array;
  /** 0 to 128; for IPv4, 96 to 128. */
  readonly bits: number;
  readonly family: 4 | 6;
}

/**
 * Parses an address or `ADDRESS/BITS`.
 * @throws XdpwhoError `usage`
 */
export function parsePrefix(text: string): Prefix {
  const [address = '', length, ...rest] = text.split('/');
  const family = isIPv4(address) ? 4 : isIPv6(address) && !address.includes('%') ? 6 : undefined;
  const size = family === 4 ? 32 : 128;
  const bits = length === undefined ? size : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (family === undefined || rest.length > 0 || !(bits <= size)) {
    throw new XdpwhoError('usage', `${text}: not an address or prefix`, {
      hint: 'such as 198.51.100.0/24 or 2001:db8::/32',
    });
  }
  const total = family === 4 ? 96 + bits : bits;
  return { network: masked(addressKey(address), total), bits: total, family };
}

/** Prints a prefix: "198.51.100.0/24". */
export function formatPrefix({ network, bits, family }: Prefix): string {
  const address = formatAddress(String.fromCharCode(...network));
  return `${address}/${family === 4 ? bits - 96 : bits}`;
}

/** The mask of a prefix: 16 bytes. */
export function prefixMask(prefix: Prefix): Uint8Array {
  return masked(new Uint8Array(16).fill(0xff), prefix.bits);
}

/** Whether an address is in the prefix. IPv4 addresses are in no IPv6 prefix. */
export function contains(prefix: Prefix, address: string): boolean {
  if ((prefix.family === 6) !== address.includes(':')) return false;
  const key = addressKey(address);
  const bytes = prefix.bits >> 3;
  for (let index = 0; index < bytes; index++) {
    if (key[index] !== prefix.network[index]) return false;
  }
  const bits = prefix.bits & 7;
  return bits === 0 || ((key[bytes] ?? 0) ^ (prefix.network[bytes] ?? 0)) >> (8 - bits) === 0;
}

/** The part of byte `index` that belongs to the first `bits` of a key. */
export function maskByte(bits: number, index: number): number {
  return (0xff00 >> Math.min(Math.max(bits - index * 8, 0), 8)) & 0xff;
}

function masked(key: Uint8Array, bits: number): Uint8Array {
  return key.map((byte, index) => byte & maskByte(bits, index));
}
