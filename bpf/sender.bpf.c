// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Sends the frame that `bpftool prog run ... repeat N` gives it N times from an interface of the
 * namespace that bpftool runs in. The demo and the tests make their traffic with it. Only one run
 * at a time is allowed, because the counts are not per CPU.
 *
 * The kernel marks the packets as redirected, and generic XDP skips redirected packets. They reach
 * a program in generic mode only through a bridge, which takes the mark off.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include "parsing.h"
#include "xdpwho.h"

/* The interface to send from. */
const volatile __u32 ifindex = 1;
/* If n > 1, the low 32 bits of the source are those of the frame plus 0 to n-1 in turn. */
const volatile __u32 source_count = 1;
/* Whether it is the destination that changes so. */
const volatile __u32 vary_destination = 0;
/*
 * The length to send, at least 14; 0: the length of the frame. `prog run` accepts no frame that is
 * longer than about a page, and newer kernels accept none without the whole IP header that it
 * announces. This program can make both.
 */
const volatile __u32 frame_length = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct sender_counts));
	__uint(max_entries, 1);
} sender_counts SEC(".maps");

/*
 * `error` is an errno, or NET_XMIT_DROP if the device dropped the frame. Not inlined, because the
 * type of the parameter is then in the object's BTF.
 */
static __noinline void count(struct sender_counts *counts, long error)
{
	if (error)
		counts->failed++;
	else
		counts->sent++;
}

/* Returns the low 32 bits of the address in the frame that changes, or NULL if there is none. */
static __always_inline __be32 *find_address(struct __sk_buff *skb)
{
	void *cursor = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct source_key key;
	int type = parse_ethernet(&cursor, end, 0);

	if (type == bpf_htons(ETH_P_IP) && parse_ipv4(cursor, end, &key, 0) >= 0)
		return vary_destination ? &((struct iphdr *)cursor)->daddr
					: &((struct iphdr *)cursor)->saddr;
	if (type == bpf_htons(ETH_P_IPV6) && parse_ipv6(cursor, end, &key, 0) >= 0)
		return vary_destination ? &((struct ipv6hdr *)cursor)->daddr.s6_addr32[3]
					: &((struct ipv6hdr *)cursor)->saddr.s6_addr32[3];
	return NULL;
}

SEC("tc")
int sender(struct __sk_buff *skb)
{
	struct sender_counts *counts;
	__be32 *address = NULL;
	__be32 original = 0;
	__u32 zero = 0;

	counts = bpf_map_lookup_elem(&sender_counts, &zero);
	if (!counts)
		return TC_ACT_SHOT;
	if (frame_length) {
		long error = bpf_skb_change_tail(skb, frame_length, 0);

		if (error) {
			count(counts, error);
			return TC_ACT_SHOT;
		}
	}

	if (source_count > 1)
		address = find_address(skb);
	if (address) {
		__u64 run = counts->sent + counts->failed;

		original = *address;
		*address = bpf_htonl(bpf_ntohl(original) + run % source_count);
	}

	count(counts, bpf_clone_redirect(skb, ifindex, 0));

	/* The next run gets the same buffer, so restore it. The helper may have moved it. */
	if (address)
		address = find_address(skb);
	if (address)
		*address = original;
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
