/** The live view in a real terminal, with real packets. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { udpFrame } from '../../src/model/frames.js';
import { suite } from '../suite.js';
import { CLI, Lab, WHY_NOT } from './lab.js';
import { Tmux, type TmuxOptions, WHY_NO_TMUX } from './tmux.js';

interface Context {
  lab: Lab;
  tmux: Tmux;
}

const SIZE: TmuxOptions = { columns: 100, rows: 24 };
const ROW = /^(\S+) +[\d.k]+ /gm;

const test = suite<Context>('the live view in a terminal', WHY_NOT ?? WHY_NO_TMUX);

test.before(async (context) => {
  context.lab = await Lab.create();
});

test.after(async ({ lab }) => {
  await lab.close();
});

test.after.each(async ({ lab, tmux }) => {
  await tmux.close();
  await lab.untilNothingLeft();
});

/** Starts the live view and sends 40, 20 and 10 packets from three sources. */
async function startLive(
  context: Context,
  options: Partial<TmuxOptions> = {},
  words: readonly string[] = [],
): Promise<string> {
  const { lab } = context;
  context.tmux = await Tmux.start({ ...SIZE, ...options });
  await context.tmux.type(commandLine(context, words));
  await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  await lab.send(udpFrame({ source: '192.0.2.1' }), 40);
  await lab.send(udpFrame({ source: '198.51.100.9', length: 1000 }), 20);
  await lab.send(udpFrame({ source: '192.0.2.2' }), 10);
  return context.tmux.until((screen) => /^70 packets/m.test(screen), 'all packets counted');
}

function commandLine({ lab }: Context, words: readonly string[] = []): string {
  const own = ['--netns', lab.netns, '--bpffs', lab.bpffs];
  return [
    'clear;',
    process.execPath,
    CLI,
    'eth0',
    '--mode',
    'native',
    '--interval',
    '200ms',
    ...own,
    ...words,
  ].join(' ');
}

function rows(screen: string): string[] {
  return [...screen.matchAll(ROW)]
    .map((found) => found[1] ?? '')
    .filter((each) => /^\d/.test(each));
}

/** The state of the terminal that the live view must restore: screen, cursor, echo and line mode. */
async function isRestored({ tmux }: Context): Promise<void> {
  await tmux.until((screen) => /\$\s*$/.test(screen), 'a prompt');
  assert.equal([await tmux.state('alternate_on'), await tmux.state('cursor_flag')], ['0', '1']);
  await tmux.type('clear; stty -a');
  const modes = await tmux.until((screen) => /iexten/.test(screen), 'stty');
  for (const mode of ['icanon', 'isig', 'echo', 'icrnl', 'opost']) {
    assert.match(modes, new RegExp(`(^|\\s)${mode}(\\s|;|$)`, 'm'), mode);
  }
}

test('an interface that is named twice, by its other name too, is shown once', async (context) => {
  const { lab } = context;
  await lab.ip(lab.netns, ['link', 'property', 'add', 'dev', 'eth0', 'altname', 'uplink']);
  assert.match(await startLive(context, {}, ['uplink']), /^eth0 native/m);
  await context.tmux.press('q');
  await isRestored(context);
});

test('shows the sources, their counts and the keys on the alternate screen', async (context) => {
  const screen = await startLive(context);
  assert.match(screen, /^eth0 native {2}\S+ pkt\/s {2}\S+ bit\/s {2}3 sources {2}table <0\.1%/m);
  assert.equal(rows(screen), ['192.0.2.1', '198.51.100.9', '192.0.2.2']);
  assert.match(screen, /^192\.0\.2\.1 .* 40 +2560 +57% █/m);
  assert.match(screen, /q quit {2}s sort:packets/);
  assert.equal(
    [await context.tmux.state('alternate_on'), await context.tmux.state('cursor_flag')],
    ['1', '0'],
  );
  await context.tmux.press('q');
  await isRestored(context);
});

