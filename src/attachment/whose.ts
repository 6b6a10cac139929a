/**
 * Decides whose a program is. An attached program is ours if its id is that of the program that is pinned in a
 * directory of ours, and if that program and its maps are what we load. The record alone proves nothing, because
 * anybody who may write to the bpffs can write one.
 *
 * This is the only place with the rule. The agentless script gets OWN_PROGRAM_PATTERN for the same output of bpftool.
 */
import type { MapInfo, ProgramInfo } from '../host/bpftool-output.js';
import { SOURCE_KEY, SOURCE_VALUE, TOTALS } from '../objects/layout.js';

/** The name of the C function in bpf/xdpwho.bpf.c, which the kernel keeps as the name of the program. */
export const PROGRAM_NAME = 'xdpwho';

/** A pattern for sed that matches what `prog show` prints with `-j` for a program of ours. Its group is the id. */
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
