/** The counts of each source in one reading, to compare the next one with. Pure. */
import type { SourceRecord } from '../model/records.js';
import { grown } from './grown.js';
import { SourceSet } from './source-set.js';

export interface Counts {
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** In typed arrays, because objects would take most of our memory. It grows with what it holds. */
export class Tally {
  readonly #sources = new SourceSet();
  #packets = new BigUint64Array(0);
  #bytes = new BigUint64Array(0);

  get size(): number {
    return this.#sources.size;
  }

  clear(): void {
    this.#sources.clear();
  }

  /** Adds a source, which it must not have yet. */
  add({ source, packets, bytes }: SourceRecord): void {
    const number = this.#sources.add(source);
    if (number < 0) return;
    this.#packets = grown(this.#packets, number + 1);
    this.#bytes = grown(this.#bytes, number + 1);
    this.#packets[number] = packets;
    this.#bytes[number] = bytes;
  }

  find(source: string): Counts | undefined {
    const number = this.#sources.find(source);
    if (number === undefined) return undefined;
    return { packets: this.#packets[number] ?? 0n, bytes: this.#bytes[number] ?? 0n };
  }
}
