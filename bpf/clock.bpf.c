// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Tells the time in jiffies, for `bpftool prog run`: twice, to measure the kernel's HZ, and once
 * to learn how old a time stamp is. The return value has room for the low 32 bits.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int clock(struct xdp_md *ctx)
{
	return bpf_jiffies64();
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
