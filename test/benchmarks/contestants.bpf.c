// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* One message per packet, with its IPv4 source address, in the two ways that examples show. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../../bpf/parsing.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

static __always_inline struct iphdr *find_ipv4(struct xdp_md *ctx)
{
	void *cursor = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct iphdr *header;

	if (parse_ethernet(&cursor, end, 0) != bpf_htons(ETH_P_IP))
		return NULL;
	header = cursor;
	return (void *)(header + 1) > end ? NULL : header;
}

SEC("xdp")
int event(struct xdp_md *ctx)
{
	struct iphdr *header = find_ipv4(ctx);
	__be32 source;

	if (header) {
		source = header->saddr;
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &source, sizeof(source));
	}
	return XDP_PASS;
}

SEC("xdp")
int print(struct xdp_md *ctx)
{
	struct iphdr *header = find_ipv4(ctx);

	if (header)
		bpf_printk("xdpwho-bench %pI4", &header->saddr);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
