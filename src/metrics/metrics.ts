/** Makes metrics from a reading of an attachment. */
import type { Attachment } from '../attachment/attachment.js';
import { type Grouping, OWNER_GROUPS } from '../model/grouping.js';
import type { Dump } from '../verbs/dump.js';
import type { Metrics } from './prometheus.js';

/** The default of `--top` for metrics. Each source is a time series, which takes memory in Prometheus for as long as it keeps data. */
export const METRICS_TOP = 100;

/** `group` is what the sources of the dump are sums of. */
export function metricsOf(
  attachment: Attachment,
  dump: Dump,
  version: string,
  group?: Grouping,
): Metrics {
  return {
    group: OWNER_GROUPS.find((each) => each === group?.text),
    interface: attachment.interface,
    netns: attachment.netns.name,
    mode: attachment.mode,
    version,
    maxSources: attachment.state.maxSources,
    ...dump,
  };
}
