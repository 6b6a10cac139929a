/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Draws a rank by Zipf's law, with a table that user space makes (src/bench/zipf.ts). */
#ifndef ZIPF_H
#define ZIPF_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define QUANTILE_BITS 10
#define QUANTILES     (1 << QUANTILE_BITS)

/*
 * `ranks`: QUANTILES + 1 ranks, at evenly spaced quantiles. `random`: any of 2^32 numbers, each
 * with the same probability.
 */
static __always_inline __u32 draw_rank(const volatile __u32 *ranks, __u32 random)
{
	__u32 quantile = random >> (32 - QUANTILE_BITS);
	__u32 rest = random << QUANTILE_BITS;
	__u32 first = ranks[quantile];

	return first + ((__u64)rest * (ranks[quantile + 1] - first) >> 32);
}

#endif
