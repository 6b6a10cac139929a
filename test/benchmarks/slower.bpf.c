// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* The program with a slip in it: it takes the time in nanoseconds, as is easily done. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

static __always_inline __u64 coarse_time(void)
{
	return bpf_ktime_get_ns() >> 22;
}

#define bpf_jiffies64 coarse_time
#include "../../bpf/xdpwho.bpf.c"
