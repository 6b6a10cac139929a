/** The counts of each source in one reading, to compare the next one with. Pure. */
import { grown } from './grown.js';
import { SourceSet } from './source-set.js';

export interface Counts {
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** In typed arrays, because objects would take most of our memory. It grows with what it holds. */
export class Tally {
  /** Numbers the sources as they come: whoever appends a source has added it here. */
  readonly seen = new SourceSet();
  #size = 0;
  #packets = new BigUint64Array(0);
  #bytes = new BigUint64Array(0);

  get size(): number {
    return this.#size;
  }

  clear(): void {
    this.seen.clear();
    this.#size = 0;
  }

  /** Appends the counts of the source that `seen` has got after those that are here. */
  append({ packets, bytes }: Counts): void {
    const number = this.#size++;
    this.#packets = grown(this.#packets, number + 1);
    this.#bytes = grown(this.#bytes, number + 1);
    this.#packets[number] = packets;
    this.#bytes[number] = bytes;
  }

  find(source: string): Counts | undefined {
    const number = this.seen.find(source);
    if (number === undefined) return undefined;
    return { packets: this.#packets[number] ?? 0n, bytes: this.#bytes[number] ?? 0n };
  }
}
