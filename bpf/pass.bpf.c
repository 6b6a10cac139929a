// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Does nothing: what xdpwho costs is measured against it. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifdef XDPWHO_FRAGS
SEC("xdp.frags")
#else
SEC("xdp")
#endif
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
