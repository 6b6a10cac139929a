import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import {
  chargesLockedMemory,
  configuredHz,
  countListMembers,
  countPossibleCpus,
  hasKernelBtf,
  missingCapabilities,
} from '../../src/host/kernel.js';
import { suite } from '../suite.js';

const memory = suite('chargesLockedMemory');

memory('is so before 5.11', () => {
  for (const version of ['4.19.0', '5.10.0-46-cloud-amd64', '5.4.0-200-generic']) {
    assert.is(chargesLockedMemory(version), true, version);
  }
  for (const version of ['5.11.0', '5.15.0-1-amd64', '6.1.0-50-s390x', '7.3.4+deb13-amd64']) {
    assert.is(chargesLockedMemory(version), false, version);
  }
});

memory.run();

const list = suite('countListMembers');

list('counts the members of a kernel list', () => {
  assert.is(countListMembers('0\n'), 1);
  assert.is(countListMembers('0-3\n'), 4);
  assert.is(countListMembers('0,2-7\n'), 7);
  assert.is(countListMembers('0-0,4,6-6,8-11'), 7);
  assert.is(countListMembers('0-8191'), 8192);
});

list('makes no number of what is no list', () => {
  assert.ok(Number.isNaN(countListMembers('all')));
});

list('counts the possible CPUs of this machine, of which the present ones are a part', () => {
  const present = readFileSync('/sys/devices/system/cpu/present', 'utf8');
  assert.ok(countPossibleCpus() >= countListMembers(present));
});

list.run();

const hz = suite('configuredHz');

hz('knows a usual value or says that it is unknown', () => {
  assert.ok([100, 250, 300, 1000, undefined].includes(configuredHz()));
});

hz.run();

const host = suite('missingCapabilities');

host('names only capabilities, and none of a process that has all', () => {
  const effective = /^CapEff:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  const has = (bit: number) => ((BigInt(`0x${effective}`) >> BigInt(bit)) & 1n) === 1n;
  const missing = missingCapabilities();
  assert.is(missing.includes('CAP_NET_ADMIN'), !has(12));
  assert.is(missing.includes('CAP_BPF'), !has(21) && !has(39));
  assert.is(missing.includes('CAP_PERFMON'), !has(21) && !has(38));
});

host('hasKernelBtf agrees with the file itself', () => {
  const there = (() => {
    try {
      return readFileSync('/sys/kernel/btf/vmlinux').length > 0;
    } catch {
      return false;
    }
  })();
  assert.is(hasKernelBtf(), there);
});

host.run();
