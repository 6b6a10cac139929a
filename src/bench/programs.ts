/** Loads the program that is measured and the empty one in a private bpffs, and runs them. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionContext } from '../attachment/context.js';
import { DEFAULT_MAX_SOURCES } from '../attachment/defaults.js';
import { makeScratch } from '../attachment/scratch.js';
import type { Bpftool } from '../host/bpftool.js';
import { bpftoolArguments } from '../host/bpftool-arguments.js';
import { type ProgramRun, programRunIn } from '../host/bpftool-output.js';
import { configuredHz, cpuNumbers, lastAllowedCpu } from '../host/kernel.js';
import { PrivateBpffs } from '../host/private-bpffs.js';
import { XdpwhoError } from '../model/errors.js';
import { ObjectFiles, type ObjectName } from '../objects/files.js';
import { frontConstants, frontLines, frontSize } from '../objects/front.js';
import type { ObjectPatch } from '../objects/patch.js';
import { type BenchCase, checkReadable } from './cases.js';
import { zipfRanks } from './zipf.js';

/** Runs before a measurement, per source: 5 random draws per source hit about 99 % of the sources. */
const TURNS_PER_SOURCE = 5;
/** Of many sources, most of the runs are of few of them. */
const MOST_BEFORE = 500_000;
/** Runs before new sources are measured: these many sources fill our own table. */
const NEW_SOURCES_BEFORE = 70_000;
/** The variants of bpf/spread.bpf.c and bpf/pass.bpf.c. The kernel allows a tail call only between programs that both take fragments, or both do not. */
const KINDS = ['.frags', ''] as const;
type Kind = (typeof KINDS)[number];

/** Where the kernel does not publish its own: how often a line is written back is all that depends on it. */
const LIKELY_HZ = 250;

export type Side = 'measured' | 'empty';
export const SIDES: readonly Side[] = ['measured', 'empty'];

/** One run: which of the two programs, which packet, how often. */
export interface Turn {
  readonly benchCase: BenchCase;
  readonly side: Side;
  readonly repeat: number;
}

export interface ProgramChoice {
  /** The absolute path of a compiled object with an XDP program. Default: our own. */
  readonly object?: string | undefined;
  /** The name of the program; needed when the object has several. */
  readonly program?: string | undefined;
}

/** The caller of `open` must close it. */
export class BenchPrograms {
  readonly #bpffs: PrivateBpffs;
  readonly #bpftool: Bpftool;
  readonly #objects: ObjectFiles;
  readonly #scratch: string;
  readonly #cpu = lastAllowedCpu();
  /** The file that holds the frame of each case, by the name of the case. */
  readonly #frames = new Map<string, string>();
  #object = '';
  #program = '';
  /** Given to bpftool when libbpf does not know the type from the names of the object's sections. */
  #type: 'xdp' | undefined;
  /** The variant that can call the program; undefined when neither can. */
  #kind: Kind | undefined = '';

  private constructor(context: SessionContext, bpffs: PrivateBpffs) {
    this.#bpffs = bpffs;
    this.#bpftool = bpffs.bpftool;
    this.#objects = new ObjectFiles(context.objectsDirectory);
    this.#scratch = makeScratch();
  }

  static async open(context: SessionContext): Promise<BenchPrograms> {
    return new BenchPrograms(
      context,
      await PrivateBpffs.open(context.bpftool, { command: 'bench' }),
    );
  }

