// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* A program of somebody else at TCX: counts every packet, and lets it go on. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u64));
	__uint(max_entries, 1);
} seen SEC(".maps");

SEC("tc")
int stranger(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&seen, &zero);

	if (count)
		__sync_fetch_and_add(count, 1);
	return -1; /* TCX_NEXT */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
