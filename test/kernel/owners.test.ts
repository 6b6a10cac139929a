/** Who packets belong to, in every face of the command, with databases that the test writes. */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { udpFrame } from '../../src/model/frames.js';
import { parseMetrics } from '../metrics/text-format.js';
import { type Value, writeMmdb } from '../owners/mmdb.js';
import { suite } from '../suite.js';
import {
  CLI,
  documentIn,
  type JsonRecord,
  Lab,
  listIn,
  recordsIn,
  WHY_NO_TCX,
  WHY_NOT,
} from './lab.js';
import { Tmux, WHY_NO_TMUX } from './tmux.js';

/** Source, packets, and what must be known of it. */
const SOURCES = [
  ['192.0.2.1', 30, { asn: 64500, as_name: 'Example Org', country: 'DE', network: 'office' }],
  ['192.0.2.200', 20, { asn: 64500, as_name: 'Example Org', country: 'FR', network: 'lab' }],
  ['198.51.100.7', 10, { asn: 64501, as_name: 'Käse "Söhne"', country: 'FR' }],
  ['2001:db8::1', 5, { asn: 64501, as_name: 'Käse "Söhne"', network: 'six' }],
  ['203.0.113.9', 3, {}],
] as const;

const ASN: readonly (readonly [string, Value])[] = [
  [
    '192.0.2.0/24',
    { autonomous_system_number: 64500, autonomous_system_organization: 'Example Org' },
  ],
  ['198.51.100.0/24', { asn: 'AS64501', as_name: 'Käse "Söhne"' }],
  ['2001:db8::/32', { asn: 'AS64501', as_name: 'Käse "Söhne"' }],
];
const COUNTRY: readonly (readonly [string, Value])[] = [
  ['192.0.2.0/25', { country: { iso_code: 'DE' } }],
  ['192.0.2.128/25', { country_code: 'FR' }],
  ['198.51.100.0/24', { country: 'FR' }],
];
const NETWORKS = '# mine\n192.0.2.0/24 office\n192.0.2.128/25 lab\n2001:db8::/48 six\n';

let lab: Lab;
let asn = '';
let country = '';
let networks = '';
/** Options with all that the test knows of owners. */
let all: string[] = [];

const test = suite('owners', WHY_NOT);

async function sendAll(to: Lab = lab): Promise<void> {
  for (const [source, packets] of SOURCES)
    await to.send(udpFrame({ source, length: 100 }), packets);
}

test.before(async () => {
  lab = await Lab.create();
  asn = `${lab.scratch}/asn.mmdb`;
  country = `${lab.scratch}/country.mmdb`;
  networks = `${lab.scratch}/networks`;
  writeFileSync(asn, writeMmdb(ASN));
  writeFileSync(country, writeMmdb(COUNTRY, { recordSize: 24 }));
  writeFileSync(networks, NETWORKS);
  all = ['--geo', asn, '--geo', country, '--networks', networks];
  const { exitCode, stderr } = await lab.run(['attach', 'eth0', '--log']);
  assert.is(exitCode, 0, stderr);
  await sendAll();
});

test.after(async () => {
  await lab.run(['detach', '--all']);
  await lab.close();
});

async function run(...args: string[]) {
  const { exitCode, stdout, stderr } = await lab.run(args, { whole: true });
  assert.is(exitCode, 0, stderr);
  assert.is(stderr, '');
  return stdout;
}

const KEYS = ['asn', 'as_name', 'country', 'network', 'name'];

/** The members of a record that say who it belongs to. */
function ownerOf(record: object): object {
  return Object.fromEntries(Object.entries(record).filter(([name]) => KEYS.includes(name)));
}

function sourcesIn(records: readonly JsonRecord[]) {
  return records.filter(({ type }) => type === 'source');
}

test('records have what is known, and nothing where nothing is', async () => {
  const records = sourcesIn(recordsIn(await run('dump', 'eth0', '-o', 'ndjson', ...all)));
  assert.equal(
    records.map((each) => [each['source'], each['packets'], ownerOf(each)]),
    SOURCES.map(([source, packets, owner]) => [source, packets, owner]),
  );
  const document = documentIn(await run('dump', 'eth0', '-o', 'json', ...all));
  const [one] = listIn(document, 'interfaces');
  assert.equal(
    listIn(one, 'sources').map(ownerOf),
    SOURCES.map(([, , owner]) => owner),
  );
});

