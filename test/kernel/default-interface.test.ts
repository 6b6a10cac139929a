/** Which interfaces a command takes that names none, in network namespaces with routes of their own. */
import * as assert from 'uvu/assert';
import { suite } from '../suite.js';
import { Lab, recordsIn, WHY_NOT } from './lab.js';

let lab: Lab;
const test = suite('no interface named', WHY_NOT);

test.before.each(async () => {
  lab = await Lab.create();
  await lab.addVeth('tx1', 'eth1');
  await ip('addr', 'add', '192.0.2.9/24', 'dev', 'eth0');
  await ip('addr', 'add', '198.51.100.9/24', 'dev', 'eth1');
  await ip('addr', 'add', '2001:db8:1::9/64', 'dev', 'eth1', 'nodad');
});
test.after.each(async () => {
  await lab.run(['detach', '--all']);
  await lab.untilNothingLeft();
  await lab.close();
});

const ip = (...args: string[]) => lab.ip(lab.netns, args);
const inside = () => ['nsenter', `--net=/run/netns/${lab.netns}`, '--'];

/** The interfaces that a watch of one reading attaches to, and what it says. */
async function watched(...words: string[]) {
  const options = ['-o', 'ndjson', '--count', '1', '--interval', '100ms', '--mode', 'generic'];
  const { exitCode, stdout, stderr } = await lab.run(['watch', ...words, ...options]);
  assert.is(exitCode, 0, stderr);
  const attached = recordsIn(stdout).filter(({ type }) => type === 'attached');
  return { devices: attached.map((each) => each['interface']), stderr };
}

test('the default route of IPv4 is taken before that of IPv6, and the lower metric first', async () => {
  await ip('-6', 'route', 'add', 'default', 'via', '2001:db8:1::1', 'dev', 'eth1');
  const six = await watched();
  assert.equal(six.devices, ['eth1']);
  assert.match(six.stderr, /^xdpwho: eth1: the interface of the default route \(IPv6\)$/m);
  await ip('route', 'add', 'default', 'via', '192.0.2.1', 'dev', 'eth0', 'metric', '300');
  const four = await watched();
  assert.equal(four.devices, ['eth0']);
  assert.match(four.stderr, /^xdpwho: eth0: the interface of the default route \(IPv4\)$/m);
  await ip('route', 'add', 'default', 'via', '198.51.100.1', 'dev', 'eth1', 'metric', '200');
  assert.equal((await watched()).devices, ['eth1']);
  assert.equal((await watched('eth0')).devices, ['eth0'], 'what is named counts');
});

test('attach, log, doctor and no word at all take it too', async () => {
  await ip('route', 'add', 'default', 'via', '192.0.2.1', 'dev', 'eth0');
  const attached = await lab.run(['attach', '--json', '--log']);
  assert.is(attached.exitCode, 0, attached.stderr);
  assert.match(attached.stdout, /"interface": "eth0"/);
  const log = await lab.run(['log', '--last', '1']);
  assert.is(log.exitCode, 0, log.stderr);
  assert.match(log.stderr, /eth0: the interface of the default route/);
  const doctor = await lab.run(['doctor']);
  assert.match(doctor.stderr, /eth0: the interface of the default route/);
  assert.match(doctor.stdout, /eth0/);
  const own = ['--bpffs', lab.bpffs, '--count', '1', '--interval', '100ms', '-o', 'ndjson'];
  const bare = await lab.run(own, { bare: true, under: inside() });
  assert.is(bare.exitCode, 0, bare.stderr);
  assert.is(recordsIn(bare.stdout)[0]?.['interface'], 'eth0');
  const quiet = await lab.run(['watch', '-q', '--count', '1', '--interval', '100ms']);
  assert.is(quiet.stderr, '');
});

test('without a default route the error lists what is up, and nothing is attached', async () => {
  await ip('route', 'add', 'unreachable', 'default', 'metric', '5');
  for (const verb of ['watch', 'log', 'attach']) {
    const { exitCode, stdout, stderr } = await lab.run([verb]);
    assert.equal([exitCode, stdout], [2, ''], stderr);
    assert.is(
      stderr,
      `xdpwho: no interface named, and no default route; up: eth0 eth1\n  hint: ${hintOf(stderr)}`,
    );
    assert.match(hintOf(stderr), new RegExp(`xdpwho\\S* ${verb} --help$`));
  }
  await ip('link', 'set', 'dev', 'eth0', 'down');
  await ip('link', 'set', 'dev', 'eth1', 'down');
  const { exitCode, stderr } = await lab.run([], { bare: true, under: inside() });
  assert.is(exitCode, 2);
  assert.match(stderr, /^xdpwho: no interface named, and no default route; no interface is up\n/);
  const { exitCode: doctor, stderr: said } = await lab.run(['doctor']);
  assert.ok(doctor === 0 || doctor === 1, said);
  assert.is(said, '');
});

function hintOf(stderr: string): string {
  return /hint: (.*)$/m.exec(stderr)?.[1] ?? '';
}

test('--all takes every interface that is up but the loopback, in their order', async () => {
  await ip('link', 'set', 'dev', 'lo', 'up');
  await ip('link', 'add', 'name', '-odd', 'type', 'bridge');
  await ip('link', 'set', 'dev', '-odd', 'up');
  assert.equal((await watched('--all')).devices, ['eth0', 'eth1', '-odd']);
  await ip('link', 'set', 'dev', 'eth1', 'down');
  assert.equal((await watched('--all')).devices, ['eth0', '-odd']);
  const attached = await lab.run(['attach', '--all', '-o', 'ndjson', '--mode', 'generic']);
  assert.is(attached.exitCode, 0, attached.stderr);
  assert.equal(
    recordsIn(attached.stdout).map((each) => each['interface']),
    ['eth0', '-odd'],
  );
  const both = await lab.run(['watch', '--all', 'eth0']);
  assert.is(both.exitCode, 2);
  assert.match(both.stderr, /^xdpwho: --all and eth0: one or the other\n/);
  const plan = await lab.run(['watch', '--all', '--dry-run', '--replace']);
  assert.is(plan.exitCode, 2, 'watch replaces nothing');
});

test('--all leaves the ports of a bond to the bond, and those of a bridge are counted', async () => {
  try {
    await ip('link', 'add', 'bond0', 'type', 'bond');
  } catch {
    // This kernel has no bonds: only the bridge is tried.
  }
  await ip('link', 'add', 'bridge0', 'type', 'bridge');
  await ip('link', 'set', 'dev', 'eth1', 'master', 'bridge0');
  await ip('link', 'set', 'dev', 'bridge0', 'up');
  const expected = ['eth0', 'eth1', 'bridge0'];
  if ((await ip('-o', 'link', 'show')).includes('bond0')) {
    await ip('link', 'set', 'dev', 'eth0', 'down');
    await ip('link', 'set', 'dev', 'eth0', 'master', 'bond0');
    await ip('link', 'set', 'dev', 'bond0', 'up');
    await ip('link', 'set', 'dev', 'eth0', 'up');
    expected.splice(0, 1);
    expected.push('bond0');
  }
  assert.equal((await watched('--all')).devices.sort(), expected.sort());
});

test('--all of nothing is an error', async () => {
  for (const device of ['eth0', 'eth1']) await ip('link', 'set', 'dev', device, 'down');
  await ip('link', 'set', 'dev', 'lo', 'up');
  const { exitCode, stderr } = await lab.run(['watch', '--all']);
  assert.is(exitCode, 2);
  assert.match(stderr, /^xdpwho: --all: no interface is up but the loopback\n/);
});

test.run();
