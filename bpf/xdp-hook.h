/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What the program needs of its hook, for XDP: every packet that the device receives, before the
 * kernel. */
#ifndef XDP_HOOK_H
#define XDP_HOOK_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>
#include "link-layer.h"
#include "packet.h"
#include "parsing.h"

#ifdef XDPWHO_FRAGS
#define HOOK_SECTION "xdp.frags"
#else
#define HOOK_SECTION "xdp"
#endif
#define HOOK_NEXT XDP_PASS

typedef struct xdp_md packet_context;

/* XDP sees received packets only. */
static __always_inline int counts_sent(void)
{
	return 0;
}

static __always_inline __u64 whole_length(packet_context *ctx)
{
#ifdef XDPWHO_FRAGS
	return bpf_xdp_get_buff_len(ctx);
#else
	return linear_length(ctx);
#endif
}

/* The tag of a packet is in the packet. */
static __always_inline int tags_beside(packet_context *ctx)
{
	return 0;
}

/* The longest frame with an MTU of 1500: drivers put it into one buffer. */
#define ONE_BUFFER (ETH_FRAME_LEN + MAX_VLAN_TAGS * sizeof(struct vlan_tag))

/*
 * Whether all of a packet is in its first buffer. Only a call can tell for certain, so this
 * believes the IP or ARP header at the cursor, which says how long the packet is (0: nothing), if
 * the buffer is no longer than a packet that is not split. If the header lies, the bytes in other
 * buffers are not counted.
 */
static __always_inline int is_linear(packet_context *ctx, const struct parsed *parsed)
{
	void *end = (void *)(long)ctx->data_end;

	return parsed->said > 0 && (__u64)parsed->said <= distance(parsed->cursor, end) &&
	       linear_length(ctx) <= ONE_BUFFER;
}

/* Sets the bytes of the packet. Returns 1: a driver puts all headers into the first buffer. */
static __always_inline int measure(packet_context *ctx, const struct parsed *parsed,
				   struct amount *amount)
{
	__u64 length = is_linear(ctx, parsed) ? linear_length(ctx) : whole_length(ctx);

	amount->packets = 1;
	amount->bytes = length - parsed->skipped;
	return 1;
}

static __always_inline int pull_headers(packet_context *ctx)
{
	return 0;
}

/*
 * Whether a frame of an Ethernet device begins with its IP header. tc has then redirected it to an
 * ifb device, which gives it back to the device that it came from, without its Ethernet header: a
 * generic program gets it a second time.
 */
static __always_inline int is_given_back(packet_context *ctx)
{
	void *begin = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	return link_layer == LINK_ETHERNET && is_ip(ip_type(begin, end)) &&
	       is_ip_packet(begin, end, whole_length(ctx));
}

#endif
