/**
 * A process that holds a link by src/attachment/link.ts, for tests that kill it:
 *
 *   link-holder.ts BPFTOOL OBJECTS REQUEST
 *
 * REQUEST is a LinkRequest in JSON. Prints one line of JSON, a HolderAnswer; lets go at the end of its
 * input. A terminal's Ctrl-C does not end it.
 */
import { once } from 'node:events';
import { holdLink, LinkRefused, LinkUnavailable } from '../../src/attachment/link.js';
import { Bpftool } from '../../src/host/bpftool.js';
import { ObjectFiles } from '../../src/objects/files.js';

export type HolderAnswer =
  | { readonly id: number; readonly pid: number }
  | { readonly refused: string }
  | { readonly unavailable: string };

const [path = '', objects = '', request = ''] = process.argv.slice(2);

process.on('SIGINT', () => {});
try {
  const bpftool = new Bpftool({ path });
  const asked = JSON.parse(request);
  // JSON has made an object with numbered members of it.
  const testFrame = Uint8Array.from(Object.values<number>(asked.testFrame));
  const link = await holdLink(bpftool, new ObjectFiles(objects), { ...asked, testFrame });
  say({ id: link.id, pid: link.pid });
  process.stdin.resume();
  await once(process.stdin, 'end');
  await link.close();
} catch (error) {
  if (error instanceof LinkRefused) say({ refused: error.errno });
  else if (error instanceof LinkUnavailable) say({ unavailable: error.message });
  else throw error;
}

function say(answer: HolderAnswer): void {
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
