/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Counts a packet of a source: in its line of the front table, or in the table `sources`. */
#ifndef COUNTING_H
#define COUNTING_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "front.h"
#include "packet.h"
#include "xdpwho.h"

/* Where there is a front table. */
const volatile __u32 jiffies_per_second = 100;

/*
 * Sizes, not types: with a type, the map would name its BTF, and reading that takes CAP_SYS_ADMIN
 * where the rest of a dump does not.
 *
 * User space writes max_entries into the object's BTF, where equal numbers share one array type.
 * So the default must be a number that no other __uint here uses.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(key_size, sizeof(struct source_key));
	__uint(value_size, sizeof(struct source_value));
	__uint(max_entries, 65536);
} sources SEC(".maps");

/* No atomics: these counters are this CPU's own, and no softirq interrupts XDP or TCX. */
static __always_inline void count(struct source_value *value, __u64 packets, __u64 bytes, __u64 now)
{
	value->packets += packets;
	value->bytes += bytes;
	value->last_seen = now;
}

/* Adds a source with its first figures on this CPU. Returns its value if another CPU was first. */
static __always_inline struct source_value *add_source(const struct source_key *source,
						       const struct source_value *first)
{
	if (!bpf_map_update_elem(&sources, source, first, BPF_NOEXIST))
		return NULL;
	/* Otherwise the table has no room: then the packets stay untracked. */
	return bpf_map_lookup_elem(&sources, source);
}

/*
 * Stores the figures of a line in `sources`. The look-up also keeps the source from being the least
 * recently used one. A source that has been removed from the table is added again.
 */
static __noinline void write_back(struct front_line *line)
{
	/* Copies, because helpers of kernel 5.10 take a key and a value only from the stack. */
	struct source_key source = line->source;
	struct source_value figures = line->figures;
	struct source_value *value = bpf_map_lookup_elem(&sources, &source);

	if (!value)
		value = add_source(&source, &figures);
	if (value)
		*value = figures;
	line->written = bpf_jiffies64();
}

/* Whether a packet has been counted since the figures were stored. */
static __always_inline int is_unwritten(const struct front_line *line)
{
	return line->figures.last_seen >= line->written;
}

/* A reader that finds an odd number, or another one after it has read, does not use the line. */
static __always_inline void turn(struct front_line *line)
{
#if defined(XDPWHO_FRAGS) || defined(XDPWHO_TCX)
	/* An atomic operation whose result is used orders all accesses before it and after it. */
	__u64 before = __sync_fetch_and_add(&line->turn, 1);

	asm volatile("" : : "r"(before) : "memory");
#else
	/* Kernels before 5.12 have no such operation. CPUs of x86 do not need it. */
	barrier();
	line->turn++;
	barrier();
#endif
}

/*
 * Gives a line to a source, if it has never had one, or if its source has been silent: for two
 * seconds, then its figures are stored; and for one second more. In that second every reader that
 * has an older copy of those figures comes to its end.
 */
static __always_inline int take_line(__u32 index, const struct source_key *source,
				     const struct source_value *value)
{
	struct front_line *line = bpf_map_lookup_elem(&front, &index);
	__u64 now = value->last_seen;

	if (!line)
		return 0;
	if (line->turn) {
		if (now - line->figures.last_seen < 2 * jiffies_per_second)
			return 0;
		if (is_unwritten(line)) {
			write_back(line);
			return 0;
		}
		if (now - line->written < jiffies_per_second)
			return 0;
	}
	turn(line);
	line->source = *source;
	line->figures = *value;
	line->written = now;
	turn(line);
	return 1;
}

/*
 * Counts in `sources`. A source takes a line with its second packet there, so that packets from
 * addresses that come once take none.
 */
static __noinline void count_in_table(const struct source_key *source, __u64 packets, __u64 bytes,
				      __u64 hash, __u32 cpu)
{
	struct source_value *value = bpf_map_lookup_elem(&sources, source);
	__u64 now = bpf_jiffies64();

	if (!value) {
		struct source_value first = {.packets = packets, .bytes = bytes, .last_seen = now};

		value = add_source(source, &first);
		if (!value)
			return;
	}
	count(value, packets, bytes, now);
	if (front_lines && !take_line(first_line(hash, cpu), source, value))
		take_line(second_line(hash, cpu), source, value);
}

/* Counts in the line with this index, if the source has it. */
static __always_inline int count_in_line(__u32 index, const struct source_key *source,
					 const struct amount *amount)
{
	struct front_line *line = bpf_map_lookup_elem(&front, &index);
	__u64 now;

	/* Before a line has a source, its key is that of the address `::`. */
	if (!line || !is_same(&line->source, source) || !line->turn)
		return 0;
	now = bpf_jiffies64();
	count(&line->figures, amount->packets, amount->bytes, now);
	if (now - line->written >= jiffies_per_second)
		write_back(line);
	return 1;
}

static __always_inline void count_source(const struct source_key *source,
					 const struct amount *amount, __u32 cpu)
{
	__u64 hash = 0;

	if (front_lines) {
		hash = front_hash(source);
		if (count_in_line(first_line(hash, cpu), source, amount) ||
		    count_in_line(second_line(hash, cpu), source, amount))
			return;
	}
	count_in_table(source, amount->packets, amount->bytes, hash, cpu);
}

#endif
