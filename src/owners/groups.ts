/** Sums of sources by their owner, their country or the user's own network. */
import { formatAddressAt } from '../model/address.js';
import type { Grouping, GroupName, OwnerGroup } from '../model/grouping.js';
import type { Owners } from './owners.js';

const KEY_BYTES = 16;
/** What belongs to no group. */
export const UNKNOWN = 'unknown';
/** Sorts behind all others. */
const UNKNOWN_KEY = new Uint8Array(KEY_BYTES).fill(0xff);
/** The last bytes of a key are a number: two labels may begin alike. */
const NUMBER_AT = 12;

interface Group {
  readonly key: Uint8Array;
  name: GroupName;
}

/** Keeps each group that it has met, so that its key stays the same. */
export class OwnerGrouping implements Grouping {
  readonly text: OwnerGroup;
  readonly #owners: Owners;
  readonly #byLabel = new Map<string, Group>();
  /** By the key as 16 latin-1 characters. */
  readonly #byKey = new Map<string, Group>();

  constructor(owners: Owners, group: OwnerGroup) {
    this.text = group;
    this.#owners = owners;
    this.#keep({ key: UNKNOWN_KEY, name: { source: UNKNOWN } });
  }

  toGroup(keys: Uint8Array, at: number): void {
    const name = this.#nameOf(keys, at);
    const group = this.#byLabel.get(name.source) ?? this.#keep({ key: this.#keyOf(name), name });
    // A database that was replaced may call the same system otherwise.
    if (group.name.as_name !== name.as_name) group.name = name;
    keys.set(group.key, at);
  }

  nameAt(keys: Uint8Array, at: number): GroupName {
    const key = String.fromCharCode(...keys.subarray(at, at + KEY_BYTES));
    return this.#byKey.get(key)?.name ?? { source: UNKNOWN };
  }

  #nameOf(keys: Uint8Array, at: number): GroupName {
    if (this.text === 'network') {
      const network = this.#owners.networkAt(keys, at);
      return network === undefined ? { source: UNKNOWN } : { source: network, network };
    }
    const { asn, as_name, country } = this.#owners.factsOf(formatAddressAt(keys, at));
    if (this.text === 'country') {
      return country === undefined ? { source: UNKNOWN } : { source: country, country };
    }
    if (asn !== undefined) {
      const source = `AS${asn}`;
      return as_name === undefined ? { source, asn } : { source, asn, as_name };
    }
    return as_name === undefined ? { source: UNKNOWN } : { source: as_name, as_name };
  }

  /** Systems sort by their number, and countries and networks by their label. */
  #keyOf({ source, asn }: GroupName): Uint8Array {
    const key = new Uint8Array(KEY_BYTES);
    const view = new DataView(key.buffer);
    if (asn !== undefined) view.setUint32(0, asn);
    else key.set(Buffer.from(source).subarray(0, NUMBER_AT));
    view.setUint32(NUMBER_AT, this.#byLabel.size);
    return key;
  }

  #keep(group: Group): Group {
    this.#byLabel.set(group.name.source, group);
    this.#byKey.set(String.fromCharCode(...group.key), group);
    return group;
  }
}
