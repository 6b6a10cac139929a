/** The live view of `watch`: passes keys and readings to the model, and draws its frames on the terminal. */
import { readFileSync } from 'node:fs';
import type { Attachment } from '../attachment/attachment.js';
import type { SessionContext } from '../attachment/context.js';
import type { CommandContext } from '../cli/context.js';
import { type Grouping, OWNER_GROUPS } from '../model/grouping.js';
import type { Order } from '../model/ranking.js';
import { keyOf } from '../model/records.js';
import { ReverseNames } from '../owners/names.js';
import type { Owners } from '../owners/owners.js';
import { colorDepth, usesBlockElements } from '../text/color.js';
import { noteLine } from '../verbs/tracked.js';
import type { WatchEvent } from '../verbs/watch.js';
import { renderLive } from './frame.js';
import { LiveModel } from './model.js';
import { Terminal } from './terminal.js';

interface LiveViewOptions {
  /** How many attachments there will be. */
  readonly attachments: number;
  /** Whether what is printed afterwards shows both directions in one table, which takes all sources. */
  readonly both: boolean;
  readonly sort: Order;
  readonly group: Grouping | undefined;
  /** Undefined where nothing is known of owners. Where it looks names up, they are shown from the first frame on. */
  readonly owners: Owners | undefined;
  /** The most rows to show; 0: as many as fit. */
  readonly top: number;
  /** Called when `q` is pressed. */
  readonly onQuit: () => void;
  /** Prints an event as without a live view. Events that come while the screen is taken are printed at the end. */
  readonly showAfterwards: (event: WatchEvent) => Promise<void>;
}

export class LiveView {
  readonly #session: SessionContext;
  readonly #options: LiveViewOptions;
  readonly #color: boolean;
  readonly #terminal: Terminal;
  readonly #names: ReverseNames;
  readonly #model: LiveModel;
  readonly #attachments: Attachment[] = [];
  readonly #cpu = new CpuMeter();
  readonly #costs: ProgramCosts;
  readonly #afterwards: WatchEvent[] = [];

  constructor(context: CommandContext, session: SessionContext, options: LiveViewOptions) {
    this.#session = session;
    this.#options = options;
    this.#color = context.color;
    this.#terminal = new Terminal(context.stdin, context.stdout, {
      onKey: (key) => {
        if (this.#model.press(key)) options.onQuit();
        this.#draw();
      },
      onRedraw: () => this.#draw(),
    });
    this.#names = options.owners?.names ?? new ReverseNames();
    this.#names.onName = () => this.#draw();
    this.#model = new LiveModel({
      sort: options.sort,
      top: options.top,
      group: options.group,
      owners: OWNER_GROUPS.some((each) => options.owners?.knows(each)) ? options.owners : undefined,
      showsNames: options.owners?.names !== undefined,
      nameOf: (address) => this.#names.get(address),
    });
    this.#costs = new ProgramCosts(this.#session);
  }

  async show(event: WatchEvent): Promise<void> {
    switch (event.kind) {
      case 'attached':
      case 'joined':
        await this.#options.showAfterwards(event);
        this.#attachments.push(event.attachment);
        this.#model.addInterface(
          event.attachment.interface,
          event.attachment.direction,
          event.attachment.mode,
          event.attachment.state.maxSources,
        );
        // Messages on standard error need the screen until all are attached.
        if (this.#attachments.length < this.#options.attachments) return;
        this.#terminal.take();
        break;
      case 'readings':
        if (event.final) {
          // The last reading may be printed long after the others: where it can, it keeps the few sources that are.
          const readings = event.readings.map(({ columns, ...reading }) =>
            this.#options.both ? { ...reading, columns } : reading,
          );
          this.#afterwards.push({ ...event, readings });
          return;
        }
        // An interface may have been named twice, by two of its names. Then fewer were attached than expected.
        this.#terminal.take();
        this.#model.setReadings(event.readings, performance.now());
        this.#model.setCosts(this.#cpu.percent(), await this.#costs.read(this.#attachments));
        break;
      case 'note':
        this.#model.showMessage(noteLine(event));
        this.#afterwards.push(event);
        break;
      case 'detached':
        this.#afterwards.push(event);
        return;
    }
    this.#draw();
  }

  async end(): Promise<void> {
    this.#names.close();
    this.#terminal.release();
    for (const event of this.#afterwards.splice(0)) await this.#options.showAfterwards(event);
  }

  #draw(): void {
    if (!this.#terminal.taken) return;
    const { width, height } = this.#terminal;
    const frame = this.#model.frame(height);
    if (frame.showsNames) this.#names.lookUp(frame.rows.map((row) => row.source));
    this.#terminal.draw(
      renderLive(frame, {
        width,
        height,
        depth: colorDepth(this.#color, process.env),
        blocks: usesBlockElements(process.env),
      }),
    );
  }
}

/** The CPU share is the mean over this many readings. */
const CPU_WINDOW = 10;
/** USER_HZ, the unit of /proc/PID/stat: 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Measures how much of one CPU this process and its children use. */
class CpuMeter {
  readonly #moments = [{ timeMs: performance.now(), cpuMs: usedCpuMs() }];

  /** The share in percent since the oldest of the last readings; undefined if no time has passed. */
  percent(): number | undefined {
    const now = { timeMs: performance.now(), cpuMs: usedCpuMs() };
    const [oldest = now] = this.#moments;
    this.#moments.push(now);
    if (this.#moments.length > CPU_WINDOW) this.#moments.shift();
    const elapsedMs = now.timeMs - oldest.timeMs;
    return elapsedMs > 0 ? (100 * (now.cpuMs - oldest.cpuMs)) / elapsedMs : undefined;
  }
}

function usedCpuMs(): number {
  const { user, system } = process.cpuUsage();
  const stat = readFileSync('/proc/self/stat', 'utf8');
  // proc(5): fields 16 and 17 are the times of children that have ended.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const childTicks = Number(fields[13] ?? 0) + Number(fields[14] ?? 0);
  return (user + system) / 1000 + (1000 * childTicks) / TICKS_PER_SECOND;
}

/** Nanoseconds per packet between two readings, if the administrator has switched on the kernel's statistics. */
class ProgramCosts {
  readonly #session: SessionContext;
  readonly #measured = areStatsOn();
  readonly #before = new Map<string, { readonly runTimeNs: number; readonly runCount: number }>();

  constructor(session: SessionContext) {
    this.#session = session;
  }

  async read(attachments: readonly Attachment[]): Promise<Map<string, number>> {
    const costs = new Map<string, number>();
    if (!this.#measured) return costs;
    for (const attachment of attachments) {
      const { pins } = attachment;
      const name = keyOf(attachment);
      // The view can do without this figure, so a failure is ignored.
      const now = await this.#session.bpftool.showProgram(pins.program).catch(() => undefined);
      if (now === undefined) continue;
      const before = this.#before.get(name) ?? { runTimeNs: 0, runCount: 0 };
      const runs = now.runCount - before.runCount;
      if (runs > 0) costs.set(name, (now.runTimeNs - before.runTimeNs) / runs);
      this.#before.set(name, now);
    }
    return costs;
  }
}

/** Whether kernel.bpf_stats_enabled is on. We never switch it, because it slows every BPF program on the host. */
function areStatsOn(): boolean {
  try {
    return readFileSync('/proc/sys/kernel/bpf_stats_enabled', 'utf8').trim() === '1';
  } catch {
    return false;
  }
}
