import { readdirSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { propertyOf } from '../../src/model/json-values.js';
import { suite } from '../suite.js';
import {
  documentIn,
  Lab,
  lastReading,
  listIn,
  recordsIn,
  type Started,
  WHY_NO_TCX,
  WHY_NOT,
} from './lab.js';

const BPFFS = '/sys/fs/bpf';
const demo = suite<{ lab: Lab }>('demo', WHY_NOT);

// The demo makes its own namespaces. The lab only starts it, and ends it when a test fails.
demo.before(async (context) => {
  context.lab = await Lab.create();
});
demo.after(async ({ lab }) => {
  await lab?.close();
});

const start = (lab: Lab, ...args: string[]) => lab.start(['demo', ...args], { bare: true });

/** Namespaces, pins, programs and processes of a demo, by its process id; empty when all has gone. */
async function traces(run: Started): Promise<string[]> {
  const name = `xdpwho-demo-${run.pid}`;
  const list = (directory: string) => {
    try {
      return readdirSync(directory);
    } catch {
      return [];
    }
  };
  const namespaces = list('/run/netns').filter((each) => each.startsWith(name));
  const pins = list(BPFFS).filter((each) => each.startsWith(name));
  const folders = list('/run').filter((each) => each.startsWith(`xdpwho-${run.pid}-`));
  const { stdout } = await execa('ps', ['-eo', 'pid,args'], { maxBuffer: 1e8 });
  const processes = stdout.split('\n').filter((line) => line.includes(name));
  const attachments = list(`${BPFFS}/xdpwho`).filter((each) => {
    const inode = /@(\d+)$/.exec(each)?.[1];
    return inode !== undefined && inodes.get(run.pid) === inode;
  });
  return [...namespaces, ...pins, ...folders, ...processes, ...attachments];
}

/** The inode of each demo's receiving namespace, by process id: its pins have it in their names. */
const inodes = new Map<number, string>();

async function attached(run: Started): Promise<void> {
  await run.says(/sending \d+ frames/);
  const path = `/run/netns/xdpwho-demo-${run.pid}-rx`;
  inodes.set(run.pid, (await execa('stat', ['-L', '-c', '%i', path])).stdout);
  const found = await traces(run);
  assert.ok(found.length >= 6, `namespaces, pins and processes: ${found.join('\n')}`);
  assert.ok(found.some((each) => each.endsWith(`@${inodes.get(run.pid)}`)));
}

const gone = (lab: Lab, run: Started) =>
  lab.until(async () => (await traces(run)).length === 0, 'everything of the demo has gone');

demo('counts exactly what it sent, says so, and leaves nothing', async ({ lab }) => {
  const run = start(lab);
  await attached(run);
  assert.is((await run.ended()).exitCode, 0, run.stderr);
  assert.match(run.stderr, /every count is exact\n$/);
  const tables = run.stdout.split(/^(?:SOURCE|DESTINATION) +SENT +COUNTED$/m).slice(1);
  assert.is(tables.length, WHY_NO_TCX === undefined ? 2 : 1, 'one for each way');
  const rows = tables.flatMap((table) => table.trim().split('\n'));
  assert.ok(rows.length >= 11, run.stdout);
  for (const row of rows) {
    const [, sent, counted, verdict] = /^(?:in all|\S+) +(\d+) +(\d+) {2}(\w+)/.exec(row) ?? [];
    assert.ok(Number(sent) > 0, row);
    assert.is(counted, sent, row);
    assert.is(verdict, 'exact', row);
  }
  const addresses = rows.filter((row) => /^[\d.]+\.|:/.test(row));
  assert.ok(addresses.length >= 8);
  for (const what of ['IPv4', 'IPv6', 'one VLAN tag', 'two VLAN tags', 'ARP']) {
    assert.ok(
      rows.some((row) => row.includes(what)),
      what,
    );
  }
  await gone(lab, run);
});

demo('says the same in ndjson as in json, by the other reader and mode too', async ({ lab }) => {
  const ndjson = start(lab, '-o', 'ndjson', '--reader', 'dump', '--mode', 'generic');
  const json = start(lab, '-o', 'json');
  assert.is((await ndjson.ended()).exitCode, 0, ndjson.stderr);
  assert.is((await json.ended()).exitCode, 0, json.stderr);
  const document = documentIn(json.stdout);
  assert.is(propertyOf(document, 'changed'), false);
  assert.is(propertyOf(document, 'exact'), true);
  const all = listIn(document, 'counts');
  assert.is(
    all.some(({ direction }) => direction === 'sent'),
    WHY_NO_TCX === undefined,
  );
  const counts = all.filter(({ direction }) => direction === 'received');
  const byAddress = counts.filter(({ what }) => /[.:]/.test(String(what)));
  const { packets, totals } = lastReading(recordsIn(ndjson.stdout));
  assert.equal(packets, Object.fromEntries(byAddress.map(({ what, sent }) => [what, sent])));
  assert.is(totals?.packets, counts.find(({ what }) => what === 'in all')?.sent);
  await gone(lab, ndjson);
  await gone(lab, json);
});

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGKILL', null],
] as const) {
  demo(`takes everything away when it is ended by ${signal}`, async ({ lab }) => {
    const run = start(lab);
    await attached(run);
    run.child.kill(signal);
    const { exitCode } = await run.ended();
    assert.is(exitCode, code, run.stderr);
    assert.not.match(run.stderr, /rror|exact/);
    await gone(lab, run);
  });
}

demo('takes everything away when it is interrupted while it is being set up', async ({ lab }) => {
  for (const delayMs of [250, 400, 550]) {
    const run = start(lab);
    await new Promise((done) => setTimeout(done, delayMs));
    run.child.kill('SIGINT');
    await run.ended();
    assert.not.match(run.stderr, /rror/);
    await gone(lab, run);
  }
});

demo('needs no privilege to say that it needs some', async () => {
  const { exitCode, stderr } = await execa(
    'setpriv',
    [
      ...['--reuid', '65534', '--regid', '65534', '--clear-groups', '--'],
      ...[process.execPath, new URL('../../bin/xdpwho.js', import.meta.url).pathname, 'demo'],
    ],
    { reject: false },
  );
  assert.is(exitCode, 77, stderr);
  assert.match(stderr, /xdpwho: .*(not permitted|permission denied)/i);
  assert.match(stderr, /hint: run it as root/);
});

demo.run();
