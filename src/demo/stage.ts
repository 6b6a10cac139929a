/**
 * Two network namespaces with a veth between them, and a sender in one that gives the other exact
 * numbers of frames. The demo and the tests on the kernel use it. No frame leaves the namespaces,
 * and everything is removed with the stage, also if this process dies.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import type { SessionContext } from '../attachment/context.js';
import { AtOurEnd } from '../host/at-our-end.js';
import { inNetns } from '../host/bpftool-arguments.js';
import { run } from '../host/exec.js';
import { showLinks } from '../host/interfaces.js';
import { resolveNetns } from '../host/netns.js';
import { rightsHint } from '../host/rights.js';
import { requireTool } from '../host/tools.js';
import { XdpwhoError } from '../model/errors.js';
import { ObjectFiles } from '../objects/files.js';

export interface StageOptions {
  /** The namespaces are NAME-tx, which sends, and NAME-rx. */
  readonly name: string;
  /** The interface in the receiving namespace. The one in the sending namespace is eth0. */
  readonly device: string;
  /** Of both interfaces. Default: 1500. */
  readonly mtu?: number;
  /** A directory on a bpffs for the sender's pins. It must not exist. */
  readonly pins: string;
  /** A folder for the stage's files. */
  readonly scratch: string;
  /**
   * Whether frames are sent through a bridge. They must be where the receiver is in generic mode:
   * generic XDP skips the packets that a BPF program redirected (net/core/dev.c, do_xdp_generic),
   * which all of the sender's are, and a bridge takes that mark off.
   */
  readonly bridged: boolean;
}

export interface SendOptions {
  /** The low 32 bits of the source, or with `back` of the destination, take this many consecutive values in turn. Default: 1. */
  readonly sources?: number;
  /** Bytes to send, for frames that `prog run` does not take: under 15 bytes, or over a page. */
  readonly length?: number;
  /** An interface of the sending namespace. Default: the stage's own. */
  readonly ifindex?: number;
  /** Whether the receiving namespace sends, through the interface that else receives. */
  readonly back?: boolean;
}

/** The receive ring of a veth holds 256 frames, and nothing empties it while `prog run` sends. */
const MAX_BURST = 128;

const REMOVE = `
ip=$1 name=$2 pins=$3 scratch=$4
"$ip" netns del "$name-tx"
"$ip" netns del "$name-rx"
rm -rf "$pins" "$scratch"
`;

/** br_netfilter, where it is loaded, looks into bridged frames and drops the malformed ones. */
const NO_BRIDGE_FILTERS = `
for filter in /proc/sys/net/bridge/bridge-nf-call-*; do
  [ ! -e "$filter" ] || echo 0 >"$filter"
done
`;

/** Whoever builds one must call `takeDown`. */
export class Stage {
  /** The names of the sending and the receiving namespace. */
  readonly sender: string;
  readonly receiver: string;
  readonly #context: SessionContext;
  readonly #options: StageOptions;
  readonly #ip: string;
  readonly #remover: AtOurEnd;
  #ifindex = 0;
  #backIfindex = 0;
  /** The pins of the loaded senders, by their constants. */
  readonly #senders = new Map<string, string>();

  private constructor(
    context: SessionContext,
    options: StageOptions,
    ip: string,
    remover: AtOurEnd,
  ) {
    this.#context = context;
    this.#options = options;
    this.#ip = ip;
    this.#remover = remover;
    this.sender = `${options.name}-tx`;
    this.receiver = `${options.name}-rx`;
  }

  /** Rejects with `not-permitted` or `tool-failed` where `ip` fails; nothing is left then. */
  static async build(context: SessionContext, options: StageOptions): Promise<Stage> {
    const ip = requireTool('ip', 'install iproute2');
    const { name, pins, scratch } = options;
    const remover = await AtOurEnd.start({
      name: 'xdpwho-stage',
      atEnd: REMOVE,
      args: [ip, name, pins, scratch],
    });
    const stage = new Stage(context, options, ip, remover);
    try {
      await stage.#build();
      return stage;
    } catch (error) {
      await stage.takeDown();
      throw error;
    }
  }

