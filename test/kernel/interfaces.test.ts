import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { pinName } from '../../src/attachment/pin-paths.js';
import { udpFrame } from '../../src/model/frames.js';
import { suite } from '../suite.js';
import { USUAL_READER } from './iterators.js';
import { documentIn, Lab, lastReading, listIn, recordsIn, WHY_NO_TCX, WHY_NOT } from './lab.js';

interface Context {
  lab: Lab;
}

const WATCH = ['-o', 'ndjson', '--interval', '100ms'];

function inLab(name: string, mtu = 1500) {
  const test = suite<Context>(name, WHY_NOT);
  test.before(async (context) => {
    context.lab = await Lab.create({ mtu });
  });
  test.after(async ({ lab }) => {
    await lab?.close();
  });
  return test;
}

/** Watches one interface while packets come, and gives the records of it. */
async function countOn(lab: Lab, words: readonly string[], ifindex: number) {
  const run = lab.start(words);
  await run.says(/attached in/);
  await lab.send(udpFrame({ source: '192.0.2.1' }), 5, { ifindex });
  run.child.kill('SIGINT');
  assert.is((await run.ended()).exitCode, 130, run.stderr);
  return recordsIn(run.stdout);
}

const names = inLab('an interface is watched by its name');

for (const [what, name] of [
  ['with a dot, as VLAN interfaces have', 'eth0.100'],
  ['with several dots', 'a.b..c'],
  ['with a quote', `it's"odd`],
  ['that a shell would run', '$(id)`id`;&|'],
  ['that a shell would expand', '*?[a]{b}~'],
  ['with a backslash', 'a\\n\\'],
  ['with an at sign', 'eth0@if7'],
  ['with letters beyond ASCII', 'größe漢字'],
  ['of 15 characters', 'abcdefghijklmno'],
  ['that begins with a dash', '-x'],
  ['that is an option', '--help'],
  ['that is a verb', 'status'],
  ['that is a number', '7'],
  ['that is empty to a careless eye', '\u200b'],
] as const) {
  names(what, async ({ lab }) => {
    await lab.addVeth('to-odd', 'odd0');
    try {
      const rename = ['link', 'set', 'dev', 'odd0', 'down', 'name', name];
      await lab.ip(lab.netns, rename);
      await lab.ip(lab.netns, ['link', 'set', 'dev', name, 'up']);
      const words = ['watch', `--iface=${name}`, ...WATCH];
      const records = await countOn(lab, words, await lab.ifindex('to-odd'));
      assert.equal([...new Set(records.map((record) => record.interface))], [name]);
      assert.equal(lastReading(records).packets, { '192.0.2.1': 5 });
      if (USUAL_READER === 'iterator') {
        const inode = /@\d+$/.exec(String(records[0]?.file).split('/').at(-2) ?? '')?.[0];
        const directory = `${pinName(name, null)}${inode}`;
        assert.is(records[0]?.file, `${lab.bpffs}/xdpwho/${directory}/sources`);
      }
      await lab.untilNothingLeft();
    } finally {
      await lab.ip(lab.sender, ['link', 'del', 'dev', 'to-odd']);
    }
  });
}

names('however it is put: verb or none, bare or as an option, twice', async ({ lab }) => {
  const once = ['--count', '1', ...WATCH];
  for (const words of [
    ['watch', 'eth0', ...once],
    ['eth0', ...once],
    ['-i', 'eth0', ...once],
    ['watch', '--iface', 'eth0', ...once],
    ['watch', 'eth0', '-i', 'eth0', 'eth0', ...once],
  ]) {
    const { exitCode, stdout, stderr } = await lab.run(words);
    assert.is(exitCode, 0, stderr);
    const types = recordsIn(stdout).map((record) => record.type);
    assert.equal(types, ['attached', 'totals', 'detached'], words.join(' '));
  }
});

names('or by an alternative name, which becomes its own', async ({ lab }) => {
  const alternative = 'an-alternative.name-of-more-than-15-characters';
  await lab.ip(lab.netns, ['link', 'property', 'add', 'dev', 'eth0', 'altname', alternative]);
  const ifindex = await lab.ifindex('eth0');
  const records = await countOn(lab, ['watch', alternative, ...WATCH], ifindex);
  assert.equal([...new Set(records.map((record) => record.interface))], ['eth0']);
  const both = ['watch', 'eth0', alternative, '--count', '1', ...WATCH];
  const { exitCode, stdout, stderr } = await lab.run(both);
  assert.is(exitCode, 0, stderr);
  assert.is(recordsIn(stdout).filter((record) => record.type === 'attached').length, 1);
  await lab.untilNothingLeft();
});

