import { lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { findTool } from '../../src/host/tools.js';
import { propertyOf } from '../../src/model/json-values.js';
import { suite } from '../suite.js';
import { USUAL_READER } from './iterators.js';
import { Lab, WHY_NOT } from './lab.js';
import { Units } from './units.js';

const needed = findTool('systemd-analyze') === undefined ? 'needs systemd-analyze' : undefined;
const test = suite('the systemd units', WHY_NOT ?? needed);

const SERVICE = 'xdpwho@.service';
const METRICS = 'xdpwho-metrics@.service';

/** An Ethernet frame with an IPv4 packet from 192.0.2.1. */
const FRAME = Buffer.alloc(60);
/** A bridge takes no frame without a sender. */
FRAME.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
FRAME.set([0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1], 12);

let units: Units;
let lab: Lab;

test.before.each(async () => {
  units = await Units.create();
  lab = await Lab.create({ bridged: true });
});

test.after.each(async () => {
  await lab.close();
  units.close();
});

function analyze(...args: string[]) {
  return execa('systemd-analyze', args, {
    env: { SYSTEMD_UNIT_PATH: `${units.directory}:` },
    reject: false,
    all: true,
  });
}

test('are accepted by systemd without a word', async () => {
  const paths = units.names().map((name) => `${units.directory}/${name}`);
  assert.is(paths.length, 4);
  const { all, exitCode } = await analyze('verify', '--man=no', ...paths);
  assert.equal([all, exitCode], ['', 0]);
});

test('leave their processes little: an exposure of 2.1 of 10 at most', async () => {
  for (const name of ['xdpwho@eth0.service', 'xdpwho-metrics@eth0.service']) {
    const { all, exitCode } = await analyze('security', '--offline=true', '--threshold=21', name);
    assert.is(exitCode, 0, all);
  }
});

test('attach, read and detach with three capabilities and no root', async () => {
  await units.run(lab, SERVICE, 'ExecStartPre');
  await units.run(lab, SERVICE, 'ExecStart', { XDPWHO_OPTIONS: '--max-sources 500' });
  await lab.send(FRAME, 4);
  const status = await lab.run(['status', lab.device, '-o', 'json']);
  assert.match(status.stdout, /"max_sources": 500/);
  const [directory] = lab.pins();
  if (USUAL_READER === 'iterator') {
    const file = `${lab.bpffs}/xdpwho/${directory}/sources`;
    assert.equal([lstatSync(file).uid, lstatSync(file).mode & 0o777], [65534, 0o444]);
    const readByAnybody = await execa('setpriv', ['--reuid=12345', '--clear-groups', 'cat', file]);
    assert.is(propertyOf(JSON.parse(readByAnybody.stdout), 'packets'), 4);
  }
  // Twice, as after `systemctl restart` of something that it needs.
  await units.run(lab, SERVICE, 'ExecStart', { XDPWHO_OPTIONS: '--max-sources 500' });
  assert.is((await lab.attached()).length, 1);
  await units.run(lab, SERVICE, 'ExecStop');
  await units.run(lab, SERVICE, 'ExecStopPost');
  assert.equal([await lab.attached(), lab.pins()], [[], []]);
});

test('detach what is left of an interface that has gone, and attach to the next of that name', async () => {
  await units.run(lab, SERVICE, 'ExecStartPre');
  await units.run(lab, SERVICE, 'ExecStart');
  await lab.ip(lab.netns, ['link', 'del', lab.device]);
  await units.run(lab, SERVICE, 'ExecStop');
  assert.equal(lab.pins(), []);
  await lab.addVeth('eth0', lab.device);
  await units.run(lab, SERVICE, 'ExecStartPre');
  await units.run(lab, SERVICE, 'ExecStart');
  assert.is((await lab.attached()).length, 1);
});

test('leave room for root beside them', async () => {
  await units.run(lab, SERVICE, 'ExecStartPre');
  await units.run(lab, SERVICE, 'ExecStart');
  await lab.addVeth('eth1', 'eth1');
  assert.is((await lab.run(['attach', 'eth1'])).exitCode, 0);
  assert.is((await lab.run(['detach', '--all'])).exitCode, 0);
  assert.equal([await lab.attached(), lab.pins()], [[], []]);
  await units.run(lab, SERVICE, 'ExecStartPre');
  await units.run(lab, SERVICE, 'ExecStart');
  assert.is((await lab.attached()).length, 1);
});

test('put a file of metrics in its place in one step, and keep it when a reading fails', async () => {
  await units.run(lab, SERVICE, 'ExecStartPre');
  await units.run(lab, SERVICE, 'ExecStart');
  await lab.send(FRAME, 4);
  const directory = `${units.directory}/textfiles`;
  mkdirSync(directory);
  const variables = {
    RUNTIME_DIRECTORY: units.runtimeDirectory(),
    XDPWHO_TEXTFILES: directory,
  };
  await units.run(lab, METRICS, 'ExecStart', variables);
  await units.run(lab, METRICS, 'ExecStartPost', variables);
  assert.equal(readdirSync(directory), [`xdpwho-${lab.device}.prom`]);
  const file = `${directory}/xdpwho-${lab.device}.prom`;
  assert.is(lstatSync(file).mode & 0o777, 0o644);
  assert.match(
    readFileSync(file, 'utf8'),
    /^xdpwho_source_packets_total\{.*source="192\.0\.2\.1"\} 4$/m,
  );
  assert.ok(readFileSync(file, 'utf8').endsWith('\n'));
  await units.run(lab, SERVICE, 'ExecStop');
  let failed = false;
  await units.run(lab, METRICS, 'ExecStart', variables).catch(() => {
    failed = true;
  });
  assert.ok(failed);
  // Exit code 3 is no failure of the unit (SuccessExitStatus=), so this runs, too.
  const before = readFileSync(file, 'utf8');
  await units.run(lab, METRICS, 'ExecStartPost', variables);
  assert.equal(readdirSync(directory), [`xdpwho-${lab.device}.prom`]);
  assert.is(readFileSync(file, 'utf8'), before);
});

test.run();
