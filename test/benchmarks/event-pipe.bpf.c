// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Wakes a reader for each packet, with its IPv4 source address: what the log is compared with. The
 * payload is of a length that needs no padding.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SOURCE_OFFSET 26

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

SEC("xdp")
int event_pipe(struct xdp_md *ctx)
{
	__u32 *place = (void *)(long)ctx->data + SOURCE_OFFSET;
	__u32 source;

	if ((void *)(place + 1) > (void *)(long)ctx->data_end)
		return XDP_PASS;
	source = *place;
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &source, sizeof(source));
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
