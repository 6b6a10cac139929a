/** What is known of an address, in words. Pure. */
import type { Owner } from '../model/records.js';
import { printable } from '../text/text.js';

/** The name of the autonomous system, or its number where it has none. */
export function systemName({ asn, as_name }: Owner): string {
  if (as_name !== undefined) return printable(as_name);
  return asn === undefined ? '' : `AS${asn}`;
}

/** All of it on one line: `AS64500 Example Org DE office host.example`. Empty where nothing is known. */
export function ownerWords({ asn, as_name, country, network, name }: Owner): string {
  const system = asn === undefined ? undefined : `AS${asn}`;
  return [system, as_name, country, network, name]
    .filter((word) => word !== undefined)
    .map(printable)
    .join(' ');
}
