// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* A program at TCX that does nothing: the yardstick of `npm run bench:tcx`. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return -1; /* TCX_NEXT */
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
