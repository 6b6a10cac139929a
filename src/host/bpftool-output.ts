/** Values from what bpftool prints with `-j`. Unknown keys are ignored, because new versions add some. */
import { numberIn, parseToolJson, propertyOf, stringIn } from '../model/json-values.js';
import type { Mode } from '../model/records.js';

/** Our name for each mode that bpftool prints. */
const SHOWN_MODES: Readonly<Record<string, Mode>> = {
  driver: 'native',
  generic: 'generic',
  offload: 'offload',
};

export interface ProgramInfo {
  readonly id: number;
  readonly name: string | undefined;
  readonly type: string | undefined;
  readonly mapIds: readonly number[];
  /** Since the program was loaded, but only while kernel.bpf_stats_enabled was on. */
  readonly runTimeNs: number;
  readonly runCount: number;
}

export interface MapInfo {
  readonly id: number;
  readonly type: string | undefined;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly memoryBytes: number;
}

/** One XDP program on one interface. */
export interface XdpAttachment {
  readonly device: string;
  readonly ifindex: number;
  readonly mode: Mode;
  readonly programId: number;
}

export interface ProgramRun {
  /** The program's return value, 32 bits. */
  readonly returned: number;
  /** Mean nanoseconds of one run. */
  readonly durationNs: number;
}

/** The program that `prog show` prints. Undefined for any other value. */
export function programInfoIn(value: unknown): ProgramInfo | undefined {
  const id = numberIn(value, 'id');
  if (id === undefined) return undefined;
  const mapIds = propertyOf(value, 'map_ids');
  return {
    id,
    name: stringIn(value, 'name'),
    type: stringIn(value, 'type'),
    mapIds: Array.isArray(mapIds) ? mapIds.filter((mapId) => typeof mapId === 'number') : [],
    // bpftool does not print them while they are 0 (src/prog.c).
    runTimeNs: numberIn(value, 'run_time_ns') ?? 0,
    runCount: numberIn(value, 'run_cnt') ?? 0,
  };
}

/** The map that `map show` prints. Undefined for any other value. */
export function mapInfoIn(value: unknown): MapInfo | undefined {
  const id = numberIn(value, 'id');
  const keySize = numberIn(value, 'bytes_key');
  const valueSize = numberIn(value, 'bytes_value');
  const maxEntries = numberIn(value, 'max_entries');
  if (
    id === undefined ||
    keySize === undefined ||
    valueSize === undefined ||
    maxEntries === undefined
  ) {
    return undefined;
  }
  const memoryBytes = numberIn(value, 'bytes_memlock') ?? 0;
  return { id, type: stringIn(value, 'type'), keySize, valueSize, maxEntries, memoryBytes };
}

/** The result that `prog run` prints. Undefined for any other value. */
export function programRunIn(value: unknown): ProgramRun | undefined {
  const returned = numberIn(value, 'retval');
  const durationNs = numberIn(value, 'duration');
  return returned === undefined || durationNs === undefined ? undefined : { returned, durationNs };
}

/**
 * The outputs that `batch` prints, one for each command up to the first that failed. Undefined for a text
 * that is not such an array. Two defects of bpftool:
 *
 * - `iter pin` prints no value (src/iter.c), so `"output":}` is not JSON.
 * - After the last command it may report "reading batch file failed" and fail, though every command
 *   succeeded: it finds an errno that a command has left behind (src/main.c do_batch). `isEndDoubtful`.
 */
export function batchOutputIn(
  text: string,
): { readonly outputs: readonly unknown[]; readonly isEndDoubtful: boolean } | undefined {
  let entries: unknown;
  try {
    entries = parseToolJson(text.replaceAll('"output":}', '"output":null}'));
  } catch {
    return undefined;
  }
  if (!Array.isArray(entries)) return undefined;
  const commands = entries.filter((entry) => propertyOf(entry, 'command') !== undefined);
  const complaint = stringIn(entries.at(-1), 'error') ?? '';
  return {
    outputs: commands.map((entry) => propertyOf(entry, 'output')),
    isEndDoubtful: complaint.startsWith('reading batch file failed'),
  };
}

/** The XDP programs that `net show` prints. Undefined for any other value. */
export function xdpAttachmentsIn(value: unknown): XdpAttachment[] | undefined {
  const namespace: unknown = Array.isArray(value) ? value[0] : undefined;
  const interfaces = propertyOf(namespace, 'xdp');
  return Array.isArray(interfaces) ? interfaces.flatMap(attachmentsOf) : undefined;
}

function attachmentsOf(entry: unknown): XdpAttachment[] {
  // bpftool prints a backslash as \n (src/json_writer.c jsonw_puts). The kernel allows no line break in a name.
  const device = stringIn(entry, 'devname')?.replaceAll('\n', '\\');
  const ifindex = numberIn(entry, 'ifindex');
  if (device === undefined || ifindex === undefined) return [];
  // A card may hold a driver program and an offloaded program at the same time (bpftool src/netlink_dumper.c).
  const several = propertyOf(entry, 'multi_attachments');
  const parts: readonly unknown[] = Array.isArray(several) ? several : [entry];
  return parts.flatMap((part) => {
    const mode = SHOWN_MODES[stringIn(part, 'mode') ?? ''];
    const programId = numberIn(part, 'id');
    return mode === undefined || programId === undefined
      ? []
      : [{ device, ifindex, mode, programId }];
  });
}
