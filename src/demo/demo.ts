/**
 * Shows xdpwho on traffic of its own: a BPF program sends frames through a veth (with
 * `bpftool prog run`, so nothing need be installed), and `watch` counts them at the other end. Every
 * count must be exact.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionContext } from '../attachment/context.js';
import { makeScratch } from '../attachment/scratch.js';
import { endingOf } from '../host/abort.js';
import { DEFAULT_BPFFS, prepareBpffs } from '../host/bpffs.js';
import { arpFrame, type FrameOptions, malformedFrame, udpFrame } from '../model/frames.js';
import type { AttachMode, Reader } from '../model/records.js';
import { type Reading, type WatchEvent, watch } from '../verbs/watch.js';
import { Stage } from './stage.js';

interface DemoOptions {
  readonly mode?: 'auto' | AttachMode | undefined;
  readonly reader?: 'auto' | Reader | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One line of the result. */
export interface DemoCount {
  /** A source address, or a class of frames that have none. */
  readonly what: string;
  readonly note: string;
  readonly sent: bigint;
  readonly counted: bigint;
}

type DemoEvent =
  | WatchEvent
  | { readonly kind: 'sending'; readonly frames: number; readonly sources: number }
  | { readonly kind: 'result'; readonly exact: boolean; readonly counts: readonly DemoCount[] };

/** All flows are sent this many times, with this pause. */
const ROUNDS = 12;
const ROUND_PAUSE_MS = 250;
const INTERVAL_MS = 1000;
const DEVICE = 'eth0';

interface Flow extends FrameOptions {
  readonly note: string;
  /** Frames in each round. */
  readonly frames: number;
}

const FLOWS: readonly Flow[] = [
  { source: '192.0.2.1', note: 'IPv4', frames: 25 },
  { source: '192.0.2.2', note: 'IPv4', frames: 18 },
  { source: '192.0.2.3', note: 'IPv4, 1000-byte frames', frames: 12, length: 1000 },
  { source: '192.0.2.4', note: 'IPv4', frames: 5 },
  { source: '198.51.100.1', note: 'IPv4, one VLAN tag', frames: 9, vlans: [100] },
  { source: '198.51.100.2', note: 'IPv4, two VLAN tags', frames: 4, vlans: [200, 100] },
  { source: '2001:db8::1', note: 'IPv6', frames: 14 },
  { source: '2001:db8::2:1', note: 'IPv6', frames: 7 },
  { source: '2001:db8:0:1::53', note: 'IPv6, one VLAN tag', frames: 3, vlans: [100] },
  { source: '2001:db8:0:1::54', note: 'IPv6, two VLAN tags', frames: 2, vlans: [200, 100] },
];
const ARP_FRAMES = 2;
const MALFORMED_FRAMES = 1;
/** What is sent in each round. */
const BURSTS: readonly { readonly frame: Uint8Array; readonly frames: number }[] = [
  ...FLOWS.map((flow) => ({ frame: udpFrame(flow), frames: flow.frames })),
  { frame: arpFrame(), frames: ARP_FRAMES },
  { frame: malformedFrame(), frames: MALFORMED_FRAMES },
];
const FRAMES_PER_ROUND = BURSTS.reduce((sum, { frames }) => sum + frames, 0);

/**
 * Yields the events of `watch`, and at the end the result. The namespaces and everything in them are
 * removed, whatever ends the demo.
 */
export async function* demo(
  context: SessionContext,
  options: DemoOptions = {},
): AsyncGenerator<DemoEvent, void, void> {
  await prepareBpffs(DEFAULT_BPFFS);
  // The veth is the demo's own, so native mode can harm nobody.
  const mode = options.mode === 'generic' ? 'generic' : 'native';
  const stage = await buildStage(context, mode === 'generic');
  let final: readonly Reading[] = [];
  let rounds = 0;
  const ending = endingOf(options.signal);
  try {
    let sending: Promise<void> | undefined;
    for await (const event of watch(context, {
      interfaces: [DEVICE],
      netns: stage.receiver,
      mode,
      reader: options.reader,
      command: 'demo',
      intervalMs: INTERVAL_MS,
      top: 0,
      sort: 'packets',
      signal: ending.signal,
    })) {
      yield event;
      if (event.kind === 'attached') {
        yield { kind: 'sending', frames: ROUNDS * FRAMES_PER_ROUND, sources: FLOWS.length };
        sending = (async () => {
          for (; rounds < ROUNDS && !ending.signal.aborted; rounds++) {
            for (const { frame, frames } of BURSTS) await stage.send(frame, frames);
            await sleep(ROUND_PAUSE_MS);
          }
        })().finally(ending.end);
        // It is awaited below. Until then Node must not treat a failure as unhandled.
        sending.catch(() => {});
      }
      if (event.kind === 'readings' && event.final) final = event.readings;
    }
    await sending;
  } finally {
    ending.release();
    await stage.takeDown();
  }
  if (options.signal?.aborted === true) return;
  const counts = account(final, BigInt(rounds));
  yield { kind: 'result', exact: counts.every(({ sent, counted }) => sent === counted), counts };
}

/** Compares what was sent with what was counted: each flow, each class, and sources that we did not send. */
function account(readings: readonly Reading[], rounds: bigint): DemoCount[] {
  const reading = readings[0];
  const found = new Map(
    [...(reading?.sources ?? [])].map(({ source, packets }) => [source, packets]),
  );
  const flows = FLOWS.map((flow) => ({
    what: flow.source,
    note: flow.note,
    sent: BigInt(flow.frames) * rounds,
    counted: found.get(flow.source) ?? 0n,
  }));
  const sentSources = new Set(FLOWS.map((flow) => flow.source));
  const unexpected = [...found].filter(([source]) => !sentSources.has(source));
  return [
    ...flows,
    ...unexpected.map(([what, counted]) => ({
      what,
      note: 'nobody sent these',
      sent: 0n,
      counted,
    })),
    {
      what: 'other',
      note: 'ARP',
      sent: BigInt(ARP_FRAMES) * rounds,
      counted: reading?.totals.other ?? 0n,
    },
    {
      what: 'malformed',
      note: 'IPv4 without its header',
      sent: BigInt(MALFORMED_FRAMES) * rounds,
      counted: reading?.totals.malformed ?? 0n,
    },
    {
      what: 'in all',
      note: '',
      sent: BigInt(FRAMES_PER_ROUND) * rounds,
      counted: reading?.totals.packets ?? 0n,
    },
  ];
}

/** Builds the stage and loads the sender, so that failures come before anything is attached. */
async function buildStage(context: SessionContext, bridged: boolean): Promise<Stage> {
  const name = `xdpwho-demo-${process.pid}`;
  const stage = await Stage.build(context, {
    name,
    device: DEVICE,
    pins: `${DEFAULT_BPFFS}/${name}`,
    scratch: makeScratch(),
    bridged,
  });
  try {
    await stage.loadSender();
    return stage;
  } catch (error) {
    await stage.takeDown();
    throw error;
  }
}
