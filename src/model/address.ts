/** Addresses as text and as the 16-byte keys of the table, where IPv4 is v4-mapped. Pure. */

/** The bits of a v4-mapped key before those of the IPv4 address. */
export const MAPPED_PREFIX_BITS = 96;

/** Prints a key (16 latin-1 characters): IPv4 dotted if it is v4-mapped, otherwise IPv6 as in RFC 5952. */
export function formatAddress(key: string): string {
  return formatAddressAt(Buffer.from(key, 'latin1'), 0);
}

/** The same for the key that begins at `at`. */
export function formatAddressAt(keys: Uint8Array, at: number): string {
  if (isMappedAt(keys, at)) {
    return `${keys[at + 12]}.${keys[at + 13]}.${keys[at + 14]}.${keys[at + 15]}`;
  }
  const group = (index: number) =>
    ((keys[at + 2 * index] ?? 0) << 8) | (keys[at + 2 * index + 1] ?? 0);
  // The longest run of groups that are 0, the first of equal ones; one group alone is written.
  let start = -1;
  let longest = 1;
  let length = 0;
  for (let index = 0; index < 8; index++) {
    length = group(index) === 0 ? length + 1 : 0;
    if (length <= longest) continue;
    longest = length;
    start = index - length + 1;
  }
  let text = '';
  for (let index = 0; index < 8; index++) {
    if (index === start) {
      text += '::';
      index += longest - 1;
    } else {
      const separator = text === '' || text.endsWith(':') ? '' : ':';
      text += separator + group(index).toString(16);
    }
  }
  return text;
}

/** Whether the key that begins at `at` is that of an IPv4 address. */
export function isMappedAt(keys: Uint8Array, at: number): boolean {
  if (keys[at + 10] !== 0xff || keys[at + 11] !== 0xff) return false;
  for (let index = 0; index < 10; index++) if (keys[at + index] !== 0) return false;
  return true;
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
