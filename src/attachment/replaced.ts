/** An attachment that is taken off its interface while another one is tried in its place. */
import { renameSync } from 'node:fs';
import type { Bpftool } from '../host/bpftool.js';
import type { Attachment } from './attachment.js';
import { type Pins, pinsIn } from './pin-paths.js';
import { removePins } from './pins.js';
import { type Holder, writeState } from './record.js';

/**
 * Detached, its pins in a directory beside the former one, and with them the program and all that it
 * has counted. Until `restore` or `discard` this process holds it; if that dies, it is stale, for
 * `clean` to collect.
 */
export class SetAside {
  readonly #bpftool: Bpftool;
  readonly #attachment: Attachment;
  readonly #pins: Pins;

  private constructor(bpftool: Bpftool, attachment: Attachment, pins: Pins) {
    this.#bpftool = bpftool;
    this.#attachment = attachment;
    this.#pins = pins;
  }

  static async take(
    bpftool: Bpftool,
    attachment: Attachment,
    holder: Holder | null,
  ): Promise<SetAside> {
    const { pins, state } = attachment;
    const aside = pinsIn(asideDirectory(attachment));
    writeState(pins, { ...state, holder });
    try {
      await attachment.detach();
      renameSync(pins.directory, aside.directory);
    } catch (error) {
      writeState(pins, state);
      throw error;
    }
    return new SetAside(bpftool, attachment, aside);
  }

  /** Puts it back as it was, but for the packets of the meantime. Rejects when somebody else has taken the place. */
  async restore(): Promise<void> {
    const { pins, state, mode, netns } = this.#attachment;
    renameSync(this.#pins.directory, pins.directory);
    await this.#bpftool.attach(mode, pins.program, this.#attachment.interface, netns.path);
    writeState(pins, { ...state, holder: null });
  }

  discard(): void {
    removePins(this.#pins);
  }
}

/** Pure: no name of an interface is encoded with a `~`. */
export function asideDirectory({ pins, state }: Attachment): string {
  return `${pins.directory}~${state.token.slice(0, 8)}`;
}
