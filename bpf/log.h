/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The log: writes a record of each packet into the ring of this CPU. It wakes no process; readers
 * read the ring when they want (packets.bpf.c).
 */
#ifndef LOG_H
#define LOG_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "check.h"
#include "packet.h"
#include "parsing.h"
#include "xdpwho.h"

/* The number of possible CPU numbers, and the segments of the ring of each CPU. */
const volatile __u32 log_cpus = 1;
const volatile __u32 log_segments = 1;
/* One of this many packets that pass the filter is logged on each CPU, beginning with the first. */
const volatile __u32 log_sample = 1;
/*
 * 4 or 6: only sources of this family are logged whose bits under log_mask are log_source.
 * 0: all sources are logged.
 */
const volatile __u32 log_family = 0;
const volatile struct source_key log_source = {};
const volatile struct source_key log_mask = {};

/* No other __uint in the object may have the number in max_entries: see the map `sources`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct log_segment));
	__uint(max_entries, 1000);
} packets SEC(".maps");

static __always_inline int is_wanted(const struct source_key *key)
{
	/* Volatile, or the compiler takes the values that the object has for those that it will
	 * have. */
	const volatile address_half *mask = (const volatile address_half *)log_mask.address;
	const volatile address_half *wanted = (const volatile address_half *)log_source.address;

	/* A short IPv6 prefix contains the v4-mapped addresses too, but IPv4 is not wanted. */
	if (log_family == 6 && is_ipv4(key))
		return 0;
	return (HALVES(key)[0] & mask[0]) == wanted[0] && (HALVES(key)[1] & mask[1]) == wanted[1];
}

/*
 * The order of these writes does not matter: a reader uses a record only if its 32-bit check is
 * right, so that it is very likely not half written. No atomics are needed, because the ring
 * belongs to this CPU, and no softirq interrupts XDP or TCX.
 */
static __always_inline void write_record(struct packet_record *place, struct log_head *head,
					 __u32 cpu, const struct source_key *source,
					 const struct amount *amount)
{
	struct packet_record record = {
		.sequence = head->next,
		.time = bpf_ktime_get_boot_ns(),
		.source = *source,
		.length = amount->bytes,
		.cpu = cpu | (__u32)amount->packets << 16,
		.kind = RECORD_KIND,
	};

	record.check = record_check((const __u32 *)&record);
	*place = record;
	barrier();
	head->next = record.sequence + 1;
}

static __always_inline void log_packet(const struct source_key *source, const struct amount *amount,
				       __u32 cpu)
{
	struct log_segment *segment;
	struct log_head *head;
	__u32 index, slot;

	if (cpu >= log_cpus)
		return;
	head = bpf_map_lookup_elem(&packets, &cpu);
	if (!head)
		return;
	if (log_family && !is_wanted(source)) {
		head->filtered_out++;
		return;
	}
	if (log_sample > 1) {
		if (head->unlogged > 0) {
			head->unlogged--;
			head->sampled_out++;
			return;
		}
		head->unlogged = log_sample - 1;
	}

	index = log_cpus + cpu * log_segments + head->segment;
	segment = bpf_map_lookup_elem(&packets, &index);
	if (!segment)
		return;
	slot = head->next % SEGMENT_RECORDS;
	write_record(&segment->records[slot], head, cpu, source, amount);
	if (slot == SEGMENT_RECORDS - 1)
		head->segment = head->segment + 1 < log_segments ? head->segment + 1 : 0;
}

#endif
