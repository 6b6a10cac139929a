/**
 * What tests on the real kernel need: the demo's stage (two network namespaces with a veth, and a
 * sender of exact numbers of frames), a bpffs of its own, and the command as a user runs it.
 * Everything is removed at `close`, and also when the process of the test dies.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { SessionContext } from '../../src/attachment/context.js';
import { VERBS } from '../../src/commands/verbs.js';
import { type SendOptions, Stage } from '../../src/demo/stage.js';
import { AtOurEnd } from '../../src/host/at-our-end.js';
import { DEFAULT_BPFFS, prepareBpffs } from '../../src/host/bpffs.js';
import { Bpftool } from '../../src/host/bpftool.js';
import { isOlder } from '../../src/host/find-bpftool.js';
import { resolveNetns } from '../../src/host/netns.js';
import { requireTool } from '../../src/host/tools.js';
import { propertyOf } from '../../src/model/json-values.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { detachXdp } from './bpftool.js';

export const OBJECTS_DIRECTORY = fileURLToPath(new URL('../../dist/bpf', import.meta.url));
export const CLI = fileURLToPath(new URL('../../bin/xdpwho.js', import.meta.url));

/** Why tests on the kernel cannot run here, or undefined. For test/suite.ts. */
export const WHY_NOT = process.getuid?.() === 0 ? undefined : 'needs root';

/** TCX came with kernel 6.6. */
export const WHY_NO_TCX = WHY_NOT ?? (isOlder(release(), [6, 6]) ? 'needs kernel 6.6' : undefined);

const REMOVE = `
umount -l "$1"
rmdir "$1"
rm -rf "$2"
`;

export interface LabOptions {
  /** The MTU of both ends of the veth. Default: 1500. */
  readonly mtu?: number;
  /** The name of the receiving interface. Default: eth0. */
  readonly device?: string;
  /**
   * Adds a bridge on both sides: the sender's is that of StageOptions, and the receiver's counts the
   * frames that the kernel's stack gets.
   */
  readonly bridged?: boolean;
}

/** The shells that take a lab down, as `ps` shows them. */
const REMOVERS = ['xdpwho-test', 'xdpwho-stage'];

let labs = 0;

/** No link can be had of a bpftool that keeps no batch open: runs fall back to `net attach` and the guard. */
export const NO_OPEN_BATCH = `case "$*" in '-n batch file -') exit 1 ;; esac`;

/**
 * Runs each command of a batch by itself, so that what a test does to a command happens in a batch too.
 * `$parent` is the process that has started the batch.
 */
export const BATCH = `
parent=\${XDPWHO_TEST_PARENT:-$PPID}
unset XDPWHO_TEST_PARENT
case "$*" in '-j -n batch file -')
  printf '['
  comma= status=0
  while read -r line; do
    eval "set -- $line"
    output=$(XDPWHO_TEST_PARENT=$parent "$0" -j -n "$@")
    status=$?
    printf '%s{"command":[],"output":%s}' "$comma" "\${output:-null}"
    comma=,
    [ $status = 0 ] || break
  done
  printf ']\\n'
  exit $status ;;
esac`;

const VERBS_THAT_ATTACH = ['watch', 'log', 'attach'];
const OTHER_VERBS = new Set(
  VERBS.map(({ verb }) => verb).filter((verb) => !VERBS_THAT_ATTACH.includes(verb)),
);

export class Lab {
  /** The names of the sending and the receiving namespace. */
  readonly sender: string;
  readonly netns: string;
  /** The interface in the receiving namespace. */
  readonly device: string;
  readonly bpffs: string;
  readonly scratch: string;
  readonly bpftool: Bpftool;
  readonly context: SessionContext;
  readonly #stage: Stage;
  readonly #remover: AtOurEnd;
  /** With `bridged`: the interface behind the receiver's bridge. */
  readonly #delivered: string;
  readonly #started: Started[] = [];

