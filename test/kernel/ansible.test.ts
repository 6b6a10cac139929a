import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { findTool } from '../../src/host/tools.js';
import { suite } from '../suite.js';
import { CLI, Lab, WHY_NOT } from './lab.js';
import { COLLECTIONS, play, recap, writeEntrance, writePlay } from './playbook.js';

const COLLECTION = `${COLLECTIONS}/ansible_collections/xdpwho/xdpwho`;

const missing = ['ansible-playbook', 'ansible-lint'].find((name) => findTool(name) === undefined);
const needed = missing === undefined ? undefined : `needs ${missing}`;
const test = suite('the Ansible collection', WHY_NOT ?? needed);

/** An Ethernet frame with an IPv4 packet from 192.0.2.1. */
const FRAME = Buffer.alloc(60);
/** A bridge takes no frame without a sender. */
FRAME.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
FRAME.set([0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1], 12);

/** A name that no interface of this machine has: nothing may be attached outside of the namespaces. */
const DEVICE = 'fleet0';

/** Three hosts: a network namespace and a BPF file system each, entered in sudo's place. */
let hosts: readonly Lab[];
let home: string;

test.before.each(async () => {
  hosts = [
    await Lab.create({ device: DEVICE, bridged: true }),
    await Lab.create({ device: DEVICE, bridged: true }),
    await Lab.create({ device: DEVICE, bridged: true }),
  ];
  home = hosts[0]?.scratch ?? '';
  const lines = hosts.map((lab, index) => {
    const into = `exec nsenter --net=/run/netns/${lab.netns} -- "$@"`;
    const enter = writeEntrance(`${home}/enter-${index}`, into);
    return `host${index} ansible_become_exe=${enter} bpffs=${lab.bpffs}`;
  });
  const shared = [
    '[all:vars]',
    'ansible_connection=local',
    `ansible_python_interpreter=${findTool('python3')}`,
  ];
  writeFileSync(`${home}/hosts.ini`, [...lines, ...shared, ''].join('\n'));
  writeFileSync(`${home}/xdpwho`, `#!/bin/sh\nexec ${process.execPath} ${CLI} "$@"\n`, {
    mode: 0o755,
  });
  for (const agentless of [false, true]) {
    writePlay(`${home}/${agentless ? 'agentless' : 'package'}.yml`, {
      xdpwho_interfaces: `[${DEVICE}]`,
      xdpwho_agentless: String(agentless),
      xdpwho_executable: `${home}/xdpwho`,
      xdpwho_options:
        '{bpffs: "{{ bpffs }}", max_sources: 500, replace: "{{ replace | default(false) }}"}',
    });
  }
});

test.after.each(async () => {
  for (const lab of hosts) await lab.close();
});

/** An agentless host has none. The control node has its own. */
function takePythonAway(): void {
  const inventory = readFileSync(`${home}/hosts.ini`, 'utf8');
  writeFileSync(
    `${home}/hosts.ini`,
    inventory.replace(
      /^ansible_python_interpreter=.*$/m,
      'ansible_python_interpreter=/nonexistent',
    ),
  );
}

function all(changed: number, failed = 0): string[] {
  return [0, 1, 2].map((index) => `host${index} changed ${changed} failed ${failed}`);
}

async function attached(): Promise<number[]> {
  return Promise.all(hosts.map(async (lab) => (await lab.attached()).length));
}

/** Permissions of each host's file, as the record there says. */
async function fileModes(): Promise<unknown[]> {
  const shown = await Promise.all(hosts.map((lab) => lab.run(['status', DEVICE, '--json'])));
  return shown.map(({ stdout }) => /"file_mode": "(\d+)"/.exec(stdout)?.[1]);
}

for (const way of ['package', 'agentless']) {
  const playbook = `${way}.yml`;
  const run = (...args: string[]) => {
    if (way === 'agentless') takePythonAway();
    return play(home, playbook, ...args);
  };
  test(`attaches once, tells the truth before it does, and leaves nothing (${way})`, async () => {
    const foreseen = await run('--check', '--diff');
    assert.equal(recap(foreseen.stdout), all(1), foreseen.all);
    assert.equal(await attached(), [0, 0, 0]);
    if (way === 'package')
      assert.match(foreseen.stdout, /-\s+"ownership": "none"[\s\S]*\+\s+"ownership": "ours"/);
    const first = await run();
    assert.equal(recap(first.stdout), all(1), first.all);
    assert.equal(await attached(), [1, 1, 1]);
    const [second, checked] = [await run(), await run('--check', '--diff')];
    assert.equal([recap(second.stdout), recap(checked.stdout)], [all(0), all(0)], second.all);
    const other = ['-e', JSON.stringify({ xdpwho_file_mode: '0444', replace: true })];
    const differing = await run('--check', '--diff', ...other);
    assert.equal(recap(differing.stdout), all(1), differing.all);
    if (way === 'package')
      assert.match(differing.stdout, /-\s+"file_mode": "0400"[\s\S]*\+\s+"file_mode": "0444"/);
    const refused = await run('--check', '-e', 'xdpwho_file_mode=0444');
    assert.equal(recap(refused.stdout), all(0, 1), refused.all);
    const replaced = await run(...other);
    assert.equal(recap(replaced.stdout), all(1), replaced.all);
    assert.equal(await fileModes(), ['0444', '0444', '0444']);
    const absent = ['-e', 'xdpwho_state=absent'];
    assert.equal(recap((await run('--check', ...absent)).stdout), all(1));
    assert.equal(await attached(), [1, 1, 1]);
    assert.equal(recap((await run(...absent)).stdout), all(1));
    assert.equal([await attached(), hosts.flatMap((lab) => lab.pins())], [[0, 0, 0], []]);
    assert.equal(recap((await run(...absent)).stdout), all(0));
  });

  test(`leaves a host alone that holds a stranger's program, and does the others (${way})`, async () => {
    const [, second] = hosts;
    assert.ok(second);
    await second.attachStranger(DEVICE);
    const before = await second.attached();
    const ran = await run();
    assert.is(ran.exitCode, 2);
    assert.equal(recap(ran.stdout), [
      'host0 changed 1 failed 0',
      'host1 changed 0 failed 1',
      'host2 changed 1 failed 0',
    ]);
    assert.match(ran.stdout, /held by another program/);
    assert.equal(await second.attached(), before);
  });
}

