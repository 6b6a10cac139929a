/** Every kind of device that the newest kernel can make, in a guest: the true sources, all of them, or none where none come. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { suite } from '../suite.js';
import { CONFIGURATIONS } from '../vm/configurations.js';
import { DEVICE_KINDS } from '../vm/device-kinds.js';
import type { DeviceResult } from '../vm/findings.js';
import { PROJECT } from '../vm/image.js';
import { runInGuest, whyNoGuest } from '../vm/in-guest.js';
import { renderDevices, replaceSection } from '../vm/report.js';

const CONFIGURATION = CONFIGURATIONS['kernel-newest'];

const devices = suite('devices, in a guest', await whyNoGuest(CONFIGURATION));
let results: readonly DeviceResult[] = [];

devices.before(async () => {
  const findings = await runInGuest({
    configuration: CONFIGURATION,
    entry: 'devices.ts',
  });
  results = findings.flatMap((each) => (each.type === 'device' ? [each] : []));
});

for (const { name, counted, only, on } of DEVICE_KINDS) {
  devices(name, () => {
    const result = results.find((each) => each.name === name);
    assert.ok(result, 'the guest has not tried it');
    // What this kernel cannot make is a row that says so.
    if (result.mode.startsWith('not made')) return;
    assert.match(result.mode, /^(native|generic)$/);
    const all = counted === 'none' ? '0 of 5' : '5 of 5';
    const expected = [only === 'ipv6' ? '-' : all, only === 'ipv4' ? '-' : all];
    assert.equal([result.ipv4, result.ipv6], expected);
    // A bond or a team gets what its ports receive; a bridge, a vlan or a tunnel is counted beside them.
    const isMaster = /^(bond|team)/.test(on);
    assert.is(result.all.includes(on), true, `--all: ${result.all.join(' ')}`);
    assert.is(result.all.includes('under'), !isMaster, `--all: ${result.all.join(' ')}`);
    assert.is(result.all.includes('lo'), false);
  });
}

devices.after(() => {
  if (process.env.XDPWHO_VM_FINDINGS === undefined || results.length === 0) return;
  const file = join(PROJECT, 'docs/compatibility.md');
  const text = readFileSync(file, 'utf8');
  writeFileSync(file, replaceSection(text, 'devices', renderDevices(results)));
});

devices.run();
