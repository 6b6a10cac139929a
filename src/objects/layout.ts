/**
 * The structs of bpf/xdpwho.h: sizes and offsets in bytes. test/objects/layout.test.ts compares both.
 * In a per-CPU map the kernel rounds each value up to 8 bytes; these sizes already are multiples.
 */

/** struct source_key: an IPv6 address, or an IPv4 one as ::ffff:a.b.c.d. */
export const SOURCE_KEY = { size: 16, address: 0 } as const;

/** struct source_value, one per CPU. All members are u64; `last_seen` is in jiffies. */
export const SOURCE_VALUE = { size: 24, packets: 0, bytes: 8, last_seen: 16 } as const;

/** struct front_line: a source_key, a source_value and three u64. */
export const FRONT_LINE = {
  size: 64,
  source: 0,
  figures: 16,
  written: 40,
  turn: 48,
  unused: 56,
} as const;

/** BPF_F_MMAPABLE of linux/bpf.h, which the front table has. */
export const MAP_MMAPABLE = 1 << 10;

/** struct totals, one per CPU, under the u32 key 0. All members are u64. */
export const TOTALS = {
  size: 40,
  bytes: 0,
  ipv4: 8,
  ipv6: 16,
  other: 24,
  malformed: 32,
} as const;

/** SEGMENT_RECORDS in bpf/xdpwho.h. */
export const SEGMENT_RECORDS = 128;

/** struct packet_record. `sequence` and `time` (ns) are u64, what follows the source is u32. */
export const PACKET_RECORD = {
  size: 48,
  sequence: 0,
  time: 8,
  source: 16,
  length: 32,
  cpu: 36,
  check: 40,
  kind: 44,
} as const;

/** struct pass_head, which an iterator prints among the records: four u64, four u32. */
export const PASS_HEAD = {
  size: 48,
  first: 0,
  end: 8,
  sampled_out: 16,
  filtered_out: 24,
  unused: 32,
  cpu: 36,
  check: 40,
  kind: 44,
} as const;

/** RECORD_KIND and HEAD_KIND in bpf/xdpwho.h. */
export const RECORD_KIND = 1;
export const HEAD_KIND = 2;

/** struct log_segment: the value of the log's map. */
export const LOG_SEGMENT = { size: SEGMENT_RECORDS * PACKET_RECORD.size, records: 0 } as const;

/** struct log_head, at the beginning of a CPU's first element: three u64, two u32. */
export const LOG_HEAD = {
  size: 32,
  next: 0,
  sampled_out: 8,
  filtered_out: 16,
  segment: 24,
  unlogged: 28,
} as const;

/** The char array for the interface's name in the iterators (bpf/iterator.h), its NUL included. */
export const INTERFACE_JSON_SIZE = 96;
