/**
 * Where programs that count or log the sources of a flood are measured against each other: a veth in
 * namespaces, a sender that gives exactly so many frames, and each contestant on the receiving end.
 */

import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import { zipfRanks } from '../../src/bench/zipf.js';
import { resolveNetns } from '../../src/host/netns.js';
import { udpFrame } from '../../src/model/frames.js';
import { propertyOf } from '../../src/model/json-values.js';
import { detachXdp } from '../kernel/bpftool.js';
import { compileProgram as compileTestProgram, compileTool } from '../kernel/compiler.js';
import { CLI, type Lab, type Started } from '../kernel/lab.js';
import { ipv4At } from '../kernel/table.js';
import { compileProgram } from './baseline.js';

/** From how many addresses the frames come: in turn, or by Zipf's law with this exponent. */
export interface Traffic {
  readonly sources: number;
  readonly zipf?: number;
}

export interface Flood {
  readonly sent: number;
  /** From the start of the sender to its end. */
  readonly durationNs: number;
}

interface Contestant {
  readonly label: string;
  /** Packets of one flood: fewer where each takes long. */
  readonly packets: number;
  readonly setUp: () => Promise<void>;
  /** How many packets of the flood it has accounted for. Called once, after the flood. */
  readonly account: () => Promise<number>;
  readonly tearDown: () => Promise<void>;
}

/** Bytes before the low 32 bits of the source, in an IPv4 frame without tags. */
const SOURCE_OFFSET = 26;
const MANY = 1_000_000;
const FEW = 100_000;
/** Readers in another process have what is left in buffers for a moment. */
const SETTLE_MS = 1000;

export class Field {
  readonly lab: Lab;
  readonly #flood: string;
  readonly #object: string;
  readonly #messages: string;
  readonly #frame: string;
  readonly #ifindex: number;

