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
  if (!address.includes(':')) {
    key.set([0xff, 0xff], 10);
    key.set(address.split('.').map(Number), 12);
    return key;
  }
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  if (dotted !== null) {
    const [, head = '', a = '0', b = '0', c = '0', d = '0'] = dotted;
    const pair = (high: string, low: string) => (Number(high) * 256 + Number(low)).toString(16);
    return addressKey(`${head}${pair(a, b)}:${pair(c, d)}`);
  }
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const write = (parts: readonly string[], at: number) =>
    parts.forEach((part, index) => {
      const value = Number.parseInt(part, 16);
      key.set([value >> 8, value & 0xff], at + index * 2);
    });
  write(groups(head), 0);
  write(groups(tail), 16 - groups(tail).length * 2);
  return key;
}
