// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Counts the packets of each source address, or of what is sent, of each destination address, and
 * passes every packet on.
 *
 * This file is compiled six times. For XDP it is compiled with and without XDPWHO_FRAGS: with it,
 * the program accepts packets in several buffers (jumbo frames, kernel 5.18 and newer); without it,
 * it loads on older kernels. With XDPWHO_TCX it is for TCX (kernel 6.6 and newer). With XDPWHO_LOG
 * it also logs packets. A constant in place of XDPWHO_LOG would cost time without a log, because
 * the verifier removes the code that it switches off but not the load of the constant.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "counting.h"
#include "link-layer.h"
#include "packet.h"
#include "parsing.h"
#include "xdpwho.h"

#ifdef XDPWHO_TCX
#include "tcx-hook.h"
#else
#include "xdp-hook.h"
#endif

#ifdef XDPWHO_LOG
#include "log.h"
#else
static __always_inline void log_packet(const struct source_key *source, const struct amount *amount,
				       __u32 cpu)
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
 * Sets the address that an IP packet is counted by, and what counts of every packet. Returns 0
 * where headers may be outside of what can be read.
 */
static __always_inline int parse_packet(packet_context *ctx, struct source_key *source,
					struct amount *amount, enum packet_class *class)
{
	__u64 length = link_layer < LINK_TUNNEL ? 0 : whole_length(ctx);
	void *begin = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct parsed parsed = {.cursor = begin};

	parsed.type = parse_link(&parsed.cursor, end, length, tags_beside(ctx));
	if (link_layer >= LINK_TUNNEL)
		parsed.skipped = distance(begin, parsed.cursor);
	if (parsed.type == bpf_htons(ETH_P_IP)) {
		parsed.said = parse_ipv4(parsed.cursor, end, source, counts_sent());
		*class = parsed.said < 0 ? MALFORMED : IPV4;
	} else if (parsed.type == bpf_htons(ETH_P_IPV6)) {
		parsed.said = parse_ipv6(parsed.cursor, end, source, counts_sent());
		*class = parsed.said < 0 ? MALFORMED : IPV6;
	} else {
		*class = parsed.type < 0 ? MALFORMED : OTHER;
		if (parsed.type == bpf_htons(ETH_P_ARP))
			parsed.said = parse_arp(parsed.cursor, end);
	}
	return measure(ctx, &parsed, amount) && *class != MALFORMED;
}

/*
 * What the frame of a test run begins with: bpftool only keeps a program open that it has run, and
 * a link is made of that (src/attachment/link.ts). User space writes random bytes here for each
 * load, the first of them 0, so that the frame is no IP packet on any device; all are 0 where no
 * link is made.
 */
const volatile __u64 test_frame = 0;

static __always_inline int is_test_run(packet_context *ctx)
{
	__u64 *frame = (void *)(long)ctx->data;

	return test_frame && (void *)(frame + 1) <= (void *)(long)ctx->data_end &&
	       *frame == test_frame;
}

SEC(HOOK_SECTION)
int xdpwho(packet_context *ctx)
{
	struct source_key source = {};
	struct amount amount;
	struct totals *total;
	enum packet_class class;
	__u32 cpu;

	/* Parse before any helper is called, so that few values must be kept across calls. */
#pragma clang loop unroll(disable)
	for (int tries = 0; tries < 2; tries++) {
		if (parse_packet(ctx, &source, &amount, &class) || !pull_headers(ctx))
			break;
	}
	if (class >= OTHER && (is_test_run(ctx) || is_given_back(ctx)))
		return HOOK_NEXT;

	/*
	 * Count in the totals before the source. A reader that reads the sources first and the
	 * totals second then never finds more packets in the sources than in the totals.
	 */
	cpu = bpf_get_smp_processor_id();
	total = find_totals(cpu);
	if (!total)
		return HOOK_NEXT;
	total->bytes += amount.bytes;
	if (class == IPV4) {
		total->ipv4 += amount.packets;
	} else if (class == IPV6) {
		total->ipv6 += amount.packets;
	} else {
		if (class == OTHER)
			total->other += amount.packets;
		else
			total->malformed += amount.packets;
		return HOOK_NEXT;
	}

	log_packet(&source, &amount, cpu);
	count_source(&source, &amount, cpu);
	return HOOK_NEXT;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
