import { readdirSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { attach } from '../../src/api.js';
import { Attachment } from '../../src/attachment/attachment.js';
import { udpFrame } from '../../src/model/frames.js';
import type { Reader, SourceRecord } from '../../src/model/records.js';
import { SourceReader } from '../../src/table/source-reader.js';
import { suite } from '../suite.js';
import { READERS, USUAL_READER, withIterator } from './iterators.js';
import { Lab, WHY_NOT } from './lab.js';
import { fillTable, sourceAt } from './table.js';

interface Context {
  lab: Lab;
  attachment: Attachment;
}

const SOURCES = 20_000;

/** A reader of the same attachment, by iterator or by dump. */
function readerOf({ lab, attachment }: Context, reader: Reader): SourceReader {
  const { programId, mode } = attachment;
  const state = { ...attachment.state, programId, mode, reader };
  const { pins, netns } = attachment;
  return new SourceReader(lab.context, new Attachment(lab, { pins, netns, state }));
}

async function read(context: Context, reader: Reader): Promise<SourceRecord[]> {
  const records: SourceRecord[] = [];
  for await (const batch of readerOf(context, reader).sources()) records.push(...batch);
  return records.sort((a, b) => (a.source < b.source ? -1 : 1));
}

const readers = suite<Context>('both readers', WHY_NOT);

readers.before(async (context) => {
  const lab = await Lab.create();
  context.lab = lab;
  const options = { interface: lab.device, netns: lab.netns, bpffs: lab.bpffs };
  context.attachment = await attach({ ...options, mode: 'native', session: lab.context });
});
readers.after(async ({ lab, attachment }) => {
  await attachment?.[Symbol.asyncDispose]();
  await lab?.close();
});

readers('read an empty table as empty', async (context) => {
  for (const reader of READERS) {
    assert.equal(await read(context, reader), []);
    const totals = await readerOf(context, reader).totals();
    assert.equal(totals, { bytes: 0n, ipv4: 0n, ipv6: 0n, other: 0n, malformed: 0n });
  }
});

readers('read one source, and the same totals', async (context) => {
  await context.lab.send(udpFrame({ source: '192.0.2.1' }), 300);
  for (const reader of READERS) {
    const records = await read(context, reader);
    const figures = records.map(({ source, packets, bytes }) => ({ source, packets, bytes }));
    assert.equal(figures, [{ source: '192.0.2.1', packets: 300n, bytes: 19_200n }]);
    const totals = await readerOf(context, reader).totals();
    assert.equal(totals, { bytes: 19_200n, ipv4: 300n, ipv6: 0n, other: 0n, malformed: 0n });
  }
});

readers(`read ${SOURCES} sources, each once and with every figure`, async (context) => {
  const { lab, attachment } = context;
  await fillTable(lab, attachment.pins.sourcesMap, SOURCES);
  const expected = Array.from({ length: SOURCES }, (_, index) => sourceAt(index));
  expected.push({ source: '192.0.2.1', packets: 300n, bytes: 19_200n });
  const lines = expected.map((each) => `${each.source} ${each.packets} ${each.bytes}`).sort();
  for (const reader of READERS) {
    const records = await read(context, reader);
    assert.equal(
      records.map((each) => `${each.source} ${each.packets} ${each.bytes}`).sort(),
      lines,
    );
    assert.ok(records.every((each) => each.interface === lab.device && each.idle_ms >= 0));
  }
});

withIterator(readers)(
  'read ages that differ by no more than the time between them',
  async (context) => {
    await context.lab.send(udpFrame({ source: '192.0.2.1' }), 200, { sources: 100 });
    const startNs = process.hrtime.bigint();
    const first = await read(context, 'dump');
    const second = await read(context, 'iterator');
    const elapsedMs = Number(process.hrtime.bigint() - startNs) / 1e6;
    const later = new Map(second.map((each) => [each.source, each.idle_ms]));
    for (const { source, idle_ms: idleMs } of first) {
      const grown = (later.get(source) ?? Number.NaN) - idleMs;
      // A jiffy is at most 10 ms, and each of the two clocks may be wrong by two jiffies.
      assert.ok(grown >= -20 && grown <= elapsedMs + 40, `${source}: ${grown} in ${elapsedMs} ms`);
    }
  },
);

readers('stop in the middle when they are told to', async (context) => {
  for (const reader of READERS) {
    const ending = new AbortController();
    let batches = 0;
    try {
      for await (const _ of readerOf(context, reader).sources(ending.signal)) {
        batches++;
        ending.abort();
      }
    } catch (error) {
      assert.ok(error instanceof Error);
    }
    assert.ok(batches >= 1);
  }
  await context.lab.until(async () => {
    const { lab } = context;
    return !(await lab.traces()).some((line) => line.includes('map dump'));
  }, 'no bpftool left');
});

readers('leave nothing of their own behind', ({ attachment }) => {
  // The directory of readers' pins stays, because removing it would race with another reader.
  const left = readdirSync(attachment.pins.directory).sort();
  const files = USUAL_READER === 'iterator' ? ['sources', 'totals'] : [];
  assert.equal(left, ['maps', 'program', 'readers', 'state', ...files].sort());
  assert.equal(readdirSync(attachment.pins.readersDirectory), []);
});

readers.run();
