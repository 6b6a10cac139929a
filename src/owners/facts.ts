/**
 * What a record of a MaxMind DB says of the owner of an address, whatever the schema: by the names of its
 * fields, which differ between the makers of such files. Pure.
 */
import { propertyOf, stringIn } from '../model/json-values.js';

/** What a file says of an address. A member that it does not say is absent. */
export interface Facts {
  /** The number of the autonomous system, 1 to 2^32 - 1. */
  readonly asn?: number;
  readonly as_name?: string;
  /** Two letters, ISO 3166-1. */
  readonly country?: string;
}

/** No name of an organisation is longer; a broken file may hold a text of megabytes. */
const MAX_NAME_CHARACTERS = 200;

/**
 * Reads the fields of GeoLite2, GeoIP2 and DB-IP (`autonomous_system_number`, `autonomous_system_organization`,
 * `country.iso_code`), of IPinfo (`asn` as "AS123", `as_name`, `country_code` or `country`), and of
 * ip-location-db (`country_code`).
 */
export function factsIn(record: unknown): Facts {
  const asn =
    asnOf(propertyOf(record, 'autonomous_system_number')) ?? asnOf(propertyOf(record, 'asn'));
  const name =
    nameOf(stringIn(record, 'autonomous_system_organization')) ??
    nameOf(stringIn(record, 'as_name'));
  const country =
    countryOf(stringIn(propertyOf(record, 'country'), 'iso_code')) ??
    countryOf(stringIn(record, 'country_code')) ??
    countryOf(stringIn(record, 'country'));
  return factsOf(asn, name, country);
}

/** Without members that are undefined: they would be printed. */
export function factsOf(asn?: number, as_name?: string, country?: string): Facts {
  if (asn !== undefined && as_name !== undefined) {
    return country === undefined ? { asn, as_name } : { asn, as_name, country };
  }
  if (asn === undefined && as_name === undefined) return country === undefined ? {} : { country };
  return {
    ...(asn === undefined ? {} : { asn }),
    ...(as_name === undefined ? {} : { as_name }),
    ...(country === undefined ? {} : { country }),
  };
}

/** 123, "123" or "AS123". 0 stands for no system (RFC 7607). */
function asnOf(value: unknown): number | undefined {
  const digits = typeof value === 'string' ? /^(?:AS)?(\d{1,10})$/i.exec(value)?.[1] : value;
  const asn = typeof digits === 'string' ? Number(digits) : digits;
  if (typeof asn !== 'number' || !Number.isInteger(asn)) return undefined;
  return asn > 0 && asn <= 0xffff_ffff ? asn : undefined;
}

function nameOf(text: string | undefined): string | undefined {
  const name = text?.trim().slice(0, MAX_NAME_CHARACTERS);
  return name === '' ? undefined : name;
}

/** Some files have a country's name in `country`. */
function countryOf(text: string | undefined): string | undefined {
  return text !== undefined && /^[A-Za-z]{2}$/.test(text) ? text.toUpperCase() : undefined;
}
