/** Makes metrics from a reading of an attachment. */
import type { Attachment } from '../attachment/attachment.js';
import type { Dump } from '../verbs/dump.js';
import type { Metrics } from './prometheus.js';

/** The default of `--top` for metrics. Each source is a time series, which takes memory in Prometheus for as long as it keeps data. */
export const METRICS_TOP = 100;

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
