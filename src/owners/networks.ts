/**
 * The user's own networks, from a text file: a prefix and a label a line, `192.0.2.0/24 office`. The longest
 * prefix that an address is in gives its label. Pure.
 */
import { isMappedAt, MAPPED_PREFIX_BITS } from '../model/address.js';
import { XdpwhoError } from '../model/errors.js';
import { type Prefix, parsePrefix } from '../model/prefix.js';
import { printable } from '../text/text.js';

const KEY_BITS = 128;
const MAX_LABEL_CHARACTERS = 60;

/** Two numbers for each node: the next node for a bit of 0 and of 1. 0: there is none, since no node leads to the root. */
type Children = number[];

export class Networks {
  readonly #children: Children = [0, 0];
  /** By node: the label of the prefix that ends there. */
  readonly #labels = new Map<number, string>();
  /** Where the walk for an IPv4 address begins: behind ::ffff:0:0/96. */
  #ipv4Root = 0;

  /**
   * Parses the lines of `file`, which errors name. `#` begins a comment.
   * @throws XdpwhoError `usage` with the number of the first line that is wrong.
   */
  static parse(text: string, file: string): Networks {
    const networks = new Networks();
    const lines = new Map<number, number>();
    networks.#ipv4Root = networks.#nodeOf(parsePrefix('0.0.0.0/0'));
    for (const [index, line] of text.split(/\r?\n|\r/).entries()) {
      const content = line.replace(/(^|\s)#.*$/, '').trim();
      if (content === '') continue;
      const [prefix = '', label = ''] = content.split(/\s+(.*)/s);
      const wrong = (why: string) =>
        new XdpwhoError('usage', `${printable(file)}: line ${index + 1}: ${why}`, {
          hint: 'a prefix and a label a line: 192.0.2.0/24 office',
        });
      if (label === '') throw wrong(`${shown(prefix)}: a label is missing`);
      if (label.length > MAX_LABEL_CHARACTERS) {
        throw wrong(`a label of more than ${MAX_LABEL_CHARACTERS} characters`);
      }
      const node = networks.#nodeOf(parsedPrefix(prefix, wrong));
      const earlier = lines.get(node);
      if (earlier !== undefined && networks.#labels.get(node) !== label) {
        throw wrong(`${shown(prefix)} has another label in line ${earlier}`);
      }
      lines.set(node, index + 1);
      networks.#labels.set(node, label);
    }
    return networks;
  }

  /** The label of the longest prefix with the address whose key begins at `at`. */
  labelOf(keys: Uint8Array, at: number): string | undefined {
    const isIpv4 = isMappedAt(keys, at);
    let node = isIpv4 ? this.#ipv4Root : 0;
    let bit = isIpv4 ? MAPPED_PREFIX_BITS : 0;
    // A prefix of IPv6 that is shorter than 96 bits holds no IPv4 address.
    let label = this.#labels.get(node);
    while (bit < KEY_BITS) {
      node = this.#children[2 * node + bitAt(keys, at, bit++)] ?? 0;
      if (node === 0) break;
      label = this.#labels.get(node) ?? label;
    }
    return label;
  }

  /** The node at the end of a prefix. It is made if it is not there. */
  #nodeOf({ network, bits }: Prefix): number {
    let node = 0;
    for (let bit = 0; bit < bits; bit++) {
      const child = 2 * node + bitAt(network, 0, bit);
      let next = this.#children[child] ?? 0;
      if (next === 0) {
        next = this.#children.length / 2;
        this.#children.push(0, 0);
        this.#children[child] = next;
      }
      node = next;
    }
    return node;
  }
}

function parsedPrefix(text: string, wrong: (why: string) => XdpwhoError): Prefix {
  try {
    return parsePrefix(text);
  } catch {
    throw wrong(`${shown(text)}: not an address or prefix`);
  }
}

function bitAt(keys: Uint8Array, at: number, bit: number): number {
  return ((keys[at + (bit >> 3)] ?? 0) >> (7 - (bit & 7))) & 1;
}

function shown(text: string): string {
  return printable(text.length > 60 ? `${text.slice(0, 60)}...` : text);
}
