/** The owners of addresses, from the options of a command and XDPWHO_GEO. */
import { resolve } from 'node:path';
import type { CommandContext } from '../cli/context.js';
import { type OwnerSources, Owners } from '../owners/owners.js';

/** The files in XDPWHO_GEO, with colons between them; undefined where it is not set. */
function geoOfEnvironment(): string[] | undefined {
  const paths = (process.env.XDPWHO_GEO ?? '').split(':').filter((path) => path !== '');
  return paths.length === 0 ? undefined : paths.map((path) => resolve(path));
}

/** Undefined where nothing is known of owners. The caller must close it. */
export function ownersOf(
  { geo = geoOfEnvironment(), networks, resolve }: OwnerSources,
  { messages }: Pick<CommandContext, 'messages'>,
): Owners | undefined {
  return Owners.open({ geo, networks, resolve }, (note) => messages.info(note));
}
