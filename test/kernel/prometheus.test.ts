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
import { findTool } from '../../src/host/tools.js';
import { suite } from '../suite.js';
import { CLI, Lab, WHY_NOT } from './lab.js';

const MONITORING = fileURLToPath(new URL('../../monitoring', import.meta.url));
/** Unpacked and not installed: the packages start servers that listen everywhere. */
const TOOLS = `${homedir()}/.cache/xdpwho/prometheus`;

const needed = findTool('apt-get') === undefined ? "needs Debian's packages" : undefined;
const test = suite('prometheus and node_exporter', WHY_NOT ?? needed);

/** An Ethernet frame with an IPv4 packet from 192.0.2.1; the source's last bytes can be counted up. */
const FRAME = Buffer.alloc(60);
FRAME.set([0x08, 0x00, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1], 12);

let lab: Lab;
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
  lab = await Lab.create();
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'lo', 'up']);
});

test.after.each(async () => {
  for (const end of servers.splice(0)) await end();
  await lab.close();
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

test('scrape the same from an endpoint, and that it is down while nothing is attached', async () => {
  const attach = ['attach', lab.device];
  assert.is((await lab.run(attach)).exitCode, 0);
  await lab.send(FRAME, 250, { sources: 125 });
  // In the network namespace, with the host's mounts.
  const words = [process.execPath, CLI, 'serve', lab.device, '--bpffs', lab.bpffs];
  const endpoint = lab.startProgram('nsenter', [`--net=/run/netns/${lab.netns}`, '--', ...words]);
  await endpoint.says(/http:\/\/127\.0\.0\.1:9927\/metrics/);
  startPrometheus(`  - job_name: xdpwho
    static_configs: [{targets: ['127.0.0.1:9927']}]
`);
  const isUp = (value: number) => async () => (await query('up')) === value;
  await lab.until(isUp(1), 'scraped');
  const labels = `device="${lab.device}"`;
  // A scrape that takes longer than their interval leaves a gap, so that a value may have to be waited for.
  for (const [expression, value] of [
    [`count(xdpwho_source_packets_total{${labels}})`, 100],
    [`sum(xdpwho_source_packets_total{${labels}})`, 200],
    [`xdpwho_omitted_packets{${labels}}`, 50],
    [`xdpwho_sources_omitted{${labels}}`, 25],
  ] as const) {
    const isThat = async () => (await query(expression)) === value;
    await lab.until(isThat, `${expression} is ${value}`);
  }
  assert.is((await lab.run(['detach', lab.device])).exitCode, 0);
  await lab.until(isUp(0), 'down');
  assert.is((await lab.run(attach)).exitCode, 0);
  await lab.until(isUp(1), 'up again');
});

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
