// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * `bpftool prog run ... repeat N` gives a program the same frame N times. This program writes
 * another source address into the frame each time, and then calls the program that is measured.
 * `bench` calls the empty program in the same way, so the cost of this one cancels out.
 *
 * The kernel allows a tail call only if both programs take fragments or neither does, so this is
 * compiled with and without XDPWHO_FRAGS.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "parsing.h"
#include "xdpwho.h"
#include "zipf.h"

/*
 * The frames have this many sources from `first_source` on, in random order: as often as each
 * other, or with `is_zipf` by Zipf's law. 0: each is new.
 */
const volatile __u32 source_count = 0;
const volatile __u32 is_zipf = 0;
const volatile __u32 zipf_ranks[QUANTILES + 1] = {};
const volatile __u32 first_source = 0;

static __u32 state;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
	__uint(max_entries, 1);
} measured SEC(".maps");

#ifdef XDPWHO_FRAGS
SEC("xdp.frags")
#else
SEC("xdp")
#endif
int spread(struct xdp_md *ctx)
{
	void *cursor = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct iphdr *header;
	__u32 source;

	if (parse_ethernet(&cursor, end, 0) != bpf_htons(ETH_P_IP))
		return XDP_ABORTED;
	header = cursor;
	if ((void *)(header + 1) > end)
		return XDP_ABORTED;

	/* Has each of the 2^32 values once before it repeats (Knuth, vol. 2, 3.2.1.2). */
	state = state * 1664525 + 1013904223;
	if (is_zipf)
		source = draw_rank(zipf_ranks, state);
	else
		source = source_count ? (__u64)state * source_count >> 32 : state;
	header->saddr = bpf_htonl(first_source + source);

	bpf_tail_call(ctx, &measured, 0);
	return XDP_ABORTED;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
