import type { Attachment } from '../attachment/attachment.js';
import type { Dump } from '../verbs/dump.js';
import type { Metrics } from './prometheus.js';

/** Sources at most where they become labels: each costs its reader memory for as long as it keeps history. */
export const METRICS_TOP = 100;

/** What the metrics formats say of a reading. */
export function metricsOf(attachment: Attachment, dump: Dump, version: string): Metrics {
  return {
    interface: attachment.interface,
    netns: attachment.netns.name,
    mode: attachment.mode,
    version,
    maxSources: attachment.state.maxSources,
    ...dump,
  };
}
