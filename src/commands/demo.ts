/** `demo`: watches traffic of its own, and checks every count. */

import { endingExitCode } from '../cli/context.js';
import { chooseOptions, outputOption } from '../cli/options.js';
import { endingOutput, writeDocument, writeLines } from '../cli/output.js';
import { defineCommand } from '../cli/parser.js';
import { renderCounts } from '../demo/counts-table.js';
import { demo } from '../demo/demo.js';
import { sessionContext } from './session-context.js';
import { printMessages, viewOf } from './watch-views.js';

export const demoCommand = defineCommand({
  verb: 'demo',
  describe: 'the main job, on traffic of its own',
  options: { ...chooseOptions('mode', 'reader'), ...outputOption('table', 'ndjson', 'json') },
  examples: [
    ['xdpwho demo', 'nothing of it touches your network'],
    ['xdpwho demo --mode generic --reader dump', 'the slow ways, for comparison'],
  ],
  handler: async (options, context) => {
    const { mode, reader, output } = options;
    const session = await sessionContext(context);
    const view = viewOf(output === 'json' ? 'none' : output, endingOutput(context));
    context.messages.info('two network namespaces, one veth between them, no frame leaves them');
    let exact = false;
    try {
      for await (const event of demo(session, { mode, reader, signal: context.signal })) {
        if (event.kind === 'one-way') {
          context.messages.info(`one way only: ${event.why}`);
        } else if (event.kind === 'sending') {
          const back = event.back > 0 ? `, and ${event.back} back` : '';
          context.messages.info(
            `sending ${event.frames} frames from ${event.sources} addresses${back}`,
          );
        } else if (event.kind === 'result') {
          exact = event.exact;
          if (output === 'json') {
            const { counts } = event;
            await writeDocument(context, { changed: false, exact, counts });
          } else if (output === 'table') {
            await writeLines(context, ['', ...renderCounts(event.counts, context.color)]);
          }
        } else {
          printMessages(event, context);
          await view.show(event);
        }
      }
    } finally {
      await view.end();
    }
    if (!context.signal.aborted) {
      context.messages.info(
        exact ? 'every count is exact' : 'the counts differ from what was sent',
      );
    }
    return endingExitCode(context.signal) || (exact ? 0 : 1);
  },
});
