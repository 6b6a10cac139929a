import { existsSync, readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import * as assert from 'uvu/assert';
import { Bpftool } from '../../src/host/bpftool.js';
import {
  batchLine,
  batchWords,
  bpftoolArguments,
  inNetns,
} from '../../src/host/bpftool-arguments.js';
import { BpftoolError } from '../../src/host/bpftool-error.js';
import { suite } from '../suite.js';
import { fake, refusal, scratch } from './fake-bpftool.js';
import { RELEASES } from './releases.js';

const output = suite('Bpftool, output of its releases');

for (const [release, printed] of Object.entries(RELEASES)) {
  output(`reads the version of ${release}`, async () => {
    assert.is(await fake({ stdout: `${printed.version}\n` }).bpftool.version(), release);
  });

  output(`reads the attached programs of ${release}`, async () => {
    const { bpftool } = fake({ stdout: `${printed.net}\n` });
    assert.equal(await bpftool.showNet(undefined), [
      { device: 'av0', ifindex: 2, mode: 'native', programId: 686 },
    ]);
  });

  output(`reads a program of ${release}`, async () => {
    const { bpftool } = fake({ stdout: `${printed.program}\n` });
    const { id, name, type, mapIds } = await bpftool.showProgram('/pin');
    assert.equal(
      { id, name, type, mapIds },
      { id: 296, name: 'fun_xdp', type: 'xdp', mapIds: [126] },
    );
  });
}

output('reads a map, with BTF and without', async () => {
  for (const btf of [',"btf_id":281', '']) {
    const stdout = `{"id":126,"type":"lru_percpu_hash","name":"srcs","flags":0,"bytes_key":16,"bytes_value":24,"max_entries":65536,"bytes_memlock":7340928,"frozen":0${btf}}`;
    assert.equal(await fake({ stdout }).bpftool.showMap('/pin'), {
      id: 126,
      type: 'lru_percpu_hash',
      keySize: 16,
      valueSize: 24,
      maxEntries: 65536,
      memoryBytes: 7340928,
    });
  }
});

output('reads every mode of attachment, and a card that has two programs', async () => {
  const several =
    '{"devname":"d2","ifindex":4,"multi_attachments":[{"mode":"driver","id":8},{"mode":"offload","id":9}]}';
  const xdp = `{"devname":"d1","ifindex":3,"mode":"generic","id":7},${several}`;
  const { bpftool } = fake({ stdout: `[{"xdp":[${xdp}],"tc":[],"flow_dissector":[]}]` });
  assert.equal(await bpftool.showNet(undefined), [
    { device: 'd1', ifindex: 3, mode: 'generic', programId: 7 },
    { device: 'd2', ifindex: 4, mode: 'native', programId: 8 },
    { device: 'd2', ifindex: 4, mode: 'offload', programId: 9 },
  ]);
});

output(
  'takes null, an empty line and nothing for success where nothing is to be read',
  async () => {
    for (const stdout of ['null\n', '\n', '']) {
      const { bpftool } = fake({
        stdout,
        stderr: 'libbpf: elf: skipping unrecognized data section\n',
      });
      await bpftool.loadProgram('/object', '/pin');
      await bpftool.pinIterator('/object', '/pin', '/map');
      await bpftool.attach('native', '/pin', 'eth0', undefined);
    }
  },
);

output('reads a name with a backslash, which bpftool prints as a line break', async () => {
  const { bpftool } = fake({
    stdout: String.raw`[{"xdp":[{"devname":"q'\"q","ifindex":2,"mode":"driver","id":6},{"devname":"a\nn\n","ifindex":3,"mode":"driver","id":6}],"tc":[],"flow_dissector":[]}]`,
  });
  const devices = (await bpftool.showNet(undefined)).map((each) => each.device);
  assert.equal(devices, [`q'"q`, 'a\\n\\']);
});

output('reads a name with control characters, which bpftool prints as they are', async () => {
  const device = '\u0007\u001b[31m';
  const xdp = `{"devname":"${device}","ifindex":2,"mode":"driver","id":6}`;
  const { bpftool } = fake({ stdout: `[{"xdp":[${xdp}],"tc":[],"flow_dissector":[]}]\n` });
  assert.is((await bpftool.showNet(undefined))[0]?.device, device);
});

output('reads what a run of a program returned', async () => {
  const { bpftool } = fake({ stdout: '{"retval":2,"duration":739}\n' });
  assert.equal(await bpftool.runProgram('/pin', '/frame', 1), { returned: 2, durationNs: 739 });
});

output('hands on the entries of a map as a stream of their text', async () => {
  const stdout = `[{"key":["0x00"],"values":[]},${'{"key":["0x01"],"values":[]},'.repeat(5000)}{"key":["0x02"],"values":[]}]\n`;
  const { bpftool } = fake({ stdout });
  const dump = bpftool.dumpMapStream('/map', new AbortController().signal, 10_000);
  assert.is(await text(dump.stdout), stdout);
  await dump.finish();
});

output.run();

const asking = suite('Bpftool, what it asks');

/** They would print nothing in JSON before their end. */
const IN_TEXT: readonly string[] = ['openBatch'];

asking('never lets bpftool mount anything, and wants JSON of all that ends', async () => {
  for (const [verb, build] of Object.entries(bpftoolArguments)) {
    const make: (...words: never[]) => readonly string[] = build;
    const words = Reflect.apply(make, undefined, ['native', 'b', 'c', 'd']);
    assert.ok(Array.isArray(words));
    const [first, ...others] = IN_TEXT.includes(verb) ? ['-j', ...words] : words;
    assert.is(first, '-j', verb);
    if (verb !== 'version') assert.is(others[0], '-n', verb);
  }
});

asking('hands over names as they are, each as one word', async () => {
  for (const name of ['eth0', '-x', '$(id)', 'a b', "'", '*', '%s']) {
    const { bpftool, asked } = fake({ stdout: 'null' });
    await bpftool.attach('generic', '/pin', name, undefined);
    const words = ['-j', '-n', 'net', 'attach', 'xdpgeneric', 'pinned', '/pin', 'dev', name];
    assert.equal(asked(), words);
  }
});

asking('says words to a batch as that parts them, and none that it would cut', () => {
  assert.equal(batchWords(['-j', '-n', 'net', 'show', '-x']), ['net', 'show', '-x']);
  assert.is(batchLine(['prog', 'load', '/a b', '/p$x']), "prog load '/a b' /p$x");
  for (const word of ["/a'b", '/a"b', '/a#b', '/a\\', '/a\nb', ''])
    assert.is(batchLine(['prog', 'load', word]), undefined);
});

asking('enters a namespace by nsenter, which leaves bpffs in sight', () => {
  const { file, args } = inNetns('/run/netns/a b', { file: '/x/bpftool', args: ['-n', 'net'] });
  assert.match(file, /\/nsenter$/);
  assert.equal(args, ['--net=/run/netns/a b', '--', '/x/bpftool', '-n', 'net']);
  const own = { file: '/x/bpftool', args: [] };
  assert.is(inNetns(undefined, own), own);
});

asking.run();

const failures = suite('Bpftool, failures');

failures('tells the errno of what bpftool says, in the words of each release', async () => {
  for (const [message, stderr, status, code, errno] of [
    ['interface xdp attach failed: Device or resource busy', '', 240, 'tool-failed', 'EBUSY'],
    ['interface xdpgeneric attach failed: File exists', '', 239, 'tool-failed', 'EEXIST'],
    ['invalid devname nosuch', '', 234, 'no-such-interface', 'ENODEV'],
    [
      'interface xdp attach failed: Numerical result out of range',
      '',
      222,
      'tool-failed',
      'ERANGE',
    ],
    ["can't query prog: Operation not permitted", '', 255, 'not-permitted', 'EPERM'],
    ['bpf obj get (/sys/fs/bpf/x): No such file or directory', '', 255, 'tool-failed', 'ENOENT'],
    ['bpf obj get (/sys/fs/bpf): Permission denied', '', 255, 'tool-failed', 'EACCES'],
    ["can't pin BPF object: path '/p' already exists", '', 255, 'tool-failed', 'EEXIST'],
    [
      'failed to load object file',
      "libbpf: Error in bpf_object__probe_loading():Operation not permitted(1). Couldn't load",
      255,
      'not-permitted',
      'EPERM',
    ],
    [
      'failed to load object file',
      "libbpf: Error in bpf_object__probe_loading(): -EPERM. Couldn't load trivial BPF program.",
      255,
      'not-permitted',
      'EPERM',
    ],
    [
      'attach_iter failed for program x',
      'libbpf: prog: failed: -EACCES',
      243,
      'tool-failed',
      'EACCES',
    ],
    ['map create failed: Argument list too long', '', 255, 'tool-failed', 'E2BIG'],
    // No words at all: net verbs exit with 256 - errno.
    ['', '', 240, 'tool-failed', 'EBUSY'],
  ] as const) {
    const stdout = message === '' ? '' : `${JSON.stringify({ error: message })}\n`;
    const { bpftool } = fake({ stdout, stderr: `${stderr}\n`, status });
    const error = await refusal(bpftool.attach('native', '/pin', 'eth0', undefined), code);
    assert.ok(error instanceof BpftoolError);
    assert.is(error.errno, errno, error.message);
    assert.ok(error.message.includes(message), error.message);
  }
});

failures('says what the kernel said, where libbpf hands it on', async () => {
  const { bpftool } = fake({
    stdout: '{"error":"interface xdp attach failed: Numerical result out of range"}\n',
    stderr: 'libbpf: Kernel error message: veth: Peer MTU is too large to set XDP\n',
    status: 222,
  });
  const error = await refusal(bpftool.attach('native', '/p', 'e', undefined), 'tool-failed');
  assert.match(error.message, /Peer MTU is too large to set XDP$/);
});

failures('calls a program that the verifier refuses what it is', async () => {
  const { bpftool } = fake({
    stdout: '{"error":"failed to load object file"}\n',
    stderr: `libbpf: prog 'x': BPF program load failed: Permission denied\nlibbpf: -- BEGIN PROG LOAD LOG --\nR2 invalid mem access 'scalar'\nprocessed 12 insns (limit 1000000)\n`,
    status: 255,
  });
  await refusal(bpftool.loadProgram('/o', '/p'), 'verifier-rejected');
});

failures('takes an error object with status 0 for a failure', async () => {
  const { bpftool } = fake({ stdout: '{"error":"something else"}\n' });
  const error = await refusal(bpftool.attach('native', '/p', 'e', undefined), 'tool-failed');
  assert.is(error.message, 'bpftool net attach: something else');
});

failures('takes a non-zero status for a failure, whatever was printed', async () => {
  for (const stdout of ['null\n', '[]\n', RELEASES['7.1.0'].net, 'x\n']) {
    const error = await refusal(
      fake({ stdout, status: 3 }).bpftool.showNet(undefined),
      'tool-failed',
    );
    assert.match(error.message, /status 3|bpftool net show/);
  }
});

failures('reads the first of two error objects in a row', async () => {
  const { bpftool } = fake({ stdout: '{"error":"one"},{"error":"two"}', status: 255 });
  const error = await refusal(bpftool.showProgram('/p'), 'tool-failed');
  assert.match(error.message, /: one$/);
});

failures('reads an error that quotes a name as it is, and so is no JSON', async () => {
  for (const [stdout, message] of [
    ['{"error":"invalid devname x\\"}', /invalid devname x/],
    [`{"error":"invalid devname x'""}`, /invalid devname x'/],
    ['{"error":"invalid devname \\x"}', /invalid devname \\x/],
  ] as const) {
    const { bpftool } = fake({ stdout, status: 234 });
    const error = await refusal(
      bpftool.attach('native', '/pin', 'e', undefined),
      'no-such-interface',
    );
    assert.match(error.message, message);
  }
});

failures('names the signal of one that crashes', async () => {
  const { bpftool } = fake({ after: 'kill -SEGV $$' });
  const error = await refusal(bpftool.showProgram('/p'), 'tool-failed');
  assert.match(error.message, /SIGSEGV/);
});

failures('says that output is not JSON, or not the JSON that was asked for', async () => {
  for (const stdout of [
    'Segmentation fault',
    '[',
    '{"id":',
    '<html>'.repeat(100),
    '\0\u001b[31m',
  ]) {
    const error = await refusal(fake({ stdout }).bpftool.showNet(undefined), 'bad-output');
    assert.ok(error.message.length < 300, error.message);
    assert.not.match(error.message, /\p{Cc}/u);
  }
  for (const stdout of ['null', '7', '{}', '[]', '[{}]', '[{"xdp":7}]', '""', '']) {
    await refusal(fake({ stdout }).bpftool.showNet(undefined), 'bad-output');
  }
  for (const stdout of ['null', '[]', '{}', '{"id":"7"}', '']) {
    await refusal(fake({ stdout }).bpftool.showProgram('/p'), 'bad-output');
    await refusal(fake({ stdout }).bpftool.showMap('/p'), 'bad-output');
    await refusal(fake({ stdout }).bpftool.version(), 'bad-output');
  }
  await refusal(fake({ stdout: '{"key":[]}' }).bpftool.dumpMap('/p'), 'bad-output');
  await refusal(fake({ stdout: '{"retval":2}' }).bpftool.runProgram('/p', '/f', 1), 'bad-output');
});

failures('leaves out entries of net show that make no sense', async () => {
  const odd = '7,null,{},{"devname":"a"},{"devname":"a","ifindex":2,"mode":"unknown","id":3}';
  const { bpftool } = fake({ stdout: `[{"xdp":[${odd}]}]` });
  assert.equal(await bpftool.showNet(undefined), []);
});

failures('ends one that hangs at its time limit, also one that ignores SIGTERM', async () => {
  for (const each of ['exec sleep 60', `trap '' TERM; exec sleep 60`]) {
    const { bpftool, path } = fake({ after: `echo $$ >${scratch}/pid; ${each}` }, 100);
    const error = await refusal(bpftool.showNet(undefined), 'timeout');
    assert.match(error.message, /time limit/);
    assert.ok(error.hint?.includes(path));
    const pid = readFileSync(`${scratch}/pid`, 'utf8').trim();
    assert.not(existsSync(`/proc/${pid}`));
  }
});

failures('ends a dump that hangs at its time limit', async () => {
  const { bpftool } = fake({ stdout: '[{"key":[', after: 'exec sleep 60' });
  const dump = bpftool.dumpMapStream('/map', new AbortController().signal, 100);
  dump.stdout.on('error', () => {}).resume();
  await refusal(dump.finish(), 'timeout');
});

failures('says that it is not there, or not to be executed', async () => {
  for (const path of [`${scratch}/absent`, `${scratch}/bpftool1.stdout`, scratch]) {
    await refusal(new Bpftool({ path }).showNet(undefined), 'tool-missing');
  }
});

failures.run();
