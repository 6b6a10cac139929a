/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Each parser checks the bounds of one header before it reads it. It returns a negative number if
 * the header is cut short or contradicts itself.
 */
#ifndef PARSING_H
#define PARSING_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "xdpwho.h"

#define MAX_VLAN_TAGS 2

/* The struct of linux/if_ether.h is packed, so clang would read the type byte by byte. */
struct ethernet_header {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
	__be16 type;
};

struct vlan_tag {
	__be16 control;
	__be16 type;
};

static __always_inline int is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

/*
 * Returns the type (__be16) after the VLAN tags, and moves the cursor behind it. So many tags have
 * been taken off before.
 */
static __always_inline int parse_ethernet(void **cursor, void *end, int tags)
{
	struct ethernet_header *header = *cursor;
	struct vlan_tag *tag = (void *)(header + 1);
	__be16 type;

	if ((void *)(header + 1) > end)
		return -1;
	type = header->type;

#pragma unroll
	for (int i = 0; i < MAX_VLAN_TAGS; i++) {
		if (!is_vlan(type))
			break;
		if ((void *)(tag + 1) > end)
			return -1;
		type = tag->type;
		tag++;
	}

	*cursor = tag;
	/* More than MAX_VLAN_TAGS with those that were taken off. */
	if (tags && tag == (struct vlan_tag *)(header + 1) + MAX_VLAN_TAGS)
		return 0;
	return type;
}

/* Some CPUs cannot read a whole half from a packet, where it is aligned to 4 bytes. */
static __always_inline __be64 join_words(__be32 first, __be32 second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (__u64)second << 32 | first;
#else
	return (__u64)first << 32 | second;
#endif
}

static __always_inline int is_ipv4(const struct source_key *key)
{
	return !HALVES(key)[0] && key->address[2] == bpf_htonl(0xffff);
}

/*
 * The parsers below return the length of the packet from their header on. 0: it is more than 64
 * KiB. The key of a sent packet is its destination, that of a received one its source.
 */
static __always_inline int parse_ipv4(void *cursor, void *end, struct source_key *key, int sent)
{
	struct iphdr *header = cursor;

	if ((void *)(header + 1) > end)
		return -1;
	if (header->version != 4 || header->ihl < 5)
		return -1;
	if (header->ihl > 5 && cursor + header->ihl * 4 > end)
		return -1;

	HALVES(key)[0] = 0;
	HALVES(key)[1] = join_words(bpf_htonl(0xffff), sent ? header->daddr : header->saddr);
	return bpf_ntohs(header->tot_len);
}

static __always_inline int parse_ipv6(void *cursor, void *end, struct source_key *key, int sent)
{
	struct ipv6hdr *header = cursor;
	const __be32 *address;

	if ((void *)(header + 1) > end)
		return -1;
	if (header->version != 6)
		return -1;

	address = sent ? header->daddr.s6_addr32 : header->saddr.s6_addr32;
	HALVES(key)[0] = join_words(address[0], address[1]);
	HALVES(key)[1] = join_words(address[2], address[3]);
	return header->payload_len ? sizeof(*header) + bpf_ntohs(header->payload_len) : 0;
}

/* What every ARP packet begins with (RFC 826). linux/if_arp.h does not compile for BPF. */
struct arp_header {
	__be16 hardware_type;
	__be16 protocol_type;
	__u8 hardware_length;
	__u8 protocol_length;
	__be16 operation;
};

static __always_inline int parse_arp(void *cursor, void *end)
{
	struct arp_header *header = cursor;

	if ((void *)(header + 1) > end)
		return 0;
	return sizeof(*header) + 2 * (header->hardware_length + header->protocol_length);
}

#endif
