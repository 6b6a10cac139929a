/**
 * Remembers which sources have been seen, in some 25 bytes each. Pure. A walk over a full LRU map may meet
 * a source twice: the kernel reuses an evicted element at once in another bucket, and a walk that
 * stands on the element continues from there (kernel/bpf/hashtab.c).
 */
import { randomFillSync } from 'node:crypto';

/** A fuller table would be slow to search. */
const MAX_LOAD = 0.75;
/** Room for so many at first: a table may be large and hold two sources. */
const FIRST_SLOTS = 1024;
/** The multipliers of MurmurHash3 and xxHash. */
const MULTIPLIERS = [0xcc9e2d51, 0x9e3779b1] as const;
const FINISHERS = [0x85ebca6b, 0xc2b2ae3d] as const;
/** New in each process: whoever sends cannot choose addresses that are taken for each other. */
const [FIRST_SEED = 0, SECOND_SEED = 0] = randomFillSync(new Uint32Array(2));

/**
 * A set of texts that keeps a 64-bit hash of each, and numbers them as they come. The chance that two of a
 * million texts have the same hash is one in thirty million.
 */
export class SourceSet {
  #mask = FIRST_SLOTS - 1;
  /** The two halves of the hash of each slot. The second half is 0 in a free slot. */
  #firstHalf = new Uint32Array(FIRST_SLOTS);
  #secondHalf = new Uint32Array(FIRST_SLOTS);
  /** The number of the text in each slot. */
  #numbers = new Uint32Array(FIRST_SLOTS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds `text.slice(start, end)`. Returns its number, 0 for the first one, or `~number` (negative) if the set has it already. */
  add(text: string, start = 0, end = text.length): number {
    const slot = this.#search(text, start, end);
    if (slot < 0) return ~(this.#numbers[~slot] ?? 0);
    const number = this.#size;
    this.#put(slot, this.#firstBits, this.#secondBits, number);
    this.#size++;
    if (this.#size > (this.#mask + 1) * MAX_LOAD) this.#grow();
    return number;
  }

  /** The number of a text, or undefined if the set does not have it. */
  find(text: string): number | undefined {
    const slot = this.#search(text, 0, text.length);
    return slot < 0 ? this.#numbers[~slot] : undefined;
  }

  /** Forgets all, and keeps the memory. */
  clear(): void {
    this.#secondHalf.fill(0);
    this.#size = 0;
  }

  #put(slot: number, firstHalf: number, secondHalf: number, number: number): void {
    this.#firstHalf[slot] = firstHalf;
    this.#secondHalf[slot] = secondHalf;
    this.#numbers[slot] = number;
  }

  #grow(): void {
    const [firstHalves, secondHalves, numbers] = [this.#firstHalf, this.#secondHalf, this.#numbers];
    const slots = 2 * numbers.length;
    this.#mask = slots - 1;
    this.#firstHalf = new Uint32Array(slots);
    this.#secondHalf = new Uint32Array(slots);
    this.#numbers = new Uint32Array(slots);
    for (let old = 0; old < numbers.length; old++) {
      const two = secondHalves[old] ?? 0;
      if (two === 0) continue;
      const one = firstHalves[old] ?? 0;
      let slot = slotOf(one, two) & this.#mask;
      while (this.#secondHalf[slot] !== 0) slot = (slot + 1) & this.#mask;
      this.#put(slot, one, two, numbers[old] ?? 0);
    }
  }

  /** The hash of the text that was searched for last. */
  #firstBits = 0;
  #secondBits = 0;

  /** Returns the free slot for the text, or `~slot` if the set has it. */
  #search(text: string, start: number, end: number): number {
    let one = FIRST_SEED ^ (end - start);
    let two = SECOND_SEED ^ ~(end - start);
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
    let slot = slotOf(one, two) & this.#mask;
    while (this.#secondHalf[slot] !== 0) {
      if (this.#firstHalf[slot] === one && this.#secondHalf[slot] === two) return ~slot;
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }
}

/** The first slot to try, of as many as there can be. */
function slotOf(one: number, two: number): number {
  return one ^ (two >>> 7);
}
