/**
 * Sources that have been seen, in 8 bytes each and without their text; pure. A walk over a table that
 * lets go of sources may come past one twice: the kernel uses an element again at once, in another
 * place, and whoever stands on it goes on from there (kernel/bpf/hashtab.c, LRU maps).
 */

/** A table this full is slow to search. */
const MAX_LOAD = 0.75;
/** MurmurHash3's and xxHash's multipliers. */
const MULTIPLIERS = [0xcc9e2d51, 0x9e3779b1] as const;
const FINISHERS = [0x85ebca6b, 0xc2b2ae3d] as const;

/**
 * A set of texts by 64 bits of each: that two among a million are taken for one has a chance of one
 * in thirty million. Beyond its room it forgets, and takes what it does not know for new.
 */
export class SourceSet {
  readonly #mask: number;
  readonly #first: Uint32Array;
  readonly #second: Uint32Array;
  readonly #room: number;
  #size = 0;

  constructor(room: number) {
    const slots = 2 ** Math.ceil(Math.log2(Math.max(room, 64) / MAX_LOAD));
    this.#mask = slots - 1;
    this.#first = new Uint32Array(slots);
    this.#second = new Uint32Array(slots);
    this.#room = Math.floor(slots * MAX_LOAD);
  }

  /** The numbers that `add` and `find` give are below this. */
  get slots(): number {
    return this.#mask + 1;
  }

  /** Adds `text.slice(start, end)`. Its slot; the complement of it (`~slot`) when it was there already; undefined when there is no room. */
  add(text: string, start = 0, end = text.length): number | undefined {
    const slot = this.#search(text, start, end);
    if (slot < 0) return slot;
    if (this.#size >= this.#room) return undefined;
    this.#first[slot] = this.#firstBits;
    this.#second[slot] = this.#secondBits;
    this.#size++;
    return slot;
  }

  /** The slot of a text, or undefined. */
  find(text: string): number | undefined {
    const slot = this.#search(text, 0, text.length);
    return slot < 0 ? ~slot : undefined;
  }

  clear(): void {
    this.#first.fill(0);
    this.#second.fill(0);
    this.#size = 0;
  }

  /** Of the text that was searched for last. */
  #firstBits = 0;
  #secondBits = 0;

  /** The free slot where it belongs, or the complement of the slot where it is. */
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
    // Never 0, which marks a free slot.
    two = (two ^ (two >>> 16)) >>> 0 || 1;
    this.#firstBits = one;
    this.#secondBits = two;
    let slot = (one ^ (two >>> 7)) & this.#mask;
    while (this.#second[slot] !== 0) {
      if (this.#first[slot] === one && this.#second[slot] === two) return ~slot;
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }
}
