/**
 * Shows xdpwho on traffic of its own: a BPF program sends frames through a veth (with
 * `bpftool prog run`, so nothing need be installed), and `watch` counts them at the other end, and what
 * that end sends back. Every count must be exact.
 */
import { isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionContext } from '../attachment/context.js';
import { makeScratch } from '../attachment/scratch.js';
import { endingOf } from '../host/abort.js';
import { DEFAULT_BPFFS, prepareBpffs } from '../host/bpffs.js';
import { hasErrorCode } from '../model/errors.js';
import { arpFrame, type FrameOptions, malformedFrame, udpFrame } from '../model/frames.js';
import type { Direction, Reader, XdpMode } from '../model/records.js';
import { type Reading, type WatchEvent, watch } from '../verbs/watch.js';
import { Stage } from './stage.js';

interface DemoOptions {
  readonly mode?: 'auto' | XdpMode | undefined;
  readonly reader?: 'auto' | Reader | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One line of the result. */
export interface DemoCount {
  readonly direction: Direction;
  /** A source or destination address, or a class of frames that have none. */
  readonly what: string;
  readonly note: string;
  readonly sent: bigint;
  readonly counted: bigint;
}

type DemoEvent =
  | WatchEvent
  /** Before anything is attached. */
  | { readonly kind: 'one-way'; readonly why: string }
  | {
      readonly kind: 'sending';
      readonly frames: number;
      readonly sources: number;
      readonly back: number;
    }
  | { readonly kind: 'result'; readonly exact: boolean; readonly counts: readonly DemoCount[] };

/** All flows are sent this many times, with this pause. */
const ROUNDS = 12;
const ROUND_PAUSE_MS = 250;
const INTERVAL_MS = 1000;
const DEVICE = 'eth0';

/** Frames from a source, or back to a destination. */
interface Flow extends FrameOptions {
  readonly note: string;
  /** Frames in each round. */
  readonly frames: number;
}

const RECEIVED: readonly Flow[] = [
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
const SENT: readonly Flow[] = [
  { destination: '192.0.2.1', note: 'IPv4', frames: 8 },
  { destination: '198.51.100.1', note: 'IPv4, one VLAN tag', frames: 6, vlans: [100] },
  { destination: '2001:db8::1', note: 'IPv6, 1000-byte frames', frames: 5, length: 1000 },
].map((flow) => ({ ...flow, source: isIPv6(flow.destination) ? '2001:db8::fffe' : '192.0.2.254' }));

/** Frames that have no address, in each round. */
interface Others {
  readonly arp: number;
  readonly malformed: number;
}

interface Traffic {
  readonly direction: Direction;
  readonly flows: readonly Flow[];
  readonly addressOf: (flow: Flow) => string;
  readonly others: Others;
}

/** What is sent in each round, in each direction. */
const TRAFFIC: Readonly<Record<Direction, Traffic>> = {
  received: {
    direction: 'received',
    flows: RECEIVED,
    addressOf: ({ source }) => source,
    others: { arp: 2, malformed: 1 },
  },
  sent: {
    direction: 'sent',
    flows: SENT,
    addressOf: ({ destination = '' }) => destination,
    others: { arp: 1, malformed: 1 },
  },
};

function burstsOf({ flows, others }: Traffic) {
  return [
    ...flows.map((flow) => ({ frame: udpFrame(flow), frames: flow.frames })),
    { frame: arpFrame(), frames: others.arp },
    { frame: malformedFrame(), frames: others.malformed },
  ];
}

function framesOf(traffic: Traffic): number {
  return burstsOf(traffic).reduce((sum, { frames }) => sum + frames, 0);
}

/**
 * Yields the events of `watch`, and at the end the result. The namespaces and everything in them are
 * removed, whatever ends the demo. Where no program can be attached at TCX, only one way is shown.
 */
export async function* demo(
  context: SessionContext,
  options: DemoOptions = {},
): AsyncGenerator<DemoEvent, void, void> {
  await prepareBpffs(DEFAULT_BPFFS);
  try {
    // What is sent first: if it cannot be counted, nothing has been attached yet.
    yield* show(context, options, ['sent', 'received']);
  } catch (error) {
    if (!hasErrorCode(error, 'mode-unsupported')) throw error;
    yield { kind: 'one-way', why: error.message };
    yield* show(context, options, ['received']);
  }
}

async function* show(
  context: SessionContext,
  options: DemoOptions,
  directions: readonly Direction[],
): AsyncGenerator<DemoEvent, void, void> {
  // The veth is the demo's own, so native mode can harm nobody.
  const mode = options.mode === 'generic' ? 'generic' : 'native';
  const traffic = directions.map((direction) => TRAFFIC[direction]);
  const stage = await buildStage(context, mode === 'generic', directions.includes('sent'));
  let final: readonly Reading[] = [];
  let attached = 0;
  let rounds = 0;
  const ending = endingOf(options.signal);
  try {
    let sending: Promise<void> | undefined;
    for await (const event of watch(context, {
      interfaces: [DEVICE],
      directions,
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
      if (event.kind === 'attached' && ++attached === directions.length) {
        const frames = ROUNDS * framesOf(TRAFFIC.received);
        const back = directions.includes('sent') ? ROUNDS * framesOf(TRAFFIC.sent) : 0;
        yield { kind: 'sending', frames, sources: RECEIVED.length, back };
        sending = (async () => {
          for (; rounds < ROUNDS && !ending.signal.aborted; rounds++) {
            for (const one of traffic) {
              const back = one.direction === 'sent';
              for (const { frame, frames } of burstsOf(one)) {
                await stage.send(frame, frames, { back });
              }
            }
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
  const counts = [
    TRAFFIC.received,
    ...traffic.filter(({ direction }) => direction === 'sent'),
  ].flatMap((one) =>
    account(
      one,
      final.find(({ direction }) => direction === one.direction),
      BigInt(rounds),
    ),
  );
  yield { kind: 'result', exact: counts.every(({ sent, counted }) => sent === counted), counts };
}

/** Compares what was sent with what was counted: each flow, each class, and addresses that we did not use. */
function account(traffic: Traffic, reading: Reading | undefined, rounds: bigint): DemoCount[] {
  const { direction, flows, addressOf, others } = traffic;
  const found = new Map(
    [...(reading?.sources ?? [])].map(({ source, packets }) => [source, packets]),
  );
  const counts = flows.map((flow) => ({
    what: addressOf(flow),
    note: flow.note,
    sent: BigInt(flow.frames) * rounds,
    counted: found.get(addressOf(flow)) ?? 0n,
  }));
  const used = new Set(flows.map(addressOf));
  const unexpected = [...found].filter(([address]) => !used.has(address));
  return [
    ...counts,
    ...unexpected.map(([what, counted]) => ({
      what,
      note: 'nobody sent these',
      sent: 0n,
      counted,
    })),
    {
      what: 'other',
      note: 'ARP',
      sent: BigInt(others.arp) * rounds,
      counted: reading?.totals.other ?? 0n,
    },
    {
      what: 'malformed',
      note: 'IPv4 without its header',
      sent: BigInt(others.malformed) * rounds,
      counted: reading?.totals.malformed ?? 0n,
    },
    {
      what: 'in all',
      note: '',
      sent: BigInt(framesOf(traffic)) * rounds,
      counted: reading?.totals.packets ?? 0n,
    },
  ].map((count) => ({ direction, ...count }));
}

/** Builds the stage and loads the sender, so that failures come before anything is attached. */
async function buildStage(
  context: SessionContext,
  bridged: boolean,
  back: boolean,
): Promise<Stage> {
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
    if (back) await stage.loadSender({ back });
    return stage;
  } catch (error) {
    await stage.takeDown();
    throw error;
  }
}