test("q detaches, leaves the last table on the shell's screen, and exits with 0", async (context) => {
  await startLive(context);
  await context.tmux.press('q');
  const screen = await context.tmux.until((text) => /detached/.test(text), 'the end');
  assert.match(screen, /^eth0, in all:$/m);
  assert.match(screen, /^192\.0\.2\.1 +40 +2560/m);
  assert.match(screen, /^eth0: 3 sources; 70 packets \(70 IPv4\)/m);
  assert.is((await context.lab.attached()).length, 0);
  await context.tmux.type('echo "exit code $?"');
  await context.tmux.until((text) => text.includes('exit code 0'), 'exit code 0');
});

test('s sorts, g groups, / filters, ? helps', async (context) => {
  await startLive(context);
  const { tmux } = context;
  await tmux.press('s');
  const sorted = await tmux.until((screen) => screen.includes('sort:bytes'), 'sorted');
  assert.equal(rows(sorted), ['198.51.100.9', '192.0.2.1', '192.0.2.2']);
  await tmux.press('g');
  const grouped = await tmux.until((screen) => screen.includes('group:24,64'), 'grouped');
  assert.equal(rows(grouped), ['198.51.100.0/24', '192.0.2.0/24']);
  assert.match(grouped, /^192\.0\.2\.0\/24 .* 50 +3200 /m);
  await tmux.press('g', 'g', 'g', '/');
  await tmux.until((screen) => /^filter: _/m.test(screen), 'typing');
  await tmux.press('0', '.', '2', 'Enter');
  const filtered = await tmux.until((screen) => screen.includes('filter:0.2'), 'filtered');
  assert.equal(rows(filtered), ['192.0.2.1', '192.0.2.2']);
  await tmux.press('Escape');
  await tmux.until((screen) => rows(screen).length === 3, 'the filter cleared');
  await tmux.press('?');
  await tmux.until((screen) => /quit: detach and leave/.test(screen), 'help');
  await tmux.press('x');
  await tmux.until((screen) => rows(screen).length === 3, 'the table again');
  await tmux.press('q');
  await isRestored(context);
});

test('p holds the figures still while the program goes on counting', async (context) => {
  await startLive(context);
  const { tmux, lab } = context;
  await tmux.press('p');
  await tmux.until((screen) => screen.includes('PAUSED'), 'paused');
  await lab.send(udpFrame({ source: '203.0.113.5' }), 30);
  // Some readings later.
  await new Promise((done) => setTimeout(done, 1000));
  assert.match(await tmux.screen(), /^70 packets/m);
  await tmux.press('p');
  const screen = await tmux.until((text) => /^100 packets/m.test(text), 'all packets');
  assert.ok(rows(screen).includes('203.0.113.5'));
  await tmux.press('q');
  await isRestored(context);
});

test('r shows the names that the name server has, and the rest stays as it is', async (context) => {
  const server = await NameServer.start(new Map([['1.2.0.192.in-addr.arpa', 'printer.example']]));
  context.tmux = await Tmux.start(SIZE);
  const { tmux, lab } = context;
  try {
    // A resolv.conf in a mount namespace of its own.
    writeFileSync(`${lab.scratch}/resolv.conf`, `nameserver ${server.address}\n`);
    await tmux.type('unshare --mount bash --norc --noprofile');
    await tmux.type(`mount --bind ${lab.scratch}/resolv.conf $(realpath /etc/resolv.conf)`);
    await tmux.type(commandLine(context));
    await lab.until(async () => (await lab.attached()).length === 1, 'attached');
    await lab.send(udpFrame({ source: '192.0.2.1' }), 5);
    await lab.send(udpFrame({ source: '192.0.2.2' }), 5);
    const before = await tmux.until((screen) => rows(screen).length === 2, 'both sources');
    assert.not.match(before, /printer/);
    assert.is(server.questions.length, 0, 'nobody is asked before');
    await tmux.press('r');
    const named = await tmux.until((screen) => screen.includes('printer.example'), 'the name');
    assert.match(named, /^192\.0\.2\.1 +printer\.example /m);
    assert.match(named, /^192\.0\.2\.2 +- /m);
    // Some readings later.
    await new Promise((done) => setTimeout(done, 1000));
    assert.equal([...server.questions].sort(), [
      '1.2.0.192.in-addr.arpa',
      '2.2.0.192.in-addr.arpa',
    ]);
    await tmux.press('q');
    await tmux.until((text) => /detached/.test(text), 'the end');
  } finally {
    server.close();
  }
});

