import { addressKey } from '../../src/model/address.js';
import { HEAD_KIND, RECORD_KIND } from '../../src/objects/layout.js';
import { PacketLines } from '../../src/packet-log/lines.js';
import { type Pass, PassBuffer, parsePass, recordCheck } from '../../src/packet-log/ring.js';

/** UTC minus the monotonic clock in these tests: 0 ns is 2026-11-22T10:00:00Z. */
export const OFFSET_US = Date.UTC(2026, 10, 22, 10) * 1000;
export const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

export interface Packet {
  readonly cpu: number;
  readonly sequence: number;
  readonly timeNs: number;
  readonly source: string;
  readonly length: number;
}

/** Makes an entry as the C programs do, and sets its check. */
function entryOf(write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(48);
  const view = new DataView(bytes.buffer);
  write(view);
  view.setUint32(40, recordCheck(new Uint32Array(bytes.buffer), 0), LITTLE_ENDIAN);
  return bytes;
}

export function recordOf({ cpu, sequence, timeNs, source, length }: Packet): Uint8Array {
  return entryOf((view) => {
    view.setBigUint64(0, BigInt(sequence), LITTLE_ENDIAN);
    view.setBigUint64(8, BigInt(timeNs), LITTLE_ENDIAN);
    new Uint8Array(view.buffer).set(addressKey(source), 16);
    view.setUint32(32, length, LITTLE_ENDIAN);
    view.setUint32(36, cpu, LITTLE_ENDIAN);
    view.setUint32(44, RECORD_KIND, LITTLE_ENDIAN);
  });
}

export function headOf(
  cpu: number,
  first: number,
  end: number,
  sampled = 0,
  filtered = 0,
): Uint8Array {
  return entryOf((view) => {
    for (const [index, value] of [first, end, sampled, filtered].entries()) {
      view.setBigUint64(index * 8, BigInt(value), LITTLE_ENDIAN);
    }
    view.setUint32(36, cpu, LITTLE_ENDIAN);
    view.setUint32(44, HEAD_KIND, LITTLE_ENDIAN);
  });
}

export function passOf(...chunks: readonly Uint8Array[]): Pass {
  const buffer = new PassBuffer();
  for (const chunk of chunks) buffer.append(chunk);
  return parsePass(buffer.words(), OFFSET_US);
}

export function linesOf(pass: Pass, format: 'plain' | 'ndjson' = 'plain', name = 'eth0'): string {
  const lines = new PacketLines(name, format);
  return Buffer.concat([...lines.render(pass.packets)]).toString();
}

const SOURCES = ['192.0.2.7', '2001:db8::7', '198.51.100.255', '::', '2001:db8:1:2:3:4:5:6'];

/** `count` packets of each CPU, by turns, a microsecond apart. */
export function traffic(cpus: number, count: number): Packet[] {
  return Array.from({ length: cpus * count }, (_, index) => ({
    cpu: index % cpus,
    sequence: Math.floor(index / cpus),
    timeNs: 1_000_000 + index * 1000,
    source: SOURCES[index % SOURCES.length] ?? '',
    length: 60 + index,
  }));
}
