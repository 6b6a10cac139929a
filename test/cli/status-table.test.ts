import * as assert from 'uvu/assert';
import { renderStatus } from '../../src/cli/status-table.js';
import type { StatusRecord } from '../../src/model/records.js';
import { suite } from '../suite.js';

const test = suite('renderStatus');

const NOTHING: StatusRecord = {
  ...{
    type: 'status',
    interface: 'eth0',
    netns: null,
    ownership: 'none',
    direction: null,
    why: null,
  },
  ...{ mode: null, program_id: null, program_name: null, reader: null, file: null },
  ...{ file_note: null, mode_note: null, since: null, options: null },
  ...{ sources: null, packets: null, bytes: null, holder: null, held_by: null, link_id: null },
};

const OURS: StatusRecord = {
  ...{ ...NOTHING, interface: 'eth1', netns: 'blue', ownership: 'ours', mode: 'native' },
  ...{ program_id: 17, since: '2026-11-26T01:02:03.456Z', sources: 328, packets: 1_234_567n },
  options: {
    ...{ mode: 'auto', reader: 'auto', max_sources: 65_536, file_mode: '0400' },
    log: { source: null, sample: 1, buffer_bytes: 1_048_576 },
  },
  file: '/sys/fs/bpf/xdpwho/eth1/sources',
};

test('has a line for each interface below its titles', () => {
  assert.equal(renderStatus([NOTHING, OURS], false), [
    'INTERFACE  NETNS  WHOSE  MODE    PROGRAM  PACKETS  SOURCES       SINCE                 NOTE',
    'eth0       -      none   -       -        -        -             -',
    'eth1       blue   ours   native  17       1.2M     328/65536 1%  2026-11-26T01:02:03Z  log of 1.0MB; /sys/fs/bpf/xdpwho/eth1/sources',
  ]);
});

test('says whose a program is, and what can be done', () => {
  const notes = (record: Partial<StatusRecord>) =>
    renderStatus([{ ...NOTHING, ...record }], false)[1]?.replace(/^.* - +/, '');
  assert.is(notes({ ownership: 'foreign', program_name: 'a\x1b[2J' }), 'a\\x1b[2J');
  assert.is(
    notes({ ownership: 'stale', why: 'its interface is gone' }),
    'its interface is gone; xdpwho clean',
  );
  assert.is(
    notes({ ownership: 'ours', holder: { pid: 7, command: 'watch' } }),
    'xdpwho watch, process 7',
  );
});

test('says in one line that there is nothing', () => {
  assert.equal(renderStatus([], true), ['nothing is attached']);
});

test.run();
