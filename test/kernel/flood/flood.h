/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What flood.c tells flood.bpf.c, and what that counts. */
#ifndef FLOOD_H
#define FLOOD_H

#include <linux/types.h>

struct flood {
	/* The interface to send from. */
	__u32 ifindex;
	/* Bytes before the low 32 bits of the source address. */
	__u32 source_offset;
	/* The source is the frame's plus 0 to sources-1 in turn. */
	__u32 sources;
	/* Nonzero: the frame of source k has as many bytes as it has without, less k % this. */
	__u32 shortened;
	__u64 sent;
};

/* Made by src/bench/zipf.ts; see bpf/zipf.h. */
struct zipf {
	__u32 ranks[1025];
	__u32 state;
};

#endif
