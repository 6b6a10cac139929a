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
