/**
 * The TypeScript half of bpf/xdpwho.h: sizes and offsets in bytes. In a per-CPU map the kernel
 * rounds each value up to 8 bytes; these already are.
 */

/** struct source_key: an IPv6 address, or an IPv4 one as ::ffff:a.b.c.d. */
export const SOURCE_KEY = { size: 16, address: 0 } as const;

/** struct source_value, one per CPU. All members are u64; `last_seen` is in jiffies. */
export const SOURCE_VALUE = { size: 24, packets: 0, bytes: 8, last_seen: 16 } as const;

/** struct totals, one per CPU, under the u32 key 0. All members are u64. */
export const TOTALS = {
  size: 40,
  bytes: 0,
  ipv4: 8,
  ipv6: 16,
  other: 24,
  malformed: 32,
} as const;

/** struct sender_counts, under the u32 key 0. All members are u64. */
export const SENDER_COUNTS = { size: 16, sent: 0, failed: 8 } as const;

/** The char array for the interface's name in the iterators (bpf/iterator.h), its NUL included. */
export const INTERFACE_JSON_SIZE = 96;