  private constructor(
    places: { device: string; bpffs: string; scratch: string; delivered: string },
    context: SessionContext,
    stage: Stage,
    remover: AtOurEnd,
  ) {
    this.sender = stage.sender;
    this.netns = stage.receiver;
    this.device = places.device;
    this.bpffs = places.bpffs;
    this.scratch = places.scratch;
    this.bpftool = context.bpftool;
    this.context = context;
    this.#stage = stage;
    this.#remover = remover;
    this.#delivered = places.delivered;
  }

  static async create(options: LabOptions = {}): Promise<Lab> {
    const { device = 'eth0', mtu = 1500, bridged = false } = options;
    const bpftool = new Bpftool({ path: requireTool('bpftool') });
    const context = { bpftool, objectsDirectory: OBJECTS_DIRECTORY };
    const bpffs = mkdtempSync('/tmp/xdpwho-bpffs-');
    const scratch = mkdtempSync('/tmp/xdpwho-test-');
    const remover = await AtOurEnd.start({
      name: 'xdpwho-test',
      atEnd: REMOVE,
      args: [bpffs, scratch],
    });
    try {
      await execa('mount', ['-t', 'bpf', 'bpf', bpffs]);
      // libbpf finds the front table by a link there; a run without --bpffs mounts it too.
      await prepareBpffs(DEFAULT_BPFFS);
      const name = `xw${process.pid}-${++labs}`;
      const pins = `${bpffs}/stage`;
      const options = { name, device, mtu, pins, scratch: `${scratch}/stage`, bridged };
      mkdirSync(options.scratch);
      const stage = await Stage.build(context, options);
      try {
        const delivered = bridged ? await stage.addBridge(stage.receiver, device, mtu) : '';
        return new Lab({ device, bpffs, scratch, delivered }, context, stage, remover);
      } catch (error) {
        await stage.takeDown();
        throw error;
      }
    } catch (error) {
      await remover.finish();
      throw error;
    }
  }

