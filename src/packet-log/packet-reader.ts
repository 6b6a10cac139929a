/**
 * Reads the packet log of one attachment, with an iterator over the rings or with `bpftool map dump`.
 * Each reader has an iterator and cursors of its own, so several readers do not affect one another.
 */

import { closeSync, openSync, read, readSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Attachment } from '../attachment/attachment.js';
import type { SessionContext } from '../attachment/context.js';
import { makeReaderPinPath } from '../attachment/reader-pins.js';
import type { LogState } from '../attachment/record.js';
import { makeScratch } from '../attachment/scratch.js';
import { AtOurEnd } from '../host/at-our-end.js';
import { isGone } from '../host/bpffs.js';
import { BpftoolError } from '../host/bpftool-error.js';

import { naming, systemErrorCode, XdpwhoError } from '../model/errors.js';
import { ObjectFiles } from '../objects/files.js';
import { LOG_SEGMENT, PASS_HEAD, SEGMENT_RECORDS } from '../objects/layout.js';
import { decodeLogElement } from '../table/decode.js';
import { dumpEntries } from '../table/map-dump.js';
import { ownCommand } from '../text/shell-words.js';
import { printable } from '../text/text.js';
import {
  announcesNothing,
  type Cursors,
  type Pass,
  PassBuffer,
  parsePass,
  selectFromDump,
} from './ring.js';
import { UtcOffset } from './utc-offset.js';

/** A read of an iterator returns at most 32 KiB (kernel/bpf/bpf_iter.c). */
const READ_BYTES = 32 * 1024;

const readAsync = promisify(read);

/** The `history` of a reader that gets all packets since the attachment was made. */
export const WHOLE_HISTORY = 0xffff_ffff;

/** Counts of packets since a reader began. The program saw recorded + sampledOut + filteredOut. */
export interface LogAccount {
  /** Written into the ring. They were then read or lost. */
  readonly recorded: number;
  readonly sampledOut: number;
  readonly filteredOut: number;
  readonly lost: number;
}

interface ReadPass extends Pass {
  /** The counts of all passes of this reader up to this one. */
  readonly account: LogAccount;
}

/** The caller of `open` must close it. If this process dies, the iterator's pin is removed all the same. */
export class PacketReader {
  readonly #context: SessionContext;
  readonly #attachment: Attachment;
  readonly #log: LogState;
  readonly #history: number;
  readonly #utcOffset = new UtcOffset();
  readonly #buffer = new PassBuffer();
  /** Used when reading by dump. */
  readonly #cursors: Cursors = new Map();
  #pin: string | undefined;
  #remover: AtOurEnd | undefined;
  /** The counts at the moment when this reader began. */
  #base: LogAccount | undefined;
  #lost = 0;
  /** Why there is no iterator; undefined if there is one. */
  note: string | undefined;

  private constructor(
    context: SessionContext,
    attachment: Attachment,
    log: LogState,
    history: number,
  ) {
    this.#context = context;
    this.#attachment = attachment;
    this.#log = log;
    this.#history = history;
  }

  /** `history`: how many older packets of each CPU the first pass gets. */
  static async open(
    context: SessionContext,
    attachment: Attachment,
    history: number,
  ): Promise<PacketReader> {
    const { log } = attachment.state;
    if (log === null) {
      throw new XdpwhoError('failed', `${printable(attachment.interface)}: attached without a log`);
    }
    const reader = new PacketReader(context, attachment, log, history);
    try {
      if (attachment.reader === 'iterator') await reader.#pinIterator();
      else reader.note = attachment.state.readerNote ?? undefined;
      // This pass moves the cursors to now, so that the next pass gets the packets after now.
      if (history === 0) await reader.read();
    } catch (error) {
      await reader.close();
      throw error;
    }
    return reader;
  }

  /** Whether each pass runs a `map dump`, which takes long. */
  get isSlow(): boolean {
    return this.#pin === undefined;
  }

  /** How many packets the ring of one CPU holds. */
  get capacity(): number {
    return this.#log.segments * SEGMENT_RECORDS;
  }

