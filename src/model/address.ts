/** Addresses as text and as the 16-byte keys of the table, where IPv4 is v4-mapped. Pure. */

/** The bits of a v4-mapped key before those of the IPv4 address. */
export const MAPPED_PREFIX_BITS = 96;

/** Whether a key is that of an IPv4 address. */
export function isMappedKey(key: string): boolean {
  return key.startsWith('\0\0\0\0\0\0\0\0\0\0\xff\xff');
}

/** Prints a key (16 latin-1 characters): IPv4 dotted if it is v4-mapped, otherwise IPv6 as in RFC 5952. */
export function formatAddress(key: string): string {
  const bytes = Buffer.from(key, 'latin1');
  if (isMappedKey(key)) return bytes.subarray(12).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2));
  const run = longestZeroRun(groups);
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  if (run.length < 2) return text(groups);
  return `${text(groups.slice(0, run.start))}::${text(groups.slice(run.start + run.length))}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  groups.forEach((group, index) => {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: index - length + 1, length };
  });
  return best;
}

/** The key of an address: 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2). `address` must be valid. */
export function addressKey(address: string): Uint8Array {
  const key = new Uint8Array(16);
  writeAddressKey(address, key, 0);
  return key;
}

const ZERO = 0x30;
const NINE = 0x39;
const DOT = 0x2e;
const COLON = 0x3a;

/** Writes the key of an address to `keys` from `at` on. It makes no objects, because a table has a million addresses. */
export function writeAddressKey(address: string, keys: Uint8Array, at: number): void {
  if (!address.includes(':')) {
    keys.fill(0, at, at + 10);
    keys.fill(0xff, at + 10, at + 12);
    writeNumbers(address, keys, at + 12);
  } else if (!address.includes('.')) {
    writeGroups(address, keys, at);
  } else {
    // Its last 32 bits are written as IPv4 (RFC 4291, 2.2).
    const head = address.slice(0, address.lastIndexOf(':') + 1);
    writeGroups(`${head}0:0`, keys, at);
    writeNumbers(address.slice(head.length), keys, at + 12);
  }
}

/** The four decimal numbers of an IPv4 address. */
function writeNumbers(text: string, keys: Uint8Array, at: number): void {
  let to = at;
  let number = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === DOT) {
      keys[to++] = number;
      number = 0;
    } else {
      number = number * 10 + code - ZERO;
    }
  }
  keys[to] = number;
}

/** The hexadecimal groups of an IPv6 address. What stands behind `::` comes to stand at the end. */
function writeGroups(text: string, keys: Uint8Array, at: number): void {
  const end = at + 16;
  let to = at;
  let gap = end;
  let group = 0;
  let digits = 0;
  for (let index = 0; index <= text.length; index++) {
    const code = index < text.length ? text.charCodeAt(index) : COLON;
    if (code !== COLON) {
      group = group * 16 + (code <= NINE ? code - ZERO : (code | 0x20) - 0x57);
      digits++;
      continue;
    }
    if (digits > 0) {
      keys[to++] = group >> 8;
      keys[to++] = group & 0xff;
    } else if (index > 0 && index < text.length) {
      gap = to;
    }
    group = 0;
    digits = 0;
  }
  if (gap === end) return;
  const moved = to - gap;
  keys.copyWithin(end - moved, gap, to);
  keys.fill(0, gap, end - moved);
}
