// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Redirects the frame that it is run with out of an interface, its source and length changed each
 * time. The buffer comes round again with what was written into it: the source is written whole.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "../../../bpf/zipf.h"
#include "flood.h"

#define MAX_OFFSET 64

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct flood);
	__uint(max_entries, 1);
} floods SEC(".maps");

/* With it, the sources are drawn by Zipf's law. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct zipf);
	__uint(max_entries, 1);
} zipfs SEC(".maps");

/* Of the frame as it was given: host byte order. */
const volatile __u32 first_source = 0;

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	struct flood *flood;
	struct zipf *zipf;
	__u32 zero = 0, offset, number;
	__be32 *source;

	flood = bpf_map_lookup_elem(&floods, &zero);
	if (!flood)
		return XDP_DROP;
	number = flood->sources ? flood->sent % flood->sources : 0;
	zipf = bpf_map_lookup_elem(&zipfs, &zero);
	if (zipf && zipf->ranks[QUANTILES]) {
		/* Has each of the 2^32 values once before it repeats (Knuth, vol. 2, 3.2.1.2). */
		zipf->state = zipf->state * 1664525 + 1013904223;
		number = draw_rank(zipf->ranks, zipf->state);
	}
	offset = flood->source_offset;
	if (offset > MAX_OFFSET)
		return XDP_DROP;
	source = (void *)(long)ctx->data + offset;
	if ((void *)(source + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	*source = bpf_htonl(first_source + number);
	if (flood->shortened && bpf_xdp_adjust_tail(ctx, -(int)(number % flood->shortened)))
		return XDP_DROP;
	flood->sent++;
	return bpf_redirect(flood->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