test('follows the size of the terminal', async (context) => {
  await startLive(context);
  const { tmux } = context;
  for (const [columns, rowsOfTerminal] of [
    [40, 10],
    [200, 60],
    [60, 12],
  ] as const) {
    await tmux.resize(columns, rowsOfTerminal);
    const screen = await tmux.until((text) => {
      const lines = text.split('\n');
      return (
        lines.length <= rowsOfTerminal &&
        rows(text).length === 3 &&
        lines.filter((line) => line.startsWith('q quit')).length === 1 &&
        text.includes('LAST MINUTE') === columns > 80
      );
    }, `${columns} columns`);
    assert.ok(screen.split('\n').every((line) => line.length <= columns));
  }
  await tmux.press('q');
  await isRestored(context);
});

test('colours by what the terminal can do, and not at all with NO_COLOR', async (context) => {
  await startLive(context, { environment: { TERM: 'screen-256color' } });
  const many = await context.tmux.screen({ colors: true });
  assert.ok(many.includes('\x1b[38;5;'), '256 colours');
  await context.tmux.press('q');
  await isRestored(context);
  await context.tmux.close();

  await context.lab.untilNothingLeft();
  await startLive(context, { environment: { TERM: 'screen' } });
  const few = await context.tmux.screen({ colors: true });
  assert.ok(few.includes('\x1b[31m') && !few.includes('38;5'), '16 colours');
  await context.tmux.press('q');
  await isRestored(context);
  await context.tmux.close();

  await context.lab.untilNothingLeft();
  await startLive(context, { environment: { NO_COLOR: '1' } });
  assert.not.ok((await context.tmux.screen({ colors: true })).includes('\x1b['), 'no colour');
  await context.tmux.press('q');
  await isRestored(context);
});

test('on a dumb terminal one table follows the other, without any escape sequence', async (context) => {
  const { lab } = context;
  context.tmux = await Tmux.start({ ...SIZE, environment: { TERM: 'dumb' } });
  await context.tmux.type(`${commandLine(context, ['--count', '2'])}; echo end`);
  await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  const screen = await context.tmux.until((text) => /^end$/m.test(text), 'the end');
  assert.match(screen, /^eth0: no packets yet$/m);
  assert.is(await context.tmux.state('alternate_on'), '0');
});