test('without databases nothing changes, not by a byte', async () => {
  // How long ago the last packet came differs from one dump to the next.
  const idle = (text: string) =>
    text.replace(/"idle_ms": ?\d+/g, 'idle').replace(/ +(\d+(\.\d+)?(ms|s|m|h)|IDLE)$/gm, ' idle');
  for (const format of ['table', 'ndjson', 'json', 'prometheus']) {
    const plain = await run('dump', 'eth0', '-o', format, '--top', '3');
    for (const word of ['asn', 'country', 'OWNER', 'NETWORK', 'CC', '"name"']) {
      assert.not(plain.includes(word), `${format}: ${word}`);
    }
    // A file of networks in which nobody is.
    const empty = `${lab.scratch}/empty`;
    writeFileSync(empty, '# none\n');
    const other = await run('dump', 'eth0', '-o', format, '--top', '3', '--networks', empty);
    assert.is(idle(other), idle(plain), format);
  }
});

test('the environment names databases too, and the option counts more', async () => {
  const env = { XDPWHO_GEO: `${asn}:${country}` };
  const dump = (...args: string[]) => lab.run(['dump', 'eth0', '-o', 'ndjson', ...args], { env });
  const [first] = sourcesIn(recordsIn((await dump()).stdout));
  assert.equal(ownerOf(first ?? {}), { asn: 64500, as_name: 'Example Org', country: 'DE' });
  const [other] = sourcesIn(recordsIn((await dump('--geo', country)).stdout));
  assert.equal(ownerOf(other ?? {}), { country: 'DE' });
});

test('the table has columns for what is known, and keeps its width', async () => {
  const table = await run('dump', 'eth0', ...all);
  assert.match(table, /^SOURCE +NETWORK +OWNER +CC +PACKETS +BYTES +IDLE$/m);
  assert.match(table, /^192\.0\.2\.1 +office +Example Org +DE +30 /m);
  assert.match(table, /^198\.51\.100\.7 +Käse "Söhne" +FR +10 /m);
  assert.match(table, /^203\.0\.113\.9 +3 /m);
});

const GROUPS = [
  ['owner', { AS64500: 50, AS64501: 15, unknown: 3 }],
  ['country', { FR: 30, DE: 30, unknown: 8 }],
  ['network', { office: 30, lab: 20, unknown: 13, six: 5 }],
] as const;

for (const [group, expected] of GROUPS) {
  test(`sums by ${group}`, async () => {
    const records = sourcesIn(
      recordsIn(await run('dump', 'eth0', '-o', 'ndjson', '--group', group, ...all)),
    );
    assert.equal(
      Object.fromEntries(records.map((each) => [each['source'], each['packets']])),
      expected,
    );
    const counts = records.map((each) => Number(each['packets']));
    assert.equal(
      counts,
      [...counts].sort((a, b) => b - a),
      'in the order of packets',
    );
    for (const each of records) {
      const { source } = each;
      const known =
        source === 'unknown'
          ? {}
          : source === 'AS64500'
            ? { asn: 64500, as_name: 'Example Org' }
            : source === 'AS64501'
              ? { asn: 64501, as_name: 'Käse "Söhne"' }
              : { [group]: source };
      assert.equal(ownerOf(each), known);
    }
  });

  test(`metrics by ${group} have its labels in place of the source's, and tell what is left out`, async () => {
    const text = await run(
      'dump',
      'eth0',
      '-o',
      'prometheus',
      '--group',
      group,
      '--top',
      '1',
      ...all,
    );
    const samples = parseMetrics(text, 'prometheus');
    const packets = samples.filter(({ name }) => name === 'xdpwho_source_packets_total');
    const most = Math.max(...Object.values(expected));
    const [first] = packets;
    assert.is(packets.length, 1);
    assert.is(Number(first?.value), most);
    const labels = group === 'owner' ? ['asn', 'as_name'] : [group];
    assert.equal(Object.keys(first?.labels ?? {}), ['device', 'netns', ...labels]);
    const omitted = samples.find(({ name }) => name === 'xdpwho_omitted_packets');
    assert.equal(Number(omitted?.value), 68 - most);
    for (const label of labels) assert.is(omitted?.labels[label], 'other');
  });
}