  /** The number of frames that the stack has got from `device`. Only with `bridged`. */
  async countDelivered(): Promise<number> {
    const links: unknown = JSON.parse(
      await this.ip(this.netns, ['-s', '-j', 'link', 'show', 'dev', this.#delivered]),
    );
    const link: unknown = Array.isArray(links) ? links[0] : undefined;
    const packets = propertyOf(propertyOf(propertyOf(link, 'stats64'), 'rx'), 'packets');
    if (typeof packets !== 'number') throw new Error(`${this.#delivered}: no count of packets`);
    return packets;
  }

  /** Adds a veth between the two namespaces. It is up, and has no addresses, so that the kernel sends nothing. */
  async addVeth(senderDevice: string, device: string, mtu?: number): Promise<void> {
    await this.#stage.addVeth(senderDevice, device, mtu);
  }

  async ip(netns: string, args: readonly string[]): Promise<string> {
    return (await execa('ip', ['-n', netns, ...args])).stdout;
  }

  /** The index of an interface of the sending namespace. */
  async ifindex(device: string): Promise<number> {
    return this.#stage.ifindex(device);
  }

  /** The index of an interface of one of the two namespaces. */
  async ifindexIn(netns: string, device: string): Promise<number> {
    return this.#stage.ifindex(device, netns);
  }

  /** Sends `count` copies of a frame. */
  async send(frame: Uint8Array, count: number, options: SendOptions = {}): Promise<void> {
    await this.#stage.send(frame, count, options);
  }

  /** The pin of the program that sends: see Stage. */
  async loadSender(options: SendOptions): Promise<string> {
    return this.#stage.loadSender(options);
  }

  /** Runs the command to its end, in this lab's namespace and bpffs. Never rejects. */
  run(args: readonly string[], options: RunCliOptions = {}) {
    const command = [process.execPath, options.cli ?? CLI, ...args, ...this.#own(args, options)];
    const [file = '', ...words] = [...(options.under ?? []), ...command];
    return execa(file, words, {
      reject: false,
      timeout: 120_000,
      maxBuffer: 1e9,
      stripFinalNewline: options.whole !== true,
      ...(options.env === undefined ? {} : { env: options.env }),
    });
  }

  /** Starts the command. If it still runs at `close`, it is killed. */
  start(args: readonly string[], options: RunCliOptions = {}): Started {
    return this.startProgram(
      process.execPath,
      [CLI, ...args, ...this.#own(args, options)],
      options,
    );
  }

  /** Starts another program, such as one that runs the command. If it still runs at `close`, it is killed. */
  startProgram(file: string, args: readonly string[], options: RunCliOptions = {}): Started {
    const child = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: options.ownGroup ?? false,
      env: { ...process.env, ...options.env },
    });
    const started = new Started(child);
    this.#started.push(started);
    return started;
  }

  #own(args: readonly string[], options: RunCliOptions): string[] {
    const place = ['--netns', this.netns, '--bpffs', this.bpffs];
    return [...(options.bare === true ? [] : place), ...this.#mode(args)];
  }

  /** On a veth `auto` takes generic mode, in which the program gets the frames behind a bridge only (StageOptions). */
  #mode(args: readonly string[]): string[] {
    const [verb = ''] = args;
    const attaches = verb !== '' && !verb.startsWith('-') && !OTHER_VERBS.has(verb);
    const isNamed = ['--mode', '--sent', '--beside'].some((option) => args.includes(option));
    return attaches && !isNamed ? ['--mode', 'native'] : [];
  }

  /** Attaches a program that is not ours; returns its id. */
  async attachStranger(device: string): Promise<number> {
    const pin = `${this.bpffs}/stranger-${device}`;
    const object = `${dirname(new ObjectFiles(OBJECTS_DIRECTORY).path('xdpwho'))}/pass.o`;
    await this.bpftool.loadProgram(object, pin);
    await this.bpftool.attach('native', pin, device, resolveNetns(this.netns).path);
    return (await this.bpftool.showProgram(pin)).id;
  }

  /** Detaches the program of `attachStranger`. */
  async detachStranger(device: string): Promise<void> {
    await detachXdp(this.bpftool, 'native', device, resolveNetns(this.netns).path);
    rmSync(`${this.bpffs}/stranger-${device}`);
  }

  /**
   * Writes a bpftool that runs the shell text `body` and then the real bpftool, and returns its path.
   * In `body`, `$bpftool` is the real one, and `"$@"` and `$*` are the arguments.
   */
  bpftoolThat(name: string, body: string, { keepsOpen = false } = {}): string {
    const path = `${this.scratch}/${name}`;
    const script = `#!/bin/sh\nbpftool=${this.bpftool.path}\n${keepsOpen ? '' : NO_OPEN_BATCH}\n${BATCH}\n${body}\nexec "$bpftool" "$@"\n`;
    writeFileSync(path, script, { mode: 0o755 });
    return path;
  }

  /** The XDP programs in the receiving namespace. */
  async attached() {
    return this.bpftool.showNet(resolveNetns(this.netns).path);
  }

  /** The directories of attachments in this lab's bpffs. */
  pins(): string[] {
    return readdirSync(this.bpffs).includes('xdpwho')
      ? readdirSync(`${this.bpffs}/xdpwho`).map(String)
      : [];
  }

  /** The guards of attachments in this lab, as `ps` lists them. */
  async guards(): Promise<string[]> {
    const { stdout } = await execa('ps', ['-eo', 'pid,args'], { maxBuffer: 1e8 });
    return stdout
      .split('\n')
      .filter((line) => line.includes(`xdpwho-guard `) && line.includes(`${this.bpffs}/xdpwho/`));
  }

  /** Waits until `condition` is true. Fails after `limitMs`, which is long and measures nothing. */
  async until(condition: () => Promise<boolean> | boolean, what: string, limitMs = 60_000) {
    const endMs = Date.now() + limitMs;
    while (!(await condition())) {
      if (Date.now() > endMs) throw new Error(`not within ${limitMs} ms: ${what}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  /**
   * Lists what a run can leave behind, one line each: attached programs in the lab's namespaces,
   * pins, processes, and temporary folders of processes that the lab has started.
   */
  async traces(): Promise<string[]> {
    const attached: string[] = [];
    for (const netns of [this.netns, this.sender]) {
      for (const each of await this.bpftool.showNet(resolveNetns(netns).path)) {
        attached.push(`${netns} ${each.device}: program ${each.programId}, ${each.mode}`);
      }
    }
    const { stdout } = await execa('ps', ['-eo', 'pid,args'], { maxBuffer: 1e8 });
    const processes = stdout
      .split('\n')
      .filter(
        (line) => line.includes(this.bpffs) && !REMOVERS.some((name) => line.includes(` ${name} `)),
      );
    const folders = ['/run', tmpdir()].flatMap((root) =>
      readdirSync(root)
        .filter((name) => this.#started.some(({ pid }) => name.startsWith(`xdpwho-${pid}-`)))
        .map((name) => `${root}/${name}`),
    );
    return [...attached, ...this.pins(), ...processes, ...folders].sort();
  }

  /** Waits until `traces` lists the same as `before`. */
  async untilTraces(before: readonly string[]): Promise<void> {
    let now: readonly string[] = [];
    try {
      await this.until(async () => {
        now = await this.traces();
        return now.join('\n') === before.join('\n');
      }, 'nothing left behind');
    } catch (cause) {
      throw new Error(`left behind:\n${now.join('\n')}\nbefore:\n${before.join('\n')}`, { cause });
    }
  }

  /** Waits until nothing of ours is attached, pinned or running in this lab. */
  async untilNothingLeft(): Promise<void> {
    await this.untilTraces([]);
  }

  /** Ends what it has started and still runs. */
  async endAll(): Promise<void> {
    for (const started of this.#started) started.child.kill('SIGKILL');
    await Promise.all(this.#started.map((started) => started.ended()));
  }

  async close(): Promise<void> {
    await this.endAll();
    await this.#stage.takeDown();
    await this.#remover.finish();
  }
}

export interface RunCliOptions {
  /** Without `--netns` and `--bpffs` of the lab. */
  readonly bare?: boolean;
  readonly env?: Record<string, string>;
  /** Run it in a process group of its own. */
  readonly ownGroup?: boolean;
  /** Keep the last line end of the output. Only for `run`. */
  readonly whole?: boolean;
  /** The command that runs it, such as `nsenter ... --`. Only for `run`. */
  readonly under?: readonly string[];
  /** Another copy of bin/xdpwho.js. Only for `run`. */
  readonly cli?: string;
}

/**
 * A mount namespace that has only the named bpffs's, and a new one at /sys/fs/bpf with the mode that
 * it has on most hosts. Network namespaces that exist already can be entered from it.
 */
export class MountNamespace {
  /** For RunCliOptions. */
  readonly under: readonly string[];
  readonly #holder: AtOurEnd;

  private constructor(holder: AtOurEnd) {
    this.#holder = holder;
    this.under = ['nsenter', `--mount=/proc/${holder.pid}/ns/mnt`, '--'];
  }

  static async create(bpffs: readonly string[] = []): Promise<MountNamespace> {
    const begin = `
set -e
keep=" $* "
while read -r _ at type _; do
  [ "$type" = bpf ] || continue
  case $keep in *" $at "*) ;; *) umount -l "$at" ;; esac
done <<MOUNTS
$(cat /proc/mounts)
MOUNTS
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
`;
    const under = [requireTool('unshare'), '--mount', '--propagation', 'private', '--'];
    const name = 'xdpwho-test-mounts';
    return new MountNamespace(await AtOurEnd.start({ name, begin, args: bpffs, under }));
  }

  async close(): Promise<void> {
    await this.#holder.finish();
  }
}

/** A running command: what it has printed so far, and how it ended. */
export class Started {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #closed: Promise<unknown>;
  #hasEnded = false;

  constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.on('data', (chunk) => {
      this.stdout += String(chunk);
    });
    child.stderr?.on('data', (chunk) => {
      this.stderr += String(chunk);
    });
    this.#closed = once(child, 'close').then(() => {
      this.#hasEnded = true;
    });
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error('it did not start');
    return this.child.pid;
  }

  /** Waits for a text on standard error. Fails if the command ends first. */
  async says(pattern: RegExp): Promise<void> {
    const endMs = Date.now() + 30_000;
    while (!pattern.test(this.stderr)) {
      if (this.#hasEnded) throw new Error(`it ended without saying ${pattern}: ${this.stderr}`);
      if (Date.now() > endMs) throw new Error(`it did not say ${pattern}: ${this.stderr}`);
      await new Promise((done) => setTimeout(done, 10));
    }
  }

  /** The same for standard output. */
  async prints(pattern: RegExp): Promise<void> {
    const endMs = Date.now() + 30_000;
    while (!pattern.test(this.stdout)) {
      if (Date.now() > endMs) throw new Error(`it did not print ${pattern}: ${this.stderr}`);
      await new Promise((done) => setTimeout(done, 10));
    }
  }

  /** Waits until it has ended and all its output has been read. */
  async ended(): Promise<{ exitCode: number | null; signal: string | null }> {
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      limit = setTimeout(() => reject(new Error(`it does not end: ${this.stderr}`)), 60_000);
    });
    await Promise.race([this.#closed, late]).finally(() => clearTimeout(limit));
    return { exitCode: this.child.exitCode, signal: this.child.signalCode };
  }
}

export interface JsonRecord {
  readonly type: string;
  readonly [name: string]: unknown;
}

/** The lines of ndjson output. */
export function recordsIn(stdout: string): JsonRecord[] {
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const value: unknown = JSON.parse(line);
      const type = propertyOf(value, 'type');
      if (typeof value !== 'object' || value === null || typeof type !== 'string') {
        throw new Error(`not a record: ${line}`);
      }
      return { ...value, type };
    });
}

/** The totals of the last reading in a list of records, and its packets and bytes by source. */
export function lastReading(records: readonly JsonRecord[]) {
  const end = records.map((record) => record.type).lastIndexOf('totals');
  const before = records.slice(0, end).map((record) => record.type);
  const begin = Math.max(before.lastIndexOf('totals'), before.lastIndexOf('attached')) + 1;
  const sources = records.slice(begin, end);
  return {
    totals: records[end],
    packets: Object.fromEntries(sources.map((each) => [String(each.source), each.packets])),
    bytes: Object.fromEntries(sources.map((each) => [String(each.source), each.bytes])),
  };
}

/** Parses a JSON document. Fails if it is no object. */
export function documentIn(stdout: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(stdout);
  if (typeof value !== 'object' || value === null) throw new Error(`not a document: ${stdout}`);
  return { ...value };
}

/** The objects of the list `name` in a document. Fails if there is no such list. */
export function listIn(document: unknown, name: string): Readonly<Record<string, unknown>>[] {
  const list = propertyOf(document, name);
  if (!Array.isArray(list)) throw new Error(`no list ${name}: ${JSON.stringify(document)}`);
  return list.map((each: unknown) =>
    typeof each === 'object' && each !== null ? { ...each } : {},
  );
}

/** The process of bpftool that holds the link of a run. A reading is another batch, with `-j`. */
export async function holderPid(lab: Lab, run: Started): Promise<number> {
  let pid: number | undefined;
  await lab.until(async () => {
    pid = childOf(run.pid, /^\S+ -n batch file -$/);
    return pid !== undefined;
  }, 'a process that holds the link');
  return pid ?? 0;
}

/** The child of a process that has these words, joined by spaces. */
function childOf(parent: number, words: RegExp): number | undefined {
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').split(' ');
  const wordsOf = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replace(/\0$/, '').replaceAll('\0', ' ');
    } catch {
      return '';
    }
  };
  const found = children.find((pid) => pid !== '' && words.test(wordsOf(pid)));
  return found === undefined ? undefined : Number(found);
}
