// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Fills a table of sources: each run adds one, with counts that follow from its number. For
 * `bpftool prog run ... repeat N`. IPv4 (from 198.18.0.0 on) and IPv6 in turn.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "xdpwho.h"

/* As in xdpwho.bpf.c; this one is replaced by the map that is to be filled. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__uint(key_size, sizeof(struct source_key));
	__uint(value_size, sizeof(struct source_value));
	__uint(max_entries, 1);
} sources SEC(".maps");

__u32 next = 0;

SEC("xdp")
int fill(struct xdp_md *ctx)
{
	__u32 number = next++;
	struct source_value value = {
		.packets = number + 1,
		.bytes = (__u64)number * 1000000007,
		.last_seen = bpf_jiffies64(),
	};
	struct source_key key = {};

	if (number & 1) {
		key.address[0] = bpf_htonl(0x20010db8);
		key.address[3] = bpf_htonl(number);
	} else {
		key.address[2] = bpf_htonl(0xffff);
		key.address[3] = bpf_htonl(0xc6120000 + number);
	}
	bpf_map_update_elem(&sources, &key, &value, BPF_ANY);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
