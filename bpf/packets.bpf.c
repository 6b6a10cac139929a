// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Prints the records of the log that came since the last pass: structs packet_record as they are in
 * the ring, and before them a struct pass_head for each CPU. Each reader pins an iterator of its
 * own and has a cursor of its own.
 *
 * The heads are the first elements of the map, so a pass prints what had been logged when it began.
 * Which records those are is reckoned from the head alone, and the segments that have none of them
 * are not touched. What a record's check says is left to the reader: a record that was overwritten
 * in the meantime has another sequence number or a wrong check.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "check.h"
#include "context.h"
#include "xdpwho.h"

/* As in log.h. */
const volatile __u32 log_cpus = 1;
const volatile __u32 log_segments = 1;
/* How many records on each CPU the first pass goes back. */
const volatile __u32 history = 0;

struct cursor {
	__u64 first;
	__u64 end;
	__u64 started;
};

/* One per CPU number. About the number in max_entries, see xdpwho.bpf.c. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct cursor));
	__uint(max_entries, 1024);
} cursors SEC(".maps");

/* Not inlined, here and below: it keeps the records in the object's BTF. */
static __noinline void write_head(struct seq_file *seq, struct pass_head *head)
{
	head->check = record_check((const __u32 *)head);
	bpf_seq_write(seq, head, sizeof(*head));
}

static __noinline void print_head(struct seq_file *seq, __u32 cpu, const struct log_head *head)
{
	struct cursor *cursor = bpf_map_lookup_elem(&cursors, &cpu);
	struct pass_head printed = {
		.end = head->next,
		.sampled_out = head->sampled_out,
		.filtered_out = head->filtered_out,
		.cpu = cpu,
		.kind = HEAD_KIND,
	};

	if (!cursor)
		return;
	if (!cursor->started)
		cursor->first = printed.end > history ? printed.end - history : 0;
	cursor->end = printed.end;
	printed.first = cursor->first;
	write_head(seq, &printed);
}

static __noinline void print_segment(struct seq_file *seq, __u32 index,
				     const struct log_segment *segment)
{
	__u64 capacity = (__u64)log_segments * SEGMENT_RECORDS;
	__u32 cpu = index / log_segments;
	__u64 first, end, newest, here = index % log_segments;
	struct cursor *cursor = bpf_map_lookup_elem(&cursors, &cpu);

	if (!cursor || cursor->first == cursor->end)
		return;
	first = cursor->first;
	end = cursor->end;
	/* Segments counted on from lap to lap: the last one that was begun, and what is here of it.
	 */
	newest = (end - 1) / SEGMENT_RECORDS;
	if (newest < here)
		return;
	here = (newest - (newest - here) % log_segments) * SEGMENT_RECORDS;
	if (here + SEGMENT_RECORDS <= first)
		return;

#pragma clang loop unroll(disable)
	for (__u32 slot = 0; slot < SEGMENT_RECORDS; slot++) {
		__u64 sequence = here + slot;

		/* Not overtaken yet: it is from the lap before, or not written at all. */
		if (sequence >= end)
			sequence -= capacity;
		if (sequence - first < end - first)
			bpf_seq_write(seq, &segment->records[slot], sizeof(struct packet_record));
	}
}

/*
 * Only at the end of a pass: for an element whose output has no room in the reader's buffer the
 * program runs again. It may also run again for the end.
 */
static __always_inline void finish_pass(void)
{
	__u32 cpus = log_cpus;

#pragma clang loop unroll(disable)
	for (__u32 cpu = 0; cpu < MAX_CPUS; cpu++) {
		struct cursor *cursor;
		__u32 key = cpu;

		if (cpu >= cpus)
			break;
		cursor = bpf_map_lookup_elem(&cursors, &key);
		if (!cursor)
			break;
		cursor->first = cursor->end;
		cursor->started = 1;
	}
}

SEC("iter/bpf_map_elem")
int packets(struct bpf_iter__bpf_map_elem *ctx)
{
	/* Read once: the verifier does not connect a test of ctx->key with a second read of it. */
	__u32 *key = ctx->key;
	void *value = ctx->value;
	struct seq_file *seq = ctx->meta->seq;

	if (!key || !value)
		finish_pass();
	else if (*key < log_cpus)
		print_head(seq, *key, value);
	else
		print_segment(seq, *key - log_cpus, value);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
