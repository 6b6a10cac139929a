import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { findTool, requireTool } from '../../src/host/exec.js';
import { suite } from '../suite.js';
import { withIterator } from './iterators.js';
import { Lab, type Started, WHY_NOT } from './lab.js';
import { Units } from './units.js';

const MONITORING = fileURLToPath(new URL('../../monitoring', import.meta.url));
/** Unpacked and not installed: the packages start servers that listen everywhere. */
const TOOLS = `${homedir()}/.cache/xdpwho/prometheus`;

const needed = findTool('apt-get') === undefined ? "needs Debian's packages" : undefined;
const test = suite('prometheus and node_exporter', WHY_NOT ?? needed);

/** An Ethernet frame with an IPv4 packet from 192.0.2.1; the source's last bytes can be counted up. */
const FRAME = Buffer.alloc(60);
FRAME.set([0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1], 12);

let lab: Lab;
let units: Units;
const servers: (() => Promise<unknown>)[] = [];

test.before(async () => {
  if (existsSync(TOOLS)) return;
  mkdirSync(`${homedir()}/.cache/xdpwho`, { recursive: true });
  const cwd = mkdtempSync('/tmp/xdpwho-prometheus-');
  try {
    const download = ['-qq', 'download', 'prometheus', 'prometheus-node-exporter'];
    const { failed } = await execa('apt-get', download, { cwd, reject: false });
    // Where nothing has been installed lately, the lists may be old, or not there.
    if (failed) await execa('apt-get', ['-qq', 'update']);
    if (failed) await execa('apt-get', download, { cwd });
    await execa('sh', ['-c', 'for deb in *.deb; do dpkg-deb -x "$deb" root; done'], { cwd });
    const part = `${TOOLS}.${process.pid}`;
    await execa('cp', ['-r', `${cwd}/root/usr/bin`, part]);
    // Another run may have been quicker.
    if (existsSync(TOOLS)) rmSync(part, { recursive: true });
    else renameSync(part, TOOLS);
  } finally {
    rmSync(cwd, { recursive: true });
  }
});

test.before.each(async () => {
  units = await Units.create();
  lab = await Lab.create();
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'lo', 'up']);
});

test.after.each(async () => {
  for (const end of servers.splice(0)) await end();
  await lab.close();
  units.close();
});

/** In the lab's namespace, whose only address is the loopback's. */
function start(tool: string, ...args: string[]): void {
  const command = [`--net=/run/netns/${lab.netns}`, '--', `${TOOLS}/${tool}`, ...args];
  const server = execa('nsenter', command, { reject: false, stdio: 'ignore' });
  servers.push(() => {
    server.kill('SIGKILL');
    return server;
  });
}

function startPrometheus(scrapes: string): void {
  const configuration = `${lab.scratch}/prometheus.yml`;
  const text = `global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [${MONITORING}/rules.yml]
scrape_configs:
${scrapes}`;
  writeFileSync(configuration, text);
  start(
    'prometheus',
    ...[`--config.file=${configuration}`, `--storage.tsdb.path=${lab.scratch}/history`],
    ...['--web.listen-address=127.0.0.1:9090', '--storage.tsdb.retention.size=50MB'],
  );
}

/** The value of an expression, for the only series that it gives; undefined while there is none. */
async function query(expression: string): Promise<number | undefined> {
  const command = [`--net=/run/netns/${lab.netns}`, '--', `${TOOLS}/promtool`, 'query', 'instant'];
  const args = [...command, 'http://127.0.0.1:9090', expression];
  const { stdout, exitCode } = await execa('nsenter', args, { reject: false });
  if (exitCode !== 0 || stdout === '') return undefined;
  assert.equal(stdout.split('\n').length, 1, stdout);
  return Number(/ => (\S+) @/.exec(stdout)?.[1]);
}

async function dumpTo(directory: string, ...options: string[]): Promise<string> {
  const { stdout } = await lab.run(['dump', lab.device, '-o', 'prometheus', ...options]);
  const file = `${directory}/xdpwho-eth0.prom`;
  writeFileSync(`${file}.new`, `${stdout}\n`);
  renameSync(`${file}.new`, file);
  return stdout;
}

test('scrape what a dump says, to the packet, with the cap on labels to be seen', async () => {
  const directory = `${lab.scratch}/textfiles`;
  mkdirSync(directory);
  assert.is((await lab.run(['attach', lab.device])).exitCode, 0);
  await lab.send(FRAME, 250, { sources: 125 });
  const text = await dumpTo(directory);
  const checked = await execa(`${TOOLS}/promtool`, ['check', 'metrics'], {
    input: `${text}\n`,
    reject: false,
    all: true,
  });
  assert.equal([checked.all, checked.exitCode], ['', 0]);

  start(
    'prometheus-node-exporter',
    ...['--collector.disable-defaults', '--collector.textfile'],
    ...[`--collector.textfile.directory=${directory}`, '--web.listen-address=127.0.0.1:9100'],
  );
  startPrometheus(`  - job_name: node
    static_configs: [{targets: ['127.0.0.1:9100']}]
`);
  const labels = `device="${lab.device}"`;
  const isThere = async () => (await query(`xdpwho_sources{${labels}}`)) === 125;
  await lab.until(isThere, 'scraped', 60_000);
  assert.is(await query('node_textfile_scrape_error'), 0);
  assert.is(await query(`count(xdpwho_source_packets_total{${labels}})`), 100);
  assert.is(await query(`sum(xdpwho_source_packets_total{${labels}})`), 200);
  assert.is(await query(`xdpwho_omitted_packets{${labels}}`), 50);
  assert.is(await query(`xdpwho_sources_omitted{${labels}}`), 25);
  assert.is(await query(`xdpwho_packets_total{${labels},kind="ipv4"}`), 250);

  // More packets, another file: rates, and with them the recorded answer for all hosts.
  await lab.send(FRAME, 300);
  await dumpTo(directory);
  const hasRate = async () => ((await query('max(xdpwho:source_packets:rate5m)')) ?? 0) > 0;
  await lab.until(hasRate, 'a rate of the source', 60_000);
  await lab.until(
    async () =>
      (await query('topk(1, xdpwho:source_packets:rate5m{source="192.0.2.1"})')) !== undefined,
    'the source that sends most',
    60_000,
  );
});

