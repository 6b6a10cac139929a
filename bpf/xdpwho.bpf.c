// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Counts the packets of each source address, and passes every packet on.
 *
 * This file is compiled four times. With XDPWHO_FRAGS the program accepts packets in several
 * buffers (jumbo frames, kernel 5.18 and newer); without it, it loads on older kernels. With
 * XDPWHO_LOG it also logs packets. A constant in place of XDPWHO_LOG would cost time without a log,
 * because the verifier removes the code that it switches off but not the load of the constant.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "counting.h"
#include "link-layer.h"
#include "parsing.h"
#include "xdpwho.h"

#ifdef XDPWHO_LOG
#include "log.h"
#else
static __always_inline void log_packet(const struct source_key *source, __u32 length)
{
}
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct totals));
	__uint(max_entries, 1);
} totals SEC(".maps");

static __always_inline __u64 packet_length(struct xdp_md *ctx)
{
#ifdef XDPWHO_FRAGS
	return bpf_xdp_get_buff_len(ctx);
#else
	return ctx->data_end - ctx->data;
#endif
}

enum packet_class { IPV4, IPV6, OTHER, MALFORMED };

/* Sets `skipped` to the bytes in front of the IP header that a tunnel has added. */
static __always_inline enum packet_class parse_packet(struct xdp_md *ctx, struct source_key *key,
						      __u32 *skipped)
{
	__u32 length = link_layer < LINK_TUNNEL ? 0 : packet_length(ctx);
	void *begin = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	void *cursor = begin;
	int type = parse_link(&cursor, end, length);

	if (link_layer >= LINK_TUNNEL)
		*skipped = cursor - begin;
	if (type == bpf_htons(ETH_P_IP))
		return parse_ipv4(cursor, end, key) < 0 ? MALFORMED : IPV4;
	if (type == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(cursor, end, key) < 0 ? MALFORMED : IPV6;
	return type < 0 ? MALFORMED : OTHER;
}

/*
 * What the frame of a test run begins with: bpftool only keeps a program open that it has run, and
 * a link is made of that (src/attachment/link.ts). User space writes random bytes here for each
 * load, the first of them 0, so that the frame is no IP packet on any device; all are 0 where no
 * link is made.
 */
const volatile __u64 test_frame = 0;

static __always_inline int is_test_run(struct xdp_md *ctx)
{
	__u64 *frame = (void *)(long)ctx->data;

	return test_frame && (void *)(frame + 1) <= (void *)(long)ctx->data_end &&
	       *frame == test_frame;
}

/*
 * Whether a frame of an Ethernet device begins with its IP header. tc has then redirected it to an
 * ifb device, which gives it back to the device that it came from, without its Ethernet header: a
 * generic program gets it a second time.
 */
static __always_inline int is_given_back(struct xdp_md *ctx)
{
	void *begin = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;

	return link_layer == LINK_ETHERNET && is_ip(ip_type(begin, end)) &&
	       is_ip_packet(begin, end, packet_length(ctx));
}

#ifdef XDPWHO_FRAGS
SEC("xdp.frags")
#else
SEC("xdp")
#endif
int xdpwho(struct xdp_md *ctx)
{
	struct source_key key = {};
	struct totals *total;
	__u32 skipped = 0;
	__u32 zero = 0;
	__u64 bytes;
	/* Parse before any helper is called, so that few values must be kept across calls. */
	enum packet_class class = parse_packet(ctx, &key, &skipped);

	if (class >= OTHER && (is_test_run(ctx) || is_given_back(ctx)))
		return XDP_PASS;

	/*
	 * Count in the totals before the source. A reader that reads the sources first and the
	 * totals second then never finds more packets in the sources than in the totals.
	 */
	total = bpf_map_lookup_elem(&totals, &zero);
	if (!total)
		return XDP_PASS;
	bytes = packet_length(ctx) - skipped;
	total->bytes += bytes;
	if (class == IPV4) {
		total->ipv4++;
	} else if (class == IPV6) {
		total->ipv6++;
	} else {
		if (class == OTHER)
			total->other++;
		else
			total->malformed++;
		return XDP_PASS;
	}

	log_packet(&key, bytes);
	count_source(&key, bytes);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
