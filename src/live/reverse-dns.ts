/** Looks up the names of addresses by reverse DNS in the background, and remembers them. */
import { Resolver } from 'node:dns/promises';

/** Resolves to the names of one address; rejects when it has none. */
type Resolve = (address: string) => Promise<readonly string[]>;

interface ReverseNamesOptions {
  /**
   * Default: a PTR query to the system's name servers. It does not use getnameinfo, which also reads
   * the hosts file, because that holds one of the few threads of libuv until the answer comes, and
   * those threads also read our files.
   */
  readonly resolve?: Resolve;
  /** Called when a name has been found. */
  readonly onName?: () => void;
}

/** Queries at a time. A few are enough, and a name server that does not answer gets no more. */
const MAX_RUNNING = 8;
const TIMEOUT_MS = 2000;
/** The most addresses that are remembered. The oldest ones are forgotten first. */
const MAX_REMEMBERED = 10_000;

/** `lookUp` starts queries and `get` returns the names found so far. */
export class ReverseNames {
  readonly #resolver = new Resolver({ timeout: TIMEOUT_MS, tries: 1 });
  readonly #resolve: Resolve;
  readonly #onName: () => void;
  /** By address; null: it has no name. */
  readonly #names = new Map<string, string | null>();
  #waiting: string[] = [];
  readonly #running = new Set<string>();

  constructor(options: ReverseNamesOptions = {}) {
    this.#resolve = options.resolve ?? ((address) => this.#resolver.reverse(address));
    this.#onName = options.onName ?? (() => {});
  }

  /** The name of an address, if it has been found. */
  get(address: string): string | undefined {
    return this.#names.get(address) ?? undefined;
  }

  /** Asks for the names of these addresses. Addresses that an earlier call is still waiting to ask for are dropped, because they are no longer shown. */
  lookUp(addresses: readonly string[]): void {
    this.#waiting = addresses.filter(
      (address) =>
        !this.#names.has(address) && !this.#running.has(address) && !address.includes('/'),
    );
    this.#fill();
  }

  /** Cancels all queries. */
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
      // There is no name, no server or no answer: the view shows the address instead.
    }
    this.#running.delete(address);
    this.#remember(address, name);
    if (name !== null) this.#onName();
    this.#fill();
  }

  #remember(address: string, name: string | null): void {
    this.#names.set(address, name);
    if (this.#names.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#names.keys();
    if (oldest !== undefined) this.#names.delete(oldest);
  }
}
