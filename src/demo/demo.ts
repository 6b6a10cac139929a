/**
 * The main job on traffic of its own: two throw-away network namespaces with a veth between them,
 * frames that a BPF program on one end sends (`bpftool prog run`, so with nothing to install), and
 * a count on the other end that must come out exactly. No frame leaves the two namespaces.
 */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SessionContext } from '../attachment/context.js';
import { makeScratch } from '../attachment/scratch.js';
import { endingOf } from '../host/abort.js';
import { DEFAULT_BPFFS, prepareBpffs } from '../host/bpffs.js';
import { inNetns } from '../host/bpftool-arguments.js';

import { type Companion, requireTool, run, startCompanion } from '../host/exec.js';
import { showLinks } from '../host/interfaces.js';
import { resolveNetns } from '../host/netns.js';
import { XdpwhoError } from '../model/errors.js';
import { arpFrame, type FrameOptions, malformedFrame, udpFrame } from '../model/frames.js';
import type { AttachMode, Reader } from '../model/records.js';
import { ObjectFiles } from '../objects/files.js';
import { type Reading, type WatchEvent, watch } from '../verbs/watch.js';

export interface DemoOptions {
  readonly mode?: 'auto' | AttachMode | undefined;
  readonly reader?: 'auto' | Reader | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One line of the demo's account. */
export interface DemoCount {
  /** An address, or the class of frames without one. */
  readonly what: string;
  readonly note: string;
  readonly sent: bigint;
  readonly counted: bigint;
}

export type DemoEvent =
  | WatchEvent
  | { readonly kind: 'sending'; readonly frames: number; readonly sources: number }
  | { readonly kind: 'result'; readonly exact: boolean; readonly counts: readonly DemoCount[] };

/** How often the whole plan is sent, and how far apart. */
const ROUNDS = 12;
const ROUND_PAUSE_MS = 250;
const INTERVAL_MS = 1000;
/** A veth's receive ring holds 256 frames, and nothing drains it while `prog run` sends. */
const MAX_BURST = 128;

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

/**
 * Yields what `watch` yields, and at the end the result: what was sent beside what was counted.
 * However it ends, the namespaces and everything in them go.
 */
export async function* demo(
  context: SessionContext,
  options: DemoOptions = {},
): AsyncGenerator<DemoEvent, void, void> {
  await prepareBpffs(DEFAULT_BPFFS);
  const stage = await Stage.build(context, options.mode === 'generic');
  let final: readonly Reading[] = [];
  let rounds = 0;
  const ending = endingOf(options.signal);
  try {
    let sending: Promise<void> | undefined;
    for await (const event of watch(context, {
      interfaces: [stage.receiver.interface],
      netns: stage.receiver.netns,
      mode: options.mode,
      reader: options.reader,
      command: 'demo',
      intervalMs: INTERVAL_MS,
      top: 0,
      sort: 'packets',
      signal: ending.signal,
    })) {
      yield event;
      if (event.kind === 'attached') {
        const frames =
          ROUNDS *
          (FLOWS.reduce((sum, flow) => sum + flow.frames, 0) + ARP_FRAMES + MALFORMED_FRAMES);
        yield { kind: 'sending', frames, sources: FLOWS.length };
        sending = (async () => {
          for (; rounds < ROUNDS && !ending.signal.aborted; rounds++) {
            await stage.sendRound();
            await sleep(ROUND_PAUSE_MS);
          }
        })().finally(ending.end);
        // Looked at below; until then it must not count as unhandled.
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
  yield { kind: 'result', exact: counts.every((each) => each.sent === each.counted), counts };
}

/** What was sent beside what was counted: every flow, every class, and whatever nobody sent. */
function account(readings: readonly Reading[], rounds: bigint): DemoCount[] {
  const reading = readings[0];
  const found = new Map(reading?.sources.map((each) => [each.source, each.packets]) ?? []);
  const flows = FLOWS.map((flow) => ({
    what: flow.source,
    note: flow.note,
    sent: BigInt(flow.frames) * rounds,
    counted: found.get(flow.source) ?? 0n,
  }));
  const known = new Set(FLOWS.map((flow) => flow.source));
  const strangers = [...found].filter(([source]) => !known.has(source));
  return [
    ...flows,
    ...strangers.map(([what, counted]) => ({ what, note: 'nobody sent these', sent: 0n, counted })),
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
      sent: flows.reduce(
        (sum, flow) => sum + flow.sent,
        BigInt(ARP_FRAMES + MALFORMED_FRAMES) * rounds,
      ),
      counted: reading?.totals.packets ?? 0n,
    },
  ];
}

/** Removes what the demo made, when the demo says so or when it dies: see src/attachment/guard.ts. */
const TAKE_DOWN = `
trap '' HUP INT QUIT TERM PIPE
ip=$1 sender=$2 receiver=$3 pins=$4 scratch=$5
while read -r _; do :; done
"$ip" netns del "$sender"
"$ip" netns del "$receiver"
rm -f "$pins/sender" "$pins/maps/"*
rmdir "$pins/maps" "$pins"
rm -rf "$scratch"
`;

const NO_BRIDGE_FILTER = `
cd /proc/sys/net/bridge 2>/dev/null || exit 0
for name in bridge-nf-call-iptables bridge-nf-call-ip6tables; do echo 0 >$name; done
`;

/** The two namespaces, the veth, and the sender. */
class Stage {
  readonly receiver: { readonly netns: string; readonly interface: string };
  readonly #context: SessionContext;
  readonly #senderNetns: string;
  readonly #pins: string;
  readonly #scratch: string;
  readonly #remover: Companion;
  readonly #bridged: boolean;

  private constructor(context: SessionContext, ip: string, bridged: boolean) {
    this.#bridged = bridged;
    this.#context = context;
    this.#senderNetns = `xdpwho-demo-${process.pid}-tx`;
    this.receiver = { netns: `xdpwho-demo-${process.pid}-rx`, interface: 'eth0' };
    this.#pins = `${DEFAULT_BPFFS}/xdpwho-demo-${process.pid}`;
    this.#scratch = makeScratch();
    this.#remover = startCompanion(requireTool('sh'), [
      ...['-c', TAKE_DOWN, 'xdpwho-demo', ip, this.#senderNetns, this.receiver.netns],
      ...[this.#pins, this.#scratch],
    ]);
  }

  static async build(context: SessionContext, bridged: boolean): Promise<Stage> {
    const ip = requireTool('ip', 'install iproute2');
    const stage = new Stage(context, ip, bridged);
    try {
      await stage.#build(ip);
      return stage;
    } catch (error) {
      await stage.takeDown();
      throw error;
    }
  }

  async #build(ip: string): Promise<void> {
    const sender = this.#senderNetns;
    const { netns } = this.receiver;
    const device = this.receiver.interface;
    await this.#run(ip, ['netns', 'add', sender]);
    await this.#run(ip, ['netns', 'add', netns]);
    await this.#run(ip, [
      ...['link', 'add', 'name', device, 'netns', sender, 'type', 'veth'],
      ...['peer', 'name', device, 'netns', netns],
    ]);
    await this.#raise(ip, netns, device);
    await this.#raise(ip, sender, device);
    const from = this.#bridged ? await this.#bridge(ip, device) : device;
    const ifindex = (await showLinks(resolveNetns(sender), from))[0]?.ifindex;
    if (ifindex === undefined) throw new XdpwhoError('failed', `${from}: not in ${sender}`);
    const objects = new ObjectFiles(this.#context.objectsDirectory);
    const object = objects.writePatched('sender', { constants: { ifindex } }, this.#scratch);
    mkdirSync(this.#pins, { mode: 0o700 });
    mkdirSync(`${this.#pins}/maps`, { mode: 0o700 });
    const { bpftool } = this.#context;
    await bpftool.loadClassifier(object, `${this.#pins}/sender`, `${this.#pins}/maps`);
    for (const [index, flow] of FLOWS.entries()) this.#writeFrame(String(index), udpFrame(flow));
    this.#writeFrame('arp', arpFrame());
    this.#writeFrame('malformed', malformedFrame());
  }

  /**
   * A bridge in front of the veth, and the interface to send from. Generic XDP passes over packets
   * that a program redirected (net/core/dev.c, skb_is_redirected), as the sender's are; a bridge
   * takes that mark away.
   */
  async #bridge(ip: string, device: string): Promise<string> {
    const inSender = ['-n', this.#senderNetns];
    // Snooping would make the bridge itself send: it joins the group of all snoopers (RFC 4286).
    const bridge = ['name', 'bridge', 'type', 'bridge', 'mcast_snooping', '0'];
    await this.#run(ip, [...inSender, 'link', 'add', ...bridge]);
    await this.#run(ip, [
      ...[...inSender, 'link', 'add', 'name', 'from', 'type', 'veth', 'peer', 'name', 'port'],
    ]);
    for (const port of ['port', device]) {
      await this.#run(ip, [...inSender, 'link', 'set', 'dev', port, 'master', 'bridge']);
    }
    for (const each of ['bridge', 'port', 'from']) await this.#raise(ip, this.#senderNetns, each);
    // Where br_netfilter is loaded it would look into the frames, and drop the malformed ones.
    const path = resolveNetns(this.#senderNetns).path;
    const open = { file: requireTool('sh'), args: ['-c', NO_BRIDGE_FILTER] };
    const command = inNetns(path, open);
    await this.#run(command.file, command.args);
    return 'from';
  }

  /** Without an address of its own the kernel sends nothing: no ARP, no neighbour discovery. */
  async #raise(ip: string, netns: string, device: string): Promise<void> {
    const quiet = ['arp', 'off', 'addrgenmode', 'none', 'multicast', 'off'];
    await this.#run(ip, ['-n', netns, 'link', 'set', 'dev', device, ...quiet]);
    await this.#run(ip, ['-n', netns, 'link', 'set', 'dev', device, 'up']);
  }

  /** Sends every flow once. */
  async sendRound(): Promise<void> {
    for (const [index, flow] of FLOWS.entries()) await this.#send(String(index), flow.frames);
    await this.#send('arp', ARP_FRAMES);
    await this.#send('malformed', MALFORMED_FRAMES);
  }

  async takeDown(): Promise<void> {
    this.#remover.stdin.end();
    await this.#remover.ended;
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  async #send(name: string, frames: number): Promise<void> {
    for (let left = frames; left > 0; left -= MAX_BURST) {
      await this.#context.bpftool.runProgram(
        `${this.#pins}/sender`,
        `${this.#scratch}/${name}`,
        Math.min(left, MAX_BURST),
        resolveNetns(this.#senderNetns).path,
      );
    }
  }

  #writeFrame(name: string, frame: Uint8Array): void {
    writeFileSync(`${this.#scratch}/${name}`, frame);
  }

  async #run(file: string, args: readonly string[]): Promise<void> {
    const result = await run(file, args);
    if (!result.failed) return;
    const permitted = !/not permitted/i.test(result.stderr);
    throw new XdpwhoError(
      permitted ? 'tool-failed' : 'not-permitted',
      `${file} ${args.join(' ')}: ${result.stderr}`,
      { hint: permitted ? 'xdpwho doctor' : 'run it as root: sudo xdpwho demo' },
    );
  }
}
