/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The checksum of a record, by which a reader skips a record that was read while it was written. */
#ifndef CHECK_H
#define CHECK_H

#include <linux/types.h>

/*
 * The sum of all words of a packet_record or pass_head except the check itself. Each word is
 * multiplied by another odd number (digits of pi), so a change of a single word always changes the
 * sum. The CPU can compute the products in parallel. src/packet-log/ring.ts has the same function.
 */
static inline __attribute__((always_inline)) __u32 record_check(const __u32 *word)
{
	return word[0] * 0x243f6a89 + word[1] * 0x85a308d3 + word[2] * 0x13198a2f +
	       word[3] * 0x03707345 + word[4] * 0xa4093823 + word[5] * 0x299f31d1 +
	       word[6] * 0x082efa99 + word[7] * 0xec4e6c89 + word[8] * 0x452821e7 +
	       word[9] * 0x38d01377 + word[11] * 0xbe5466cf;
}

#endif