names('in a namespace that is named, given as a path, or as a process in it', async ({ lab }) => {
  const inside = lab.startProgram('nsenter', [`--net=/run/netns/${lab.netns}`, 'sleep', '60']);
  await new Promise((done) => setTimeout(done, 100));
  for (const netns of [lab.netns, `/run/netns/${lab.netns}`, String(inside.pid)]) {
    const words = ['watch', 'eth0', '--netns', netns, '--bpffs', lab.bpffs, '--count', '1'];
    const { exitCode, stdout, stderr } = await lab.run([...words, ...WATCH], { bare: true });
    assert.is(exitCode, 0, stderr);
    assert.is(recordsIn(stdout)[0]?.netns, netns);
  }
  inside.child.kill();
});

names.run();

const several = inLab('several interfaces');

several('are watched at once, each with counts of its own', async ({ lab }) => {
  for (const index of [1, 2]) await lab.addVeth(`eth${index}`, `eth${index}`);
  const devices = ['eth0', 'eth1', 'eth2'];
  for (const format of ['ndjson', 'json', 'table']) {
    const run = lab.start(['watch', ...devices, '-o', format, '--interval', '1h']);
    await run.says(/eth2: attached in/);
    assert.is((await lab.attached()).length, 3);
    for (const [index, device] of devices.entries()) {
      const ifindex = await lab.ifindex(device);
      await lab.send(udpFrame({ source: `192.0.2.${index + 1}` }), 10 + index, { ifindex });
    }
    run.child.kill('SIGINT');
    assert.is((await run.ended()).exitCode, 130, run.stderr);
    for (const [index, device] of devices.entries()) {
      const expected = { [`192.0.2.${index + 1}`]: 10 + index };
      if (format === 'ndjson') {
        const own = recordsIn(run.stdout).filter((record) => record.interface === device);
        assert.equal(lastReading(own).packets, expected);
        assert.is(own.at(-1)?.type, 'detached');
      } else if (format === 'json') {
        const own = listIn(documentIn(run.stdout), 'interfaces')[index];
        assert.is(own?.interface, device);
        const packets = listIn(own, 'sources').map((each) => [each.source, each.packets]);
        assert.equal(Object.fromEntries(packets), expected);
      } else {
        const block = new RegExp(
          `^${device}, in all:\\n.*\\n192\\.0\\.2\\.${index + 1} +1${index} `,
          'm',
        );
        assert.match(run.stdout, block);
      }
    }
    await lab.untilNothingLeft();
  }
});

several.run();

const jumbo = inLab('an MTU of 9000', 9000);
const FRAME = udpFrame({ source: '192.0.2.1' });

jumbo('is counted in native mode, frames of 9014 bytes as of 1514', async ({ lab }) => {
  const run = lab.start(['watch', 'eth0', '-o', 'ndjson', '--interval', '1h']);
  await run.says(/attached in native mode/);
  await lab.send(FRAME, 9, { length: 9014 });
  await lab.send(udpFrame({ source: '2001:db8::1' }), 8, { length: 9014 });
  await lab.send(FRAME, 7, { length: 1514 });
  run.child.kill('SIGINT');
  await run.ended();
  const last = lastReading(recordsIn(run.stdout));
  assert.equal(last.packets, { '192.0.2.1': 16, '2001:db8::1': 8 });
  assert.equal(last.bytes, { '192.0.2.1': 9 * 9014 + 7 * 1514, '2001:db8::1': 8 * 9014 });
  await lab.untilNothingLeft();
});

