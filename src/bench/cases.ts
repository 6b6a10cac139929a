/** The packets that a program is measured with. */
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { systemErrorCode, XdpwhoError } from '../model/errors.js';
import { arpFrame, malformedFrame, udpFrame } from '../model/frames.js';

/** One kind of packet. */
export interface BenchCase {
  readonly name: string;
  readonly frame: Uint8Array;
  /** How many source addresses the packets have, in random order; 0: each packet has a new one. Default: the frame's own address. */
  readonly sources?: number | undefined;
  /** The exponent of Zipf's law, by which the sources are drawn. Default: each as often as the others. */
  readonly zipf?: number | undefined;
}

/** Limits of `prog run` (net/bpf/test_run.c): an Ethernet header, and what a page has room for. */
const SHORTEST_FRAME = 14;
const LONGEST_FRAME = 3400;

export const DEFAULT_CASES: readonly BenchCase[] = [
  { name: 'ipv4', frame: udpFrame({ source: '192.0.2.7' }) },
  { name: 'ipv6', frame: udpFrame({ source: '2001:db8::7' }) },
  { name: 'ipv4-vlan', frame: udpFrame({ source: '192.0.2.7', vlans: [100] }) },
  { name: 'ipv4-two-vlans', frame: udpFrame({ source: '192.0.2.7', vlans: [200, 100] }) },
  { name: 'arp', frame: arpFrame() },
  { name: 'malformed', frame: malformedFrame() },
  { name: 'ipv4-60000-sources', frame: udpFrame({ source: '192.0.2.7' }), sources: 60_000 },
  ...[60_000, 1_000_000].flatMap((sources) =>
    [1, 1.2].map((zipf) => ({
      name: `ipv4-zipf-${zipf.toFixed(1)}-${sources}`,
      frame: udpFrame({ source: '192.0.2.7' }),
      sources,
      zipf,
    })),
  ),
  { name: 'ipv4-new-sources', frame: udpFrame({ source: '192.0.2.7' }), sources: 0 },
];

/**
 * One case for each file of a directory, with the file's name.
 * @throws XdpwhoError `usage` for an empty directory or a file that is not a frame.
 */
export function readPackets(directory: string): BenchCase[] {
  checkReadable(directory);
  const names = readdirSync(directory).sort();
  if (names.length === 0) throw new XdpwhoError('usage', `${directory}: no frames in it`);
  return names.map((name) => ({ name, frame: readPacket(join(directory, name)) }));
}

function readPacket(file: string): Uint8Array {
  const frame = readFileSync(file);
  const hint = 'one raw frame per file, from the Ethernet header on';
  if (frame.length < SHORTEST_FRAME || frame.length > LONGEST_FRAME) {
    const why = `${frame.length} bytes: a frame has ${SHORTEST_FRAME} to ${LONGEST_FRAME}`;
    throw new XdpwhoError('usage', `${file}: ${why}`, { hint });
  }
  if (['d4c3b2a1', 'a1b2c3d4', '0a0d0d0a'].includes(frame.toString('hex', 0, 4))) {
    throw new XdpwhoError('usage', `${file}: a capture file, not a frame`, { hint });
  }
  return frame;
}

/** @throws XdpwhoError `usage` when a file or directory does not exist or cannot be read. */
export function checkReadable(path: string): void {
  try {
    accessSync(path, constants.R_OK);
  } catch (cause) {
    const why = systemErrorCode(cause) === 'ENOENT' ? 'not there' : 'cannot be read';
    throw new XdpwhoError('usage', `${path}: ${why}`, { cause });
  }
}
