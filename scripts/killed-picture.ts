/**
 * Makes docs/killed.svg from a real run: `npm run pictures`, as root. Two terminals for ten seconds:
 * in one `xdpwho eth0` under a flood, in the other somebody kills it and looks what is attached.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { udpFrame } from '../src/model/frames.js';
import { CLI, Lab } from '../test/kernel/lab.js';
import { Tmux } from '../test/kernel/tmux.js';
import { type Moment, renderTerminalRecording } from './terminal-picture.js';

const COLUMNS = 100;
const TOP_ROWS = 9;
const BOTTOM_ROWS = 10;
const WARM_UP_MS = 8000;
const LASTS_MS = 10_000;
const EVERY_MS = 250;
const LOOK = 'bpftool net | head -3';
const BORDER = `\x1b[2m${'─'.repeat(COLUMNS)}\x1b[0m`;

/** In each round: a flood from one address, and what goes on besides. */
const FLOWS = [
  { source: '203.0.113.66', length: 64, frames: 4000 },
  { source: '198.51.100.23', length: 1400, frames: 12 },
  { source: '2001:db8:40::7', length: 1200, frames: 7 },
  { source: '192.0.2.80', length: 600, frames: 3 },
] as const;

const lab = await Lab.create();
const environment = { TERM: 'screen-256color' };
const top = await Tmux.start({ columns: COLUMNS, rows: TOP_ROWS, environment });
const bottom = await Tmux.start({ columns: COLUMNS, rows: BOTTOM_ROWS, environment });
try {
  const own = `--netns ${lab.netns} --bpffs ${lab.bpffs}`;
  await top.type(`clear; ${process.execPath} ${CLI} eth0 ${own}`);
  await lab.until(async () => (await lab.attached()).length === 1, 'attached');
  await bottom.type(`clear; exec nsenter --net=/run/netns/${lab.netns} bash --norc --noprofile`);
  const flood = new AbortController();
  const sending = send(flood.signal);
  await sleep(WARM_UP_MS);
  await bottom.type('clear');
  const pid = await holderOf();
  const moments: Moment[] = [];
  const acts = [
    { atMs: 1500, line: LOOK },
    { atMs: 4000, line: `kill -9 ${pid}` },
    { atMs: 6000, line: LOOK },
  ];
  const startMs = performance.now();
  for (let nowMs = 0; nowMs < LASTS_MS; nowMs = performance.now() - startMs) {
    while ((acts[0]?.atMs ?? LASTS_MS) <= nowMs) await bottom.type(acts.shift()?.line ?? '');
    const atMs = moments.length === 0 ? 0 : Math.round(nowMs);
    moments.push({ atMs, screen: await bothScreens() });
    await sleep(EVERY_MS);
  }
  flood.abort();
  await sending;
  const title = 'xdpwho eth0, under a flood, and kill -9';
  const picture = renderTerminalRecording(moments, { columns: COLUMNS, title, lastsMs: LASTS_MS });
  writeFileSync(fileURLToPath(new URL('../docs/killed.svg', import.meta.url)), picture);
} finally {
  await top.close();
  await bottom.close();
  await lab.close();
}

async function bothScreens(): Promise<string> {
  const [above, below] = await Promise.all(
    [top, bottom].map((each) => each.screen({ colors: true })),
  );
  const rows = (screen = '', count: number) =>
    Array.from({ length: count }, (_, row) => screen.split('\n')[row] ?? '');
  return [...rows(above, TOP_ROWS), BORDER, ...rows(below, BOTTOM_ROWS)].join('\n');
}

async function send(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const { source, length, frames } of FLOWS) {
      await lab.send(udpFrame({ source, length }), frames);
    }
    await sleep(100);
  }
}

/** The process of the run, as `status` tells it. */
async function holderOf(): Promise<number> {
  const { stdout } = await lab.run(['status', 'eth0', '--json']);
  const pid = /"pid":\s*(\d+)/.exec(stdout)?.[1];
  if (pid === undefined) throw new Error(stdout);
  return Number(pid);
}