jumbo(
  'is too large for the program of old kernels: says so, or takes generic mode',
  async ({ lab }) => {
    const old = lab.bpftoolThat(
      'bpftool-5.17',
      `case "$*" in *'prog load'*xdpwho.frags.o*)
  echo '{"error":"failed to load object file"}'
  echo "libbpf: prog 'xdpwho': BPF program load failed: Invalid argument" >&2
  exit 255 ;; esac`,
    );
    const args = ['watch', 'eth0', '--bpftool', old, '--count', '1', ...WATCH];
    const native = await lab.run([...args, '--mode', 'native']);
    assert.is(native.exitCode, 1, native.stderr);
    assert.match(
      native.stderr,
      /^xdpwho: eth0: its MTU is too large for native mode\n {2}hint: .*--mode generic/,
    );
    assert.is(recordsIn(native.stdout).at(-1)?.code, 'mtu-too-large');
    const auto = await lab.run([...args, '--mode', 'auto']);
    assert.is(auto.exitCode, 0, auto.stderr);
    assert.is(recordsIn(auto.stdout)[0]?.mode, 'generic');
    assert.match(auto.stderr, /eth0: generic mode, because native mode slows TCP/);
    await lab.untilNothingLeft();
  },
);

jumbo.run();

const modes = inLab('a mode');

modes('that the driver does not have is refused', async ({ lab }) => {
  const result = await lab.run(['watch', 'lo', '--mode', 'native', ...WATCH]);
  assert.is(result.exitCode, 5, result.stderr);
  assert.match(
    result.stderr,
    /^xdpwho: lo: no native mode: .*\n {2}hint: xdpwho watch --mode auto lo/,
  );
  await lab.untilNothingLeft();
});

modes(
  'that is generic comes by itself where there is no other, or TCX where that is better',
  async ({ lab }) => {
    await lab.ip(lab.netns, ['link', 'add', 'bridge0', 'type', 'bridge']);
    for (const [device, mode] of [
      ['bridge0', WHY_NO_TCX === undefined ? 'tcx' : 'generic'],
      ['lo', 'generic'],
    ] as const) {
      const auto = ['watch', device, '--mode', 'auto', '--count', '1'];
      const { exitCode, stdout, stderr } = await lab.run([...auto, ...WATCH]);
      assert.is(exitCode, 0, stderr);
      assert.is(recordsIn(stdout)[0]?.mode, mode);
      await lab.untilNothingLeft();
    }
  },
);

/** What drivers answer that only means "not natively", in the words of the kernel. */
for (const answer of [
  ...['Operation not supported', 'Numerical result out of range', 'No space left on device'],
  ...['Invalid argument', 'Cannot allocate memory', 'Argument list too long'],
]) {
  modes(`that the driver refuses by "${answer}" is generic, with the reason`, async ({ lab }) => {
    await lab.ip(lab.netns, ['tuntap', 'add', 'dev', 'tap0', 'mode', 'tap']);
    const refusing = lab.bpftoolThat(
      'refuses',
      `case "$*" in *'net attach xdpdrv'*) echo '{"error":"interface xdpdrv attach failed: ${answer}"}'; exit 255 ;; esac`,
    );
    const args = ['watch', 'tap0', '--bpftool', refusing, ...WATCH, '--count', '1'];
    const auto = await lab.run([...args, '--mode', 'auto']);
    assert.is(auto.exitCode, 0, auto.stderr);
    assert.is(recordsIn(auto.stdout)[0]?.mode, 'generic');
    assert.match(auto.stderr, `native mode is not to be had (bpftool net attach: `);
    const native = await lab.run([...args, '--mode', 'native']);
    assert.ok([1, 5].includes(native.exitCode ?? 0), native.stderr);
    assert.match(native.stderr, /^xdpwho: tap0: .*native mode.*\n {2}hint: xdpwho watch --mode /);
    await lab.ip(lab.netns, ['link', 'del', 'dev', 'tap0']);
    await lab.untilNothingLeft();
  });
}

modes(
  'that a veth cannot have for the queues of its peer is refused with its name',
  async ({ lab }) => {
    const few = [
      'link',
      'add',
      'name',
      'few0',
      'numtxqueues',
      '1',
      'numrxqueues',
      '1',
      'type',
      'veth',
    ];
    const many = ['peer', 'name', 'many0', 'numtxqueues', '4', 'numrxqueues', '4'];
    await lab.ip(lab.netns, [...few, ...many]);
    const refused = await lab.run(['watch', 'few0', '--mode', 'native', ...WATCH, '--count', '1']);
    assert.is(refused.exitCode, 5, refused.stderr);
    assert.match(refused.stderr, /^xdpwho: few0: no native mode: .*ENOSPC.*\n {2}hint: /);
    const auto = await lab.run(['watch', 'few0', '--mode', 'auto', ...WATCH, '--count', '1']);
    assert.is(auto.exitCode, 0, auto.stderr);
    await lab.ip(lab.netns, ['link', 'del', 'dev', 'few0']);
    await lab.untilNothingLeft();
  },
);

