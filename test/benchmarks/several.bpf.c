// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* An object as a user may have: several programs, and a map that libbpf pins by its name. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} pinned_by_name SEC(".maps");

static __always_inline void count(void)
{
	__u32 zero = 0;
	__u64 *packets = bpf_map_lookup_elem(&pinned_by_name, &zero);

	if (packets)
		++*packets;
}

SEC("xdp")
int drop_all(struct xdp_md *ctx)
{
	count();
	return XDP_DROP;
}

SEC("xdp")
int send_back(struct xdp_md *ctx)
{
	count();
	return XDP_TX;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
