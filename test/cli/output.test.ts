import { PassThrough } from 'node:stream';
import * as assert from 'uvu/assert';
import {
  errorRecords,
  failedForJson,
  write,
  writeCommands,
  writeDocument,
  writeLines,
  writeRecords,
} from '../../src/cli/output.js';
import { XdpwhoError } from '../../src/model/errors.js';
import type { AnyRecord } from '../../src/model/records.js';
import { suite } from '../suite.js';

const test = suite('what is written to standard output');

const { signal } = new AbortController();

/** A stream that is full after `bytes`, until something reads it. */
function full(bytes: number): PassThrough {
  return new PassThrough({ highWaterMark: bytes });
}

async function writtenBy(
  run: (context: { stdout: PassThrough; signal: AbortSignal }) => Promise<void>,
) {
  const stdout = full(1_000_000);
  await run({ stdout, signal });
  return String(stdout.read() ?? '');
}

test('is a line each, a document, or commands that a shell reads', async () => {
  assert.is(await writtenBy((context) => writeLines(context, ['a', 'b'])), 'a\nb\n');
  assert.is(await writtenBy((context) => writeLines(context, [])), '');
  assert.is(await writtenBy((context) => writeDocument(context, { a: 1n })), '{\n  "a": 1\n}\n');
  const commands = [{ file: 'bpftool', args: ['net', 'show', 'dev', 'a b'] }];
  assert.is(
    await writtenBy((context) => writeCommands(context, commands)),
    "bpftool net show dev 'a b'\n",
  );
});

test('is every record, also of more than one batch', async () => {
  const records: AnyRecord[] = Array.from({ length: 2500 }, (_, index) => ({
    ...{ type: 'source', interface: 'eth0', source: '192.0.2.1', packets: BigInt(index) },
    ...{ bytes: 0n, idle_ms: 0 },
  }));
  const lines = (await writtenBy((context) => writeRecords(context, records))).split('\n');
  assert.is(lines.length, 2501);
  assert.equal(
    lines.slice(0, -1).map((line) => JSON.parse(line).packets),
    records.map((_, index) => index),
  );
});

test('waits for its reader, and leaves no listener behind', async () => {
  const stdout = full(4);
  const listeners = () => stdout.listenerCount('drain') + stdout.listenerCount('close');
  const before = listeners();
  for (let times = 0; times < 3; times++) {
    let taken = false;
    const written = write({ stdout, signal }, 'longer than that').then(() => {
      taken = true;
    });
    await new Promise((done) => setImmediate(done));
    assert.is(taken, false);
    stdout.read();
    await written;
    assert.is(listeners(), before);
  }
});

test('does not wait for a reader that has gone', async () => {
  const stdout = full(4);
  const written = write({ stdout, signal }, 'longer than that');
  stdout.destroy();
  await written;
  await write({ stdout, signal }, 'after the end');
});

test('tells of failures in a document and as records', () => {
  const failures = [
    { interface: 'eth0', failure: new XdpwhoError('not-ours', 'eth0: held', { hint: 'wait' }) },
    { interface: 'eth1', failure: new XdpwhoError('failed', 'eth1: failed') },
  ];
  assert.equal(failedForJson(failures), [
    { interface: 'eth0', code: 'not-ours', message: 'eth0: held', hint: 'wait' },
    { interface: 'eth1', code: 'failed', message: 'eth1: failed', hint: null },
  ]);
  assert.equal(errorRecords(failures), [
    { type: 'error', code: 'not-ours', message: 'eth0: held', hint: 'wait' },
    { type: 'error', code: 'failed', message: 'eth1: failed', hint: null },
  ]);
});

test.run();
