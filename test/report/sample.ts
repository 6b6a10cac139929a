/** Recordings of `watch -o ndjson`. */

import { Readable } from 'node:stream';
import { type Report, readReport } from '../../src/report/recording.js';

export const START_MS = Date.UTC(2026, 10, 22, 10, 0, 0);

type Fields = Readonly<Record<string, unknown>>;

export function attached(device = 'eth0'): Fields {
  return { type: 'attached', interface: device, mode: 'native' };
}

export function source(address: string, packets: number, bytes: number, more: Fields = {}): Fields {
  const rates = { packets_per_second: 0, bytes_per_second: 0 };
  return {
    type: 'source',
    interface: 'eth0',
    source: address,
    packets,
    bytes,
    idle_ms: 100,
    ...rates,
    ...more,
  };
}

export function totals(second: number, bytesPerSecond: number, more: Fields = {}): Fields {
  return {
    ...{
      type: 'totals',
      interface: 'eth0',
      sources: 2,
      packets: 30,
      bytes: 3000,
      ipv4: 30,
      ipv6: 0,
    },
    ...{
      other: 0,
      malformed: 0,
      untracked: 0,
      time: new Date(START_MS + 1000 * second).toISOString(),
    },
    ...{ packets_per_second: bytesPerSecond / 100, bytes_per_second: bytesPerSecond, ...more },
  };
}

export function text(records: readonly Fields[]): string {
  return records.map((record) => `${JSON.stringify(record)}\n`).join('');
}

export function read(records: readonly Fields[] | string): Promise<Report> {
  const all = typeof records === 'string' ? records : text(records);
  return readReport(Readable.from([Buffer.from(all)], { objectMode: false }), 'x.ndjson');
}

export const SMALL = [
  attached(),
  source('192.0.2.1', 10, 1000, { bytes_per_second: 1000, packets_per_second: 10 }),
  totals(1, 1000),
  source('192.0.2.1', 20, 2000, { bytes_per_second: 1000, packets_per_second: 10 }),
  source('2001:db8::1', 10, 9000, { bytes_per_second: 9000, packets_per_second: 10, idle_ms: 400 }),
  totals(2, 10_000, { packets: 30, bytes: 11_000 }),
  source('192.0.2.1', 20, 2000),
  source('2001:db8::1', 10, 9000, { idle_ms: 500 }),
  totals(2.1, 0, { packets: 30, bytes: 11_000 }),
  { type: 'detached', interface: 'eth0', program_id: 7 },
];
