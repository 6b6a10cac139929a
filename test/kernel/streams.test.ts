import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { findTool } from '../../src/host/tools.js';
import { suite } from '../suite.js';
import { CLI, Lab, recordsIn, WHY_NOT } from './lab.js';

const JOURNALD = '/usr/lib/systemd/systemd-journald';
const tools = ['systemd-cat', 'journalctl', 'logrotate'];
const missing = existsSync(JOURNALD)
  ? tools.find((name) => findTool(name) === undefined)
  : 'systemd-journald';
const needed = missing === undefined ? undefined : `needs ${missing}`;
const test = suite('a stream of records', WHY_NOT ?? needed);

/** An Ethernet frame with an IPv4 packet from 192.0.2.1. */
const FRAME = Buffer.alloc(60);
/** A bridge takes no frame without a sender. */
FRAME.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
FRAME.set([0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1], 12);

let lab: Lab;

test.before.each(async () => {
  lab = await Lab.create({ bridged: true });
});

test.after.each(() => lab.close());

function watchWords(...more: string[]): string[] {
  const own = ['--netns', lab.netns, '--bpffs', lab.bpffs];
  return [process.execPath, CLI, 'watch', lab.device, '-o', 'ndjson', ...own, ...more];
}

/**
 * Runs a command with a journal of its own: /run is another one to this process, with nothing but the
 * network namespaces in it. Then prints what the journal has.
 */
const WITH_JOURNAL = `
set -e
scratch=$1
shift
mkdir "$scratch/netns"
mount --rbind /run/netns "$scratch/netns"
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/systemd/journal /run/log/journal
mount --rbind "$scratch/netns" /run/netns
"$journald" 2>/dev/null &
until [ -S /run/systemd/journal/stdout ]; do sleep 0.1; done
"$@"
code=$?
until journalctl --directory=/run/log/journal --quiet --identifier=xdpwho --output=cat | tee "$scratch/journal" | grep -q '"type":"detached"'; do sleep 0.1; done
kill $!
wait $! || true
cat "$scratch/journal"
exit $code
`;

test('goes to the journal by systemd-cat, a record for each line, and detaches at its end', async () => {
  const words = watchWords('--count', '2', '--interval', '200ms');
  const command = ['systemd-cat', '-t', 'xdpwho', '--stderr-priority=notice', ...words];
  const unshared = ['--mount', '--propagation', 'private', 'sh', '-c', WITH_JOURNAL, 'journal'];
  const ran = await execa('unshare', [...unshared, lab.scratch, ...command], {
    reject: false,
    timeout: 120_000,
    env: { journald: JOURNALD },
  });
  assert.is(ran.exitCode, 0, ran.stderr);
  const records = recordsIn(
    ran.stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .join('\n'),
  );
  assert.equal(
    records.filter(({ type }) => type !== 'source').map(({ type }) => type),
    ['attached', 'totals', 'totals', 'detached'],
  );
  await lab.untilNothingLeft();
});

test('goes to a file that logrotate cuts off, and loses no line but those of that moment', async () => {
  const file = `${lab.scratch}/eth0.ndjson`;
  const configuration = `${lab.scratch}/logrotate.conf`;
  writeFileSync(configuration, `${file} {\n  size 1\n  rotate 5\n  copytruncate\n}\n`, {
    mode: 0o644,
  });
  const line = 'exec "$@" >>"$0"';
  const running = execa('sh', ['-c', line, file, ...watchWords('--interval', '100ms')], {
    reject: false,
  });
  const count = () => readFileSync(file, 'utf8').split('\n').length - 1;
  await lab.until(() => readdirSync(lab.scratch).includes('eth0.ndjson') && count() > 3, 'lines');
  await lab.send(FRAME, 7);
  for (const round of [1, 2]) {
    await lab.until(() => count() > 3, 'lines again');
    await execa('logrotate', ['--force', '--state', `${lab.scratch}/state`, configuration]);
    assert.ok(readdirSync(lab.scratch).includes(`eth0.ndjson.${round}`));
  }
  await lab.until(() => count() > 1, 'lines after the last cut');
  // Appending (>>) writes at the file's end: what was cut off leaves no hole of zeros.
  const text = readFileSync(file, 'utf8');
  assert.ok(!text.includes('\0'));
  assert.equal(
    [...new Set(recordsIn(text.slice(0, text.lastIndexOf('\n'))).map(({ type }) => type))].sort(),
    ['source', 'totals'],
  );
  running.kill('SIGINT');
  await running;
  await lab.untilNothingLeft();
});

test.run();
