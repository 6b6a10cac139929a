/** `serve`: serves the counters over HTTP, for Prometheus. */

import { endingExitCode } from '../cli/context.js';
import { chooseOptions, INTERFACES, interfacesOf, OPTIONS } from '../cli/options.js';
import { defineCommand } from '../cli/parser.js';
import { Bpftool } from '../host/bpftool.js';
import { findTool } from '../host/tools.js';
import { METRICS_TOP } from '../metrics/metrics.js';
import { readMetrics, serve } from '../metrics/serve.js';
import { XdpwhoError } from '../model/errors.js';
import { groupingOf } from '../owners/owners.js';
import { ownersOf } from './owners-of.js';

/** Each source is a label by its address alone. */
function refuseFiles(options: Readonly<Record<'geo' | 'networks', unknown>>): void {
  for (const name of ['geo', 'networks'] as const) {
    if (options[name] === undefined) continue;
    throw new XdpwhoError('usage', `--${name}: only with --group`, {
      hint: 'xdpwho serve --group owner ...',
    });
  }
}

export const serveCommand = defineCommand({
  verb: 'serve',
  arguments: INTERFACES,
  describe: 'the counters over HTTP, for Prometheus',
  about: [
    'Answers GET /metrics with what dump -o prometheus prints, until Ctrl-C. It reads what attach has',
    'left: any user can run it, without bpftool, where --file-mode 0444 was given to attach.',
  ],
  options: {
    ...chooseOptions('iface', 'listen'),
    top: {
      ...OPTIONS.top,
      describe: 'sources that become labels',
      defaultDescription: String(METRICS_TOP),
    },
    ...chooseOptions('group', 'geo', 'networks', 'netns', 'bpffs'),
  },
  examples: [
    ['xdpwho serve eth0', `then: curl http://${OPTIONS.listen.default}/metrics`],
    ['xdpwho serve eth0 --bpffs /run/xdpwho', 'as any user: what xdpwho@eth0 has attached'],
  ],
  handler: async (options, context) => {
    const { messages, signal, version, objectsDirectory } = context;
    const interfaces = interfacesOf(options);
    const { listen, top = METRICS_TOP, netns, bpffs } = options;
    // bpftool runs only where attach had to use --reader dump. Elsewhere it may be absent, so its version is not asked.
    const bpftool =
      options.bpftool === undefined
        ? new Bpftool({ path: findTool('bpftool') ?? 'bpftool' })
        : await context.bpftool();
    const session = { bpftool, objectsDirectory };
    if (options.group === undefined) refuseFiles(options);
    const owners = options.group === undefined ? undefined : ownersOf(options, context);
    const group = groupingOf(options.group, owners);
    let lastFailure = '';
    await serve({
      listen,
      signal,
      read: (ending) => {
        for (const note of owners?.refresh() ?? []) messages.info(note);
        const request = { interfaces, netns, bpffs, top, version, group };
        return readMetrics(session, request, ending);
      },
      onListening: () => {
        const { host, port } = listen;
        const shown = host.includes(':') ? `[${host}]` : host;
        messages.info(`http://${shown}:${port}/metrics`);
        if (!/^127\.|^::1$/.test(host)) {
          messages.info(`${shown}: whoever reaches this address can read who sends`);
        }
      },
      onFailure: (message) => {
        if (message !== lastFailure) messages.info(message);
        lastFailure = message;
      },
    });
    return endingExitCode(signal);
  },
});
