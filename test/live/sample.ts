import * as assert from 'uvu/assert';
import { type LiveSize, renderLive } from '../../src/live/frame.js';
import { LiveModel } from '../../src/live/model.js';
import type { SourceRecord, TotalsRecord } from '../../src/model/records.js';
import { SourceColumns } from '../../src/table/source-columns.js';
import type { Reading } from '../../src/verbs/watch.js';

export const PLAIN: LiveSize = { width: 80, height: 24, depth: 0, blocks: true };

export function source(
  address: string,
  packets: number,
  more: Partial<SourceRecord> = {},
): SourceRecord {
  return {
    type: 'source',
    interface: 'eth0',
    source: address,
    packets: BigInt(packets),
    bytes: BigInt(packets) * 100n,
    idle_ms: 100,
    packets_per_second: packets / 10,
    bytes_per_second: packets * 10,
    ...more,
  };
}

export function reading(sources: readonly SourceRecord[], device = 'eth0'): Reading {
  const packets = sources.reduce((sum, each) => sum + each.packets, 0n);
  const totals: TotalsRecord = {
    type: 'totals',
    interface: device,
    sources: sources.length,
    packets,
    bytes: packets * 100n,
    ipv4: packets,
    ipv6: 0n,
    other: 0n,
    malformed: 0n,
    untracked: 0n,
    packets_per_second: Number(packets) / 10,
    bytes_per_second: Number(packets) * 10,
  };
  const columns = new SourceColumns(device);
  for (const each of sources) columns.add(each);
  return {
    interface: device,
    direction: 'received',
    sources: [],
    hidden: 0,
    totals,
    columns,
  };
}

export const FOUR = [
  source('192.0.2.1', 600, { bytes: 60_000n, idle_ms: 20 }),
  source('192.0.2.2', 250, { bytes: 250_000n, packets_per_second: 90 }),
  source('198.51.100.7', 140, { bytes: 9_000n, idle_ms: 64_000, packets_per_second: 0 }),
  source('2001:db8::1', 10, { bytes: 1_000n }),
];

export function model(readings: readonly Reading[] = [reading(FOUR)], top = 0): LiveModel {
  const live = new LiveModel({
    sort: 'packets',
    top,
    nameOf: (address) => (address === '192.0.2.2' ? 'printer.example' : undefined),
  });
  for (const { interface: name, direction } of readings) {
    live.addInterface(name, direction, 'native', 1000);
  }
  for (let second = 0; second < 3; second++) live.setReadings(readings, second * 1000);
  return live;
}

export function lines(live: LiveModel, size: Partial<LiveSize> = {}): string[] {
  const whole = { ...PLAIN, ...size };
  return renderLive(live.frame(whole.height), whole);
}

export function press(live: LiveModel, keys: readonly string[]): LiveModel {
  for (const key of keys) assert.is(live.press(key), false, key);
  return live;
}
