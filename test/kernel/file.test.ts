import { chmodSync, mkdtempSync, rmdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { udpFrame } from '../../src/model/frames.js';
import { suite } from '../suite.js';
import { detachXdp } from './bpftool.js';
import { withIterator } from './iterators.js';
import {
  documentIn,
  type JsonRecord,
  Lab,
  listIn,
  MountNamespace,
  type RunCliOptions,
  recordsIn,
  WHY_NOT,
} from './lab.js';

const FRAME = udpFrame({ source: '192.0.2.1' });
const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--'];

let lab: Lab;

/** What is said of the first interface. */
async function told(args: readonly string[], options: RunCliOptions = {}) {
  const { exitCode, stdout, stderr } = await lab.run([...args, '--json'], options);
  assert.is(exitCode, 0, stderr);
  const document = documentIn(stdout);
  const [first = {}] = listIn(document, 'interfaces');
  return { ...first, document, stderr, file: String(first['file']), note: first['file_note'] };
}

function packetsIn(records: readonly JsonRecord[]) {
  return records.map((each) => [each['source'], each['packets']]);
}

const reading = suite('the file', WHY_NOT);
const fileReading = withIterator(reading);
reading.before(async () => {
  lab = await Lab.create();
});
reading.after.each(async () => {
  await lab.run(['detach', '--all']);
});
reading.after(() => lab.close());

fileReading(
  'prints the sources as ndjson, as long as it is attached, with no process of ours',
  async () => {
    await told(['attach', 'eth0']);
    const { file } = await told(['status', 'eth0']);
    assert.equal(await lab.guards(), []);
    for (const sent of [4, 9]) {
      await lab.send(FRAME, sent === 4 ? 4 : 5);
      const { stdout } = await execa('cat', [file]);
      assert.equal(packetsIn(recordsIn(stdout)), [['192.0.2.1', sent]]);
    }
    await lab.run(['detach', 'eth0']);
    assert.is((await execa('cat', [file], { reject: false })).exitCode, 1);
  },
);

fileReading(
  'is for its owner only, unless --file-mode opens it, to be read by nobody',
  async () => {
    const { file } = await told(['attach', 'eth0']);
    await lab.send(FRAME, 3);
    const refused = await execa(NOBODY[0] ?? '', [...NOBODY.slice(1), 'cat', file], {
      reject: false,
    });
    assert.is.not(refused.exitCode, 0);
    assert.match(refused.stderr, 'Permission denied');

    const open = await told(['attach', 'eth0', '--replace', '--file-mode', '0444']);
    assert.is(open.note, null);
    await lab.send(FRAME, 8);
    const read = await execa(NOBODY[0] ?? '', [...NOBODY.slice(1), 'cat', open.file]);
    assert.equal(packetsIn(recordsIn(read.stdout)), [['192.0.2.1', 8]]);
  },
);

fileReading(
  'in a bpffs that its users cannot pass, it says so, and --bpffs mounts one that they can',
  async () => {
    const place = ['--netns', lab.netns];
    const mounts = await MountNamespace.create();
    // Other users can pass through it, as through /run.
    const own = mkdtempSync('/tmp/xdpwho-own-');
    chmodSync(own, 0o755);
    try {
      const inside = { bare: true, under: mounts.under };
      const closed = await told(['attach', 'eth0', '--file-mode', '0444', ...place], inside);
      assert.match(closed.file, /^\/sys\/fs\/bpf\/xdpwho\/eth0@\d+\/sources$/);
      const note = 'others cannot reach the file: /sys/fs/bpf is closed to them';
      assert.match(String(closed.note), note);
      assert.match(String((await told(['status', 'eth0', ...place], inside)).note), note);
      const talk = await lab.run(
        ['attach', 'eth0', '--file-mode', '0444', '--max-sources', '9', '--replace', ...place],
        inside,
      );
      assert.match(talk.stderr, note);
      const nobody = [...mounts.under.slice(1), ...NOBODY, 'cat'];
      const refused = await execa('nsenter', [...nobody, closed.file], { reject: false });
      assert.match(refused.stderr, 'Permission denied');

      const options = ['--file-mode', '0444', '--bpffs', own, ...place];
      const differs = await lab.run(['attach', 'eth0', ...options, '--max-sources', '9'], inside);
      assert.is(differs.exitCode, 1);
      assert.match(differs.stderr, `asked for --bpffs ${own}`);
      const open = await told(['attach', 'eth0', '--replace', ...options], inside);
      assert.ok(open.file.startsWith(`${own}/xdpwho/`));
      assert.is(open.note, null);
      await lab.send(FRAME, 2);
      const read = await execa('nsenter', [...nobody, open.file]);
      assert.equal(packetsIn(recordsIn(read.stdout)), [['192.0.2.1', 2]]);

      // No option says where the pins are.
      assert.is((await told(['status', 'eth0', ...place], inside)).file, open.file);
      const all = await lab.run(['status', '--json'], inside);
      assert.equal(
        listIn(documentIn(all.stdout), 'interfaces').map((each) => each['file']),
        [open.file],
      );
      const dump = await lab.run(['dump', 'eth0', '-o', 'ndjson', ...place], inside);
      assert.equal(packetsIn(recordsIn(dump.stdout)).slice(0, 1), [['192.0.2.1', 2]]);
      await detachXdp(lab.bpftool, 'native', 'eth0', `/run/netns/${lab.netns}`);
      const clean = await lab.run(['clean'], inside);
      assert.match(clean.stdout, `removed ${own}/xdpwho/`);

      await told(['attach', 'eth0', '--bpffs', own, ...place], inside);
      const detach = await lab.run(['detach', 'eth0', '--json', ...place], inside);
      assert.is(documentIn(detach.stdout)['changed'], true);
      assert.equal(await lab.attached(), []);
    } finally {
      await mounts.close();
      rmdirSync(own);
    }
  },
);

reading(
  'cannot be had everywhere: then it is null, and why, and `dump` works all the same',
  async () => {
    const old = lab.bpftoolThat(
      'without-iterators',
      `case "$*" in *"iter pin"*) echo '{"error":"libbpf: failed to find valid kernel BTF"}'; exit 253;; esac`,
    );
    const attached = await told(['attach', 'eth0', '--bpftool', old]);
    assert.is(attached.file, 'null');
    assert.match(String(attached.note), 'failed to find valid kernel BTF');
    assert.match(attached.stderr, 'no iterator can be pinned');
    assert.equal((await told(['status', 'eth0'])).note, attached.note);
    assert.is((await told(['attach', 'eth0', '--bpftool', old])).document['changed'], false);
    await lab.send(FRAME, 12);
    const { stdout } = await lab.run(['dump', 'eth0', '-o', 'ndjson']);
    assert.equal(packetsIn(recordsIn(stdout)).slice(0, 1), [['192.0.2.1', 12]]);

    await lab.run(['detach', 'eth0']);
    const wanted = ['attach', 'eth0', '--reader', 'iterator', '--bpftool', old];
    const refused = await lab.run(wanted);
    assert.is(refused.exitCode, 5);
    assert.match(refused.stderr, 'no iterator can be pinned');
    assert.equal(await lab.attached(), []);
  },
);

// The file may have a source twice then, because the kernel prints it: see src/table/source-set.ts.
fileReading('cuts no line while the table churns, and `dump` names no source twice', async () => {
  const { file } = await told(['attach', 'eth0', '--max-sources', '256']);
  let sending = true;
  const sent = lab
    .send(udpFrame({ source: '198.18.0.0' }), 20_000, { sources: 5000 })
    .finally(() => {
      sending = false;
    });
  const texts: string[] = [];
  const dumps: JsonRecord[][] = [];
  while (sending) {
    for (let reading = 0; reading < 20; reading++) texts.push(await readFile(file, 'latin1'));
    dumps.push(recordsIn((await lab.run(['dump', 'eth0', '-o', 'ndjson'])).stdout));
  }
  await sent;
  const line =
    /^\{"type":"source","interface":"eth0","source":"198\.18\.\d+\.\d+","packets":\d+,"bytes":\d+,"idle_ms":\d+\}$/;
  const lines = texts.flatMap((text) => {
    assert.ok(text === '' || text.endsWith('}\n'));
    return text.split('\n').slice(0, -1);
  });
  assert.ok(lines.length > 256, `${lines.length} lines in ${texts.length} readings`);
  for (const each of lines) assert.match(each, line);
  for (const records of dumps) {
    const names = records.slice(0, -1).map((each) => each['source']);
    assert.is(new Set(names).size, names.length, 'a source twice');
    assert.is(records.at(-1)?.['sources'], names.length);
  }
});

reading.run();