  async #build(): Promise<void> {
    const { device, mtu, pins, bridged } = this.#options;
    mkdirSync(pins, { mode: 0o700 });
    await this.#run(this.#ip, ['netns', 'add', this.sender]);
    await this.#run(this.#ip, ['netns', 'add', this.receiver]);
    await this.addVeth('eth0', device, mtu);
    const from = bridged ? await this.addBridge(this.sender, 'eth0', mtu) : 'eth0';
    this.#ifindex = await this.ifindex(from);
    this.#backIfindex = await this.ifindex(device, this.receiver);
  }

  /** Adds a veth between the two namespaces, up. */
  async addVeth(senderDevice: string, device: string, mtu = 1500): Promise<void> {
    await this.#run(this.#ip, [
      ...['link', 'add', 'name', senderDevice, 'netns', this.sender, 'mtu', `${mtu}`],
      ...['type', 'veth'],
      ...['peer', 'name', device, 'netns', this.receiver, 'mtu', `${mtu}`],
    ]);
    await this.#raise(this.receiver, device);
    await this.#raise(this.sender, senderDevice);
  }

  /**
   * Adds a bridge between an interface of a namespace and a new veth, and returns the free end of
   * that veth. What is sent from the free end leaves through `device`; what comes in through
   * `device` comes out of the free end.
   */
  async addBridge(netns: string, device: string, mtu = 1500): Promise<string> {
    const add = ['-n', netns, 'link', 'add', 'name'];
    // With snooping, the bridge itself would send: it joins the group of all snoopers (RFC 4286).
    await this.#run(this.#ip, [...add, 'bridge0', 'type', 'bridge', 'mcast_snooping', '0']);
    await this.#run(this.#ip, [
      ...[...add, 'free0', 'mtu', `${mtu}`, 'type', 'veth'],
      ...['peer', 'name', 'port0', 'mtu', `${mtu}`],
    ]);
    for (const port of ['port0', device]) {
      await this.#run(this.#ip, ['-n', netns, 'link', 'set', 'dev', port, 'master', 'bridge0']);
    }
    for (const name of ['bridge0', 'port0', 'free0']) await this.#raise(netns, name);
    const { file, args } = inNetns(resolveNetns(netns).path, {
      file: requireTool('sh'),
      args: ['-c', NO_BRIDGE_FILTERS],
    });
    await this.#run(file, args);
    return 'free0';
  }

  /** Brings a link up without an address. The kernel then sends nothing: no ARP, no neighbour discovery. */
  async #raise(netns: string, device: string): Promise<void> {
    const quiet = ['arp', 'off', 'addrgenmode', 'none', 'multicast', 'off'];
    await this.#run(this.#ip, ['-n', netns, 'link', 'set', 'dev', device, ...quiet]);
    await this.#run(this.#ip, ['-n', netns, 'link', 'set', 'dev', device, 'up']);
  }

  /** The index of an interface, by default of the sending namespace. */
  async ifindex(device: string, netns = this.sender): Promise<number> {
    const [link] = await showLinks(resolveNetns(netns), device);
    if (link === undefined) throw new XdpwhoError('failed', `${device}: not in ${netns}`);
    return link.ifindex;
  }

  /** Sends `count` copies of a frame. */
  async send(frame: Uint8Array, count: number, options: SendOptions = {}): Promise<void> {
    const pin = await this.loadSender(options);
    const file = `${this.#options.scratch}/frame`;
    writeFileSync(file, frame);
    const { path } = resolveNetns(options.back === true ? this.receiver : this.sender);
    for (let unsent = count; unsent > 0; unsent -= MAX_BURST) {
      await this.#context.bpftool.runProgram(pin, file, Math.min(unsent, MAX_BURST), path);
    }
  }

  /** Loads the program that sends, unless it is loaded, and returns its pin. `send` calls it. */
  async loadSender(options: SendOptions = {}): Promise<string> {
    const { sources = 1, length = 0, back = false } = options;
    const { ifindex = back ? this.#backIfindex : this.#ifindex } = options;
    const key = `${sources}-${length}-${ifindex}${back ? '-back' : ''}`;
    const loaded = this.#senders.get(key);
    if (loaded !== undefined) return loaded;
    const vary_destination = back ? 1 : 0;
    const constants = { ifindex, source_count: sources, vary_destination, frame_length: length };
    const objects = new ObjectFiles(this.#context.objectsDirectory);
    const object = objects.writePatched('sender', { constants }, this.#options.scratch);
    const pin = `${this.#options.pins}/sender-${key}`;
    mkdirSync(`${pin}-maps`, { mode: 0o700 });
    await this.#context.bpftool.loadClassifier(object, pin, `${pin}-maps`);
    this.#senders.set(key, pin);
    return pin;
  }

  /** Removes everything, the pins and the folder too. May be called twice. */
  async takeDown(): Promise<void> {
    await this.#remover.finish();
  }

  async #run(file: string, args: readonly string[]): Promise<void> {
    const result = await run(file, args);
    if (!result.failed) return;
    const permitted = !/not permitted/i.test(result.stderr);
    throw new XdpwhoError(
      permitted ? 'tool-failed' : 'not-permitted',
      `${file} ${args.join(' ')}: ${result.stderr}`,
      { hint: permitted ? 'xdpwho doctor' : rightsHint('xdpwho demo') },
    );
  }
}
