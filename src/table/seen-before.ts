/** Which sources a run has seen, in all its readings. Pure. */
import { SourceSet } from './source-set.js';

/** As many as the largest table holds. Whoever invents addresses makes us forget the oldest, and not grow. */
const MAX_REMEMBERED = 4_000_000;

export class SeenBefore {
  readonly #limit: number;
  #recent = new SourceSet();
  /** Those of before; what comes again goes over to `#recent`. */
  #older = new SourceSet();

  constructor(limit = MAX_REMEMBERED) {
    this.#limit = limit / 2;
  }

  /** Returns true for a source that is new. */
  add(source: string): boolean {
    if (this.#recent.add(source) < 0) return false;
    const isNew = this.#older.find(source) === undefined;
    if (this.#recent.size >= this.#limit) {
      this.#older = this.#recent;
      this.#recent = new SourceSet();
    }
    return isNew;
  }
}
