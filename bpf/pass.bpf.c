// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Does nothing: what xdpwho costs is measured against it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
