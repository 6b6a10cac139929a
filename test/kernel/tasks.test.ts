/** The commands of docs/tasks.md, run as they stand there by somebody who has just installed xdpwho. */
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import * as assert from 'uvu/assert';
import { udpFrame } from '../../src/model/frames.js';
import { writeMmdb } from '../owners/mmdb.js';
import { suite } from '../suite.js';
import { CLI, Lab, lastReading, recordsIn, WHY_NOT } from './lab.js';

const TASKS = fileURLToPath(new URL('../../docs/tasks.md', import.meta.url));
/** A minute is too long for a test. */
const SHORTER: readonly (readonly [documented: string, run: string])[] = [
  ['--duration 1m', '--duration 3s'],
];

interface Task {
  readonly title: string;
  readonly command: string;
}

const tasks = [
  ...readFileSync(TASKS, 'utf8').matchAll(/^(\S[^\n]*(?:\n[^\n]+)*):\n\n```sh\n(.*)\n```$/gm),
].map(([, title = '', command = '']): Task => ({ title, command }));

interface Ended {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** A host of its own: the lab's namespace and bpffs at their usual places, and `xdpwho` in the PATH. */
class Host {
  readonly #lab: Lab;
  readonly directory: string;

  constructor(lab: Lab) {
    this.#lab = lab;
    this.directory = `${lab.scratch}/home`;
    mkdirSync(`${this.directory}/bin`, { recursive: true });
    const shim = `${this.directory}/bin/xdpwho`;
    const owner = { autonomous_system_number: 64500, autonomous_system_organization: 'Example' };
    writeFileSync(`${this.directory}/asn.mmdb`, writeMmdb([['192.0.2.0/24', owner]]));
    writeFileSync(`${this.directory}/networks.txt`, '198.51.100.0/24 office\n');
    writeFileSync(shim, `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`);
    chmodSync(shim, 0o755);
  }

  /** A command line as it is documented, in the namespace `netns`. */
  async run(command: string, netns: string): Promise<Ended> {
    const setting = `mount --bind '${this.#lab.bpffs}' /sys/fs/bpf && cd '${this.directory}' && PATH="$PWD/bin:$PATH"`;
    const inside = ['nsenter', `--net=/run/netns/${netns}`, 'unshare', '--mount'];
    const { exitCode, stdout, stderr } = await execa(
      'timeout',
      // It ends all that the command has started, too.
      ['120', ...inside, 'sh', '-c', `${setting}\n${command}`],
      { reject: false },
    );
    return { exitCode, stdout, stderr };
  }

