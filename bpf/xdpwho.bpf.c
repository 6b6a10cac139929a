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
static __always_inline void log_packet(const struct source_key *source, __u32 length, __u32 cpu)
{
}
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct totals));
	__uint(max_entries, 1);
} totals SEC(".maps");

/* Where there is a front table, the totals are in it, and not in the map `totals`. */
static __always_inline struct totals *find_totals(__u32 cpu)
{
	__u32 zero = 0;

	if (front_lines)
		return bpf_map_lookup_elem(&front, &cpu);
	return bpf_map_lookup_elem(&totals, &zero);
}

enum packet_class { IPV4, IPV6, OTHER, MALFORMED };

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

static __always_inline __u64 linear_length(struct xdp_md *ctx)
{
	return distance((void *)(long)ctx->data, (void *)(long)ctx->data_end);
}

static __always_inline __u64 whole_length(struct xdp_md *ctx)
{
#ifdef XDPWHO_FRAGS
	return bpf_xdp_get_buff_len(ctx);
#else
	return linear_length(ctx);
#endif
}

/* The longest frame with an MTU of 1500: drivers put it into one buffer. */
#define ONE_BUFFER (ETH_FRAME_LEN + MAX_VLAN_TAGS * sizeof(struct vlan_tag))

/*
 * Whether all of a packet is in its first buffer. Only a call can tell for certain, so this
 * believes the IP or ARP header at the cursor, which says how long the packet is (0: nothing), if
 * the buffer is no longer than a packet that is not split. If the header lies, the bytes in other
 * buffers are not counted.
 */
static __always_inline int is_linear(struct xdp_md *ctx, void *cursor, int said)
{
	void *end = (void *)(long)ctx->data_end;

	return said > 0 && (__u64)said <= distance(cursor, end) && linear_length(ctx) <= ONE_BUFFER;
}

/*
 * Sets the source of an IP packet, and what counts as the bytes of every packet: all of it, except
 * what a tunnel has put before its IP header.
 */
static __always_inline enum packet_class parse_packet(struct xdp_md *ctx, struct source_key *source,
						      __u64 *bytes)
{
	__u64 length = link_layer < LINK_TUNNEL ? 0 : whole_length(ctx);
	void *begin = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	enum packet_class class;
	void *cursor = begin;
	__u64 skipped = 0;
	int said = 0;
	int type;

	type = parse_link(&cursor, end, length);
	if (link_layer >= LINK_TUNNEL)
		skipped = distance(begin, cursor);
	if (type == bpf_htons(ETH_P_IP)) {
		said = parse_ipv4(cursor, end, source);
		class = said < 0 ? MALFORMED : IPV4;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		said = parse_ipv6(cursor, end, source);
		class = said < 0 ? MALFORMED : IPV6;
	} else {
		class = type < 0 ? MALFORMED : OTHER;
		if (type == bpf_htons(ETH_P_ARP))
			said = parse_arp(cursor, end);
	}
	*bytes = is_linear(ctx, cursor, said) ? linear_length(ctx) : whole_length(ctx);
	*bytes -= skipped;
	return class;
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
	       is_ip_packet(begin, end, whole_length(ctx));
}

#ifdef XDPWHO_FRAGS
SEC("xdp.frags")
#else
SEC("xdp")
#endif
int xdpwho(struct xdp_md *ctx)
{
	struct source_key source = {};
	struct totals *total;
	__u64 bytes;
	__u32 cpu;
	/* Parse before any helper is called, so that few values must be kept across calls. */
	enum packet_class class = parse_packet(ctx, &source, &bytes);

	if (class >= OTHER && (is_test_run(ctx) || is_given_back(ctx)))
		return XDP_PASS;

	/*
	 * Count in the totals before the source. A reader that reads the sources first and the
	 * totals second then never finds more packets in the sources than in the totals.
	 */
	cpu = bpf_get_smp_processor_id();
	total = find_totals(cpu);
	if (!total)
		return XDP_PASS;
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

	log_packet(&source, bytes, cpu);
	count_source(&source, bytes, cpu);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