  private constructor(lab: Lab, tools: readonly [string, string, string], ifindex: number) {
    this.lab = lab;
    [this.#flood, this.#object, this.#messages] = tools;
    this.#frame = `${lab.scratch}/flood-frame`;
    this.#ifindex = ifindex;
    writeFileSync(this.#frame, udpFrame({ source: '198.18.0.0' }));
  }

  static async open(lab: Lab): Promise<Field> {
    const tools = [
      await compileTool(lab, 'flood/flood'),
      await compileTestProgram(lab, 'flood/flood'),
      await compileProgram('contestants.bpf.c', lab.scratch),
    ] as const;
    return new Field(lab, tools, await lab.ifindex('eth0'));
  }

  /** Sends frames on one CPU. */
  async flood({ sources, zipf }: Traffic, packets: number): Promise<Flood> {
    const { path = '' } = resolveNetns(this.lab.sender);
    const numbers = [this.#ifindex, SOURCE_OFFSET, sources, 0, packets].map(String);
    // Ahead of whatever else wants this CPU.
    const ahead = ['chrt', '--fifo', '1', 'taskset', '-c', '0'];
    const ranks = `${this.lab.scratch}/ranks`;
    if (zipf !== undefined) writeFileSync(ranks, zipfRanks(sources, zipf));
    const more = zipf === undefined ? [] : [ranks];
    const command = [...ahead, this.#flood, this.#object, this.#frame, ...numbers, ...more];
    const startNs = process.hrtime.bigint();
    const { stdout } = await execa('nsenter', [`--net=${path}`, '--', ...command]);
    return { sent: Number(stdout), durationNs: Number(process.hrtime.bigint() - startNs) };
  }

  contestants(): Contestant[] {
    return [
      this.#empty(),
      this.#counting(),
      this.#logging(),
      this.#nftables(),
      this.#tcpdump(),
      this.#printing(),
      this.#events(),
    ];
  }

  /** The set with counters, of IPv4 sources; with so many in it to begin with. */
  async addSet(size: number, count = 0): Promise<void> {
    const elements = Array.from({ length: count }, (_, index) => {
      return `${ipv4At(index)} counter packets ${index + 1} bytes 64`;
    });
    const filling = count > 0 ? `elements = { ${elements.join(', ')} };` : '';
    const rules = `
      table netdev xdpwho_bench {
        set sources { type ipv4_addr; size ${size}; flags dynamic; counter; ${filling} }
        chain ingress {
          type filter hook ingress device "${this.lab.device}" priority 0;
          ether type ip add @sources { ip saddr }
        }
      }`;
    await execa('nsenter', [...this.#inside(), 'nft', '-f', '-'], { input: rules });
  }

  setListing(): readonly [string, readonly string[]] {
    const list = ['nft', '-j', 'list', 'set', 'netdev', 'xdpwho_bench', 'sources'];
    return ['nsenter', [...this.#inside(), ...list]];
  }

  async countSet(): Promise<number> {
    return (await this.#listSet()).split('"val"').length - 1;
  }

  async #listSet(): Promise<string> {
    const [file, args] = this.setListing();
    return (await execa(file, args, { maxBuffer: 1e9 })).stdout;
  }

  async removeSet(): Promise<void> {
    const table = ['nft', 'delete', 'table', 'netdev', 'xdpwho_bench'];
    await execa('nsenter', [...this.#inside(), ...table]);
  }

  #inside(): string[] {
    return [`--net=${resolveNetns(this.lab.netns).path ?? ''}`, '--'];
  }

  /** The receiving end takes the frames only while a program is attached in native mode. */
  #empty(): Contestant {
    const { lab } = this;
    return {
      label: 'an empty program',
      packets: MANY,
      setUp: async () => {
        await lab.attachStranger(lab.device);
      },
      account: async () => 0,
      tearDown: () => lab.detachStranger(lab.device),
    };
  }

  #counting(): Contestant {
    const run = (...args: string[]) => this.#command(args);
    return {
      label: 'xdpwho, counting',
      packets: MANY,
      setUp: async () => {
        await run('attach', this.lab.device);
      },
      account: async () => {
        const text = await run('dump', this.lab.device, '-o', 'ndjson');
        const packets = text.split('\n').flatMap((line) => {
          const record: unknown = line === '' ? undefined : JSON.parse(line);
          return propertyOf(record, 'type') === 'source' ? [propertyOf(record, 'packets')] : [];
        });
        return sum(packets);
      },
      tearDown: async () => {
        await run('detach', this.lab.device);
      },
    };
  }

  /** Every packet also as a line of JSON, in a reader on the other CPU. */
  #logging(): Contestant {
    const { lab } = this;
    const place = ['--netns', lab.netns, '--bpffs', lab.bpffs];
    // `auto` takes generic mode on a veth, and there are no frames for that here.
    const log = ['log', lab.device, ...place, '--mode', 'native', '-o', 'ndjson'];
    let started: Started | undefined;
    return {
      label: 'xdpwho, counting and logging',
      packets: MANY,
      setUp: async () => {
        // The interrupt is for the command; what counts its lines ends after it.
        const count = `"$@" | (trap '' INT; exec grep -c '"type":"packet"')`;
        const words = ['-c', count, 'xdpwho-bench', process.execPath, CLI, ...log];
        started = lab.startProgram('sh', words, { ownGroup: true });
        await lab.until(async () => (await lab.attached()).length > 0, 'attached');
        await new Promise((done) => setTimeout(done, SETTLE_MS));
      },
      account: async () => {
        await new Promise((done) => setTimeout(done, SETTLE_MS));
        if (started !== undefined) process.kill(-started.pid, 'SIGINT');
        await started?.ended();
        return Number(started?.stdout);
      },
      tearDown: async () => {
        await started?.ended();
      },
    };
  }

  #nftables(): Contestant {
    const empty = this.#empty();
    return {
      label: 'nftables, dynamic set with counters',
      packets: MANY,
      setUp: async () => {
        await empty.setUp();
        await this.addSet(131_072);
      },
      account: async () => sumCounters(JSON.parse(await this.#listSet())),
      tearDown: async () => {
        await this.removeSet();
        await empty.tearDown();
      },
    };
  }

  #tcpdump(): Contestant {
    const empty = this.#empty();
    let started: Started | undefined;
    return {
      label: 'tcpdump -w /dev/null',
      packets: MANY,
      setUp: async () => {
        await empty.setUp();
        const dump = ['tcpdump', '-p', '-n', '-i', this.lab.device, '-w', '/dev/null'];
        started = this.lab.startProgram('nsenter', [...this.#inside(), ...dump]);
        await started.says(/listening on/);
      },
      account: async () => {
        await new Promise((done) => setTimeout(done, SETTLE_MS));
        started?.child.kill('SIGINT');
        await started?.ended();
        return Number(/(\d+) packets captured/.exec(started?.stderr ?? '')?.[1]);
      },
      tearDown: empty.tearDown,
    };
  }

  #printing(): Contestant {
    const tracing = `${this.lab.scratch}/tracing`;
    const instance = `${tracing}/instances/xdpwho-bench-${process.pid}`;
    let started: Started | undefined;
    return {
      label: 'bpf_printk for each packet',
      packets: FEW,
      setUp: async () => {
        await this.#attachMessages('print');
        if (!existsSync(tracing)) mkdirSync(tracing);
        await execa('mount', ['-t', 'tracefs', 'tracefs', tracing]);
        // Of its own, so that nobody else's reader takes lines away, or we theirs.
        mkdirSync(instance);
        writeFileSync(`${instance}/events/bpf_trace/bpf_trace_printk/enable`, '1');
        started = this.lab.startProgram('cat', [`${instance}/trace_pipe`]);
      },
      account: async () => {
        await new Promise((done) => setTimeout(done, SETTLE_MS));
        return started?.stdout.match(/xdpwho-bench/g)?.length ?? 0;
      },
      tearDown: async () => {
        started?.child.kill('SIGTERM');
        await started?.ended();
        rmdirSync(instance);
        await execa('umount', [tracing]);
        await this.#detachMessages();
      },
    };
  }

  #events(): Contestant {
    let started: Started | undefined;
    return {
      label: 'a perf event for each packet',
      packets: FEW,
      setUp: async () => {
        const maps = await this.#attachMessages('event');
        const pipe = ['-n', 'map', 'event_pipe', 'pinned', `${maps}/events`];
        started = this.lab.startProgram('bpftool', pipe);
        // It says nothing when it is ready.
        await new Promise((done) => setTimeout(done, SETTLE_MS));
      },
      account: async () => {
        await new Promise((done) => setTimeout(done, SETTLE_MS));
        started?.child.kill('SIGTERM');
        await started?.ended();
        return started?.stdout.match(/^== @/gm)?.length ?? 0;
      },
      tearDown: () => this.#detachMessages(),
    };
  }

  /** Attaches a program of contestants.bpf.c; gives where its maps are pinned. */
  async #attachMessages(program: string): Promise<string> {
    const { bpftool, bpffs, device, netns } = this.lab;
    const mapsDirectory = `${bpffs}/messages-maps`;
    await bpftool.loadPrograms(this.#messages, `${bpffs}/messages`, { mapsDirectory });
    await bpftool.attach(
      'native',
      `${bpffs}/messages/${program}`,
      device,
      resolveNetns(netns).path,
    );
    return mapsDirectory;
  }

  async #detachMessages(): Promise<void> {
    const { bpftool, bpffs, device, netns } = this.lab;
    await detachXdp(bpftool, 'native', device, resolveNetns(netns).path);
    await execa('rm', ['-r', `${bpffs}/messages`, `${bpffs}/messages-maps`]);
  }

  async #command(args: readonly string[]): Promise<string> {
    const { exitCode, stdout, stderr } = await this.lab.run(args);
    if (exitCode !== 0) throw new Error(`xdpwho ${args.join(' ')}: ${stderr}`);
    return stdout;
  }
}

/** The packets in all counters of a document of nft's. */
function sumCounters(value: unknown): number {
  if (Array.isArray(value)) return sum(value.map(sumCounters));
  if (typeof value !== 'object' || value === null) return 0;
  const packets = propertyOf(propertyOf(value, 'counter'), 'packets');
  return typeof packets === 'number' ? packets : sum(Object.values(value).map(sumCounters));
}

function sum(values: readonly unknown[]): number {
  return values.reduce<number>((total, value) => total + Number(value), 0);
}
