/**
 * A place for tests on the real kernel: two network namespaces with a veth between them, a bpffs of
 * its own, a sender that gives exact numbers of frames, and the command as a user runs it. Everything
 * goes at `close`, and also when the test's process dies.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import type { SessionContext } from '../../src/attachment/context.js';
import { Bpftool } from '../../src/host/bpftool.js';
import { requireTool, startCompanion } from '../../src/host/exec.js';
import { showLinks } from '../../src/host/interfaces.js';
import { resolveNetns } from '../../src/host/netns.js';
import { propertyOf } from '../../src/model/json-values.js';
import { ObjectFiles } from '../../src/objects/files.js';
import { detachXdp } from './bpftool.js';

export const OBJECTS_DIRECTORY = fileURLToPath(new URL('../../dist/bpf', import.meta.url));
export const CLI = fileURLToPath(new URL('../../bin/xdpwho.js', import.meta.url));

/** Why tests on the kernel cannot run here, or undefined. For test/suite.ts. */
export const WHY_NOT = process.getuid?.() === 0 ? undefined : 'needs root';

/** A veth's receive ring holds 256 frames, and nothing drains it during one `prog run`. */
const MAX_BURST = 128;

const NO_BRIDGE_FILTERS = `
for each in /proc/sys/net/bridge/bridge-nf-call-*; do
  [ ! -e "$each" ] || echo 0 >"$each"
done
`;

const TAKE_DOWN = `
trap '' HUP INT QUIT TERM PIPE
while read -r _; do :; done
ip netns del "$1-tx"
ip netns del "$1-rx"
umount "$2"
rmdir "$2"
rm -rf "$3"
`;

export interface LabOptions {
  /** Of both ends; default 1500. */
  readonly mtu?: number;
  /** Name of the receiving interface; default eth0. */
  readonly device?: string;
  /**
   * With a bridge on either side. The sender's removes the mark of what a BPF program has sent: the
   * kernel's generic hook leaves out packets with that mark (net/core/dev.c, do_xdp_generic). The
   * receiver's is the stack that frames are delivered to, and counts them.
   */
  readonly bridged?: boolean;
}

/** The name of the process that takes a lab down, for `ps`. */
const REMOVER = 'xdpwho-test';

let labs = 0;

/** Runs each command of a batch by itself, so that what a test does to a command happens in a batch too. */
const BATCH = `
case "$*" in *'batch file -'*)
  printf '['
  comma= status=0
  while read -r line; do
    eval "set -- $line"
    output=$("$0" -j -n "$@")
    status=$?
    printf '%s{"command":[],"output":%s}' "$comma" "\${output:-null}"
    comma=,
    [ $status = 0 ] || break
  done
  printf ']\\n'
  exit $status ;;
esac`;

export class Lab {
  /** Names of the sending and the receiving namespace. */
  readonly sender: string;
  readonly netns: string;
  /** The interface in the receiving namespace. */
  readonly device: string;
  readonly bpffs: string;
  readonly scratch: string;
  readonly bpftool: Bpftool;
  readonly context: SessionContext;
  readonly #remover: ReturnType<typeof startCompanion>;
  #ifindex = 0;
  #loaded = new Map<string, string>();
  readonly #started: Started[] = [];

  private constructor(device: string) {
    const name = `xw${process.pid}-${++labs}`;
    this.sender = `${name}-tx`;
    this.netns = `${name}-rx`;
    this.device = device;
    this.bpffs = mkdtempSync('/tmp/xdpwho-bpffs-');
    this.scratch = mkdtempSync('/tmp/xdpwho-test-');
    this.bpftool = new Bpftool({ path: requireTool('bpftool') });
    this.context = { bpftool: this.bpftool, objectsDirectory: OBJECTS_DIRECTORY };
    const args = ['-c', TAKE_DOWN, REMOVER, name, this.bpffs, this.scratch];
    this.#remover = startCompanion(requireTool('sh'), args);
  }

