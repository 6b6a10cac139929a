/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the program needs of its hook, for TCX (kernel 6.6 and newer): what a device hands to the
 * kernel after XDP, or what the kernel hands to a device before its queue. A packet here may be one
 * buffer for many packets on the wire: received ones that GRO has joined, or sent ones that are cut
 * into segments later (GSO).
 */
#ifndef TCX_HOOK_H
#define TCX_HOOK_H

#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "link-layer.h"
#include "packet.h"
#include "parsing.h"

#define HOOK_SECTION "tc"
/* enum tcx_action_base in linux/bpf.h since 6.6: the next program of the chain has its turn. */
#define HOOK_NEXT -1

typedef struct __sk_buff packet_context;

/* Whether the program is at the end where packets are sent. */
const volatile __u32 direction_sent = 0;

static __always_inline int counts_sent(void)
{
	return direction_sent;
}

static __always_inline __u64 whole_length(packet_context *ctx)
{
	return ctx->len;
}

/*
 * The kernel keeps the outer VLAN tag beside the packet: a received one takes it off before this
 * hook (net/core/dev.c, __netif_receive_skb_core), a sent one gets it after.
 */
static __always_inline int tags_beside(packet_context *ctx)
{
	return ctx->vlan_present;
}

/*
 * A received packet comes only once (net/core/dev.c, tc_skip_classify). A sent one that tc
 * redirects to an ifb device comes a second time, and cannot be told from another.
 */
static __always_inline int is_given_back(packet_context *ctx)
{
	return 0;
}

/* Room for an Ethernet header with a tag, the longest IPv4 header and the longest TCP header. */
#define HEADERS_LENGTH 160

/*
 * Brings headers that lie outside of the first part of a packet into it, which is all that a
 * program reads directly. A jumbo frame of a packet socket begins with little more than its
 * Ethernet header. Returns 0 if there is nothing to bring.
 */
static __always_inline int pull_headers(packet_context *ctx)
{
	__u32 length = ctx->len;

	if (linear_length(ctx) >= length || linear_length(ctx) >= HEADERS_LENGTH)
		return 0;
	return !bpf_skb_pull_data(ctx, length < HEADERS_LENGTH ? length : HEADERS_LENGTH);
}

/* The common header of SCTP (RFC 9260). linux/sctp.h does not have it. */
#define SCTP_HEADER_LENGTH 12

/* Returns the length of the transport header at the cursor, -1 if it is cut short, 0 if it is none.
 */
static __always_inline int transport_length(void *cursor, void *end, __u8 protocol)
{
	struct tcphdr *tcp = cursor;

	if (protocol == IPPROTO_UDP)
		return sizeof(struct udphdr);
	if (protocol == IPPROTO_SCTP)
		return SCTP_HEADER_LENGTH;
	if (protocol != IPPROTO_TCP)
		return 0;
	return (void *)(tcp + 1) > end ? -1 : tcp->doff * 4;
}

/* How many extension headers of IPv6 are skipped. */
#define MAX_EXTENSIONS 4

/* The lengths of the IP header and the transport header at the cursor. */
struct headers {
	int length;    /* that each segment has; -1: they are cut short */
	int only_here; /* that no segment has: the option for more than 64 KiB (RFC 2675) */
};

static __always_inline struct headers ipv4_headers(void *cursor, void *end)
{
	struct headers headers = {-1, 0};
	struct iphdr *ip = cursor;
	int transport;

	if ((void *)(ip + 1) > end)
		return headers;
	transport = transport_length(cursor + ip->ihl * 4, end, ip->protocol);
	if (transport >= 0)
		headers.length = ip->ihl * 4 + transport;
	return headers;
}

static __always_inline struct headers ipv6_headers(void *cursor, void *end)
{
	struct headers headers = {-1, 0};
	struct ipv6hdr *ip = cursor;
	struct option_header *option = (void *)(ip + 1);
	__u8 protocol;
	int length, transport;

	if ((void *)option > end)
		return headers;
	protocol = ip->nexthdr;
	length = sizeof(*ip);
#pragma unroll
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		int bytes;

		if (protocol != IPPROTO_HOPOPTS && protocol != IPPROTO_ROUTING &&
		    protocol != IPPROTO_DSTOPTS)
			break;
		if ((void *)(option + 1) > end)
			return headers;
		bytes = (option->length + 1) * 8;
		if (protocol == IPPROTO_HOPOPTS && !ip->payload_len)
			headers.only_here = bytes;
		else
			length += bytes;
		protocol = option->next_header;
		option = (void *)option + bytes;
	}
	transport = transport_length(option, end, protocol);
	if (transport >= 0)
		headers.length = length + transport;
	return headers;
}

/*
 * Sets how many packets on the wire this is, and their bytes: each segment has the headers of its
 * own. The number of segments is the kernel's; a packet of a virtual machine may have none yet, and
 * then it follows from their size. Returns 0 if headers are cut short. Where a tunnel has put
 * headers into the packet, only the outer ones are seen.
 */
static __always_inline int measure(packet_context *ctx, const struct parsed *parsed,
				   struct amount *amount)
{
	__u32 tag = ctx->vlan_present ? sizeof(struct vlan_tag) : 0;
	void *begin = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u64 bytes = ctx->len - parsed->skipped;
	__u32 size = ctx->gso_size;
	struct headers headers;
	__u64 segments, before;

	amount->packets = 1;
	amount->bytes = bytes + tag;
	if (!size)
		return 1;
	if (!is_ip(parsed->type)) {
		if (ctx->gso_segs)
			amount->packets = ctx->gso_segs;
		return 1;
	}
	headers = parsed->type == bpf_htons(ETH_P_IP) ? ipv4_headers(parsed->cursor, end)
						      : ipv6_headers(parsed->cursor, end);
	if (headers.length < 0)
		return 0;
	before = distance(begin, parsed->cursor) - parsed->skipped + headers.length;
	bytes -= headers.only_here;
	segments = ctx->gso_segs;
	if (!segments)
		segments = bytes > before ? (bytes - before + size - 1) / size : 1;
	amount->packets = segments;
	amount->bytes = bytes + (segments - 1) * before + segments * tag;
	return 1;
}

#endif