  /** Finds out how to load everything, and returns the name of the program. */
  async prepare(options: ProgramChoice, cases: readonly BenchCase[]): Promise<string> {
    for (const { name, frame } of cases) {
      this.#frames.set(name, join(this.#scratch, `frame${this.#frames.size}`));
      writeFileSync(this.#frame(name), frame);
    }
    this.#program = await this.#findProgram(options);
    const withSources = cases.filter(({ sources }) => sources !== undefined);
    if (withSources.length > 0) this.#kind = await this.#findKind(withSources);
    return this.#program;
  }

  /**
   * Loads both programs and runs the turns; the result has one run for each turn. The programs are
   * loaded anew each time, because the addresses of code and tables change a time by some
   * nanoseconds. One bpftool process does all of it, which is faster and less disturbed than many.
   */
  async run(turns: readonly Turn[]): Promise<ProgramRun[]> {
    const empty = this.#own(`pass${this.#kind ?? ''}`);
    for (const side of SIDES) this.#bpffs.remove(side);
    for (const { benchCase } of turns) this.#bpffs.remove(ownDirectory(benchCase));
    const loads = [
      this.#load('measured'),
      bpftoolArguments.loadPrograms(empty, this.#path('empty')),
    ];
    const commands = turns.map((turn) => this.#commandsOf(turn));
    // The values of per-CPU tables are in the cache of the CPU that has made them.
    const { outputs, failure } = await this.#bpftool.batch([...loads, ...commands.flat()], {
      cpu: this.#cpu,
    });
    if (failure !== undefined) throw failure;
    let end = loads.length;
    return commands.map((ofTurn) => {
      end += ofTurn.length;
      const run = programRunIn(outputs[end - 1]);
      if (run === undefined) throw new XdpwhoError('bad-output', 'bpftool prog run: no duration');
      return run;
    });
  }

  canRun(benchCase: BenchCase): boolean {
    return benchCase.sources === undefined || this.#kind !== undefined;
  }

  /** The last command is the run that is measured. */
  #commandsOf({ benchCase, side, repeat }: Turn): (readonly string[])[] {
    const { name, sources } = benchCase;
    const runs = (pin: string, times: number) =>
      bpftoolArguments.runProgram(pin, this.#frame(name), times);
    if (sources === undefined) return [runs(this.#pin(side), repeat)];
    // Its tables must not be full of the sources of another case.
    const own = ownDirectory(benchCase);
    const target = side === 'empty' ? this.#pin(side) : this.#path(`${own}/${this.#program}`);
    const spread = this.#path(`${spreadDirectory(name)}/spread`);
    return [
      ...(side === 'empty' ? [] : [this.#load(own)]),
      bpftoolArguments.setProgramArray(
        this.#path(`${spreadDirectory(name)}-maps/measured`),
        target,
      ),
      runs(spread, Math.min(sources * TURNS_PER_SOURCE, MOST_BEFORE) || NEW_SOURCES_BEFORE),
      runs(spread, repeat),
    ];
  }

  async close(): Promise<void> {
    await this.#bpffs.close();
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  async #findProgram({ object, program }: ProgramChoice): Promise<string> {
    if (object === undefined) {
      await this.#loadFirst(['xdpwho.frags', 'xdpwho']);
    } else {
      this.#object = object;
      await this.#loadNamedOrAsXdp(object);
    }
    const names = this.#bpffs.list('measured').sort();
    const found = program ?? (names.length === 1 ? names[0] : undefined);
    if (found !== undefined && names.includes(found)) return found;
    const what = object ?? 'our own object';
    const hint = `--program ${names.join(' or ')}`;
    if (program !== undefined)
      throw new XdpwhoError('usage', `${what}: no program ${program}`, { hint });
    throw new XdpwhoError('usage', `${what}: ${names.length} programs: which one?`, { hint });
  }

  /** Loads the first of our objects that the kernel accepts. */
  async #loadFirst([name, ...alternatives]: readonly ObjectName[]): Promise<void> {
    if (name === undefined) return;
    this.#object = this.#ownProgram(name);
    try {
      await this.#bpftool.loadPrograms(this.#object, this.#path('measured'));
    } catch (error) {
      if (alternatives.length === 0) throw error;
      await this.#loadFirst(alternatives);
    }
  }

  async #loadNamedOrAsXdp(object: string): Promise<void> {
    checkReadable(object);
    const directory = this.#path('measured');
    try {
      await this.#bpftool.loadPrograms(object, directory);
    } catch (error) {
      this.#type = 'xdp';
      await this.#bpftool.loadPrograms(object, directory, { type: 'xdp' }).catch(() => {
        throw error;
      });
    }
  }

  /** The first variant of `spread` that the kernel lets call the program. */
  async #findKind(cases: readonly BenchCase[]): Promise<Kind | undefined> {
    for (const kind of KINDS) {
      try {
        for (const { name, sources, zipf } of cases) {
          const object = this.#own(`spread${kind}`, spreadConstants(sources ?? 0, zipf));
          const [directory, mapsDirectory] = [
            spreadDirectory(name),
            `${spreadDirectory(name)}-maps`,
          ];
          this.#bpffs.remove(directory);
          this.#bpffs.remove(mapsDirectory);
          const options = { mapsDirectory: this.#path(mapsDirectory) };
          await this.#bpftool.loadPrograms(object, this.#path(directory), options);
          const map = this.#path(`${mapsDirectory}/measured`);
          await this.#bpftool.setProgramArray(map, this.#pin('measured'));
        }
        return kind;
      } catch {
        // The kernel refuses this variant.
      }
    }
    return undefined;
  }

  /** Writes a copy of our program as it is attached by default. */
  #ownProgram(name: ObjectName): string {
    const cpus = cpuNumbers();
    const front = frontSize(frontLines(cpus, DEFAULT_MAX_SOURCES), cpus);
    const constants = frontConstants(front, configuredHz() ?? LIKELY_HZ);
    const maxEntries = front === undefined ? {} : { front: front.entries };
    return this.#objects.writePatched(name, { constants, maxEntries }, this.#scratch);
  }

  /** Writes a copy of one of our own objects, and returns its path. */
  #own(name: ObjectName, constants: NonNullable<ObjectPatch['constants']> = {}): string {
    return this.#objects.writePatched(name, { constants }, this.#scratch);
  }

  #pin(side: Side): string {
    return this.#path(`${side}/${side === 'empty' ? 'pass' : this.#program}`);
  }

  /** The command that loads the program that is measured. */
  #load(directory: string): readonly string[] {
    return bpftoolArguments.loadPrograms(this.#object, this.#path(directory), { type: this.#type });
  }

  #path(name: string): string {
    return `${this.#bpffs.directory}/${name}`;
  }

  #frame(name: string): string {
    return this.#frames.get(name) ?? name;
  }
}

/** See bpf/spread.bpf.c. */
function spreadConstants(sources: number, exponent: number | undefined) {
  if (exponent === undefined) return { source_count: sources };
  const ranks = new Uint8Array(zipfRanks(sources, exponent).buffer);
  return { source_count: sources, is_zipf: 1, zipf_ranks: ranks };
}

/** Where the program is that is measured with the sources of a case. */
function ownDirectory({ name }: BenchCase): string {
  return `measured-${name.replaceAll('.', '_')}`;
}

/** bpffs allows no dot in a name. */
function spreadDirectory(caseName: string): string {
  return `spread-${caseName.replaceAll('.', '_')}`;
}
