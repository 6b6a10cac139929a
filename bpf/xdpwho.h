/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The structs that the BPF programs and user space share. src/objects/layout.ts has their sizes and
 * offsets; test/objects/layout.test.ts compares both.
 */
#ifndef XDPWHO_H
#define XDPWHO_H

#include <linux/types.h>

/*
 * The address that a packet is counted by, its source or, if it is sent, its destination: an IPv6
 * address, or an IPv4 one as ::ffff:a.b.c.d.
 */
struct source_key {
	__be32 address[4];
} __attribute__((aligned(8)));

/* The same address as two numbers, which take fewer comparisons than four. */
typedef __be64 __attribute__((may_alias)) address_half;
#define HALVES(key) ((address_half *)(key)->address)

/* One per CPU and source. */
struct source_value {
	__u64 packets;
	__u64 bytes; /* from the Ethernet header on; on a device without one, from the IP header on
		      */
	__u64 last_seen; /* jiffies */
};

/* A line of the front table: one source on one CPU. */
struct front_line {
	struct source_key source;
	struct source_value figures;
	__u64 written; /* jiffies: when the figures were last stored in the table `sources` */
	__u64 turn;    /* odd while the line changes hands; 0: it has never had a source */
	__u64 unused;  /* makes it the size of a cache line */
};

/* One per CPU. Every packet is in exactly one of the four classes. */
struct totals {
	__u64 bytes;
	__u64 ipv4;
	__u64 ipv6;
	__u64 other;	 /* neither IPv4 nor IPv6, or behind more than two VLAN tags */
	__u64 malformed; /* shorter than the header that it announces, or a header that is wrong */
};

/*
 * The log has a ring for each CPU, all in one array map. Elements 0 to n-1 are the log_heads of n
 * CPUs. Then come the segments of CPU 0, those of CPU 1 and so on. A segment holds many records, so
 * that the map has few elements and a pass over it is short when there is nothing to read.
 */
#define SEGMENT_RECORDS 128

#define RECORD_KIND 1
#define HEAD_KIND   2

/* One packet, or one buffer of TCX with many. */
struct packet_record {
	__u64 sequence; /* without gaps on each CPU, from 0 */
	__u64 time;	/* CLOCK_BOOTTIME, in nanoseconds */
	struct source_key source;
	__u32 length; /* in bytes, as in source_value */
	__u32 cpu;    /* and in the upper 16 bits the packets of a buffer of TCX; otherwise 1 */
	__u32 check;  /* record_check() of all other words */
	__u32 kind;   /* RECORD_KIND */
};

struct log_segment {
	struct packet_record records[SEGMENT_RECORDS];
};

/* Each packet with a source is counted in one of the first three members. */
struct log_head {
	__u64 next; /* the sequence number of the next record */
	__u64 sampled_out;
	__u64 filtered_out;
	__u32 segment;	/* the segment of that record */
	__u32 unlogged; /* with sampling: how many packets to skip before that record */
};

/* What the iterator prints of a log_head. It has the length and the check of a record. */
struct pass_head {
	__u64 first; /* the pass prints the records from this sequence number */
	__u64 end;   /* to this one minus 1, if the ring still holds them */
	__u64 sampled_out;
	__u64 filtered_out;
	__u32 unused;
	__u32 cpu;
	__u32 check;
	__u32 kind; /* HEAD_KIND */
};

/* What the program `sender` did. */
struct sender_counts {
	__u64 sent;
	__u64 failed;
};

#endif
