/**
 * Whose a program is. One of ours is attached where the kernel reports, on an interface, the id of
 * the program that is pinned in a directory of ours, and that program is what we load. A record
 * alone says nothing: it may have been written by hand.
 *
 * The rule is stated here once. TypeScript evaluates it on what `bpftool -j` prints; the shell of
 * end.sh is handed `OWN_PROGRAM_PATTERN` for the same output.
 */
import type { MapInfo, ProgramInfo } from '../host/bpftool-output.js';
import { SOURCE_KEY, SOURCE_VALUE, TOTALS } from '../objects/layout.js';

/** The C function in bpf/xdpwho.bpf.c: the kernel keeps its name. */
export const PROGRAM_NAME = 'xdpwho';

/** For sed: matches the line that `prog show` prints with `-j` of a program of ours; its group is the id. */
export const OWN_PROGRAM_PATTERN = `^{"id":\\([0-9]*\\),.*"name":"${PROGRAM_NAME}".*`;

export function isOwnProgram(program: ProgramInfo): boolean {
  return program.name === PROGRAM_NAME;
}

/** Why a pinned program and its pinned maps are not an attachment that we made, or undefined. */
export function programFault(
  recordedId: number,
  { program, sources, totals }: { program: ProgramInfo; sources: MapInfo; totals: MapInfo },
): string | undefined {
  if (program.id !== recordedId) return `its program has id ${program.id}, and not ${recordedId}`;
  if (!isOwnProgram(program)) return `its program is named ${program.name ?? '""'}`;
  const mapIds = new Set(program.mapIds);
  if (!mapIds.has(sources.id) || !mapIds.has(totals.id)) return 'its maps are of another program';
  return (
    mapFault('sources', sources, SOURCE_KEY.size, SOURCE_VALUE.size) ??
    mapFault('totals', totals, 4, TOTALS.size)
  );
}

function mapFault(name: string, map: MapInfo, key: number, value: number): string | undefined {
  if (map.keySize === key && map.valueSize === value) return undefined;
  return `its map ${name} has another shape: keys of ${map.keySize} and values of ${map.valueSize} bytes, not ${key} and ${value}`;
}
