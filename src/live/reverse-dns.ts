/** Names of addresses by reverse DNS: asked for in the background, remembered, never waited for. */
import { Resolver } from 'node:dns/promises';

/** The names of one address; rejects where there is none. */
export type Resolve = (address: string) => Promise<readonly string[]>;

export interface ReverseNamesOptions {
  /**
   * Default: a PTR query to the system's name servers, which takes none of the threads that files are
   * read by: getnameinfo, which also knows the hosts file, would hold them until it has an answer.
   */
  readonly resolve?: Resolve;
  /** Called when a name has come. */
  readonly onName?: () => void;
}

/** A name server that does not answer is asked for few addresses at a time. */
const MAX_RUNNING = 8;
const TIMEOUT_MS = 2000;
/** Addresses that are remembered; the ones asked for first are forgotten first. */
const MAX_REMEMBERED = 10_000;

/** Asks from `lookUp` on; what is not known yet is undefined, and `onName` tells when it is. */
export class ReverseNames {
  readonly #resolver = new Resolver({ timeout: TIMEOUT_MS, tries: 1 });
  readonly #resolve: Resolve;
  readonly #onName: () => void;
  /** Null where there is no name. */
  readonly #known = new Map<string, string | null>();
  #waiting: string[] = [];
  readonly #running = new Set<string>();

  constructor(options: ReverseNamesOptions = {}) {
    this.#resolve = options.resolve ?? ((address) => this.#resolver.reverse(address));
    this.#onName = options.onName ?? (() => {});
  }

  /** The name of an address, if it is known. */
  get(address: string): string | undefined {
    return this.#known.get(address) ?? undefined;
  }

  /** Asks for those that are not known. What an earlier call has asked for and not begun is left out: nobody looks at it any more. */
  lookUp(addresses: readonly string[]): void {
    this.#waiting = addresses.filter(
      (each) => !this.#known.has(each) && !this.#running.has(each) && !each.includes('/'),
    );
    this.#fill();
  }

  /** Gives up on what is being asked for. */
  close(): void {
    this.#waiting = [];
    this.#resolver.cancel();
  }

  #fill(): void {
    while (this.#running.size < MAX_RUNNING) {
      const address = this.#waiting.shift();
      if (address === undefined) return;
      this.#running.add(address);
      void this.#ask(address);
    }
  }

  async #ask(address: string): Promise<void> {
    let name: string | null = null;
    try {
      name = (await this.#resolve(address))[0] ?? null;
    } catch {
      // No name, no server, no answer: the address itself is what is shown.
    }
    this.#running.delete(address);
    this.#remember(address, name);
    if (name !== null) this.#onName();
    this.#fill();
  }

  #remember(address: string, name: string | null): void {
    this.#known.set(address, name);
    if (this.#known.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
  }
}
