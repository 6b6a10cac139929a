// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* Does nothing. `bench` measures what other programs cost in comparison with it. */
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
