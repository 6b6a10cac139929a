/** Sizes of the log's map, which holds a ring for each CPU: see bpf/xdpwho.h. Pure. */
import { XdpwhoError } from '../model/errors.js';
import { LOG_SEGMENT } from './layout.js';

/**
 * The segments of each CPU's ring, if all rings together may take `bufferBytes`.
 * @throws XdpwhoError `usage` when that is too little for one segment each.
 */
export function ringSegments(bufferBytes: number, cpus: number): number {
  const segments = Math.floor(bufferBytes / (LOG_SEGMENT.size * cpus)) - 1;
  if (segments >= 1) return segments;
  const least = Math.ceil(ringBytes(1, cpus) / 1024);
  throw new XdpwhoError('usage', `--buffer: must be at least ${least}K for ${cpus} CPUs`);
}

/** The bytes of all rings together, with the element for each head. */
export function ringBytes(segments: number, cpus: number): number {
  return ringElements(segments, cpus) * LOG_SEGMENT.size;
}

/** The number of elements of the map. */
export function ringElements(segments: number, cpus: number): number {
  return cpus * (1 + segments);
}
