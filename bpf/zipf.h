/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Draws a rank by Zipf's law, with a table that user space makes (src/bench/zipf.ts). */
#ifndef ZIPF_H
#define ZIPF_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define QUANTILE_BITS 10
#define QUANTILES     (1 << QUANTILE_BITS)

/* The ranks at evenly spaced quantiles. */
const volatile __u32 zipf_ranks[QUANTILES + 1] = {};

/* `random`: any of 2^32 numbers, each with the same probability. */
static __always_inline __u32 draw_rank(__u32 random)
{
	__u32 quantile = random >> (32 - QUANTILE_BITS);
	__u32 rest = random << QUANTILE_BITS;
	__u32 first = zipf_ranks[quantile];

	return first + ((__u64)rest * (zipf_ranks[quantile + 1] - first) >> 32);
}

#endif