test('sums by owner without a file to go by are a matter of usage', async () => {
  for (const [group, words] of [
    ['owner', all.slice(4)],
    ['country', []],
    ['network', all.slice(0, 4)],
  ] as const) {
    for (const verb of ['dump', 'watch']) {
      const { exitCode, stderr } = await lab.run([verb, 'eth0', '--group', group, ...words]);
      assert.is(exitCode, 2, stderr);
      assert.match(stderr, new RegExp(`^xdpwho: --group ${group}: no .*\n +hint: add --`));
    }
  }
  assert.is((await lab.attached()).length, 1, 'nothing else was attached');
});

test('a file that is none is one line and exit code 1, before anything is attached', async () => {
  const broken = `${lab.scratch}/broken.mmdb`;
  writeFileSync(broken, readFileSync(asn).subarray(0, 200));
  for (const words of [
    ['dump', 'eth0'],
    ['watch', 'eth0'],
    ['log', 'eth0'],
    ['serve', 'eth0', '--group', 'owner'],
  ]) {
    for (const [file, why] of [
      [broken, /cut short/],
      [`${lab.scratch}/none.mmdb`, /no such file/],
      [networks, /no MaxMind DB/],
    ] as const) {
      const { exitCode, stdout, stderr } = await lab.run([...words, '--geo', file]);
      assert.equal([exitCode, stdout], [1, ''], stderr);
      const [line = '', ...rest] = stderr.trimEnd().split('\n');
      assert.ok(line.startsWith(`xdpwho: ${file}: `), stderr);
      assert.match(line, why);
      assert.is(rest.length, 1, stderr);
    }
  }
  const wrong = `${lab.scratch}/wrong`;
  writeFileSync(wrong, '192.0.2.0/24 office\n192.0.2.0/99 lab\n');
  const { exitCode, stderr } = await lab.run(['dump', 'eth0', '--networks', wrong]);
  assert.is(exitCode, 2);
  assert.match(stderr, /wrong: line 2: 192\.0\.2\.0\/99: not an address or prefix/);
});

test('lines of the log say it where they are asked to', async () => {
  const plain = await run('log', 'eth0', '-q', '--last', '68');
  assert.not(plain.includes('Example'));
  assert.is(plain.split('\n').length, 69);
  const lines = await run('log', 'eth0', '-q', '--last', '68', ...all);
  assert.match(lines, /^\S+Z eth0 192\.0\.2\.1 100 AS64500 Example Org DE office$/m);
  assert.match(lines, /^\S+Z eth0 203\.0\.113\.9 100$/m);
  const records = recordsIn(await run('log', 'eth0', '-q', '--last', '68', '-o', 'ndjson', ...all));
  const packets = records.filter(({ type }) => type === 'packet');
  assert.is(packets.length, 68);
  for (const [source, count, owner] of SOURCES) {
    const of = packets.filter((each) => each['source'] === source);
    assert.is(of.length, count);
    for (const each of of) assert.equal(ownerOf(each), owner);
  }
});

test('names by the hosts file come without a name server, and only where they are asked for', async () => {
  const hosts = `${lab.scratch}/hosts`;
  writeFileSync(hosts, '192.0.2.1 first.example other\n2001:0DB8:0::1 six.example # comment\n');
  const script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"';
  const under = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', hosts];
  const named = async (...args: string[]) => {
    const { exitCode, stdout, stderr } = await lab.run(['dump', 'eth0', '-o', 'ndjson', ...args], {
      under,
    });
    assert.is(exitCode, 0, stderr);
    return sourcesIn(recordsIn(stdout)).flatMap((each) => each['name'] ?? []);
  };
  assert.equal(await named(), []);
  assert.equal(await named('--resolve'), ['first.example', 'six.example']);
});

test('databases of the system are found where they belong to root', async () => {
  const directory = `${lab.scratch}/geoip`;
  const script = `mkdir -p "$1" && mount --bind "$1" /usr/share/GeoIP && shift && exec "$@"`;
  await execa('mkdir', ['-p', directory]);
  await execa('install', ['-m', '644', asn, `${directory}/a.mmdb`]);
  await execa('install', ['-m', '666', country, `${directory}/writable.mmdb`]);
  writeFileSync(`${directory}/broken.mmdb`, 'no database');
  const made = `mkdir -p /usr/share/GeoIP 2>/dev/null; ${script}`;
  const under = [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-c',
    made,
    'sh',
    directory,
  ];
  const { exitCode, stdout, stderr } = await lab.run(['dump', 'eth0', '-o', 'ndjson'], { under });
  assert.is(exitCode, 0, stderr);
  assert.match(
    stderr,
    /^xdpwho: \/usr\/share\/GeoIP\/broken\.mmdb: no MaxMind DB.*; it is left out$/m,
  );
  const [first] = sourcesIn(recordsIn(stdout));
  assert.equal(ownerOf(first ?? {}), { asn: 64500, as_name: 'Example Org' });
});

