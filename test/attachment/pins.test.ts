import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { claim } from '../../src/attachment/pins.js';
import { readState, STATE_VERSION, writeState } from '../../src/attachment/record.js';
import { hasErrorCode } from '../../src/model/errors.js';
import { suite } from '../suite.js';
import { inDirectory, STATE } from './pin-directory.js';

const record = suite('claim, readState and writeState');

record('give the directory to the first who claims it, and its record to everybody', () => {
  inDirectory((pins) => {
    assert.is(readState(pins), undefined);
    assert.is(claim(pins, STATE), true);
    assert.is(claim(pins, { ...STATE, token: 'another' }), false);
    assert.equal(readState(pins), STATE);
  });
});

record('put one record in the place of another', () => {
  inDirectory((pins) => {
    claim(pins, STATE);
    const whole = { ...STATE, mode: 'native', programId: 9, reader: 'dump', holder: null } as const;
    writeState(pins, whole);
    assert.equal(readState(pins), whole);
    assert.equal(readdirSync(pins.directory).sort(), ['maps', 'state']);
  });
});

record('say so of a record of another version', () => {
  inDirectory((pins) => {
    mkdirSync(pins.directory);
    symlinkSync(JSON.stringify({ ...STATE, version: STATE_VERSION + 1 }), pins.state);
    assert.throws(
      () => readState(pins),
      (error: unknown) => hasErrorCode(error, 'other-version'),
    );
  });
});

record('refuse what is no record', () => {
  const texts = [
    'no JSON',
    'null',
    '7',
    JSON.stringify({ ...STATE, programId: '9' }),
    JSON.stringify({ ...STATE, token: undefined }),
    JSON.stringify({ ...STATE, holder: 1 }),
    JSON.stringify({ ...STATE, log: undefined }),
    JSON.stringify({ ...STATE, log: {} }),
    JSON.stringify({ ...STATE, holder: { pid: '1' } }),
    ...[1e300, -5, 0, 1.5].map((maxSources) => JSON.stringify({ ...STATE, maxSources })),
    ...['x', 'offload'].map((mode) => JSON.stringify({ ...STATE, mode })),
    JSON.stringify({ ...STATE, modeAsked: 'x' }),
    JSON.stringify({ ...STATE, reader: 'x' }),
    JSON.stringify({ ...STATE, readerAsked: '--help' }),
    JSON.stringify({ ...STATE, fileMode: 0o4777 }),
    JSON.stringify({ ...STATE, programId: -1 }),
    JSON.stringify({ ...STATE, linkId: 0.5 }),
    JSON.stringify({ ...STATE, netnsInode: 2 ** 53 }),
    JSON.stringify({ ...STATE, since: 'yesterday' }),
    JSON.stringify({ ...STATE, holder: { ...STATE.holder, pid: 0 } }),
    JSON.stringify({ ...STATE, holder: { ...STATE.holder, startTicks: '-1' } }),
    JSON.stringify({ ...STATE, log: { source: null, sample: 0, segments: 1, cpus: 1 } }),
  ];
  for (const text of texts) {
    inDirectory((pins) => {
      mkdirSync(pins.directory);
      symlinkSync(text, pins.state);
      assert.throws(
        () => readState(pins),
        (error: unknown) => hasErrorCode(error, 'bad-object'),
      );
    });
  }
  inDirectory((pins) => {
    mkdirSync(pins.directory);
    writeFileSync(pins.state, JSON.stringify(STATE));
    assert.throws(
      () => readState(pins),
      (error: unknown) => hasErrorCode(error, 'bad-object'),
    );
  });
});

record.run();