  read(name: string): string {
    return readFileSync(`${this.directory}/${name}`, 'utf8');
  }
}

interface Context {
  lab: Lab;
  host: Host;
}

/** 192.0.2.7 sends most packets, 198.51.100.0/24 most bytes. */
async function sendRound(lab: Lab): Promise<void> {
  await lab.send(udpFrame({ source: '192.0.2.7' }), 30);
  await lab.send(udpFrame({ source: '198.51.100.4', length: 1000 }), 9);
  await lab.send(udpFrame({ source: '198.51.100.5', length: 1000 }), 8);
  await lab.send(udpFrame({ source: '2001:db8::1' }), 3);
}

/** What each prints, by a word of its command. */
const CHECKS: readonly (readonly [command: RegExp, check: (ended: Ended, host: Host) => void])[] = [
  [
    /--top 1 --duration/,
    ({ stdout }) => {
      assert.match(stdout, /in all:\nSOURCE .*\n192\.0\.2\.7 .*\n\+3 more sources\n/);
    },
  ],
  [
    /> eth0\.ndjson/,
    (_, host) => {
      const records = recordsIn(host.read('eth0.ndjson'));
      const { packets } = lastReading(records);
      assert.equal(Object.keys(packets).sort(), [
        '192.0.2.7',
        '198.51.100.4',
        '198.51.100.5',
        '2001:db8::1',
      ]);
      assert.is(records.at(-1)?.type, 'detached');
    },
  ],
  [
    /report/,
    (_, host) => {
      assert.match(host.read('eth0.html'), /<td>192\.0\.2\.7<\/td>/);
    },
  ],
  [
    /--netns web/,
    ({ stdout }) => {
      assert.match(stdout, /^192\.0\.2\.7 /m);
    },
  ],
  [
    /--group owner/,
    ({ stdout }) => {
      assert.match(stdout, /in all:\nSOURCE +OWNER .*\nAS64500 +Example .*\nunknown /);
    },
  ],
  [
    /--new only/,
    (_, host) => {
      const records = recordsIn(host.read('new.ndjson'));
      assert.equal(records.map((each) => `${each.type} ${each['source']}`).sort(), [
        'new 192.0.2.7',
        'new 198.51.100.4',
        'new 198.51.100.5',
        'new 2001:db8::1',
      ]);
    },
  ],
  [
    /--group network/,
    ({ stdout }) => {
      assert.match(stdout, /^office +office +\d+ /m);
      assert.match(stdout, /^unknown +\d+ /m);
    },
  ],
  [
    / log /,
    ({ stdout }) => {
      const lines = stdout.split('\n').filter((line) => /198\.51\.100\.[45]/.test(line));
      assert.is(lines.length, 5);
      assert.not.match(stdout, /192\.0\.2\.7/);
    },
  ],
  [
    /bench/,
    ({ stdout }) => {
      assert.match(stdout, /^ipv4 +\d+\.\d .*XDP_PASS$/m);
    },
  ],
  [
    /^xdpwho attach/,
    ({ stderr }) => {
      assert.match(stderr, /^xdpwho: eth0: attached (in|already)/m);
      assert.match(stderr, /^xdpwho: eth1: attached (in|already)/m);
    },
  ],
  [
    /--group 24/,
    ({ stdout }) => {
      assert.match(stdout, /^SOURCE .*\n198\.51\.100\.0\/24 /);
    },
  ],
  [
    /prometheus/,
    (_, host) => {
      const metrics = host.read('xdpwho.prom');
      assert.match(
        metrics,
        /^xdpwho_source_packets_total\{device="eth0".*source="192\.0\.2\.7"\} \d+$/m,
      );
      assert.match(metrics, /device="eth1"/);
    },
  ],
  [
    /^xdpwho detach/,
    ({ stderr }) => {
      assert.match(stderr, /eth0: detached/);
      assert.match(stderr, /eth1: detached/);
    },
  ],
];

const test = suite<Context>('the thirteen first tasks', WHY_NOT);

test.before(async (context) => {
  context.lab = await Lab.create({ bridged: true });
  await context.lab.addVeth('eth1', 'eth1');
  context.host = new Host(context.lab);
});

test.after(async ({ lab }) => {
  await lab.untilNothingLeft();
  await lab.close();
});

test('are thirteen, and each has its check', () => {
  assert.is(tasks.length, 13);
  for (const { title, command } of tasks) {
    assert.is(CHECKS.filter(([pattern]) => pattern.test(command)).length, 1, title);
  }
});

for (const { title, command } of tasks) {
  test(title.replaceAll('\n', ' '), async ({ lab, host }) => {
    const run = SHORTER.reduce(
      (line, [documented, shorter]) => line.replace(documented, shorter),
      command,
    );
    // The container is the receiving side, seen from the other one.
    const fromOutside = run.includes('--netns web');
    const netns = fromOutside ? lab.sender : lab.netns;
    const running = host.run(run.replace('--netns web', `--netns ${lab.netns}`), netns);
    let ended: Ended | undefined;
    const sending = running.then((result) => {
      ended = result;
    });
    while (ended === undefined) {
      await sendRound(lab);
      await new Promise((done) => setTimeout(done, 100));
    }
    await sending;
    const result = await running;
    assert.is(result.exitCode, 0, `${run}\n${result.stderr}`);
    assert.ok(!/internal error/.test(result.stderr), result.stderr);
    const [, check] = CHECKS.find(([pattern]) => pattern.test(command)) ?? [];
    check?.(result, host);
    if (!run.startsWith('xdpwho attach')) return;
    const again = await host.run(run, netns);
    assert.equal(
      [again.exitCode, again.stderr.match(/attached already/g)?.length],
      [0, 2],
      'run twice',
    );
  });
}

test.run();