test('a page of a recording has the columns', async () => {
  const recording = `${lab.scratch}/recording.ndjson`;
  writeFileSync(
    recording,
    await run('watch', 'eth0', '--count', '2', '--interval', '200ms', '-o', 'ndjson', '-q', ...all),
  );
  const { stdout: page } = await lab.run(['report', recording], { bare: true, whole: true });
  assert.match(
    page,
    /<th class="text">Network<\/th><th class="text">Owner<\/th><th class="text">Country<\/th>/,
  );
  assert.match(
    page,
    /<td class="text">office<\/td><td class="text">Example Org<\/td><td class="text">DE<\/td>/,
  );
  assert.match(page, /Käse &quot;Söhne&quot;/);
});

test('serve without sums takes no files of owners', async () => {
  for (const option of ['--geo', '--networks']) {
    const { exitCode, stderr } = await lab.run(['serve', 'eth0', option, networks]);
    assert.is(exitCode, 2);
    assert.match(stderr, new RegExp(`^xdpwho: ${option}: only with --group\n`));
  }
});

test('serve by owner', async () => {
  await lab.ip(lab.netns, ['link', 'set', 'dev', 'lo', 'up']);
  const words = ['serve', 'eth0', '--bpffs', lab.bpffs, '--group', 'owner', ...all];
  const under = [`--net=/run/netns/${lab.netns}`, '--', process.execPath, CLI];
  const served = lab.startProgram('nsenter', [...under, ...words]);
  await served.says(/9927\/metrics/);
  const code = `require('node:http').get('http://127.0.0.1:9927/metrics', (got) => got.pipe(process.stdout))`;
  const get = async () =>
    (await execa('nsenter', [`--net=/run/netns/${lab.netns}`, '--', process.execPath, '-e', code]))
      .stdout;
  assert.match(
    await get(),
    /^xdpwho_source_packets_total\{device="eth0",.*asn="64500",as_name="Example Org"\} 50$/m,
  );
  // The file is replaced while it runs.
  const next = `${lab.scratch}/next.mmdb`;
  writeFileSync(next, writeMmdb([['192.0.2.0/24', { asn: 'AS64502', as_name: 'New' }]]));
  const kept = readFileSync(asn);
  renameSync(next, asn);
  await lab.until(async () => /asn="64502",as_name="New"\} 50$/m.test(await get()), 'read anew');
  // A broken one is told, and the one before is used on.
  writeFileSync(asn, 'no database');
  await lab.until(async () => {
    assert.match(await get(), /asn="64502"/);
    return /asn\.mmdb: no MaxMind DB.*what was read before is used on/.test(served.stderr);
  }, 'told');
  writeFileSync(asn, kept);
  served.child.kill('SIGTERM');
  await served.ended();
});

test.run();

const watching = suite('watch, with owners', WHY_NOT);

watching.before(async () => {
  lab = await Lab.create();
});
watching.after(async () => {
  await lab.close();
});

function ownFiles(): string[] {
  const own = ['asn', 'country'].flatMap((name) => ['--geo', `${lab.scratch}/${name}.mmdb`]);
  writeFileSync(`${lab.scratch}/asn.mmdb`, writeMmdb(ASN));
  writeFileSync(`${lab.scratch}/country.mmdb`, writeMmdb(COUNTRY));
  writeFileSync(`${lab.scratch}/networks`, NETWORKS);
  return [...own, '--networks', `${lab.scratch}/networks`];
}

watching('sums by owner have rates, and the last reading is exact', async () => {
  const words = ['watch', 'eth0', '-o', 'ndjson', '--group', 'owner', '--interval', '200ms'];
  const watch = lab.start([...words, ...ownFiles()]);
  await watch.prints(/"attached"/);
  await sendAll();
  await watch.prints(/"AS64500","packets":50/);
  watch.child.kill('SIGINT');
  await watch.ended();
  const records = recordsIn(watch.stdout);
  const ends = records.flatMap(({ type }, index) => (type === 'totals' ? [index] : []));
  const last = records.slice((ends.at(-1) ?? 0) - 3);
  assert.equal(
    Object.fromEntries(sourcesIn(last).map((each) => [each['source'], each['packets']])),
    { AS64500: 50, AS64501: 15, unknown: 3 },
  );
  const rates = sourcesIn(records).map((each) => each['packets_per_second']);
  assert.ok(rates.every((rate) => typeof rate === 'number'));
  assert.ok(rates.some((rate) => Number(rate) > 0));
});

