/**
 * Remembers which sources have been seen, in 8 bytes each. Pure. A walk over a full LRU map may meet
 * a source twice: the kernel reuses an evicted element at once in another bucket, and a walk that
 * stands on the element continues from there (kernel/bpf/hashtab.c).
 */

/** A fuller table would be slow to search. */
const MAX_LOAD = 0.75;
/** The multipliers of MurmurHash3 and xxHash. */
const MULTIPLIERS = [0xcc9e2d51, 0x9e3779b1] as const;
const FINISHERS = [0x85ebca6b, 0xc2b2ae3d] as const;

/**
 * A set of texts that keeps a 64-bit hash of each. The chance that two of a million texts have the
 * same hash is one in thirty million. When it is full it adds no more texts.
 */
export class SourceSet {
  readonly #mask: number;
  /** The two halves of the hash of each slot. The second half is 0 in a free slot. */
  readonly #firstHalf: Uint32Array;
  readonly #secondHalf: Uint32Array;
  readonly #capacity: number;
  #size = 0;

  /** `capacity`: how many texts it must have room for. */
  constructor(capacity: number) {
    const slots = 2 ** Math.ceil(Math.log2(Math.max(capacity, 64) / MAX_LOAD));
    this.#mask = slots - 1;
    this.#firstHalf = new Uint32Array(slots);
    this.#secondHalf = new Uint32Array(slots);
    this.#capacity = Math.floor(slots * MAX_LOAD);
  }

  /** The slots that `add` and `find` return are below this number. */
  get slots(): number {
    return this.#mask + 1;
  }

  /** Adds `text.slice(start, end)` and returns its slot. Returns `~slot` (negative) if the set has it already, and undefined if the set is full. */
  add(text: string, start = 0, end = text.length): number | undefined {
    const slot = this.#search(text, start, end);
    if (slot < 0) return slot;
    if (this.#size >= this.#capacity) return undefined;
    this.#firstHalf[slot] = this.#firstBits;
    this.#secondHalf[slot] = this.#secondBits;
    this.#size++;
    return slot;
  }

  /** The slot of a text, or undefined if the set does not have it. */
  find(text: string): number | undefined {
    const slot = this.#search(text, 0, text.length);
    return slot < 0 ? ~slot : undefined;
  }

  clear(): void {
    this.#firstHalf.fill(0);
    this.#secondHalf.fill(0);
    this.#size = 0;
  }

  /** The hash of the text that was searched for last. */
  #firstBits = 0;
  #secondBits = 0;

  /** Returns the free slot for the text, or `~slot` if the set has it. */
  #search(text: string, start: number, end: number): number {
    let one = end - start;
    let two = ~one;
    for (let at = start; at < end; at++) {
      const code = text.charCodeAt(at);
      one = Math.imul(one ^ code, MULTIPLIERS[0]);
      one ^= one >>> 15;
      two = Math.imul(two ^ code, MULTIPLIERS[1]);
      two ^= two >>> 13;
    }
    one = Math.imul(one ^ (one >>> 16), FINISHERS[0]);
    two = Math.imul(two ^ (two >>> 16), FINISHERS[1]);
    one = (one ^ (one >>> 13)) >>> 0;
    // 0 marks a free slot, so it is replaced by 1.
    two = (two ^ (two >>> 16)) >>> 0 || 1;
    this.#firstBits = one;
    this.#secondBits = two;
    let slot = (one ^ (two >>> 7)) & this.#mask;
    while (this.#secondHalf[slot] !== 0) {
      if (this.#firstHalf[slot] === one && this.#secondHalf[slot] === two) return ~slot;
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }
}