  /** Reads the packets since the last pass. They are valid until the next call. */
  async read(): Promise<ReadPass> {
    const words =
      this.#pin === undefined ? await this.#readDump() : await this.#readFile(this.#pin);
    const pass = parsePass(words, this.#utcOffset.currentUs());
    this.#lost += pass.lost;
    return { ...pass, account: this.#accountOf(pass) };
  }

  async close(): Promise<void> {
    if (this.#pin !== undefined) rmSync(this.#pin, { force: true });
    await this.#remover?.finish();
  }

  #accountOf({ heads }: Pass): LogAccount {
    let [firsts, recorded, sampledOut, filteredOut] = [0, 0, 0, 0];
    for (const head of heads.values()) {
      firsts += head.first;
      recorded += head.end;
      sampledOut += head.sampledOut;
      filteredOut += head.filteredOut;
    }
    const countsFromStart = this.#history === WHOLE_HISTORY;
    this.#base ??= countsFromStart
      ? { recorded: 0, sampledOut: 0, filteredOut: 0, lost: 0 }
      : { recorded: firsts, sampledOut, filteredOut, lost: 0 };
    return {
      recorded: recorded - this.#base.recorded,
      sampledOut: sampledOut - this.#base.sampledOut,
      filteredOut: filteredOut - this.#base.filteredOut,
      lost: this.#lost,
    };
  }

  async #pinIterator(): Promise<void> {
    const { bpftool, objectsDirectory } = this.#context;
    const { pins } = this.#attachment;
    const { cpus, segments } = this.#log;
    const scratch = makeScratch();
    try {
      const object = new ObjectFiles(objectsDirectory).writePatched(
        'packets',
        {
          constants: { log_cpus: cpus, log_segments: segments, history: this.#history },
          maxEntries: { cursors: cpus },
        },
        scratch,
      );
      const pin = makeReaderPinPath(pins);
      this.#remover = await AtOurEnd.start({
        name: 'xdpwho-reader',
        atEnd: 'rm -f "$1"',
        args: [pin],
      });
      const { keepOpen } = this.#remover;
      await bpftool.pinIterator(object, pin, pins.packetsMap, { keepOpen });
      this.#pin = pin;
    } catch (error) {
      if (!(error instanceof BpftoolError) || error.code === 'not-permitted') throw error;
      this.note = `no iterator can be pinned (${error.message}); reading by \`map dump\`, slower`;
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
  }

  /**
   * Reads the heads first, which come first in a pass: the kernel ends a read when it has as many
   * bytes as were asked for (kernel/bpf/bpf_iter.c, bpf_seq_read). If the heads announce no
   * records, the kernel need not visit the segments.
   */
  async #readFile(path: string): Promise<Uint32Array> {
    const buffer = this.#buffer;
    const headBytes = this.#log.cpus * PASS_HEAD.size;
    buffer.clear();
    let file: number | undefined;
    try {
      file = openSync(path, 'r');
      buffer.filled(readSync(file, buffer.room(headBytes), 0, headBytes, null));
      // The first pass must reach its end, because the iterator stores its cursors there.
      if (this.#base !== undefined && announcesNothing(buffer.words(), this.#log.cpus)) {
        return buffer.words();
      }
      for (;;) {
        const room = buffer.room(READ_BYTES);
        const { bytesRead } = await readAsync(file, room, 0, room.length, null);
        if (bytesRead === 0) return buffer.words();
        buffer.filled(bytesRead);
      }
    } catch (error) {
      throw this.#unreadable(path, error);
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }

  async #readDump(): Promise<Uint32Array> {
    const { packetsMap } = this.#attachment.pins;
    const elements: Uint8Array[] = [];
    try {
      for await (const entries of dumpEntries(this.#context.bpftool, packetsMap)) {
        for (const entry of entries) elements.push(decodeLogElement(entry, LOG_SEGMENT.size));
      }
    } catch (error) {
      throw this.#unreadable(packetsMap, error);
    }
    return selectFromDump(elements, this.#log.cpus, this.#cursors, this.#history);
  }

  #unreadable(path: string, error: unknown): unknown {
    const { interface: device, netns } = this.#attachment;
    const name = printable(device);
    if (systemErrorCode(error) !== 'ENOENT' && !isGone(path)) return naming(name, error);
    return new XdpwhoError('not-attached', `${name}: ${path} has gone`, {
      hint: ownCommand('status', { interface: device, netns: netns.name }),
      cause: error,
    });
  }
}
