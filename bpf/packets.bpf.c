// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Prints the records of the log since the last pass: first a struct pass_head for each CPU, then
 * the structs packet_record as they are in the ring. Each reader pins an iterator of its own, which
 * has cursors of its own.
 *
 * The heads are the first elements of the map, so a pass prints the records that existed when it
 * began. The program computes from the head which segments have such records, and reads no others.
 * It does not verify the checks. A record that was overwritten meanwhile has another sequence
 * number or a wrong check, and the reader skips it.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "check.h"
#include "context.h"
#include "xdpwho.h"

/* The same constants as in log.h. */
const volatile __u32 log_cpus = 1;
const volatile __u32 log_segments = 1;
/* How many older records of each CPU the first pass prints. */
const volatile __u32 history = 0;

struct cursor {
	__u64 first;
	__u64 end;
	__u64 started;
};

/* One per CPU number. No other __uint in the object may have the number in max_entries. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct cursor));
	__uint(max_entries, 1024);
} cursors SEC(".maps");

/* Not inlined, here and below, because the types of parameters are then in the object's BTF. */
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
	/*
	 * Segments are numbered on from lap to lap. `newest` is the last one with records; `here`
	 * becomes the sequence number of the first record of this segment.
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

		/* The ring has not reached this slot in this lap: its record is one lap older. */
		if (sequence >= end)
			sequence -= capacity;
		if (sequence - first < end - first)
			bpf_seq_write(seq, &segment->records[slot], sizeof(struct packet_record));
	}
}

/*
 * Moves the cursors. This is done only at the end of a pass, because the program runs again for an
 * element whose output does not fit into the reader's buffer. It may also run twice for the end.
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
	/* Read once, because the verifier does not apply a test of ctx->key to a second read. */
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
