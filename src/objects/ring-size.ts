import { XdpwhoError } from '../model/errors.js';
import { LOG_SEGMENT } from './layout.js';

/** Segments of each CPU's ring in a budget for all of them. Rejects with `usage` where there is no room for one each. */
export function ringSegments(bufferBytes: number, cpus: number): number {
  const segments = Math.floor(bufferBytes / (LOG_SEGMENT.size * cpus)) - 1;
  if (segments >= 1) return segments;
  const least = Math.ceil(ringBytes(1, cpus) / 1024);
  throw new XdpwhoError('usage', `--buffer: must be at least ${least}K for ${cpus} CPUs`);
}

/** Bytes that the rings of all CPUs take, the element for each one's head included. */
export function ringBytes(segments: number, cpus: number): number {
  return ringElements(segments, cpus) * LOG_SEGMENT.size;
}

/** Elements of the log's map. */
export function ringElements(segments: number, cpus: number): number {
  return cpus * (1 + segments);
}
