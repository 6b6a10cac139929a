/** Where a program and the empty one are loaded and run: a bpffs of their own. */

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SessionContext } from '../attachment/context.js';
import { makeScratch } from '../attachment/scratch.js';
import type { Bpftool } from '../host/bpftool.js';
import { bpftoolArguments } from '../host/bpftool-arguments.js';
import { type ProgramRun, programRunIn } from '../host/bpftool-output.js';
import { XdpwhoError } from '../model/errors.js';
import { ObjectFiles, type ObjectName } from '../objects/files.js';
import { type BenchCase, checkReadable } from './cases.js';
import { PrivateBpffs } from './private-bpffs.js';

/** Before a measurement: five times as many as there are sources have each in the table, or nearly. */
const TURNS_PER_SOURCE = 5;
/** Before new sources are measured: as many as fill our own table. */
const NEW_SOURCES_BEFORE = 70_000;
/** Of bpf/spread.bpf.c and bpf/pass.bpf.c: a tail call wants caller and callee alike. */
const KINDS = ['.frags', ''] as const;
type Kind = (typeof KINDS)[number];

export type Side = 'measured' | 'empty';
export const SIDES: readonly Side[] = ['measured', 'empty'];

/** One of the two programs on one kind of packet. */
export interface Turn {
  readonly benchCase: BenchCase;
  readonly side: Side;
  readonly repeat: number;
}

export interface ProgramChoice {
  /** A compiled XDP program, by an absolute path. Default: our own. */
  readonly object?: string | undefined;
  /** Which of the object's programs; needed where it has several. */
  readonly program?: string | undefined;
}

/** Whoever opens it must close it. */
export class Place {
  readonly #bpffs: PrivateBpffs;
  readonly #bpftool: Bpftool;
  readonly #objects: ObjectFiles;
  readonly #scratch: string;
  /** Files by case. */
  readonly #frames = new Map<string, string>();
  #object = '';
  #program = '';
  /** Asked for where the sections of the object are not named as libbpf knows them. */
  #type: 'xdp' | undefined;
  /** Undefined when nothing can call the program. */
  #kind: Kind | undefined = '';

  private constructor(context: SessionContext, bpffs: PrivateBpffs) {
    this.#bpffs = bpffs;
    this.#bpftool = bpffs.bpftool;
    this.#objects = new ObjectFiles(context.objectsDirectory);
    this.#scratch = makeScratch();
  }

  static async open(context: SessionContext): Promise<Place> {
    return new Place(context, await PrivateBpffs.open(context.bpftool));
  }

  /** Loads everything once, finds out how, and gives the name of the program. */
  async prepare(options: ProgramChoice, cases: readonly BenchCase[]): Promise<string> {
    for (const { name, frame } of cases) {
      this.#frames.set(name, join(this.#scratch, `frame${this.#frames.size}`));
      writeFileSync(this.#frame(name), frame);
    }
    this.#program = await this.#findProgram(options);
    const spread = cases.filter((each) => each.sources !== undefined);
    if (spread.length > 0) this.#kind = await this.#findKind(spread);
    return this.#program;
  }

  /**
   * Loads both programs and runs the turns. Anew each time: where code and tables come to lie in
   * memory makes a difference of some nanoseconds. All in one process of bpftool, which takes less
   * time than many, and leaves less for others to meddle in.
   */
  async run(turns: readonly Turn[]): Promise<ProgramRun[]> {
    const empty = this.#own(`pass${this.#kind ?? ''}`);
    for (const side of SIDES) this.#bpffs.remove(side);
    const loads = [
      bpftoolArguments.loadPrograms(this.#object, this.#path('measured'), { type: this.#type }),
      bpftoolArguments.loadPrograms(empty, this.#path('empty')),
    ];
    const commands = turns.map((turn) => this.#commandsOf(turn));
    const { outputs, failure } = await this.#bpftool.batch([...loads, ...commands.flat()]);
    if (failure !== undefined) throw failure;
    let end = loads.length;
    return commands.map((each) => {
      end += each.length;
      const run = programRunIn(outputs[end - 1]);
      if (run === undefined) throw new XdpwhoError('bad-output', 'bpftool prog run: no duration');
      return run;
    });
  }

  canRun(benchCase: BenchCase): boolean {
    return benchCase.sources === undefined || this.#kind !== undefined;
  }

  /** The last one is the run that counts. */
  #commandsOf({ benchCase, side, repeat }: Turn): (readonly string[])[] {
    const { name, sources } = benchCase;
    const target = this.#pin(side);
    const runs = (pin: string, times: number) =>
      bpftoolArguments.runProgram(pin, this.#frame(name), times);
    if (sources === undefined) return [runs(target, repeat)];
    const spread = this.#path(`spread-${name}/spread`);
    return [
      bpftoolArguments.setProgramArray(this.#path(`spread-${name}-maps/measured`), target),
      runs(spread, sources * TURNS_PER_SOURCE || NEW_SOURCES_BEFORE),
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
    const [only, ...others] = names;
    const found = program === undefined ? (others.length === 0 ? only : undefined) : program;
    if (found !== undefined && names.includes(found)) return found;
    const what = object ?? 'our own object';
    const hint = `--program ${names.join(' or ')}`;
    if (program !== undefined)
      throw new XdpwhoError('usage', `${what}: no program ${program}`, { hint });
    throw new XdpwhoError('usage', `${what}: ${names.length} programs: which one?`, { hint });
  }

  /** Loads the first of our objects that the kernel takes. */
  async #loadFirst([name, ...others]: readonly ObjectName[]): Promise<void> {
    if (name === undefined) return;
    this.#object = this.#own(name);
    try {
      await this.#bpftool.loadPrograms(this.#object, this.#path('measured'));
    } catch (error) {
      if (others.length === 0) throw error;
      await this.#loadFirst(others);
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

  async #findKind(cases: readonly BenchCase[]): Promise<Kind | undefined> {
    for (const kind of KINDS) {
      try {
        for (const { name, sources } of cases) {
          const object = this.#own(`spread${kind}`, { source_count: sources ?? 0 });
          const [directory, mapsDirectory] = [`spread-${name}`, `spread-${name}-maps`];
          this.#bpffs.remove(directory);
          this.#bpffs.remove(mapsDirectory);
          const options = { mapsDirectory: this.#path(mapsDirectory) };
          await this.#bpftool.loadPrograms(object, this.#path(directory), options);
          const map = this.#path(`${mapsDirectory}/measured`);
          await this.#bpftool.setProgramArray(map, this.#pin('measured'));
        }
        return kind;
      } catch {
        // Not of this kind.
      }
    }
    return undefined;
  }

  /** A copy of one of our own objects. */
  #own(name: ObjectName, constants: Readonly<Record<string, number>> = {}): string {
    return this.#objects.writePatched(name, { constants }, this.#scratch);
  }

  #pin(side: Side): string {
    return this.#path(`${side}/${side === 'empty' ? 'pass' : this.#program}`);
  }

  #path(name: string): string {
    return `${this.#bpffs.directory}/${name}`;
  }

  #frame(name: string): string {
    return this.#frames.get(name) ?? name;
  }
}