  static async create(options: LabOptions = {}): Promise<Lab> {
    const lab = new Lab(options.device ?? 'eth0');
    try {
      await lab.#build(options.mtu ?? 1500, options.bridged ?? false);
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  async #build(mtu: number, bridged: boolean): Promise<void> {
    await execa('mount', ['-t', 'bpf', 'bpf', this.bpffs]);
    for (const netns of [this.sender, this.netns]) await execa('ip', ['netns', 'add', netns]);
    await this.addVeth('eth0', this.device, mtu);
    if (bridged) {
      await this.#addBridge(this.sender, 'eth0', mtu);
      await this.#addBridge(this.netns, this.device, mtu);
    }
    this.#ifindex = await this.ifindex(bridged ? 'way0' : 'eth0');
  }

  /**
   * A bridge between `device` of this namespace and a veth of its own: what is sent out of `way0`
   * comes out of `device`, and what the kernel's stack gets from `device` comes out of `way0`.
   */
  async #addBridge(netns: string, device: string, mtu: number): Promise<void> {
    const ip = (...args: string[]) => this.ip(netns, args);
    await ip('link', 'add', 'bridge0', 'type', 'bridge', 'mcast_snooping', '0');
    await ip('link', 'add', 'way0', 'type', 'veth', 'peer', 'name', 'way1');
    for (const name of ['bridge0', 'way0', 'way1']) {
      await ip('link', 'set', 'dev', name, 'mtu', String(mtu), 'arp', 'off', 'addrgenmode', 'none');
    }
    for (const name of ['way1', device]) await ip('link', 'set', 'dev', name, 'master', 'bridge0');
    for (const name of ['bridge0', 'way0', 'way1']) await ip('link', 'set', 'dev', name, 'up');
    // Where br_netfilter is loaded, the bridge drops what is no whole IP packet.
    await execa('ip', ['netns', 'exec', netns, 'sh', '-c', NO_BRIDGE_FILTERS]);
  }

  /** How many frames the stack has got from `device`; with the option `bridged`. */
  async countDelivered(): Promise<number> {
    const links: unknown = JSON.parse(
      await this.ip(this.netns, ['-s', '-j', 'link', 'show', 'dev', 'way0']),
    );
    const link: unknown = Array.isArray(links) ? links[0] : undefined;
    const packets = propertyOf(propertyOf(propertyOf(link, 'stats64'), 'rx'), 'packets');
    if (typeof packets !== 'number') throw new Error('way0: no count of packets');
    return packets;
  }

  /** A veth with its ends in the two namespaces, up, without addresses, so that the kernel itself sends nothing. */
  async addVeth(senderDevice: string, device: string, mtu = 1500): Promise<void> {
    const ends = ['name', senderDevice, 'netns', this.sender, 'mtu', String(mtu), 'type', 'veth'];
    const peer = ['peer', 'name', device, 'netns', this.netns, 'mtu', String(mtu)];
    await execa('ip', ['link', 'add', ...ends, ...peer]);
    for (const [netns, name] of [
      [this.sender, senderDevice],
      [this.netns, device],
    ] as const) {
      await this.ip(netns, ['link', 'set', 'dev', name, 'arp', 'off', 'addrgenmode', 'none']);
      await this.ip(netns, ['link', 'set', 'dev', name, 'up']);
    }
  }

  async ip(netns: string, args: readonly string[]): Promise<string> {
    return (await execa('ip', ['-n', netns, ...args])).stdout;
  }

  /** Index of an interface of the sending namespace. */
  async ifindex(device: string): Promise<number> {
    const [link] = await showLinks(resolveNetns(this.sender), device);
    if (link === undefined) throw new Error(`${device}: not in ${this.sender}`);
    return link.ifindex;
  }

  /**
   * Sends `count` copies of a frame. With `sources`, the low 32 bits of the source take `sources`
   * consecutive values in turn. `length` is for what `prog run` itself does not take: frames of less
   * than 15 bytes or more than a page.
   */
  async send(
    frame: Uint8Array,
    count: number,
    options: { sources?: number; length?: number; ifindex?: number } = {},
  ): Promise<void> {
    const pin = await this.#loadSender(options);
    const file = `${this.scratch}/frame`;
    writeFileSync(file, frame);
    for (let left = count; left > 0; left -= MAX_BURST) {
      const burst = Math.min(left, MAX_BURST);
      await this.bpftool.runProgram(pin, file, burst, resolveNetns(this.sender).path);
    }
  }

