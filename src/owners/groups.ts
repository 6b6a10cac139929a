/** Sums of sources by their owner, their country or the user's own network. */
import { formatAddressAt } from '../model/address.js';
import type { Grouping, GroupName, OwnerGroup } from '../model/grouping.js';
import type { Facts } from './facts.js';
import type { Owners } from './owners.js';

/** What belongs to no group. */
const UNKNOWN = 'unknown';
/** A key is what the group sorts by, and behind that its number: two labels may begin alike. */
const NUMBER_AT = 12;
const KEY_BYTES = 16;
/** Facts are objects that stay the same until a database is read anew. */
const MAX_FACTS = 200_000;

interface Group {
  readonly number: number;
  /** Of a label; that of a system is made from its number, since there may be many. */
  readonly key: Uint8Array | undefined;
  name: GroupName;
}

/** Keeps each group that it has met, so that its key stays the same. */
export class OwnerGrouping implements Grouping {
  readonly text: OwnerGroup;
  readonly #owners: Owners;
  /** By number. The first one is of what is unknown. */
  readonly #groups: Group[] = [];
  readonly #byLabel = new Map<string, Group>();
  readonly #byFacts = new Map<Facts, Group>();

  constructor(owners: Owners, group: OwnerGroup) {
    this.text = group;
    this.#owners = owners;
    this.#groupOf({ source: UNKNOWN });
  }

  toGroup(keys: Uint8Array, at: number): void {
    const { number, name, key } =
      this.text === 'network'
        ? this.#groupOf(networkName(this.#owners.networkAt(keys, at)))
        : this.#groupOfFacts(this.#owners.factsOf(formatAddressAt(keys, at)));
    // Systems sort by their number, and countries and networks by their label.
    if (key !== undefined) {
      keys.set(key, at);
      return;
    }
    writeNumber(keys, at, name.asn ?? 0);
    keys.fill(0, at + 4, at + NUMBER_AT);
    writeNumber(keys, at + NUMBER_AT, number);
  }

  nameAt(keys: Uint8Array, at: number): GroupName {
    let number = 0;
    for (let byte = NUMBER_AT; byte < KEY_BYTES; byte++)
      number = number * 256 + (keys[at + byte] ?? 0);
    return this.#groups[number]?.name ?? { source: UNKNOWN };
  }

  #groupOfFacts(facts: Facts): Group {
    const known = this.#byFacts.get(facts);
    if (known !== undefined) return known;
    const { asn, as_name, country } = facts;
    const name = this.text === 'owner' ? systemGroup(asn, as_name) : countryName(country);
    const group = this.#groupOf(name);
    if (this.#byFacts.size >= MAX_FACTS) this.#byFacts.clear();
    this.#byFacts.set(facts, group);
    return group;
  }

  #groupOf(name: GroupName): Group {
    const known = this.#byLabel.get(name.source);
    if (known !== undefined) {
      // A database that was replaced may call the same system otherwise.
      if (known.name.as_name !== name.as_name) known.name = name;
      return known;
    }
    const number = this.#groups.length;
    const group = {
      number,
      name,
      key: name.asn === undefined ? labelKey(name, number) : undefined,
    };
    this.#groups.push(group);
    this.#byLabel.set(name.source, group);
    return group;
  }
}

/** What is unknown sorts behind all others. */
function labelKey({ source }: GroupName, number: number): Uint8Array {
  const key = new Uint8Array(KEY_BYTES);
  if (number === 0) key.fill(0xff, 0, NUMBER_AT);
  else new TextEncoder().encodeInto(source, key.subarray(0, NUMBER_AT));
  writeNumber(key, NUMBER_AT, number);
  return key;
}

function writeNumber(keys: Uint8Array, at: number, number: number): void {
  for (let byte = 0; byte < 4; byte++) keys[at + byte] = number >>> (24 - 8 * byte);
}

function networkName(network: string | undefined): GroupName {
  return network === undefined ? { source: UNKNOWN } : { source: network, network };
}

function countryName(country: string | undefined): GroupName {
  return country === undefined ? { source: UNKNOWN } : { source: country, country };
}

function systemGroup(asn: number | undefined, as_name: string | undefined): GroupName {
  if (asn === undefined)
    return as_name === undefined ? { source: UNKNOWN } : { source: as_name, as_name };
  return as_name === undefined ? { source: `AS${asn}`, asn } : { source: `AS${asn}`, asn, as_name };
}
