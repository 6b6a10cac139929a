/** How sources are summed up. Pure. */
import { addressKey, formatAddressAt, isMappedAt, MAPPED_PREFIX_BITS } from './address.js';
import { XdpwhoError } from './errors.js';
import { maskByte } from './prefix.js';
import type { Owner, SourceRecord } from './records.js';

const KEY_BYTES = 16;

/** What the record of a group says of it. */
export type GroupName = Pick<SourceRecord, 'source'> & Owner;

/** The groups of addresses. Each has a key of 16 bytes, as an address has; groups sort by their keys. */
export interface Grouping {
  /** As the option takes it: `24,64`, `owner`. */
  readonly text: string;
  /** Writes the key of the group of an address in place of the address' own key, which begins at `at`. */
  toGroup(keys: Uint8Array, at: number): void;
  /** What the group is called whose key begins at `at`. */
  nameAt(keys: Uint8Array, at: number): GroupName;
}

/** Groups by what is known of the owners of addresses; see src/owners/groups.ts. */
export const OWNER_GROUPS = ['owner', 'country', 'network'] as const;
export type OwnerGroup = (typeof OWNER_GROUPS)[number];

/** Prefixes: all addresses with the same first bits. */
export class PrefixGrouping implements Grouping {
  readonly text: string;
  readonly #ipv4: number;
  readonly #ipv6: number;

  /** The lengths of the prefixes of each family. */
  constructor(ipv4: number, ipv6: number) {
    this.text = `${ipv4},${ipv6}`;
    this.#ipv4 = ipv4;
    this.#ipv6 = ipv6;
  }

  toGroup(keys: Uint8Array, at: number): void {
    const bits = isMappedAt(keys, at) ? MAPPED_PREFIX_BITS + this.#ipv4 : this.#ipv6;
    for (let index = bits >> 3; index < KEY_BYTES; index++) {
      keys[at + index] = (keys[at + index] ?? 0) & maskByte(bits, index);
    }
  }

  nameAt(keys: Uint8Array, at: number): GroupName {
    const bits = isMappedAt(keys, at) ? this.#ipv4 : this.#ipv6;
    return { source: `${formatAddressAt(keys, at)}/${bits}` };
  }
}

/** Each address by itself: for the sums of several tables. */
export const ADDRESSES: Grouping = {
  text: 'address',
  toGroup: () => {},
  nameAt: (keys, at) => ({ source: formatAddressAt(keys, at) }),
};

/** What the group of an address is called. */
export function groupOf(address: string, grouping: Grouping): string {
  const key = addressKey(address);
  grouping.toGroup(key, 0);
  return grouping.nameAt(key, 0).source;
}

/**
 * Parses `24` or `24,64`, the prefix lengths of IPv4 and IPv6, of which the latter is 64 if it is absent; or
 * `owner`, `country`, `network`.
 * @throws XdpwhoError `usage`
 */
export function parseGrouping(text: string): Grouping | OwnerGroup {
  const group = OWNER_GROUPS.find((each) => each === text);
  if (group !== undefined) return group;
  const match = /^(\d{1,2})(?:,(\d{1,3}))?$/.exec(text);
  const ipv4 = Number(match?.[1] ?? Number.NaN);
  const ipv6 = Number(match?.[2] ?? 64);
  if (!(ipv4 <= 32) || !(ipv6 <= 128)) {
    throw new XdpwhoError('usage', `--group ${text}: not a length of prefixes`, {
      hint: 'such as --group 24 or --group 24,64, or owner, country or network',
    });
  }
  return new PrefixGrouping(ipv4, ipv6);
}
