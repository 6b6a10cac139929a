// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Returns the low 32 bits of the time in jiffies. `bpftool prog run` runs it twice to measure the
 * kernel's HZ, and once to compute the age of a time stamp.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int clock(struct xdp_md *ctx)
{
	return bpf_jiffies64();
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