test('ASCII where the locale is not UTF-8', async (context) => {
  const screen = await startLive(context, { environment: { LANG: 'C' } });
  assert.match(screen, /^192\.0\.2\.1 .* 57% #+ /m);
  assert.ok(/^[\x20-\x7e\n]*$/.test(screen));
  await context.tmux.press('q');
  await isRestored(context);
});

for (const [signal, exitCode] of [
  ['INT', 130],
  ['TERM', 143],
  ['HUP', 129],
  ['QUIT', 131],
] as const) {
  test(`SIG${signal} leaves the terminal as it was`, async (context) => {
    await startLive(context);
    const { tmux } = context;
    await signalCommand(context, signal);
    await tmux.until((text) => /\$\s*$/.test(text), 'a prompt');
    await tmux.type('echo "exit code $?"');
    await tmux.until((text) => text.includes(`exit code ${exitCode}`), `exit code ${exitCode}`);
    await isRestored(context);
  });
}

test('Ctrl-C ends it with 130', async (context) => {
  await startLive(context);
  const { tmux } = context;
  await tmux.press('C-c');
  await tmux.until((text) => /detached/.test(text) && /\$\s*$/.test(text), 'a prompt');
  await tmux.type('echo "exit code $?"');
  await tmux.until((text) => text.includes('exit code 130'), 'exit code 130');
  await isRestored(context);
});

test("an interface that goes away ends it, and its error is on the shell's screen", async (context) => {
  const { lab } = context;
  await lab.addVeth('short0', 'short1');
  context.tmux = await Tmux.start(SIZE);
  await context.tmux.type(commandLine(context).replace(' eth0 ', ' short1 '));
  await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  await context.tmux.until((screen) => screen.includes('no packets yet'), 'the view');
  await lab.ip(lab.sender, ['link', 'del', 'short0']);
  await context.tmux.until((text) => /short1: the interface has gone/.test(text), 'the error');
  await isRestored(context);
});

test('Ctrl-Z gives the terminal back, and fg takes it again', async (context) => {
  await startLive(context);
  const { tmux } = context;
  await tmux.press('C-z');
  const stopped = await tmux.until((text) => /Stopped/.test(text), 'stopped');
  assert.not.match(stopped, /q quit/);
  await isRestored(context);
  assert.is((await context.lab.attached()).length, 1, 'it goes on counting');
  await tmux.type('fg');
  await tmux.until((text) => /^70 packets/m.test(text) && /q quit/.test(text), 'the view again');
  assert.is(await tmux.state('alternate_on'), '1');
  await tmux.press('s');
  await tmux.until((text) => text.includes('sort:bytes'), 'keys again');
  await tmux.press('q');
  await isRestored(context);
});

test('a SIGTSTP from elsewhere does the same', async (context) => {
  await startLive(context);
  const { tmux } = context;
  await signalCommand(context, 'TSTP');
  await tmux.until((text) => /Stopped/.test(text), 'stopped');
  await isRestored(context);
  await tmux.type('fg');
  await tmux.until((text) => /q quit/.test(text), 'the view again');
  await tmux.press('q');
  await isRestored(context);
});

/** Sends a signal to the command that runs in the terminal. */
async function signalCommand({ tmux }: Context, signal: string): Promise<void> {
  const shell = Number(await tmux.state('pane_pid'));
  const child = childOf(shell);
  if (child === undefined) throw new Error('no command runs in the terminal');
  process.kill(child, `SIG${signal}`);
}

function childOf(pid: number): number | undefined {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return children === '' ? undefined : Number(children.split(' ')[0]);
}

/** A name server with a few PTR records on a loopback address that only this process uses (RFC 1035, 4.1). */
class NameServer {
  readonly address = `127.${process.pid >>> 16}.${(process.pid >>> 8) & 255}.${process.pid & 255}`;
  /** The names in the queries so far. */
  readonly questions: string[] = [];
  readonly #socket = createSocket('udp4');

  static async start(names: ReadonlyMap<string, string>): Promise<NameServer> {
    const server = new NameServer();
    server.#socket.on('message', (query, from) => {
      const end = query.indexOf(0, 12) + 5;
      const question = query.subarray(12, end);
      const labels: string[] = [];
      for (let at = 0; question[at]; at += (question[at] ?? 0) + 1) {
        labels.push(question.toString('latin1', at + 1, at + 1 + (question[at] ?? 0)));
      }
      server.questions.push(labels.join('.'));
      const name = names.get(labels.join('.'));
      const header = Buffer.from([
        ...query.subarray(0, 2),
        0x85,
        name ? 0x80 : 0x83,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
      ]);
      header[7] = name ? 1 : 0;
      const answer = name === undefined ? [] : [pointer(name)];
      server.#socket.send(Buffer.concat([header, question, ...answer]), from.port, from.address);
    });
    server.#socket.bind(53, server.address);
    await once(server.#socket, 'listening');
    return server;
  }

  close(): void {
    this.#socket.close();
  }
}

/** A PTR record for the name in the question. */
function pointer(name: string): Buffer {
  const labels = name.split('.').map((label) => `${String.fromCharCode(label.length)}${label}`);
  const data = Buffer.from(`${labels.join('')}\0`, 'latin1');
  return Buffer.concat([Buffer.from([0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 60, 0, data.length]), data]);
}

test.run();
