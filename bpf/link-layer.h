/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Where the IP header of a packet is, by what the packets of the device begin with. */
#ifndef LINK_LAYER_H
#define LINK_LAYER_H

#include <linux/in.h>
#include "parsing.h"

/*
 * What the packets of the device begin with. User space writes it, from the type of the device
 * (src/host/devices.ts).
 */
enum link_layer {
	LINK_ETHERNET, /* an Ethernet header */
	LINK_IP,       /* the IP header */
	LINK_TUNNEL,   /* the IP header, on some kernels behind what the tunnel has put before it */
	LINK_GRE,      /* the same; without a remote address, behind it on every kernel */
};
const volatile __u32 link_layer = LINK_ETHERNET;

/* The GRE header (RFC 2784, RFC 2890). Each of the three flags adds four bytes to it. */
struct gre_header {
	__be16 flags;
	__be16 protocol;
};
#define GRE_CHECKSUM 0x8000
#define GRE_KEY	     0x2000
#define GRE_SEQUENCE 0x1000
#define GRE_OTHERS   0x4fff

/* An option header of IPv6 (RFC 8200). ip6tnl puts one with the encapsulation limit (RFC 2473). */
struct option_header {
	__u8 next_header;
	__u8 length; /* in units of 8 bytes, without the first */
};

/* The type (__be16) of the packet at the cursor, by the version of IP; 0 if it is another; -1 if
 * there is none. */
static __always_inline int ip_type(void *cursor, void *end)
{
	__u8 *first = cursor;

	if ((void *)(first + 1) > end)
		return -1;
	if (*first >> 4 == 4)
		return bpf_htons(ETH_P_IP);
	return *first >> 4 == 6 ? bpf_htons(ETH_P_IPV6) : 0;
}

/*
 * Whether an IP packet begins at the cursor that is as long as its header says, in `length` bytes.
 * What is shorter than an Ethernet frame may be padded to one.
 */
static __always_inline int is_ip_packet(void *cursor, void *end, __u32 length)
{
	struct ipv6hdr *ipv6 = cursor;
	struct iphdr *ipv4 = cursor;
	__u32 said;

	if ((void *)(ipv4 + 1) > end)
		return 0;
	if (ipv4->version == 4 && ipv4->ihl >= 5)
		said = bpf_ntohs(ipv4->tot_len);
	else if (ipv4->version == 6 && (void *)(ipv6 + 1) <= end)
		said = sizeof(*ipv6) + bpf_ntohs(ipv6->payload_len);
	else
		return 0;
	return said == length || (said < length && length <= ETH_ZLEN - ETH_HLEN);
}

/* Moves the cursor behind a GRE header. Returns the type of what it carries, 0 if it cannot be
 * told. */
static __always_inline int skip_gre(void **cursor, void *end)
{
	struct gre_header *gre = *cursor;
	__u16 flags;

	if ((void *)(gre + 1) > end)
		return 0;
	flags = bpf_ntohs(gre->flags);
	if (flags & GRE_OTHERS)
		return 0;
	*cursor = gre + 1;
	if (flags & GRE_CHECKSUM)
		*cursor += 4;
	if (flags & GRE_KEY)
		*cursor += 4;
	if (flags & GRE_SEQUENCE)
		*cursor += 4;
	return gre->protocol;
}

/*
 * Moves the cursor from the IP header that the tunnel has added, of this type, to that of the
 * packet in it. Returns the type of that packet, 0 if this is no packet of a tunnel.
 */
static __always_inline int skip_outer(void **cursor, void *end, int type)
{
	struct ipv6hdr *ipv6 = *cursor;
	struct iphdr *ipv4 = *cursor;
	__u8 protocol;

	if (type == bpf_htons(ETH_P_IP)) {
		if ((void *)(ipv4 + 1) > end || ipv4->ihl < 5)
			return 0;
		protocol = ipv4->protocol;
		*cursor += ipv4->ihl * 4;
	} else {
		if ((void *)(ipv6 + 1) > end)
			return 0;
		protocol = ipv6->nexthdr;
		*cursor = ipv6 + 1;
		if (protocol == IPPROTO_DSTOPTS) {
			struct option_header *option = *cursor;

			if ((void *)(option + 1) > end)
				return 0;
			protocol = option->next_header;
			*cursor += (option->length + 1) * 8;
		}
	}
	if (protocol == IPPROTO_IPIP)
		return bpf_htons(ETH_P_IP);
	if (protocol == IPPROTO_IPV6)
		return bpf_htons(ETH_P_IPV6);
	return protocol == IPPROTO_GRE ? skip_gre(cursor, end) : 0;
}

static __always_inline int is_ip(int type)
{
	return type == bpf_htons(ETH_P_IP) || type == bpf_htons(ETH_P_IPV6);
}

/*
 * A generic program gets a packet from its MAC header on. A tunnel sets that to the packet that it
 * has unpacked since kernel 5.15 ("net: reset MAC header consistently across L3 virtual devices");
 * before, it is the header of the device below: mostly Ethernet, for GRE the outer IP header. For
 * GRE without a remote address that is so on every kernel (net/ipv4/ip_gre.c, ipgre_header_ops).
 */
static __always_inline int parse_tunnel(void **cursor, void *end, __u32 length)
{
	int type = ip_type(*cursor, end);
	void *inner = *cursor;
	int inner_type;

	if (type < 0)
		return type;
	if (is_ip_packet(*cursor, end, length)) {
		struct iphdr *ipv4 = *cursor;

		if (link_layer != LINK_GRE || type != bpf_htons(ETH_P_IP) ||
		    (void *)(ipv4 + 1) > end || ipv4->protocol != IPPROTO_GRE)
			return type;
		inner_type = skip_outer(&inner, end, type);
	} else {
		inner_type = parse_ethernet(&inner, end, 0);
		if (!is_ip(inner_type))
			return type;
		inner_type = skip_outer(&inner, end, inner_type);
	}
	if (!inner_type)
		return type;
	*cursor = inner;
	return inner_type;
}

/*
 * Moves the cursor to what follows the link layer, of which so many VLAN tags have been taken off.
 * Returns its type (__be16), 0 for a packet whose type is unknown, a negative number for one that
 * is cut short.
 */
static __always_inline int parse_link(void **cursor, void *end, __u32 length, int tags)
{
	if (link_layer == LINK_ETHERNET)
		return parse_ethernet(cursor, end, tags);
	if (link_layer == LINK_IP)
		return ip_type(*cursor, end);
	return parse_tunnel(cursor, end, length);
}

#endif