  async #loadSender(options: { sources?: number; length?: number; ifindex?: number }) {
    const { sources = 1, length = 0, ifindex = this.#ifindex } = options;
    const key = `${sources}-${length}-${ifindex}`;
    const known = this.#loaded.get(key);
    if (known !== undefined) return known;
    const constants = { ifindex, source_count: sources, frame_length: length };
    const files = new ObjectFiles(OBJECTS_DIRECTORY);
    const object = files.writePatched('sender', { constants }, this.scratch);
    const pin = `${this.bpffs}/sender-${key}`;
    mkdirSync(`${pin}-maps`);
    await this.bpftool.loadClassifier(object, pin, `${pin}-maps`);
    this.#loaded.set(key, pin);
    return pin;
  }

  /** Runs the command to its end, in this lab's namespace and bpffs. Never rejects. */
  run(args: readonly string[], options: RunCliOptions = {}) {
    const command = [process.execPath, options.cli ?? CLI, ...args, ...this.#own(options)];
    const [file = '', ...words] = [...(options.under ?? []), ...command];
    return execa(file, words, {
      reject: false,
      timeout: 120_000,
      maxBuffer: 1e9,
      stripFinalNewline: options.whole !== true,
      ...(options.env === undefined ? {} : { env: options.env }),
    });
  }

  /** Starts the command; it is killed at `close` if it still runs. */
  start(args: readonly string[], options: RunCliOptions = {}): Started {
    return this.startProgram(process.execPath, [CLI, ...args, ...this.#own(options)], options);
  }

  /** Likewise for another program, such as one that runs the command in its turn. */
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

  #own(options: RunCliOptions): string[] {
    return options.bare === true ? [] : ['--netns', this.netns, '--bpffs', this.bpffs];
  }

  /** Attaches a program that is not ours; returns its id. */
  async attachStranger(device: string): Promise<number> {
    const pin = `${this.bpffs}/stranger-${device}`;
    const object = `${dirname(new ObjectFiles(OBJECTS_DIRECTORY).path('xdpwho'))}/pass.o`;
    await this.bpftool.loadProgram(object, pin);
    await this.bpftool.attach('native', pin, device, resolveNetns(this.netns).path);
    return (await this.bpftool.showProgram(pin)).id;
  }

  /** Detaches it again. */
  async detachStranger(device: string): Promise<void> {
    await detachXdp(this.bpftool, 'native', device, resolveNetns(this.netns).path);
    rmSync(`${this.bpffs}/stranger-${device}`);
  }

  /**
   * A bpftool that runs \`body\` of sh first, with the real one in \`$bpftool\` and its arguments in
   * \`"$@"\` and \`$*\`, and then the real one. Returns its path.
   */
  bpftoolThat(name: string, body: string): string {
    const path = `${this.scratch}/${name}`;
    const script = `#!/bin/sh\nbpftool=${this.bpftool.path}\n${BATCH}\n${body}\nexec "$bpftool" "$@"\n`;
    writeFileSync(path, script, { mode: 0o755 });
    return path;
  }

  /** XDP programs in the receiving namespace. */
  async attached() {
    return this.bpftool.showNet(resolveNetns(this.netns).path);
  }

  /** What is left of attachments in this lab's bpffs; empty when all is gone. */
  pins(): string[] {
    return readdirSync(this.bpffs).includes('xdpwho')
      ? readdirSync(`${this.bpffs}/xdpwho`).map(String)
      : [];
  }

  /** Guards of attachments in this lab. */
  async guards(): Promise<string[]> {
    const { stdout } = await execa('ps', ['-eo', 'pid,args'], { maxBuffer: 1e8 });
    return stdout
      .split('\n')
      .filter((line) => line.includes(`xdpwho-guard `) && line.includes(`${this.bpffs}/xdpwho/`));
  }

  /** Waits until `condition` holds; fails after `limitMs`, which is generous and no measurement. */
  async until(condition: () => Promise<boolean> | boolean, what: string, limitMs = 60_000) {
    const endMs = Date.now() + limitMs;
    while (!(await condition())) {
      if (Date.now() > endMs) throw new Error(`not within ${limitMs} ms: ${what}`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  /**
   * What a run can leave behind, one line each: programs attached in the lab's namespaces, pins,
   * processes, and temporary folders of the processes that the lab has started.
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
      .filter((line) => line.includes(this.bpffs) && !line.includes(` ${REMOVER} `));
    const folders = ['/run', tmpdir()].flatMap((root) =>
      readdirSync(root)
        .filter((name) => this.#started.some(({ pid }) => name.startsWith(`xdpwho-${pid}-`)))
        .map((name) => `${root}/${name}`),
    );
    return [...attached, ...this.pins(), ...processes, ...folders].sort();
  }

  /** Waits until everything is again as it was in `before`. */
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

  async close(): Promise<void> {
    for (const started of this.#started) started.child.kill('SIGKILL');
    await Promise.all(this.#started.map((started) => started.ended()));
    this.#remover.stdin.end();
    await this.#remover.ended;
    rmSync(this.scratch, { recursive: true, force: true });
  }
}

export interface RunCliOptions {
  /** Without `--netns` and `--bpffs` of the lab. */
  readonly bare?: boolean;
  readonly env?: Record<string, string>;
  /** In a process group of its own. */
  readonly ownGroup?: boolean;
  /** Only for `run`: the output with its last line end. */
  readonly whole?: boolean;
  /** Only for `run`: the command that runs it, such as `nsenter ... --`. */
  readonly under?: readonly string[];
  /** Only for `run`: another copy of bin/xdpwho.js. */
  readonly cli?: string;
}

/**
 * A mount namespace in which only the bpffs's that are named, and a new one at /sys/fs/bpf with the
 * mode that most hosts give it, can be seen. Network namespaces made before it can be entered in it.
 */
export class MountNamespace {
  /** For RunCliOptions. */
  readonly under: readonly string[];
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.under = ['nsenter', `--mount=/proc/${child.pid}/ns/mnt`, '--'];
  }

  static async create(bpffs: readonly string[] = []): Promise<MountNamespace> {
    const script = `
set -e
keep=" $* "
while read -r _ at type _; do
  [ "$type" = bpf ] || continue
  case $keep in *" $at "*) ;; *) umount -l "$at" ;; esac
done <<MOUNTS
$(cat /proc/mounts)
MOUNTS
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
echo ready
while read -r _; do :; done
`;
    const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', ...bpffs];
    const child = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    return new MountNamespace(child);
  }

  async close(): Promise<void> {
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await once(this.#child, 'close');
  }
}

/** A command that is running: what it has printed so far, and how it ended. */
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

  /** Waits for a text on standard error; fails when the command ends first. */
  async says(pattern: RegExp): Promise<void> {
    const endMs = Date.now() + 30_000;
    while (!pattern.test(this.stderr)) {
      if (this.#hasEnded) throw new Error(`it ended without saying ${pattern}: ${this.stderr}`);
      if (Date.now() > endMs) throw new Error(`it did not say ${pattern}: ${this.stderr}`);
      await new Promise((done) => setTimeout(done, 10));
    }
  }

  /** Waits for its end and the end of what it printed. */
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

/** Packets by source in the last reading among records, and its totals. */
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

/** A JSON document as plain data. Fails on anything else than an object. */
export function documentIn(stdout: string): Readonly<Record<string, unknown>> {
  const value: unknown = JSON.parse(stdout);
  if (typeof value !== 'object' || value === null) throw new Error(`not a document: ${stdout}`);
  return { ...value };
}

/** The list of objects in a member of a document. */
export function listIn(document: unknown, name: string): Readonly<Record<string, unknown>>[] {
  const list = propertyOf(document, name);
  if (!Array.isArray(list)) throw new Error(`no list ${name}: ${JSON.stringify(document)}`);
  return list.map((each: unknown) =>
    typeof each === 'object' && each !== null ? { ...each } : {},
  );
}
