/** Finds the names of addresses in the hosts file and, in the background, by reverse DNS, and remembers them. */
import { Resolver } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { addressKey, formatAddressAt } from '../model/address.js';

/** Resolves to the names of one address; rejects when it has none. */
type Resolve = (address: string) => Promise<readonly string[]>;

interface ReverseNamesOptions {
  /**
   * Default: a PTR query to the system's name servers. It does not use getnameinfo, which also reads
   * the hosts file, because that holds one of the few threads of libuv until the answer comes, and
   * those threads also read our files.
   */
  readonly resolve?: Resolve;
  /** The text of a hosts file (hosts(5)). Default: that of /etc/hosts. */
  readonly hosts?: string;
  /** Called when a name has been found. */
  readonly onName?: () => void;
}

/** Queries at a time. A few are enough, and a name server that does not answer gets no more. */
const MAX_RUNNING = 8;
const TIMEOUT_MS = 2000;
/** The most addresses that are remembered. The oldest ones are forgotten first. */
const MAX_REMEMBERED = 10_000;
/** RFC 1035, 2.3.4. */
const MAX_NAME_CHARACTERS = 255;

/** `lookUp` starts queries and `get` returns the names found so far. */
export class ReverseNames {
  readonly #resolver = new Resolver({ timeout: TIMEOUT_MS, tries: 1 });
  readonly #resolve: Resolve;
  /** Called when a name has been found. */
  onName: () => void;
  /** By address; null: it has no name. */
  readonly #names = new Map<string, string | null>();
  #waiting: string[] = [];
  readonly #running = new Set<string>();
  readonly #hosts: ReadonlyMap<string, string>;
  /** Called when the last query has ended. */
  #onIdle = () => {};

  constructor(options: ReverseNamesOptions = {}) {
    this.#resolve = options.resolve ?? ((address) => this.#resolver.reverse(address));
    this.onName = options.onName ?? (() => {});
    this.#hosts = hostNames(options.hosts ?? readHosts());
  }

  /** The name of an address, if it has been found. */
  get(address: string): string | undefined {
    return this.#hosts.get(address) ?? this.#names.get(address) ?? undefined;
  }

  /** Asks for the names of these addresses. Addresses that an earlier call is still waiting to ask for are dropped, because they are no longer shown. */
  lookUp(addresses: readonly string[]): void {
    this.#waiting = addresses.filter(
      (address) =>
        !this.#hosts.has(address) &&
        !this.#names.has(address) &&
        !this.#running.has(address) &&
        isIP(address) > 0,
    );
    this.#fill();
  }

  /** Resolves when all queries have ended, or after so many milliseconds, or once `signal` is aborted. */
  async settle(limitMs: number, signal?: AbortSignal): Promise<void> {
    if (this.#running.size === 0 || signal?.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
      signal?.addEventListener('abort', this.#onIdle, { once: true });
    });
    signal?.removeEventListener('abort', this.#onIdle);
    this.#onIdle = () => {};
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
      name = (await this.#resolve(address))[0]?.slice(0, MAX_NAME_CHARACTERS) || null;
    } catch {
      // There is no name, no server or no answer: the address is shown instead.
    }
    this.#running.delete(address);
    this.#remember(address, name);
    if (name !== null) this.onName();
    this.#fill();
    if (this.#running.size === 0) this.#onIdle();
  }

  #remember(address: string, name: string | null): void {
    this.#names.set(address, name);
    if (this.#names.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#names.keys();
    if (oldest !== undefined) this.#names.delete(oldest);
  }
}

function readHosts(): string {
  try {
    return readFileSync('/etc/hosts', 'utf8');
  } catch {
    return '';
  }
}

/** The first name of each address in a hosts file. */
function hostNames(text: string): Map<string, string> {
  const names = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [address = '', name] = line.replace(/#.*$/, '').trim().split(/\s+/);
    if (name === undefined || isIP(address) === 0 || address.includes('%')) continue;
    const written = formatAddressAt(addressKey(address), 0);
    if (!names.has(written)) names.set(written, name);
  }
  return names;
}
