/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The records that the BPF programs and user space share. src/layout.ts is the TypeScript half;
 * test/layout.test.ts holds one against the other.
 */
#ifndef XDPWHO_H
#define XDPWHO_H

#include <linux/types.h>

/* An IPv6 source address, or an IPv4 one as ::ffff:a.b.c.d. */
struct source_key {
	__be32 address[4];
};

/* One per CPU and source. */
struct source_value {
	__u64 packets;
	__u64 bytes;	 /* from the Ethernet header on */
	__u64 last_seen; /* jiffies */
};

/* One per CPU. Every packet is in exactly one of the four classes. */
struct totals {
	__u64 bytes;
	__u64 ipv4;
	__u64 ipv6;
	__u64 other;	 /* neither IPv4 nor IPv6, or behind more than two VLAN tags */
	__u64 malformed; /* shorter than the header that it announces, or a header that is wrong */
};

/* What the sender of the demo and the tests did. */
struct sender_counts {
	__u64 sent;
	__u64 failed;
};

#endif