/** A user with no right at all, on a host without bpftool. */
const AS_NOBODY = `mount --bind /dev/null "$bpftool" &&
  exec nsenter --net="$netns" -- setpriv --reuid=nobody --regid=nogroup --clear-groups \\
    --bounding-set=-all --no-new-privs "$@"`;

function serve(...options: string[]): Started {
  const words = [units.command, 'serve', lab.device, '--bpffs', lab.bpffs, ...options];
  const alone = ['--mount', '--propagation', 'private', 'sh', '-c', AS_NOBODY, 'nobody', ...words];
  const env = { bpftool: requireTool('bpftool'), netns: `/run/netns/${lab.netns}` };
  return lab.startProgram('unshare', alone, { env });
}

/** The answer to a request in the lab's namespace: its code, then its text. */
async function get(accept = '*/*'): Promise<string> {
  const code = `fetch('http://127.0.0.1:9927/metrics', { headers: { accept: process.argv[1] } })
    .then(async (got) => console.log(got.status + '\\n' + (await got.text()).trimEnd()))`;
  const command = [`--net=/run/netns/${lab.netns}`, '--', process.execPath, '-e', code, accept];
  return (await execa('nsenter', command)).stdout;
}

withIterator(test)(
  'scrape the same from an endpoint that a user without any right serves',
  async () => {
    const attach = ['attach', lab.device, '--file-mode', '0444'];
    assert.is((await lab.run(attach)).exitCode, 0);
    await lab.send(FRAME, 250, { sources: 125 });
    const endpoint = serve();
    await endpoint.says(/http:\/\/127\.0\.0\.1:9927\/metrics/);
    for (const [accept, format] of [
      ['*/*', 'prometheus'],
      ['application/openmetrics-text', 'openmetrics'],
    ] as const) {
      // By the name that the server has for its namespace: its own one.
      const under = ['nsenter', `--net=/run/netns/${lab.netns}`, '--'];
      const dump = ['dump', lab.device, '--bpffs', lab.bpffs, '-o', format];
      const { stdout } = await lab.run(dump, { bare: true, under });
      assert.is(await get(accept), `200\n${stdout}`);
    }

    startPrometheus(`  - job_name: xdpwho
    static_configs: [{targets: ['127.0.0.1:9927']}]
`);
    const isUp = (value: number) => async () => (await query('up')) === value;
    await lab.until(isUp(1), 'scraped');
    const labels = `device="${lab.device}"`;
    assert.is(await query(`count(xdpwho_source_packets_total{${labels}})`), 101);
    assert.is(await query(`sum(xdpwho_source_packets_total{${labels}})`), 250);
    assert.is(await query(`xdpwho_sources_omitted{${labels}}`), 25);

    assert.is((await lab.run(['detach', lab.device])).exitCode, 0);
    assert.match(await get(), /^503\neth0: not attached: nothing that this user can find/);
    await lab.until(isUp(0), 'down');
    assert.is((await lab.run(['attach', lab.device])).exitCode, 0);
    assert.match(await get(), /^503\n.*: permission denied$/);
    assert.is((await lab.run([...attach, '--replace'])).exitCode, 0);
    await lab.until(isUp(1), 'up again');
    await lab.ip(lab.netns, ['link', 'del', lab.device]);
    assert.is(await get(), '503\neth0: not attached: the interface has gone');

    endpoint.child.kill('SIGTERM');
    assert.equal(await endpoint.ended(), { exitCode: 143, signal: null });
    assert.is(endpoint.stdout, '');
    const late = serve();
    assert.is((await late.ended()).exitCode, 3);
  },
);

test('accept the rules, and give the alerts that they are to give', async () => {
  for (const args of [
    ['check', 'rules', 'rules.yml'],
    ['test', 'rules', 'rules-test.yml'],
  ]) {
    const ran = await execa(`${TOOLS}/promtool`, args, {
      cwd: MONITORING,
      reject: false,
      all: true,
    });
    assert.is(ran.exitCode, 0, ran.all);
  }
});

test('find every metric of the rules and of the dashboard in a dump', async () => {
  assert.is((await lab.run(['attach', lab.device])).exitCode, 0);
  await lab.send(FRAME, 1);
  const { stdout } = await lab.run(['dump', lab.device, '-o', 'prometheus']);
  const there = new Set([...stdout.matchAll(/^(xdpwho_\w+)\{/gm)].map(([, name]) => name));
  for (const file of ['rules.yml', 'dashboard.json']) {
    const text = readFileSync(`${MONITORING}/${file}`, 'utf8');
    const named = [...text.matchAll(/\bxdpwho_\w+/g)].map(([name]) => name);
    assert.ok(named.length > 5);
    assert.equal(
      named.filter((name) => !there.has(name)),
      [],
      file,
    );
  }
  const dashboard: unknown = JSON.parse(readFileSync(`${MONITORING}/dashboard.json`, 'utf8'));
  assert.match(JSON.stringify(dashboard), /"title":"xdpwho"/);
});

test.run();