/** What the playbook top_sources prints. */
async function topSources(): Promise<unknown> {
  const options = JSON.stringify({
    xdpwho_executable: `${home}/xdpwho`,
    xdpwho_options: { bpffs: '{{ bpffs }}' },
  });
  const ran = await play(home, 'xdpwho.xdpwho.top_sources', '--become', '-e', options);
  assert.is(ran.exitCode, 0, ran.all);
  return JSON.parse(`{${/"msg": \[[\s\S]*?\n {4}\]/.exec(ran.stdout)?.[0]}}`);
}

test('answers which sources hit the fleet most, all hosts together', async () => {
  assert.equal(recap((await play(home, 'agentless.yml')).stdout), all(1));
  for (const [index, lab] of hosts.entries()) {
    await lab.send(FRAME, 10 * (index + 1));
    const other = Buffer.from(FRAME);
    other.set([198, 51, 100, 7], 26);
    await lab.send(other, 1);
  }
  const answer = await topSources();
  assert.equal(answer, {
    msg: [
      { source: '192.0.2.1', hosts: 3, packets: 60 },
      { source: '198.51.100.7', hosts: 3, packets: 3 },
    ],
  });
});

test('keeps link-local addresses of different hosts apart, and asks in the namespace of an attachment', async () => {
  // fe80::1 sends to each host, and a host has an attachment in a namespace that is not its own.
  const linkLocal = Buffer.alloc(60);
  linkLocal.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 6, 59, 64]);
  linkLocal.set([0xfe, 0x80, ...new Array(13).fill(0), 1], 22);
  const [first] = hosts;
  assert.ok(first !== undefined);
  const second = await Lab.create({ device: DEVICE, bridged: true });
  hosts = [...hosts, second];
  await first.run(['attach', DEVICE, '--mode', 'generic']);
  const elsewhere = ['--netns', second.netns, '--bpffs', first.bpffs, '--mode', 'generic'];
  await first.run(['attach', DEVICE, ...elsewhere], { bare: true });
  await first.send(linkLocal, 3);
  await second.send(linkLocal, 4);
  const answer = await topSources();
  const netns = (lab: Lab) => lab.netns;
  assert.equal(answer, {
    msg: [
      {
        ...{ source: 'fe80::1', hosts: 1, packets: 4 },
        on: `host0 ${netns(second)} ${DEVICE}`,
      },
      { source: 'fe80::1', hosts: 1, packets: 3, on: `host0 ${netns(first)} ${DEVICE}` },
    ],
  });
});

for (const way of ['package', 'agentless']) {
  test(`takes the interface of the default route, of IPv6 where there is none of IPv4, or says what is missing (${way})`, async () => {
    writePlay(`${home}/default.yml`, {
      xdpwho_executable: `${home}/xdpwho`,
      xdpwho_options: '{bpffs: "{{ bpffs }}", max_sources: 500}',
      xdpwho_agentless: String(way === 'agentless'),
    });
    const [first, second] = hosts;
    assert.ok(first !== undefined && second !== undefined);
    await first.ip(first.netns, ['address', 'add', '192.0.2.10/24', 'dev', DEVICE]);
    await first.ip(first.netns, ['route', 'add', 'default', 'via', '192.0.2.1']);
    await second.ip(second.netns, ['address', 'add', '2001:db8::10/64', 'dev', DEVICE, 'nodad']);
    await second.ip(second.netns, [
      '-6',
      'route',
      'add',
      'default',
      'via',
      '2001:db8::1',
      'dev',
      DEVICE,
    ]);
    if (way === 'agentless') takePythonAway();
    const ran = await play(home, 'default.yml');
    assert.equal(
      recap(ran.stdout),
      ['host0 changed 1 failed 0', 'host1 changed 1 failed 0', 'host2 changed 0 failed 1'],
      ran.all,
    );
    assert.match(ran.stdout, /this host has no default route, neither of IPv4 nor of IPv6/);
    assert.equal(await attached(), [1, 1, 0]);
  });
}

test('is clean to ansible-lint at the production profile, and documented', async () => {
  const env = { ANSIBLE_COLLECTIONS_PATH: COLLECTIONS, NO_COLOR: '1' };
  const lint = await execa('ansible-lint', ['--offline', '--profile', 'production', '-q'], {
    cwd: COLLECTION,
    env,
    reject: false,
    all: true,
  });
  assert.equal([lint.exitCode, lint.stdout], [0, ''], lint.all);
  for (const name of readdirSync(`${COLLECTION}/plugins/modules`)) {
    const module = `xdpwho.xdpwho.${name.replace('.py', '')}`;
    const { stdout } = await execa('ansible-doc', [module], { env });
    assert.match(stdout, /EXAMPLES:/);
  }
});

test.run();