watching('--new tells each source once, with all that is known of it', async () => {
  const words = ['watch', 'eth0', '-o', 'ndjson', '--interval', '200ms', '--top', '1'];
  const watch = lab.start([...words, '--new', ...ownFiles()]);
  await watch.prints(/"attached"/);
  await sendAll();
  await watch.prints(/"new".*"203\.0\.113\.9"/);
  await sendAll();
  await watch.prints(/"packets":60,/);
  watch.child.kill('SIGINT');
  await watch.ended();
  const fresh = recordsIn(watch.stdout).filter(({ type }) => type === 'new');
  assert.equal(
    fresh.map((each) => each['source']).sort(),
    SOURCES.map(([source]) => source).sort(),
  );
  for (const [source, , owner] of SOURCES) {
    const each = fresh.find((one) => one['source'] === source) ?? { type: '' };
    assert.equal(ownerOf(each), owner);
    assert.match(String(each['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(Number(each['packets']) > 0);
    assert.is(each['interface'], 'eth0');
  }
});

watching(
  '--new only prints nothing else; what an attachment had counted before is not new',
  async () => {
    assert.is((await lab.run(['attach', 'eth0'])).exitCode, 0);
    await lab.send(udpFrame({ source: '192.0.2.1' }), 3);
    const words = ['watch', 'eth0', '--interval', '200ms', '--new', 'only', ...ownFiles()];
    const lines = lab.start(words);
    const records = lab.start([...words, '-o', 'ndjson']);
    for (const each of [lines, records]) await each.says(/reading what is attached/);
    await new Promise((resolve) => setTimeout(resolve, 700));
    await lab.send(udpFrame({ source: '192.0.2.1' }), 3);
    await lab.send(udpFrame({ source: '192.0.2.200' }), 3);
    for (const each of [lines, records]) {
      await each.prints(/192\.0\.2\.200/);
      each.child.kill('SIGINT');
      await each.ended();
    }
    assert.match(lines.stdout, /^\S+Z eth0 192\.0\.2\.200 AS64500 Example Org FR lab\n$/);
    assert.equal(
      recordsIn(records.stdout).map(({ type, ...each }) => [type, each['source']]),
      [['new', '192.0.2.200']],
    );
    assert.is((await lab.run(['detach', 'eth0'])).exitCode, 0);
  },
);

watching('the table marks what is new, and a document has no place for it', async () => {
  const watch = lab.start(['watch', 'eth0', '--interval', '300ms', '--new']);
  await watch.says(/attached/);
  await lab.send(udpFrame({ source: '192.0.2.1' }), 3);
  await watch.prints(/^SOURCE +NEW +PACKETS[^\n]*\n192\.0\.2\.1 +new +3 /m);
  await watch.prints(/^SOURCE +PACKETS[^\n]*\n192\.0\.2\.1 +3 /m);
  watch.child.kill('SIGINT');
  await watch.ended();
  const refused = await lab.run(['watch', 'eth0', '--new', '-o', 'json']);
  assert.is(refused.exitCode, 2);
  assert.match(refused.stderr, /hint: .*watch --output ndjson .*--new/);
});

watching('what is sent has owners by its destination', async () => {
  if (WHY_NO_TCX !== undefined) return;
  // The kernel's own stack sends, to an address that it need not ask for.
  await lab.ip(lab.netns, ['addr', 'add', '192.0.2.9/24', 'dev', 'eth0']);
  const neighbour = ['neigh', 'replace', '192.0.2.200', 'lladdr', '02:00:00:00:00:01', 'nud'];
  await lab.ip(lab.netns, [...neighbour, 'permanent', 'dev', 'eth0']);
  const words = ['watch', 'eth0', '--sent', '-o', 'ndjson', '--interval', '200ms', '--new'];
  const watch = lab.start([...words, ...ownFiles()]);
  await watch.prints(/"attached"/);
  const script = 'for i in 1 2 3 4; do echo x > /dev/udp/192.0.2.200/9; done';
  await execa('nsenter', [`--net=/run/netns/${lab.netns}`, '--', 'bash', '-c', script]);
  await watch.prints(/"destination":"192\.0\.2\.200","packets":4/);
  watch.child.kill('SIGINT');
  await watch.ended();
  const records = recordsIn(watch.stdout);
  for (const type of ['new', 'destination']) {
    const one = records.find((each) => each.type === type && each['destination'] === '192.0.2.200');
    assert.equal(ownerOf(one ?? {}), SOURCES[1][2], type);
  }
});

watching('the library gives the same records', async () => {
  const { watch, dump, attachToStay, detach } = await import('../../src/index.js');
  const where = { interface: 'eth0', netns: lab.netns, bpffs: lab.bpffs };
  await attachToStay([{ ...where, mode: 'native' }], { session: lab.context });
  try {
    await sendAll();
    ownFiles();
    const owners = {
      geo: [`${lab.scratch}/asn.mmdb`, `${lab.scratch}/country.mmdb`],
      networks: `${lab.scratch}/networks`,
    };
    const options = { ...where, session: lab.context, owners };
    const { sources } = await dump(options);
    assert.equal(
      sources.map(ownerOf),
      SOURCES.map(([, , owner]) => owner),
    );
    const groups = await dump({ ...options, group: 'country', top: 1 });
    assert.equal(
      groups.sources.map(({ source, packets }) => [source, packets]),
      [['DE', 30n]],
    );
    const events = watch({ ...options, interfaces: ['eth0'], count: 1, tellsNew: true });
    for await (const event of events) {
      if (event.kind !== 'readings') continue;
      const [reading] = event.readings;
      assert.equal(reading?.fresh, [], 'it was there before');
      assert.equal(
        reading?.sources.map(ownerOf),
        SOURCES.map(([, , owner]) => owner),
      );
    }
  } finally {
    await detach({ ...where, session: lab.context });
  }
});

watching.run();

const live = suite('the live view, with owners', WHY_NOT ?? WHY_NO_TMUX);

live(
  'has the columns, switches them, groups by them, and drops the last minute first',
  async () => {
    lab = await Lab.create();
    const tmux = await Tmux.start({ columns: 140, rows: 24 });
    try {
      const own = ['--netns', lab.netns, '--bpffs', lab.bpffs, '--mode', 'native'];
      const words = [
        process.execPath,
        CLI,
        'eth0',
        ...own,
        '--interval',
        '200ms',
        ...ownFiles(),
        '--new',
      ];
      await tmux.type(['clear;', ...words].join(' '));
      await lab.until(async () => (await lab.attached()).length === 1, 'attached');
      await sendAll();
      const screen = await tmux.until((text) => /^68 packets/m.test(text), 'all packets');
      assert.match(screen, /^SOURCE +NEW +NETWORK +OWNER +CC +PKT\/S/m);
      assert.match(screen, /^192\.0\.2\.200 +new +lab +Example Org +FR /m);
      assert.match(screen, /o owners:on/);
      await tmux.resize(80, 24);
      const narrow = await tmux.until((text) => !text.includes('LAST MINUTE'), 'narrow');
      assert.match(narrow, /OWNER/);
      await tmux.resize(140, 24);
      await tmux.press('o');
      await tmux.until((text) => !text.includes('OWNER') && text.includes('o owners:off'), 'off');
      await tmux.press('o', 'g', 'g', 'g', 'g');
      await tmux.until((text) => /^OWNER +.*\nAS64500 +Example Org /m.test(text), 'by owner');
      await tmux.press('g');
      await tmux.until((text) => /^COUNTRY /m.test(text) && /^FR /m.test(text), 'by country');
      await tmux.press('g');
      await tmux.until((text) => /^NETWORK /m.test(text) && /^office /m.test(text), 'by network');
      await tmux.press('g');
      await tmux.until((text) => /^SOURCE /m.test(text), 'single sources');
      await tmux.press('/');
      for (const letter of 'lab') await tmux.press(letter);
      await tmux.press('Enter');
      await tmux.until(
        (text) => /^192\.0\.2\.200 /m.test(text) && !/^192\.0\.2\.1 /m.test(text),
        'filtered',
      );
      await tmux.press('q');
      await tmux.until((text) => /detached/.test(text), 'left');
    } finally {
      await tmux.close();
      await lab.close();
    }
  },
);

live.run();