modes(
  'that is chosen for a veth is told in the record, and native is there when asked for',
  async ({ lab }) => {
    for (const [asked, mode] of [
      ['auto', 'generic'],
      ['native', 'native'],
      ['generic', 'generic'],
    ] as const) {
      const attached = await lab.run(['attach', 'eth0', '--mode', asked, '-o', 'json']);
      assert.is(attached.exitCode, 0, attached.stderr);
      const [own] = listIn(documentIn(attached.stdout), 'interfaces');
      assert.is(own?.['mode'], mode);
      const why = asked === 'auto' ? /^generic mode, because native mode slows TCP/ : /^null$/;
      assert.match(String(own?.['mode_note']), why);
      const status = await lab.run(['status', 'eth0', '-o', 'json']);
      const [row] = listIn(documentIn(status.stdout), 'interfaces');
      assert.is(row?.['mode_note'], own?.['mode_note']);
      assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
    }
  },
);

modes.run();

const durations = inLab('a duration');

durations('is kept where the interval is longer', async ({ lab }) => {
  const startedAt = Date.now();
  const run = await lab.run(['watch', 'eth0', '--interval', '10m', '--duration', '6s']);
  assert.is(run.exitCode, 0, run.stderr);
  // It is not an upper limit that is tested, but that the first check does not end it.
  assert.ok(Date.now() - startedAt >= 6000);
});

durations.run();

const deaf = inLab('a device that receives past the program');

deaf('is told once, within a few checks', async ({ lab }) => {
  const ifindex = await lab.ifindex('eth0');
  // A generic program gets no packet that BPF has redirected, which all of the lab's are.
  const run = lab.start([
    'watch',
    'eth0',
    '--mode',
    'generic',
    '--interval',
    '10m',
    '--duration',
    '5m',
  ]);
  await run.says(/attached in generic/);
  const note = /the device has received \d+ packets, and none of them came to the program/g;
  await lab.until(async () => {
    await lab.send(udpFrame({ source: '192.0.2.1' }), 10, { ifindex });
    await sleep(500);
    return note.test(run.stderr);
  }, 'the note');
  await sleep(5000);
  run.child.kill('SIGINT');
  await run.ended();
  assert.is(run.stderr.match(note)?.length, 1);
  await lab.untilNothingLeft();
});

deaf('is not what counts, however long its interval', async ({ lab }) => {
  const run = lab.start(['watch', 'eth0', '--interval', '10m', '--duration', '11s']);
  await run.says(/attached in native/);
  for (let second = 0; second < 10; second++) {
    await lab.send(udpFrame({ source: '192.0.2.1' }), 10);
    await sleep(1000);
  }
  assert.is((await run.ended()).exitCode, 0, run.stderr);
  assert.not.match(run.stderr, 'none of them came');
});

deaf.run();

const readers = inLab('a kernel without iterators');

readers('is read by the dump, and says why', async ({ lab }) => {
  const old = lab.bpftoolThat(
    'bpftool-noiter',
    `case "$*" in *'iter pin'*)
  echo '{"error":"can not load objfile"}'
  echo 'libbpf: failed to find valid kernel BTF' >&2
  exit 253 ;; esac`,
  );
  const args = ['watch', 'eth0', '--bpftool', old, ...WATCH];
  const records = await countOn(lab, args, await lab.ifindex('eth0'));
  assert.is(records[0]?.reader, 'dump');
  assert.is(records[0]?.file, null);
  assert.equal(lastReading(records).packets, { '192.0.2.1': 5 });

  const asked = await lab.run([...args, '--reader', 'iterator', '--count', '1']);
  assert.is(asked.exitCode, 5, asked.stderr);
  assert.match(
    asked.stderr,
    /^xdpwho: eth0: no iterator can be pinned: .*\n {2}hint: .*--reader dump/,
  );
  await lab.untilNothingLeft();
});

readers.run();
