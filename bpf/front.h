/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The front table: one cache line for each active source and CPU, in front of the table `sources`.
 * The kernel inlines the look-up in an array, so that a packet of a source with a line is counted
 * without a call. The look-up in an LRU hash is a call.
 *
 * A line is written back and never moved. It begins with a copy of the value of this CPU in
 * `sources`, and counts on from there. Every second, and before another source takes the line, its
 * figures are stored in `sources`. So a reader takes the larger figures of both, and counts nothing
 * twice.
 */
#ifndef FRONT_H
#define FRONT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "xdpwho.h"

/* The lines of each CPU that was present: a power of two from 2 to 65,536. 0: there is no front
 * table. */
const volatile __u32 front_lines = 0;
/*
 * The elements before the lines: the totals of each CPU number, rounded up to an even number. So
 * the totals take no call either, which those in a per-CPU array do before kernel 6.10.
 */
const volatile __u32 front_totals = 0;
/* Odd, and random anew for each load, so that nobody can choose addresses that share a line. */
const volatile __u64 front_seeds[2] = {1, 1};

/*
 * The default of max_entries is a number that no other __uint of an object uses: see the map
 * `sources`. With BPF_F_MMAPABLE the values begin on a page, so that a line is one cache line.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct front_line));
	__uint(max_entries, 3);
#ifdef XDPWHO_FRONT_PIN
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} XDPWHO_FRONT_PIN SEC(".maps");
#define front XDPWHO_FRONT_PIN
#else
} front SEC(".maps");
#endif

static __always_inline int is_same(const struct source_key *one, const struct source_key *other)
{
	return HALVES(one)[0] == HALVES(other)[0] && HALVES(one)[1] == HALVES(other)[1];
}

/* Puts the half of a half in which addresses differ most where a product spreads it furthest. */
static __always_inline __u64 swap_words(__be64 half)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return half << 32 | half >> 32;
#else
	return half;
#endif
}

/*
 * A sum of products with random odd numbers: chance alone decides which sources share its upper
 * bits (M. Dietzfelbinger, 1996, "Universal hashing and k-wise independent random variables via
 * integer arithmetic without primes"). The second product spreads addresses that follow one another
 * evenly, which the first does with most numbers only.
 */
static __always_inline __u64 front_hash(const struct source_key *source)
{
	__u64 sum = swap_words(HALVES(source)[0]) * front_seeds[0] +
		    swap_words(HALVES(source)[1]) * front_seeds[1];

	return (sum ^ sum >> 32) * front_seeds[0];
}

/*
 * A source can have either of two lines. They lie side by side, so that the CPU fetches both at
 * once, and a source without a line does not wait twice.
 */
static __always_inline __u32 first_line(__u64 hash, __u32 cpu)
{
	return front_totals + cpu * front_lines + (hash >> 48 & (front_lines - 1));
}

static __always_inline __u32 second_line(__u64 hash, __u32 cpu)
{
	return first_line(hash, cpu) ^ 1;
}

#endif
