/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What both hooks know of a packet: where its IP header is, and what it amounts to. */
#ifndef PACKET_H
#define PACKET_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Where the link layer of a packet ends. */
struct parsed {
	void *cursor;  /* the header behind the link layer */
	int type;      /* its type (__be16); 0: unknown; negative: the link layer is cut short */
	int said;      /* the length from there on that the IP or ARP header says; 0: nothing */
	__u64 skipped; /* the bytes before the cursor that do not count: those of a tunnel */
};

/* What is counted for a packet. One buffer of TCX can be many packets on the wire. */
struct amount {
	__u64 packets;
	__u64 bytes; /* all of them, except what a tunnel has put before the IP header */
};

/*
 * The distance of two pointers into a packet. The verifier allows no other arithmetic with two
 * pointers, and none with 32 bits, so the compiler must not make one of the difference and what is
 * added to it.
 */
static __always_inline __u64 distance(void *from, void *to)
{
	__u64 bytes = to - from;

	barrier_var(bytes);
	return bytes;
}

/* The bytes of the first buffer of a packet, which is all that a program reads directly. */
#define linear_length(ctx) distance((void *)(long)(ctx)->data, (void *)(long)(ctx)->data_end)

#endif
